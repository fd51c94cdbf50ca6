r"""Denoisers: what is known of the data, given data with noise.

At a level, $x = \alpha x_0 + \sigma \varepsilon$. A denoiser predicts both parts, the data $D = E[x_0 | x]$ and the
noise $E = E[\varepsilon | x]$, with $x = \alpha D + \sigma E$. So no solver divides by $\alpha$ or by $\sigma$, which
may both be 0. The score is $\nabla \log p(x) = -E/\sigma$.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import tree
from treedyn._struct import Struct
from treedyn._target import Evaluation, Target
from treedyn.diffusion._process import Level, is_level
from treedyn.tree import PyTree


class Prediction(Struct):
    r"""The data and the noise that a denoiser predicts, $x = \alpha D + \sigma E$.

    Attributes:
        denoised: the data D, a tree like the moving part of the position.
        noise: the noise E, a tree like it.
        energy: $-\log p(x)$ up to a constant, or `None` where it is not known.
    """

    denoised: PyTree
    noise: PyTree
    energy: Float[Array, ""] | None = None


class Denoiser(Struct):
    """A prediction of data and noise at every level; `at` makes it a target."""

    @abstractmethod
    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        """Return the prediction at a position.

        Args:
            position: the position as the user knows it; integers and functions in it are conditions.
            level: the `Level`, or a prefix tree of levels.
            env: environment, such as a class.
        """

    def at(self, level: PyTree) -> "Noised":
        """Return the data with the noise of a level as a target: its force is the score, its aux the denoised data.

        Args:
            level: a `Level`, or a prefix tree of levels.

        Example:
            >>> import jax.numpy as jnp
            >>> from treedyn import diffusion
            >>> data = diffusion.gaussian(mean=0.0, std=1.0)
            >>> found = data.at(diffusion.VarianceExploding().at(1.0))(jnp.array([3.0]))
            >>> print(found.force, found.aux)
            [-1.5] [1.5]
        """
        return Noised(function=self, level=level)  # type: ignore[arg-type]


class Noised(Target):
    """The distribution of data with noise: the force is the score, the energy -log p, and aux the denoised data.

    Attributes:
        function: the denoiser.
        level: the level, or a prefix tree of levels.
    """

    level: PyTree

    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:
        """Return score and denoised data at a (boxed) position; without noise, the score of a network is 0."""
        denoiser: Denoiser = self.function  # type: ignore[assignment]
        part = tree.moving(position)
        found = denoiser.predict(tree.unbox(position), self.level, env)
        force = over(score, [self.level], found.noise, part)
        return Evaluation(energy=found.energy, force=force, aux=found.denoised)


def score(level: Level, noise: jax.Array, x: jax.Array) -> jax.Array:
    r"""Return $-E/\sigma$, and 0 without noise."""
    return tree.cast(-ratio(1.0, level.sigma), x) * noise


def ratio(a: Any, b: Any) -> jax.Array:
    """Return a/b, and 0 where b is 0; its derivatives are finite."""
    b = jnp.asarray(b)
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


class _Levels(tuple[Level, ...]):
    """The levels of one leaf, as a leaf of a prefix tree."""


def over(f: Callable[..., jax.Array], levels: list[PyTree], part: PyTree, *rest: PyTree) -> PyTree:
    """Return `f(*levels, leaf, *others)` for every leaf of `part`, with the levels of the leaf.

    Args:
        f: function of one `Level` of each of `levels`, one leaf of `part`, and the corresponding leaves of `rest`.
        levels: levels, or prefix trees of levels, all of one structure.
        part: the moving part of a position, or a tree like it.
        *rest: trees like it.
    """
    joined = jax.tree.map(lambda *own: _Levels(own), *levels, is_leaf=is_level)
    return tree.prefix_map(
        lambda own, *leaves: f(*own, *leaves), joined, part, *rest, name="levels", is_leaf=lambda x: type(x) is _Levels
    )


def sum_of(x: jax.Array, *terms: tuple[Any, jax.Array]) -> jax.Array:
    """Return the sum of `factor * array`, with every factor in the dtype of `x`."""
    total = None
    for factor, array in terms:
        if isinstance(factor, float) and factor == 0:
            continue
        term = tree.cast(factor, x) * array
        total = term if total is None else total + term
    assert total is not None
    return total
