"""FIRE: inertia that is forgotten whenever it points uphill."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import check, schedule, tree
from treedyn.minimize.gradient_descent import limit
from treedyn.minimize.minimizer import Context, Minimizer, Rule, minimizer
from treedyn.space import EUCLIDEAN
from treedyn.struct import Struct, static
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


class Fire(Rule):
    """Follow the fast inertial relaxation engine in its second form, with semi-implicit Euler steps.

    Attributes:
        dt: time step to start with.
        dt_max: largest time step.
        dt_min: smallest time step.
        max_step: largest change of any element in one step.
        delay: downhill steps before the time step grows.
        grow: factor by which the time step grows.
        shrink: factor by which it shrinks uphill.
        alpha: weight of the force direction to start with.
        alpha_shrink: factor by which that weight shrinks downhill.
    """

    name: ClassVar[str] = "fire"
    dt: jax.Array | float
    dt_max: jax.Array | float
    dt_min: jax.Array | float
    max_step: jax.Array | float
    delay: int = static(default=20)
    grow: float = 1.1
    shrink: float = 0.5
    alpha: float = 0.25
    alpha_shrink: float = 0.99

    def init(self, part: PyTree) -> FireMemory:
        """Return the memory at rest."""
        kind = tree.dtype(part)
        return FireMemory(
            velocity=tree.zeros_like(part),
            dt=jnp.asarray(self.dt).astype(kind),
            alpha=jnp.asarray(self.alpha).astype(kind),
            downhill=jnp.int32(0),
        )

    def update(self, force: PyTree, memory: FireMemory, context: Context) -> tuple[PyTree, FireMemory]:
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

    @staticmethod
    def _like(number: Any, like: jax.Array) -> jax.Array:
        return tree.cast(number, like)


def fire_rule(
    dt: float,
    *,
    dt_max: float | None = None,
    dt_min: float | None = None,
    max_step: float = float("inf"),
    delay: int = 20,
    grow: float = 1.1,
    shrink: float = 0.5,
    alpha: float = 0.25,
    alpha_shrink: float = 0.99,
) -> Fire:
    """Return the rule of `fire`, for `as_optax` or `minimizer`; the arguments are those of `fire`."""
    dt = schedule.number(dt, "dt", positive=True)
    rule = Fire(
        dt=dt,
        dt_max=schedule.number(10 * dt if dt_max is None else dt_max, "dt_max", positive=True),
        dt_min=schedule.number(0.02 * dt if dt_min is None else dt_min, "dt_min", positive=True),
        max_step=schedule.number(max_step, "max_step", positive=True),
        delay=check.integer("delay", delay, 0),
        grow=schedule.number(grow, "grow", positive=True),
        shrink=schedule.number(shrink, "shrink", positive=True),
        alpha=schedule.number(alpha, "alpha", nonnegative=True),
        alpha_shrink=schedule.number(alpha_shrink, "alpha_shrink", positive=True),
    )
    for low, high in (
        (("dt_min", rule.dt_min), ("dt", rule.dt)),
        (("dt", rule.dt), ("dt_max", rule.dt_max)),
        (("1", 1.0), ("grow", rule.grow)),
        (("shrink", rule.shrink), ("1", 1.0)),
        (("alpha", rule.alpha), ("1", 1.0)),
        (("alpha_shrink", rule.alpha_shrink), ("1", 1.0)),
    ):
        small, large = tree.known(low[1]), tree.known(high[1])
        if small is not None and large is not None and small > large:
            raise ValueError(f"{low[0]} must be at most {high[0]}, got {low[0]}={small}, {high[0]}={large}")
    return rule


def fire(
    target: Callable[..., Any],
    dt: float,
    *,
    dt_max: float | None = None,
    dt_min: float | None = None,
    max_step: float = float("inf"),
    delay: int = 20,
    grow: float = 1.1,
    shrink: float = 0.5,
    alpha: float = 0.25,
    alpha_shrink: float = 0.99,
    space: PyTree = EUCLIDEAN,
) -> Minimizer:
    r"""Minimize with the fast inertial relaxation engine (FIRE 2.0).

    $v \leftarrow v + dt\,F$, then $v \leftarrow (1-\alpha) v + \alpha |v| F/|F|$, $x \leftarrow x + dt\,v$. As long as
    $F \cdot v > 0$ the time step grows and $\alpha$ shrinks; once it points uphill, go back half a step and start again
    from rest.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step to start with, positive; the one that molecular dynamics at unit mass would use.
        dt_max: largest time step; 10 dt by default.
        dt_min: smallest time step; 0.02 dt by default.
        max_step: largest change of any element in one step, in units of the position.
        delay: downhill steps before the time step grows.
        grow: factor by which the time step grows.
        shrink: factor by which it shrinks uphill.
        alpha: weight of the force direction to start with.
        alpha_shrink: factor by which that weight shrinks downhill.
        space: a space, or a prefix tree of spaces.

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
    rule = fire_rule(
        dt,
        dt_max=dt_max,
        dt_min=dt_min,
        max_step=max_step,
        delay=delay,
        grow=grow,
        shrink=shrink,
        alpha=alpha,
        alpha_shrink=alpha_shrink,
    )
    return minimizer(target, rule, space=space)
