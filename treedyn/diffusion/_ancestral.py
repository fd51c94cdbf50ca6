r"""DDPM, DDIM and ancestral sampling: a step to less noise than the next level has, and fresh noise for the rest.

With $r = \frac{\sigma'/\alpha'}{\sigma/\alpha}$, the next level is $x' = \alpha' D + \sigma' c E + v\, \xi$ with
$v = \eta\, \sigma' \sqrt{1 - r^2}$ and $c^2 = 1 - \eta^2 (1 - r^2)$.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import noise as random
from treedyn import space as space_of
from treedyn import tree
from treedyn._state import State
from treedyn._struct import static
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._exponential import relative
from treedyn.diffusion._process import Level
from treedyn.diffusion._sampler import Sampler, noise_of, parts
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree

VARIANCES = {"posterior": "that of a step back, given the data", "beta": "that of a step forward"}


class Ancestral(Sampler):
    """A step towards less noise than the next level has, and fresh noise for the rest.

    Attributes:
        eta: share of fresh noise.
        large: whether the fresh noise has the variance of a step forward.
        noisy: whether noise is drawn.
    """

    eta: Real[ArrayLike, ""]
    large: bool = static(default=False)
    noisy: bool = static(default=True)

    def draw(self, state: State) -> PyTree:
        return random.normal(random.of_step(state), state.moving) if self.noisy else None

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        here, there = self.level(state.step), self.level(state.step + 1)
        part = state.moving
        xi = space_of.project(self.space, part, noise if self.noisy else tree.zeros_like(part))

        def shares(here: Level, there: Level) -> tuple[jax.Array, jax.Array]:
            """Return the standard deviations of the noise that is kept, and of fresh noise."""
            r, sigma = relative(there, here), there.sigma
            fresh = self.eta * jnp.sqrt(1 - r**2)
            kept = jnp.sqrt(jnp.maximum(1 - fresh**2, 0)) if not self.large else r
            # a step forward has the variance sigma^2 - (alpha/alpha')^2 sigma'^2
            size = jnp.where(sigma == 0, 0, here.sigma) if self.large else sigma
            return sigma * kept, size * fresh

        def new(here: Level, there: Level, denoised: jax.Array, noise: jax.Array, xi: jax.Array) -> jax.Array:
            kept, fresh = shares(here, there)
            return sum_of(xi, (there.alpha, denoised), (kept, noise), (fresh, xi))

        def way(here: Level, there: Level, noise: jax.Array, xi: jax.Array) -> jax.Array:
            kept, fresh = shares(here, there)
            return sum_of(xi, (kept - here.sigma, noise), (fresh, xi))

        found, levels = noise_of(here, state), [here, there]
        return self.arrive(
            self.place(state, over(new, levels, state.aux, found, xi), over(way, levels, found, xi)), env
        )


def euler(denoiser: Any, levels: PyTree, *, space: PyTree = EUCLIDEAN) -> Ancestral:
    r"""Sample by the Euler method for the probability flow: $x' = \alpha' D + \sigma' E$, order 1.

    This is DDIM without noise.

    Args:
        denoiser: a denoiser, such as `diffusion.network(apply, params)`.
        levels: noise levels, such as `diffusion.edm(40)`, or a prefix tree of levels.
        space: a space, or a prefix tree of spaces; leaves that are not Euclidean need variance-exploding levels.

    Returns:
        A dynamics of `levels.steps` steps.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import diffusion
        >>> sampler = diffusion.euler(diffusion.gaussian(std=0.5), diffusion.edm(40))
        >>> state = sampler.init(jax.random.key(0), sampler.start(jax.random.key(1), jnp.zeros(10_000)))
        >>> print(td.trajectory(sampler, state, steps=sampler.steps).state.position.std().round(1))
        0.5

    Reference:
        Song, Meng, Ermon, ICLR (2021), arXiv:2010.02502.
    """
    return Ancestral(**parts(denoiser, levels, space), eta=0.0, noisy=False)


def ddim(denoiser: Any, levels: PyTree, *, eta: Real[ArrayLike, ""] = 0.0, space: PyTree = EUCLIDEAN) -> Ancestral:
    r"""Sample by DDIM with a share of fresh noise, order 1; one evaluation a step.

    `denoiser`, `levels` and `space` are those of `euler`.

    Args:
        eta: share of noise from 0 (`euler`) to 1 (`ddpm`).

    Raises:
        ValueError: `eta` is negative or more than 1.

    Example:
        >>> from treedyn import diffusion
        >>> levels = diffusion.discrete(50, spacing="trailing")
        >>> sampler = diffusion.ddim(diffusion.gaussian(), levels, eta=0.5)

    Reference:
        Song, Meng, Ermon, ICLR (2021), arXiv:2010.02502.
    """
    share = check.number("eta", eta, nonnegative=True)
    if isinstance(share, float) and share > 1:
        raise ValueError(f"eta: expected a share from 0 to 1, got {share}. At 1, all noise is fresh.")
    return Ancestral(**parts(denoiser, levels, space), eta=share)


def ddpm(denoiser: Any, levels: PyTree, *, variance: str = "posterior", space: PyTree = EUCLIDEAN) -> Ancestral:
    """Sample by DDPM, order 1; one evaluation a step.

    `denoiser`, `levels` and `space` are those of `euler`.

    Args:
        variance: variance of the fresh noise: "posterior", that of a step back given the data, which is `ddim` with
            `eta=1`; or "beta", that of a step forward. There is none in a last step to no noise.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.ddpm(diffusion.gaussian(), diffusion.discrete(1000))

    Reference:
        Ho, Jain, Abbeel, NeurIPS (2020), arXiv:2006.11239.
    """
    large = check.choice("variance", variance, VARIANCES) == "beta"
    return Ancestral(**parts(denoiser, levels, space), eta=1.0, large=large)


def ancestral(denoiser: Any, levels: PyTree, *, eta: Real[ArrayLike, ""] = 1.0, space: PyTree = EUCLIDEAN) -> Ancestral:
    """Sample by ancestral sampling, order 1; one evaluation a step.

    With variance-exploding levels this is "Euler a". It is `ddim` with another default of `eta`; `denoiser`, `levels`
    and `space` are those of `euler`.

    Args:
        eta: share of noise, from 0 to 1.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.ancestral(diffusion.gaussian(), diffusion.edm(40))
    """
    return ddim(denoiser, levels, eta=eta, space=space)
