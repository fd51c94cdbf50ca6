"""The state of every dynamics: one struct with standard field names."""

from typing import Any, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int32, Real, UInt32

from treedyn import metric as metric_of
from treedyn import tree
from treedyn._compensated import Compensated
from treedyn._status import INVALID_LIST
from treedyn._struct import Struct
from treedyn._threefry import fold_in
from treedyn.tree import PyTree
from treedyn.tree._structure import form


class State(Struct):
    """Everything that changes from step to step.

    Constants (dt, kT, the target) belong to the dynamics. Fields that a method does not use are `None`.

    Attributes:
        boxed: the position, with everything except arrays moved into the tree structure, so that it passes through
            `jit`; read `position` instead.
        momentum: conjugate momenta, a tree like the moving part of the position.
        force: force at `position`.
        energy: potential energy at `position`; `None` where the target is a force.
        aux: auxiliary results of the target at `position`.
        metric: the kinetic metric of every leaf, made from `mass=`.
        dof: number of degrees of freedom of every leaf.
        key: the random key passed to `init`. It never changes: noise is a function of it, `slot` and `step`.
        slot: place of the state in an ensemble, int32; `None` outside of ensembles.
        step: number of steps taken, int32.
        clock: time of the position, in twice the precision of its dtype; read `time` instead. `None` where every leaf
            has its own dt, so that there is no common time.
        status: the status word (see `Status`); bits are only ever set.
        memory: the memory of the operators, by name.
        info: information about the last step, such as an acceptance.
    """

    boxed: PyTree
    force: PyTree
    energy: Float[Array, "..."] | None
    aux: PyTree
    key: Any
    step: Int32[Array, "..."]
    status: UInt32[Array, "..."]
    clock: Compensated | None = None
    slot: Int32[Array, "..."] | None = None
    momentum: PyTree = None
    metric: PyTree = None
    dof: PyTree = None
    memory: dict[str, Any]
    info: PyTree = None

    @property
    def position(self) -> PyTree:
        """Return the position as the user passed it, functions and integers included."""
        return tree.unbox(self.boxed)

    @property
    def moving(self) -> PyTree:
        """Return the moving part of the position: its floating-point leaves, and `None` elsewhere."""
        return tree.moving(self.boxed)

    @property
    def velocity(self) -> PyTree:
        """Return the velocity, a tree like the moving part of the position; `None` without momenta."""
        return None if self.momentum is None else metric_of.velocity(self.metric, self.moving, self.momentum)

    @property
    def time(self) -> Float[Array, "..."] | None:
        """Return the time of the position; `None` where every leaf has its own dt."""
        return None if self.clock is None else self.clock.value

    @property
    def stream(self) -> Any:
        """Return the key of all noise of this state; it depends on the slot, so copied states have different noise."""
        return self.key if self.slot is None else fold_in(self.key, self.slot)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with new values of the named fields, of `position`, of its part `moving`, or of `time`.

        Forces and energy are not evaluated again.
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
        """Return the names of the fields whose structure, shapes or dtypes differ from those of `other`."""
        return [name for name, value in vars(self).items() if form(value) != form(getattr(other, name))]

    def later(self, h: Real[ArrayLike, "..."]) -> Self:
        """Return this state with its time advanced by `h`, summed in twice the precision of its dtype.

        Example:
            >>> import jax, treedyn as td
            >>> state = td.nve(td.from_energy(lambda x: x**2), dt=0.1).init(jax.random.key(0), 1.0)
            >>> print(state.later(0.5).time)
            0.5
        """
        return self if self.clock is None else self.replace(clock=self.clock.plus(_like(h, self.clock)))

    def select(self, accept: Bool[Array, "..."], proposal: Self) -> Self:
        """Return `proposal` where it is accepted, and this state elsewhere.

        `key`, `slot`, `step` and `info` are those of the proposal in both cases. So are the bits of its status for
        invalid neighbor lists, because the decision is then meaningless. The other bits are rejected with the
        proposal: a proposal with a NaN energy is simply not accepted.

        Args:
            accept: whether the proposal is accepted; one boolean, or one for each member.
            proposal: a state of the same dynamics.

        Example:
            >>> import jax, jax.numpy as jnp, treedyn as td
            >>> dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)
            >>> state = dynamics.init(jax.random.key(0), jnp.ones(2))
            >>> rejected = state.select(jnp.asarray(False), dynamics.step(state))
            >>> print(rejected.position, rejected.step)
            [1. 1.] 1
        """
        invalid = proposal.status & jnp.uint32(int(INVALID_LIST))
        bits = jnp.where(accept, proposal.status, invalid)
        return tree.where(accept, proposal, self).replace(
            key=proposal.key, slot=proposal.slot, step=proposal.step, info=proposal.info, status=self.status | bits
        )


def _like(time: ArrayLike, clock: Compensated | None) -> jax.Array:
    if clock is None:
        return jnp.asarray(time, jnp.result_type(float))
    if jnp.shape(time) not in ((), clock.high.shape):
        raise ValueError(f"time: expected one number, got shape {jnp.shape(time)}")
    return jnp.broadcast_to(jnp.asarray(time, clock.dtype), clock.high.shape)
