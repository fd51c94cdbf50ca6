"""The contracts of environment parts: valid near a position, a function of time, or advanced once per step."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from treedyn import tree
from treedyn._member import PerMember, member, stack
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Pace(NamedTuple):
    """The speed of a run.

    Attributes:
        seconds: seconds per step.
        life: steps between two rebuilds.
        left: remaining steps.
    """

    seconds: float
    life: float
    left: int


class Refreshable(Struct):
    """A part of the environment that is made for one position and valid near it, such as a neighbor list.

    `valid` is called at every force evaluation, with the position of the force. A step that used an invalid part sets
    `Status.STALE`, and `run` takes the step again with a rebuilt part.

    Attributes:
        margin: fraction of the way to invalidity at which `update` rebuilds, in `(0, 1]`. It leaves room for one step,
            so a loop that calls `update` after every step never uses an invalid part.
    """

    margin: ClassVar[float] = 0.75

    @property
    def status(self) -> UInt32[Array, "..."]:
        """Return the status word of the last build."""
        return jnp.uint32(0)

    @abstractmethod
    def valid(self, position: PyTree, margin: float = 1.0) -> Bool[Array, ""]:
        """Tell whether this is valid at `position`, using at most the fraction `margin` of its range."""

    @abstractmethod
    def rebuild(self, position: PyTree) -> Self:
        """Return this part rebuilt for `position`, with the same shapes; works under jit."""

    @abstractmethod
    def allocate(self, position: PyTree) -> Self:
        """Return this part rebuilt for `position`, with sufficiently large shapes; on the host, not under jit."""

    def trusted(self) -> Self:
        """Return this part without checks of its own, for a caller that asks for `valid`; by default unchanged."""
        return self

    def enlarged(self) -> Self:
        """Return this part with larger shapes, on the host; by default unchanged.

        It is called when a part overflowed at an unknown position, such as one that a step only tried.
        """
        return self

    def allocate_members(self, position: PyTree) -> Self:
        """Return the batch of parts of an ensemble (`self`) rebuilt for a batch of positions, on the host.

        By default this calls `allocate` for every member; if sizes differ, all get the size of the largest.

        Raises:
            ValueError: the shapes of the members still differ.
        """
        marked = PerMember(values=position)
        own, places = ([member(PerMember(values=x), k) for k in range(marked.members)] for x in (self, position))
        made = [node.allocate(x) for node, x in zip(own, places, strict=True)]
        if len({tuple(map(jnp.shape, jax.tree.leaves(node))) for node in made}) > 1:
            largest = max(range(len(made)), key=lambda k: sum(map(jnp.size, jax.tree.leaves(made[k]))))
            made = [node.allocate(places[largest]).rebuild(x) for node, x in zip(own, places, strict=True)]
        return stack(made).values

    def tuned(self, position: PyTree, pace: Pace) -> Self:
        """Return an equally valid part that makes the rest of a run faster, on the host; by default unchanged.

        `run` calls it once, when the pace is known.
        """
        return self

    def update(self, position: PyTree) -> Self:
        """Return a part that is valid at `position` and for one more step: this one, or one rebuilt if necessary.

        Under `vmap`, all members of a batch are rebuilt if one of them has to be.
        """
        holds = for_all(self.valid(position, margin=self.margin))
        return either(holds, self, lambda env, x: env.rebuild(x), position)


def either(holds: jax.Array, node: Any, rebuilt: Callable[..., Any], *arguments: PyTree) -> Any:
    """Return `node` if `holds`, else `rebuilt(node, *arguments)`; all of them may contain functions."""

    def new(node: PyTree, *arguments: PyTree) -> PyTree:
        return tree.traceable(rebuilt(tree.unbox(node), *map(tree.unbox, arguments)))

    operands = map(tree.traceable, (node, *arguments))
    return tree.unbox(jax.lax.cond(holds, lambda node, *_: node, new, *operands))


@jax.custom_batching.custom_vmap
def for_all(holds: jax.Array) -> jax.Array:
    """Return `holds`; under `vmap`, whether it holds for the whole batch.

    With a condition that differs within a batch, `vmap` would compute both branches every time.
    """
    return holds


@for_all.def_vmap
def _for_all_of_batch(axis_size: int, in_batched: list[bool], holds: jax.Array) -> tuple[jax.Array, bool]:
    del axis_size
    return (jnp.all(holds), False) if in_batched[0] else (holds, False)


class Timed(Struct):
    """A part of the environment that is a function of time.

    It is evaluated at the time of every force, so a driven system converges with the order of its integrator.

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
    def at(self, time: Float[Array, ""]) -> Any:
        """Return the value that targets, records and conditions see at `time`.

        A part that is also `Refreshable` returns itself with other numbers, such as a list in the box of that time.
        """


class Advancing(Struct):
    """A part of the environment that changes once per step, such as a projectile or a minibatch.

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
    def advance(self, state: State) -> Self:
        """Return this part at the end of the step that begins at `state`."""

    def beginning(self) -> Self:
        """Return this part, at the end of a step, as a new force at the beginning of that step sees it.

        Dynamics with `fresh=True` evaluate one; by default it sees the same as the force at the end.
        """
        return self
