"""The base of all samplers: a dynamics that goes down the levels of a denoiser, one level a step."""

from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Int

from treedyn import _check as check
from treedyn import noise as random
from treedyn import space as space_of
from treedyn import tree
from treedyn._member import PerMember
from treedyn._state import State
from treedyn._status import Status, word
from treedyn.diffusion._denoiser import Denoiser, Noised, over, sum_of
from treedyn.diffusion._levels import Levels, as_levels, of_each, steps_of
from treedyn.diffusion._networks import Kind
from treedyn.diffusion._noised import noised
from treedyn.diffusion._process import Level, VarianceExploding
from treedyn.dynamics._dynamics import Targeted, check_key, check_position
from treedyn.space import EUCLIDEAN, Euclidean, as_space
from treedyn.tree import PyTree
from treedyn.tree._structure import nodes


class Sampler(Targeted):
    """A dynamics that goes from noise to data; step k leads from level k to level k + 1.

    The state has the score as its force and the denoised data as `aux`, both at its position and level. It has no time.

    Attributes:
        target: the denoiser.
        levels: the levels, or a prefix tree of levels.
        needs_signal: whether the first level must not be pure noise, except on a straight line.
    """

    jumps: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = False
    levels: PyTree

    @property
    def steps(self) -> int:
        """Return the number of steps from noise to data."""
        return steps_of(self.levels)

    def start(self, key: jax.Array, like: PyTree, *, members: int | None = None) -> PyTree:
        r"""Draw the noise from which a sampler starts, $\sigma_0 \varepsilon$.

        In a space that is not Euclidean, the positions of `like` diffuse.

        Args:
            key: random key; use another one for `init`.
            like: a position, for its structure, shapes and dtypes; integers and functions in it are kept.
            members: number of members of an ensemble, each with its own noise; by default, there is one position.

        Returns:
            A position, or positions that are marked for the members of an ensemble.

        Raises:
            ValueError: there is no floating-point leaf.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> from treedyn import diffusion
            >>> sampler = diffusion.heun(diffusion.gaussian(), diffusion.edm(18))
            >>> print(sampler.start(jax.random.key(0), jnp.zeros(1000)).std().round(-1))
            80.0
        """
        check_key(key)
        boxed = tree.box(like, "like")
        check_position(boxed)
        part, level = tree.moving(boxed), self.level(0)
        self.check_leaves(part)

        def one(key: jax.Array) -> PyTree:
            silent = jax.tree.map(lambda own: own.replace(alpha=jnp.zeros_like(own.alpha)), level, is_leaf=_is_level)
            return noised(random.at_path(key, "start"), part, silent, self.space)

        if members is None:
            return tree.unbox(tree.merge(one(key), boxed))
        slots = jnp.arange(check.integer("members", members, 1), dtype=jnp.int32)
        starts = jax.vmap(lambda slot: one(jax.random.fold_in(key, slot)))(slots)
        marked = jax.tree.map(
            lambda x, b: b if x is None else PerMember(values=x), starts, boxed, is_leaf=lambda x: x is None
        )
        return tree.unbox(marked)

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the state before the first step.

        Args:
            key: random key, kept in the state; all noise of the run is a function of it.
            position: where to start, such as `start(other_key, like)`.
            env: environment of the denoiser, such as a class.

        Raises:
            ValueError: an argument does not fit.
        """
        self.check_leaves(tree.moving(tree.box(position, "position")))
        state = self.begin(key, position, env, time=None)
        return state.replace(memory=self.remember(state))

    def remember(self, state: State) -> dict[str, Any]:
        """Return the memory at the beginning; by default there is none."""
        del state
        return {}

    def draw(self, state: State) -> PyTree:
        """Return the noise of the next step; by default there is none."""
        del state
        return None

    @final
    def level(self, k: Int[ArrayLike, ""]) -> PyTree:
        """Return level k, or the tree of levels."""
        return of_each(lambda levels: levels.at(k), self.levels)

    @final
    def between(self, k: Int[ArrayLike, ""], fraction: float, *, geometric: bool = False) -> PyTree:
        """Return a level on the way from level k to the next one, see `Levels.between`."""
        return of_each(lambda levels: levels.between(k, fraction, geometric=geometric), self.levels)

    @final
    def target_at(self, state: State) -> Noised:
        """Return the target of a state: the data with the noise of its level."""
        return self.at(self.level(state.step))

    @final
    def at(self, level: PyTree) -> Noised:
        """Return the data with the noise of any level as a target."""
        denoiser: Denoiser = self.target  # type: ignore[assignment]
        return denoiser.at(level)

    @final
    def arrive(self, state: State, env: PyTree) -> State:
        """Return a state that has moved in this step, evaluated at the next level."""
        return self.evaluate(self.counted(state), env)

    @final
    def counted(self, state: State) -> State:
        """Return a state that has moved in this step, with its step counted; past the end its status says so."""
        late = word(Status.PAST_END, state.step >= self.steps)
        return state.replace(step=state.step + 1, status=state.status | late)

    @final
    def place(self, state: State, new: PyTree, way: PyTree) -> State:
        """Return `state` at `new`, or in a space that is not Euclidean moved by `way`."""
        part = state.moving
        spaces = space_of.of_leaves(self.space, part)
        moved = jax.tree.map(
            lambda x, new, way, space: new if isinstance(space, Euclidean) else space.shift(x, way),
            *(part, new, way, spaces),
        )
        return state.replace(moving=moved)

    @final
    def drift(self, state: State, here: PyTree, there: PyTree, slope: PyTree) -> State:
        r"""Return `state` moved from one level to another along a constant slope, $y' = y + (u' - u)\,q$.

        Here y and u are position and noise in units of the `scale` of the level.
        """

        def new(here: Level, there: Level, x: jax.Array, q: jax.Array) -> jax.Array:
            factor = there.scale / here.scale
            return sum_of(x, (factor, x), (there.sigma - factor * here.sigma, q))

        def way(here: Level, there: Level, q: jax.Array) -> jax.Array:
            return sum_of(q, (there.sigma - here.sigma, q))

        return self.place(state, over(new, [here, there], state.moving, slope), over(way, [here, there], slope))

    def check_leaves(self, part: PyTree) -> None:
        """Refuse levels that do not fit the position or its space."""
        for one in nodes(Levels, self.levels) if self.needs_signal else []:
            if not one.process.straight and (known := tree.known(one.alpha)) is not None and known[0] == 0:
                raise ValueError(
                    f"levels: expected some signal at the first level, because a {type(self).__name__} divides by "
                    "alpha, got alpha = 0. Use diffusion.dpmpp_2m or ddim, or leave out the first level."
                )
        processes = tree.prefix_map(
            lambda levels, _: levels.process, self.levels, part, name="levels", is_leaf=lambda x: isinstance(x, Levels)
        )
        spaces = space_of.of_leaves(self.space, part)

        def check_space(space: Any, process: Any) -> None:
            if not isinstance(space, Euclidean) and not isinstance(process, VarianceExploding):
                raise ValueError(
                    f"levels: a position in a {type(space).__name__} cannot shrink towards 0, so expected those of a "
                    f"VarianceExploding process, got those of a {type(process).__name__}. Use diffusion.edm(...)."
                )

        jax.tree.map(check_space, spaces, processes, is_leaf=lambda x: isinstance(x, space_of.Space))


def _is_level(x: object) -> bool:
    return isinstance(x, Level)


def noise_of(level: PyTree, state: State) -> PyTree:
    r"""Return the noise that the denoiser found in the position of a state, $-\sigma$ times the score."""
    return over(lambda level, score: sum_of(score, (-level.sigma, score)), [level], state.force)


def parts(denoiser: Any, levels: PyTree, space: PyTree = EUCLIDEAN) -> dict[str, Any]:
    """Check the arguments that all samplers have, and return them as fields.

    Raises:
        ValueError: an argument is something else.
    """
    check.instance("denoiser", denoiser, Denoiser, "a denoiser such as diffusion.network(apply, params)")
    check_prediction(denoiser, as_levels(levels))
    return {"target": denoiser, "levels": as_levels(levels), "space": as_space(space)}


def check_prediction(denoiser: Denoiser, levels: PyTree) -> None:
    """Refuse a network that predicts noise or score at a level of pure noise, where they say nothing of the data."""
    kinds, grids = nodes(Kind, denoiser), nodes(Levels, levels)
    if len(grids) != 1 or not kinds or any(kind.name not in ("noise", "score") for kind in kinds):
        return
    if (alpha := tree.known(grids[0].alpha)) is not None and alpha[0] == 0:
        raise ValueError(
            f"denoiser: a network that predicts {kinds[0].name!r} says nothing of the data at a level of pure noise, "
            "but alpha is 0 at the first level. Use levels with some signal, or a network that predicts 'v'."
        )
