"""The state of every dynamics: one struct with standard names."""

from typing import Any, Self

import jax
import jax.numpy as jnp

from treedyn import metric as metric_of
from treedyn import tree
from treedyn._compensated import Compensated
from treedyn._status import GROUND
from treedyn._struct import Struct
from treedyn._threefry import fold_in
from treedyn.tree import PyTree


class State(Struct):
    """Everything that changes from step to step.

    What does not change (dt, kT, the target) lives in the dynamics. Fields that a method has no use for are `None`.

    Attributes:
        boxed: the position with everything that is no array held in the tree structure, so that it passes through
            `jit`; read `position` instead.
        momentum: conjugate momenta, in the structure of the moving part of the position.
        force: force at `position`.
        energy: potential energy at `position`; `None` for targets that are forces.
        aux: what else the target returned at `position`.
        metric: how the momentum of every leaf moves it; `mass=` says.
        dof: degrees of freedom of every leaf, one number each.
        key: the random key given at `init`; it never changes, noise is a function of it, `slot` and `step`.
        slot: place of the state in an ensemble, int32; `None` outside of one.
        step: how many steps were taken, int32.
        clock: the time of the position, in twice the precision of its dtype; read `time` instead. `None` where the
            leaves have a dt each, and so no time in common.
        status: the status word (see `Status`); bits are only ever set.
        memory: what the operators of the method have to remember, by name.
        info: what the method reports of its last step.
    """

    boxed: PyTree
    force: PyTree
    energy: jax.Array | None
    aux: PyTree
    key: Any
    step: jax.Array
    status: jax.Array
    clock: Compensated | None = None
    slot: jax.Array | None = None
    momentum: PyTree = None
    metric: PyTree = None
    dof: PyTree = None
    memory: dict[str, Any]
    info: PyTree = None

    @property
    def position(self) -> PyTree:
        """Return the position as the user knows it: the same tree, functions and integers included."""
        return tree.unbox(self.boxed)

    @property
    def moving(self) -> PyTree:
        """Return the moving part of the position: its floating-point leaves, `None` elsewhere."""
        return tree.moving(self.boxed)

    @property
    def velocity(self) -> PyTree:
        """Return the velocity, a tree like the moving part of the position; `None` without momenta."""
        return None if self.momentum is None else metric_of.velocity(self.metric, self.moving, self.momentum)

    @property
    def time(self) -> jax.Array | None:
        """Return the time of the position; `None` where the leaves have a dt each."""
        return None if self.clock is None else self.clock.value

    @property
    def stream(self) -> Any:
        """Return the key of all noise of this state: it belongs to the slot, whatever key was copied into that."""
        return self.key if self.slot is None else fold_in(self.key, self.slot)

    def replace(self, **changes: Any) -> Self:
        """Return a copy in which the named fields, `position`, its part `moving`, or `time` are replaced.

        Forces and energy are not evaluated: `init` does that.
        """
        if "position" in changes:
            changes["boxed"] = tree.box(changes.pop("position"))
        if "moving" in changes:
            changes["boxed"] = tree.merge(changes.pop("moving"), changes.get("boxed", self.boxed))
        if "time" in changes:
            time = changes.pop("time")
            changes["clock"] = None if time is None else Compensated.of(_like(time, self.clock))
        return super().replace(**changes)

    def unlike(self, other: Self) -> list[str]:
        """Return the names of the fields that have another structure, shape or dtype in `other`."""

        def form(value: Any) -> Any:
            leaves, structure = jax.tree.flatten(tree.traceable(value))
            return structure, [(x.shape, x.dtype) for x in map(jnp.asarray, leaves)]

        return [name for name, value in vars(self).items() if form(value) != form(getattr(other, name))]

    def later(self, h: Any) -> Self:
        """Return this state with its time moved on by `h`; times are summed in twice the precision of their dtype.

        Args:
            h: the time that passed, a number.

        Example:
            >>> import jax, treedyn as td
            >>> state = td.nve(td.from_energy(lambda x: x**2), dt=0.1).init(jax.random.key(0), 1.0)
            >>> print(state.later(0.5).time)
            0.5
        """
        return self if self.clock is None else self.replace(clock=self.clock.plus(_like(h, self.clock)))

    def select(self, accept: jax.Array, proposal: Self) -> Self:
        """Return `proposal` where it is accepted, else this state: the one way to reject.

        What counts how often was proposed (`step`), what reports on it (`info`) and the key are the proposal's either
        way. So is every bit of its status that says that a computation stood on an invalid neighbor list, since the
        decision then means nothing. What is wrong with its values alone is rejected with it: an energy that is NaN is a
        proposal that is not accepted.

        Args:
            accept: whether the proposal is accepted, a boolean.
            proposal: a state of the same dynamics.

        Example:
            >>> import jax, jax.numpy as jnp, treedyn as td
            >>> dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)
            >>> state = dynamics.init(jax.random.key(0), jnp.ones(2))
            >>> rejected = state.select(jnp.asarray(False), dynamics.step(state))
            >>> print(rejected.position, rejected.step)
            [1. 1.] 1
        """
        ground = proposal.status & jnp.uint32(int(GROUND))
        bits = jnp.where(accept, proposal.status, ground)
        return tree.where(accept, proposal, self).replace(
            key=proposal.key,
            slot=proposal.slot,
            step=proposal.step,
            info=proposal.info,
            status=self.status | bits,
        )


def _like(time: Any, clock: Compensated | None) -> jax.Array:
    if clock is None:
        return jnp.asarray(time, jnp.result_type(float))
    if jnp.shape(time) not in ((), clock.high.shape):
        raise ValueError(f"time: expected one number, got shape {jnp.shape(time)}")
    return jnp.broadcast_to(jnp.asarray(time, clock.dtype), clock.high.shape)


__all__ = ["State"]
