"""The parts of an environment that are looked after: what holds near a position, what depends on time, what moves."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._member import PerMember, member, stack
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Pace(NamedTuple):
    """Say how fast a run is.

    Attributes:
        seconds: seconds per step.
        life: steps between two rebuilds.
        left: steps that are still to be taken.
    """

    seconds: float
    life: float
    left: int


class Refreshable(Struct):
    """Hold something that was made for one position and is good for positions near it.

    `valid` is asked at every force evaluation, with the position the force is computed at; a step that used an
    invalid one sets `Status.STALE`, and `run` takes it again with a rebuilt one.

    Attributes:
        margin: `update` rebuilds once this fraction of the way to invalidity is used up, so that a loop which calls
            it after every step never steps onto stale ground. In `(0, 1]`.
    """

    margin: ClassVar[float] = 0.75

    @property
    def status(self) -> jax.Array:
        """Return the status word: what went wrong while this was built."""
        return jnp.uint32(0)

    @abstractmethod
    def valid(self, position: PyTree, margin: float = 1.0) -> jax.Array:
        """Tell whether this still holds at `position`, with at most the fraction `margin` of its room used up."""

    @abstractmethod
    def rebuild(self, position: PyTree) -> Self:
        """Return one made for `position`, with unchanged shapes: pure and safe under jit."""

    @abstractmethod
    def allocate(self, position: PyTree) -> Self:
        """Return one made for `position`, with shapes that are large enough: on the host, never under jit."""

    def enlarged(self) -> Self:
        """Return one with more room, where it is known to lack some and not for which position: on the host.

        That happens where a step tries positions that are not in its result. By default it stays as it is.
        """
        return self

    def allocate_members(self, position: PyTree) -> Self:
        """Return a batch made for a batch of positions: on the host; `self` is what the members of an ensemble have.

        By default member by member; where sizes differ, all are made as large as the largest.

        Raises:
            ValueError: they do not come out with the same shapes.
        """
        marked = PerMember(values=position)
        own, places = ([member(PerMember(values=x), k) for k in range(marked.members)] for x in (self, position))
        made = [node.allocate(x) for node, x in zip(own, places, strict=True)]
        if len({tuple(map(jnp.shape, jax.tree.leaves(node))) for node in made}) > 1:
            largest = max(range(len(made)), key=lambda k: sum(map(jnp.size, jax.tree.leaves(made[k]))))
            made = [node.allocate(places[largest]).rebuild(x) for node, x in zip(own, places, strict=True)]
        return stack(made).values

    def tuned(self, position: PyTree, pace: "Pace") -> Self:
        """Return one that is as good at `position` and makes the rest of a run faster: on the host, by default itself.

        `run` asks once, when it knows its pace.
        """
        del position, pace
        return self

    def update(self, position: PyTree) -> Self:
        """Return one that holds at `position` and for a step beyond: itself where it does, else rebuilt.

        Under `vmap` all members of a batch are rebuilt as soon as one of them has to be.
        """
        holds = for_all(self.valid(position, margin=self.margin))
        return either(holds, self, lambda env, x: env.rebuild(x), position)


def either(holds: jax.Array, node: Any, rebuilt: Callable[..., Any], *arguments: PyTree) -> Any:
    """Return `node` where it holds, else `rebuilt(node, *arguments)`; functions may be in any of them."""

    def anew(node: PyTree, *arguments: PyTree) -> PyTree:
        return tree.traceable(rebuilt(tree.unbox(node), *map(tree.unbox, arguments)))

    operands = map(tree.traceable, (node, *arguments))
    return tree.unbox(jax.lax.cond(holds, lambda node, *_: node, anew, *operands))


@jax.custom_batching.custom_vmap
def for_all(holds: jax.Array) -> jax.Array:
    """Return `holds`; under `vmap`, whether it holds for the whole batch.

    A condition that differs within a batch would be a choice between two results that are both computed, every time.
    """
    return holds


@for_all.def_vmap
def _for_all_of_batch(axis_size: int, in_batched: list[bool], holds: jax.Array) -> tuple[jax.Array, bool]:
    del axis_size
    return (jnp.all(holds), False) if in_batched[0] else (holds, False)


class Timed(Struct):
    """A part of the environment that is a function of time.

    It is evaluated at the time of every force, so a driven system converges with the order of its integrator, whatever
    forces that computes within a step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> class Drive(td.Timed):
        ...     frequency: float
        ...     def at(self, time):
        ...         return jnp.cos(self.frequency * time)
        >>> def energy(x, env):
        ...     return x**2 / 2 - env * x
        >>> dynamics = td.nve(td.from_energy(energy), dt=0.1)
        >>> state = dynamics.init(jax.random.key(0), 0.0, Drive(frequency=2.0))
        >>> float(state.force)
        1.0
    """

    @abstractmethod
    def at(self, time: jax.Array) -> Any:
        """Return what stands here at a time, for targets, records and conditions.

        A part that is `Refreshable`, too, returns itself with other numbers: a list in the box of that time.
        """


class Advancing(Struct):
    """A part of the environment that changes by itself from step to step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> class Projectile(td.Advancing):
        ...     position: jax.Array
        ...     velocity: jax.Array
        ...     def advance(self, state):
        ...         return self.replace(position=self.position + 0.1 * self.velocity)
        >>> shot = Projectile(position=jnp.zeros(2), velocity=jnp.array([1.0, 0.0]))
        >>> print(td.environment.advance({"shot": shot}, None)["shot"].position)
        [0.1 0. ]
    """

    @abstractmethod
    def advance(self, state: Any) -> Self:
        """Return what this is at the end of the step that begins at `state`."""


def is_timed(x: Any) -> bool:
    """Tell whether a node of an environment is a function of time."""
    return isinstance(x, Timed)


def is_refreshable(x: Any) -> bool:
    """Tell whether a node of an environment has to be kept valid."""
    return isinstance(x, Refreshable)


def is_advancing(x: Any) -> bool:
    """Tell whether a node of an environment moves on its own."""
    return isinstance(x, Advancing)
