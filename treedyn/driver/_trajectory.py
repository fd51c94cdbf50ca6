"""`trajectory`: many steps as one pure function, for use inside jit, vmap and grad."""

from collections.abc import Callable
from typing import Any

import jax

from treedyn import environment, tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.driver._check import check, check_record
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree


class Trajectory(Struct):
    """The result of `trajectory`.

    Attributes:
        state: the last state.
        boxed_env: its environment, with everything but arrays in the tree structure; read `env`.
        boxed_records: the records in the same form; read `records`.
    """

    state: State
    boxed_env: PyTree
    boxed_records: PyTree

    @property
    def env(self) -> PyTree:
        """Return the environment of the last state."""
        return tree.unbox(self.boxed_env)

    @property
    def records(self) -> PyTree:
        """Return the records, stacked along the first axis; `None` without `record`."""
        return tree.unbox(self.boxed_records)


def trajectory(
    dynamics: Dynamics,
    state: State,
    env: PyTree = None,
    *,
    steps: int,
    every: int = 1,
    record: Callable[..., Any] | None = None,
) -> Trajectory:
    """Take a fixed number of steps as one pure function.

    Lists are updated after every step, but nothing is repaired and nothing raises: check `state.status` at the end.
    The function is differentiable in forward and reverse mode.

    Args:
        dynamics: any dynamics, minimizer or ensemble.
        state: the result of `dynamics.init`.
        env: environment of the target.
        steps: number of steps, at least 0.
        every: steps between two records; the first record is made after `every` steps.
        record: `record(state)` or `record(state, env)`, returns any PyTree.

    Returns:
        A `Trajectory` with `state`, `env` and `records`.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax, treedyn as td
        >>> def end(dt):
        ...     dynamics = td.nve(td.from_energy(lambda x: x**2 / 2), dt)
        ...     return td.trajectory(dynamics, dynamics.init(jax.random.key(0), 1.0), steps=10).state.position
        >>> round(float(jax.grad(end)(0.1)), 2)
        -8.43
    """
    check(dynamics, state, env, steps, every, record)

    def one(carry: tuple[State, PyTree], _: None) -> tuple[tuple[State, PyTree], None]:
        state, env = carry
        env = environment.advance(env, state)
        state = dynamics.step(state, tree.unbox(env))
        return (state, environment.update(env, state)), None

    def block(carry: tuple[State, PyTree], _: None) -> tuple[tuple[State, PyTree], PyTree]:
        carry, _ = jax.lax.scan(one, carry, None, length=every)
        if record is None:
            return carry, None
        found = tree.box(dynamics.observe(record, *carry))
        check_record("record", found)
        return carry, found

    carry = (state, tree.traceable(env))
    carry, records = jax.lax.scan(block, carry, None, length=steps // every)
    carry, _ = jax.lax.scan(one, carry, None, length=steps % every)
    return Trajectory(state=carry[0], boxed_env=carry[1], boxed_records=records)
