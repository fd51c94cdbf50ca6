"""Simulation-based calibration: whether a sampler is right for the data that its own model makes."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float

from treedyn import _check as check
from treedyn import tree
from treedyn._member import per_member
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.driver._run import run
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble, ensemble
from treedyn.tree import PyTree


class Calibration(Struct):
    """The result of `calibrate`.

    Attributes:
        ranks: number of posterior draws below the parameter that made the data, 0 to `draws`; a tree of integers
            `[repeats, ...]`.
        p_values: probability of ranks at least as uneven, for every element; a tree of arrays `[...]`.
        p_value: that of the least even element, times the number of elements (Bonferroni), at most 1.
    """

    ranks: PyTree
    p_values: PyTree
    p_value: float


def calibrate(
    key: jax.Array,
    prior: Callable[[jax.Array], PyTree],
    simulate: Callable[[jax.Array, PyTree], PyTree],
    dynamics: Dynamics,
    *,
    repeats: int = 320,
    draws: int = 63,
    every: int = 10,
    skip: int = 200,
    bins: int = 16,
) -> Calibration:
    r"""Test a sampler by simulation: draw parameters, make data from them, sample the posterior of these data.

    If model and sampler are right, the rank of the parameter among independent draws of its posterior is uniform. A
    $\chi^2$ test compares the counts of ranks in `bins` equal bins. All repeats run at once, as an ensemble that
    starts from other draws of the prior.

    The draws must be nearly independent and free of the start: choose `every` above the correlation time and `skip`
    above the time to equilibrium. A right sampler with correlated draws fails, too.

    Args:
        key: random key.
        prior: `prior(key)`, returns a position drawn from the prior.
        simulate: `simulate(key, position)`, returns data drawn from the model.
        dynamics: a sampler of one system, whose target is a function of `(position, env)` with the data as `env`.
        repeats: number of parameters; give at least five per bin.
        draws: number of draws of each posterior; `draws + 1` must be a multiple of `bins`.
        every: steps between two draws.
        skip: steps before the first draw.
        bins: number of bins.

    Returns:
        A `Calibration`. A small `p_value`, such as one below 0.001, says that sampler, model or data disagree.

    Raises:
        ValueError: an argument does not fit.
        SimulationError: a run failed.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> posterior = td.from_energy(lambda x, y: x**2 / 2 + (y - x) ** 2 / 2)
        >>> noisy = lambda key, x: x + jax.random.normal(key)
        >>> sampler = td.hmc(posterior, dt=0.4, steps=(2, 5))
        >>> found = td.diagnostics.calibrate(jax.random.key(0), jax.random.normal, noisy, sampler, skip=20, every=3)
        >>> found.p_value > 0.001
        True

    Reference:
        Talts et al., arXiv:1804.06788 (2018).
    """
    bins, draws = check.integer("bins", bins, 2), check.integer("draws", draws, 1)
    every, skip = check.integer("every", every, 1), check.integer("skip", skip, 0)
    repeats = check.integer("repeats", repeats, 5 * bins)
    if (draws + 1) % bins:
        raise ValueError(
            f"draws: expected one less than a multiple of bins={bins}, got {draws}, so the bins hold unequal numbers "
            f"of ranks. Use draws={-(-(draws + 1) // bins) * bins - 1}."
        )
    check_model(prior, simulate, dynamics)
    of_truth, of_start, of_run = jax.random.split(key, 3)
    truth, data = simulated(of_truth, prior, simulate, repeats)
    start = jax.vmap(prior)(jax.random.split(of_start, repeats))
    chains, env = ensemble(dynamics, repeats), per_member(data)
    state = chains.init(of_run, per_member(start), env)
    if skip:
        state = run(chains, state, env, steps=skip).state
    out = run(chains, state, env, steps=draws * every, every=every, record=_moving)
    ranks = jax.tree.map(lambda x, own: np.sum(np.asarray(x) < np.asarray(own), axis=0), out.records, moving(truth))
    p_values = jax.tree.map(lambda x: _evenness(x, draws, bins), ranks)
    return Calibration(ranks=ranks, p_values=p_values, p_value=least(p_values))


def check_model(prior: object, simulate: object, dynamics: object) -> None:
    """Refuse arguments that are not a model and a sampler of one system."""
    check.function("prior", prior, "key")
    check.function("simulate", simulate, "key and position", 2)
    check.instance("dynamics", dynamics, Dynamics, "a dynamics like td.nuts(...)")
    if isinstance(dynamics, Ensemble):
        raise ValueError("dynamics: expected that of one system, got an Ensemble. Pass the dynamics of one member.")


def simulated(
    key: jax.Array, prior: Callable[..., PyTree], simulate: Callable[..., PyTree], count: int
) -> tuple[PyTree, PyTree]:
    """Return independent parameters of the prior, and data made from each."""
    of_prior, of_data = jax.random.split(key)
    truth = jax.vmap(prior)(jax.random.split(of_prior, count))
    return truth, jax.vmap(simulate)(jax.random.split(of_data, count), truth)


def moving(position: PyTree) -> PyTree:
    """Return the moving part of a position that is not boxed."""
    return tree.moving(tree.box(position))


def least(p_values: PyTree) -> float:
    """Return the smallest of several p-values, corrected for their number (Bonferroni); NaN if one is not known."""
    every = np.concatenate([np.ravel(x) for x in jax.tree.leaves(p_values)])
    return float(np.minimum(np.min(every) * every.size, 1))


def _moving(state: State) -> PyTree:
    return state.moving


def _evenness(ranks: Float[np.ndarray, "repeats ..."], draws: int, bins: int) -> np.ndarray:
    """Return the p-value of Pearson's test for equal counts in all bins."""
    from scipy import special

    which = ranks * bins // (draws + 1)
    counts = np.sum(which[None] == np.arange(bins).reshape(-1, *[1] * which.ndim), axis=1)
    expected = len(ranks) / bins
    return special.chdtrc(bins - 1, np.sum((counts - expected) ** 2, axis=0) / expected)
