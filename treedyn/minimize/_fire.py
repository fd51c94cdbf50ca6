"""FIRE: inertia that is reset whenever it points uphill."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import static
from treedyn.minimize._direction import Context, Direction
from treedyn.minimize._length import limit
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class Fire(Direction):
    r"""The fast inertial relaxation engine, version 2.0, with semi-implicit Euler steps.

    $v \leftarrow v + dt\,F$, then $v \leftarrow (1-\alpha) v + \alpha |v| F/|F|$, $x \leftarrow x + dt\,v$. As long as
    $F \cdot v > 0$ the time step grows and $\alpha$ shrinks. Once the velocity points uphill, the position goes back by
    half a step and the velocity is reset to zero.

    The memory has the `velocity`, the current `dt` and `alpha`, and the number of steps since the velocity last pointed
    uphill, `downhill`.

    Attributes:
        dt: initial time step, positive; use that of molecular dynamics at unit mass.
        dt_max: largest time step; 10 dt by default.
        dt_min: smallest time step; 0.02 dt by default.
        max_step: largest change of any element in one step, in units of the position.
        delay: downhill steps before the time step grows.
        grow: factor by which the time step grows.
        shrink: factor by which it shrinks uphill.
        alpha: initial weight of the force direction in the velocity.
        alpha_shrink: factor by which that weight shrinks downhill.
    """

    name: ClassVar[str] = "fire"
    dt: Float[jax.Array, ""] | float
    dt_max: Float[jax.Array, ""] | float | None = None
    dt_min: Float[jax.Array, ""] | float | None = None
    max_step: Float[jax.Array, ""] | float = float("inf")
    delay: int = static(default=20)
    grow: Float[jax.Array, ""] | float = 1.1
    shrink: Float[jax.Array, ""] | float = 0.5
    alpha: Float[jax.Array, ""] | float = 0.25
    alpha_shrink: Float[jax.Array, ""] | float = 0.99

    def __post_init__(self) -> None:
        """Check the numbers, and set those that follow from dt."""
        dt = check.number("dt", self.dt, positive=True)
        values = {
            "dt": dt,
            "dt_max": 10 * dt if self.dt_max is None else self.dt_max,
            "dt_min": 0.02 * dt if self.dt_min is None else self.dt_min,
        }
        for name in ("dt", "dt_max", "dt_min", "max_step", "grow", "shrink", "alpha_shrink"):
            value = check.number(name, values.get(name, getattr(self, name)), positive=True, finite=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "alpha", check.number("alpha", self.alpha, nonnegative=True, finite=False))
        check.integer("delay", self.delay, 0)
        # "1" is no attribute: it stands for 1.0
        pairs = [("dt_min", "dt"), ("dt", "dt_max"), ("1", "grow")]
        for low, high in [*pairs, *((name, "1") for name in ("shrink", "alpha", "alpha_shrink"))]:
            small, large = (tree.known(getattr(self, name, 1.0)) for name in (low, high))
            if small is not None and large is not None and small > large:
                raise ValueError(f"{low} must be at most {high}, got {low}={small}, {high}={large}.")

    def init(self, part: PyTree) -> dict[str, Any]:
        """Return the memory at rest."""
        kind = tree.dtype(part)
        return {
            "velocity": tree.zeros_like(part),
            "dt": jnp.asarray(self.dt).astype(kind),
            "alpha": jnp.asarray(self.alpha).astype(kind),
            "downhill": jnp.int32(0),
        }

    def propose(self, force: PyTree, memory: dict[str, Any], context: Context) -> tuple[PyTree, dict[str, Any]]:
        """Return the displacement and the memory."""
        v, dt, alpha = memory["velocity"], memory["dt"], memory["alpha"]

        def like(number: Any) -> jax.Array:
            return tree.cast(number, dt)

        downhill = tree.vdot(force, v) > 0
        count = jnp.where(downhill, memory["downhill"] + 1, 0)
        steady = count > self.delay
        faster = jnp.minimum(dt * like(self.grow), like(self.dt_max))
        # in the first steps, uphill is noise: the time step shrinks only after the delay
        slower = jnp.maximum(dt * like(self.shrink), like(self.dt_min))
        slower = jnp.where(context.step < self.delay, dt, slower)
        retreat = tree.scale(jnp.where(downhill, 0, -dt / 2), v)
        alpha = jnp.where(downhill, jnp.where(steady, alpha * like(self.alpha_shrink), alpha), like(self.alpha))
        dt = jnp.where(downhill, jnp.where(steady, faster, dt), slower)
        v = tree.axpy(dt, force, tree.where(downhill, v, tree.zeros_like(v)))
        speed, pull = tree.norm(v), tree.norm(force)
        mixed = tree.axpy(alpha * speed / jnp.where(pull > 0, pull, 1), force, tree.scale(1 - alpha, v))
        # the speed is limited as well, so that half a step back is half of the step that was taken
        max_step = like(self.max_step)
        finite = jnp.isfinite(max_step)  # the quotient of an infinite one has a gradient of NaN
        fastest = jnp.where(finite, jnp.where(finite, max_step, 1) / dt, max_step)
        v = limit(tree.where(downhill, mixed, v), fastest)
        way = limit(tree.add(tree.scale(dt, v), retreat), max_step)
        return way, {"velocity": v, "dt": dt, "alpha": alpha, "downhill": count}

    def carry(self, memory: dict[str, Any], taken: PyTree, transport: Callable[[PyTree], PyTree]) -> dict[str, Any]:
        """Return the memory with the velocity at the new position."""
        return {**memory, "velocity": transport(memory["velocity"])}


def fire(
    target: Callable[..., Any], dt: float, *, max_step: float = float("inf"), space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Minimize with the fast inertial relaxation engine (FIRE 2.0).

    For its other parameters use `td.minimizer` with `treedyn.minimize.Fire`.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: initial time step, positive; use that of molecular dynamics at unit mass.
        max_step: largest change of any element in one step, in units of the position.
        space: a space, or a prefix tree of spaces; the velocity is carried along a manifold.

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
