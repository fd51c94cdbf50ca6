"""FIRE: inertia that is forgotten whenever it points uphill."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn.minimize._direction import Context, Direction
from treedyn.minimize._length import limit
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class FireMemory(Struct):
    """Hold what FIRE remembers.

    Attributes:
        velocity: velocity, a tree like the force.
        dt: present time step.
        alpha: present weight of the force direction in the velocity.
        downhill: steps since the velocity last pointed uphill.
    """

    velocity: PyTree
    dt: jax.Array
    alpha: jax.Array
    downhill: jax.Array


class Fire(Direction):
    r"""The fast inertial relaxation engine in its second form, with semi-implicit Euler steps.

    $v \leftarrow v + dt\,F$, then $v \leftarrow (1-\alpha) v + \alpha |v| F/|F|$, $x \leftarrow x + dt\,v$. As long as
    $F \cdot v > 0$ the time step grows and $\alpha$ shrinks; once it points uphill, go back half a step and start again
    from rest.

    Attributes:
        dt: time step to start with, positive; the one that molecular dynamics at unit mass would use.
        dt_max: largest time step; 10 dt by default.
        dt_min: smallest time step; 0.02 dt by default.
        max_step: largest change of any element in one step, in units of the position.
        delay: downhill steps before the time step grows.
        grow: factor by which the time step grows.
        shrink: factor by which it shrinks uphill.
        alpha: weight of the force direction to start with.
        alpha_shrink: factor by which that weight shrinks downhill.
    """

    name: ClassVar[str] = "fire"
    dt: jax.Array | float
    dt_max: jax.Array | float | None = None
    dt_min: jax.Array | float | None = None
    max_step: jax.Array | float = float("inf")
    delay: int = static(default=20)
    grow: jax.Array | float = 1.1
    shrink: jax.Array | float = 0.5
    alpha: jax.Array | float = 0.25
    alpha_shrink: jax.Array | float = 0.99

    def __post_init__(self) -> None:
        """Check the numbers, and set those that follow from dt."""
        dt = check.number("dt", self.dt, positive=True, finite=True)
        checked = {
            "dt": dt,
            "dt_max": check.number(
                "dt_max", 10 * dt if self.dt_max is None else self.dt_max, positive=True, finite=False
            ),
            "dt_min": check.number(
                "dt_min", 0.02 * dt if self.dt_min is None else self.dt_min, positive=True, finite=False
            ),
            "max_step": check.number("max_step", self.max_step, positive=True, finite=False),
            "grow": check.number("grow", self.grow, positive=True, finite=False),
            "shrink": check.number("shrink", self.shrink, positive=True, finite=False),
            "alpha": check.number("alpha", self.alpha, nonnegative=True, finite=False),
            "alpha_shrink": check.number("alpha_shrink", self.alpha_shrink, positive=True, finite=False),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        check.integer("delay", self.delay, 0)
        for low, high in (
            (("dt_min", self.dt_min), ("dt", dt)),
            (("dt", dt), ("dt_max", self.dt_max)),
            (("1", 1.0), ("grow", self.grow)),
            (("shrink", self.shrink), ("1", 1.0)),
            (("alpha", self.alpha), ("1", 1.0)),
            (("alpha_shrink", self.alpha_shrink), ("1", 1.0)),
        ):
            small, large = tree.known(low[1]), tree.known(high[1])
            if small is not None and large is not None and small > large:
                raise ValueError(f"{low[0]} must be at most {high[0]}, got {low[0]}={small}, {high[0]}={large}")

    def init(self, part: PyTree) -> FireMemory:
        """Return the memory at rest."""
        kind = tree.dtype(part)
        return FireMemory(
            velocity=tree.zeros_like(part),
            dt=jnp.asarray(self.dt).astype(kind),
            alpha=jnp.asarray(self.alpha).astype(kind),
            downhill=jnp.int32(0),
        )

    def propose(self, force: PyTree, memory: FireMemory, context: Context) -> tuple[PyTree, FireMemory]:
        """Return the displacement and the memory."""
        v, dt, alpha = memory.velocity, memory.dt, memory.alpha
        downhill = tree.vdot(force, v) > 0
        count = jnp.where(downhill, memory.downhill + 1, 0)
        steady = count > self.delay
        faster = jnp.minimum(dt * self._like(self.grow, dt), self._like(self.dt_max, dt))
        slower = jnp.maximum(dt * self._like(self.shrink, dt), self._like(self.dt_min, dt))
        # while the first steps gather speed, uphill is noise: the time step shrinks only after the delay
        slower = jnp.where(context.step < self.delay, dt, slower)
        back = jnp.where(downhill, 0, -dt / 2)
        dt = jnp.where(downhill, jnp.where(steady, faster, dt), slower)
        alpha = jnp.where(
            downhill,
            jnp.where(steady, alpha * self._like(self.alpha_shrink, dt), alpha),
            self._like(self.alpha, dt),
        )
        # uphill: go half a step back, and start again from rest
        retreat = tree.scale(back, v)
        v = tree.axpy(dt, force, tree.where(downhill, v, tree.zeros_like(v)))
        speed, pull = tree.norm(v), tree.norm(force)
        mixed = tree.axpy(alpha * speed / jnp.where(pull > 0, pull, 1), force, tree.scale(1 - alpha, v))
        # the limit is one on the speed, so that half a step back is half of the step that was taken
        max_step = self._like(self.max_step, dt)
        finite = jnp.isfinite(max_step)  # the quotient of an infinite one has a gradient of NaN
        fastest = jnp.where(finite, jnp.where(finite, max_step, 1) / dt, max_step)
        v = limit(tree.where(downhill, mixed, v), fastest)
        way = limit(tree.add(tree.scale(dt, v), retreat), max_step)
        return way, FireMemory(velocity=v, dt=dt, alpha=alpha, downhill=count)

    def carry(self, memory: FireMemory, taken: PyTree, transport: Callable[[PyTree], PyTree]) -> FireMemory:
        """Return the memory with the velocity carried along."""
        return memory.replace(velocity=transport(memory.velocity))

    @staticmethod
    def _like(number: Any, like: jax.Array) -> jax.Array:
        return tree.cast(number, like)


def fire(
    target: Callable[..., Any], dt: float, *, max_step: float = float("inf"), space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Minimize with the fast inertial relaxation engine (FIRE 2.0).

    Its other numbers are those of `treedyn.minimize.Fire`, which goes through `td.minimizer`.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step to start with, positive; the one that molecular dynamics at unit mass would use.
        max_step: largest change of any element in one step, in units of the position.
        space: a space, or a prefix tree of spaces; on a manifold the velocity is carried along.

    Returns:
        A dynamics with `init` and `step`.

    Example:
        >>> import jax, treedyn as td
        >>> dynamics = td.fire(td.from_energy(lambda x: (x - 3.0) ** 2), dt=0.1)
        >>> state = td.trajectory(dynamics, dynamics.init(jax.random.key(0), 0.0), steps=200).state
        >>> round(float(state.position), 3)
        3.0

    Reference:
        Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201; Guénolé et al., Comput.
        Mater. Sci. 175, 109584 (2020), doi:10.1016/j.commatsci.2020.109584.
    """
    return minimizer(target, Fire(dt=dt, max_step=max_step), space=space)
