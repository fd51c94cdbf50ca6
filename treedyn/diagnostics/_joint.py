"""Geweke's joint distribution test: whether a sampler leaves the joint distribution of parameters and data alone."""

from collections.abc import Callable

import jax
import numpy as np

from treedyn import _check as check
from treedyn._member import per_member
from treedyn._state import State
from treedyn._status import combined
from treedyn._struct import Struct
from treedyn.diagnostics._calibrate import check_model, least, moving, simulated
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import ensemble
from treedyn.tree import PyTree


class JointTest(Struct):
    """The result of `joint_test`.

    Attributes:
        mean: how much the means differ, in standard errors; trees of arrays `[...]` for (position, data).
        square: the same for the means of the squares.
        p_value: probability of a larger one of all these numbers, corrected for their number (Bonferroni).
    """

    mean: PyTree
    square: PyTree
    p_value: float


def joint_test(
    key: jax.Array,
    prior: Callable[[jax.Array], PyTree],
    simulate: Callable[[jax.Array, PyTree], PyTree],
    dynamics: Dynamics,
    *,
    repeats: int = 2000,
    steps: int = 20,
    kT: PyTree = None,
) -> JointTest:
    r"""Compare draws of parameters and data with those that the sampler changed: both have the joint distribution.

    Every repeat starts from parameters of the prior and data made from them. It takes a step of the sampler given the
    data, makes new data from the new parameters, and so on. Repeats are independent and stationary from the start, so
    that the standard errors hold for a right sampler however slowly it mixes. They are compared with other draws of
    the prior, in the mean and the mean square of every element.

    Args:
        key: random key.
        prior: `prior(key)`, returns a position drawn from the prior.
        simulate: `simulate(key, position)`, returns data drawn from the model.
        dynamics: a sampler of one system, whose target is a function of `(position, env)` with the data as `env`.
        repeats: number of independent chains.
        steps: steps of each; errors of the sampler add up with them.
        kT: temperature at which to draw the first momenta, for a dynamics that keeps its momenta.

    Returns:
        A `JointTest`. A small `p_value`, such as one below 0.001, says that the sampler is wrong.

    Raises:
        ValueError: an argument does not fit, or a number of the runs is not finite.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> posterior = td.from_energy(lambda x, y: x**2 / 2 + (y - x) ** 2 / 2)
        >>> noisy = lambda key, x: x + jax.random.normal(key)
        >>> right, wrong = (td.random_walk(posterior, length=1.0, kT=kT) for kT in (1.0, 1.5))
        >>> def p_value(sampler):
        ...     return td.diagnostics.joint_test(jax.random.key(0), jax.random.normal, noisy, sampler).p_value
        >>> p_value(right) > 0.001, p_value(wrong) > 0.001
        (True, False)

    Reference:
        Geweke, J. Am. Stat. Assoc. 99, 799 (2004), doi:10.1198/016214504000001132.
    """
    repeats, steps = check.integer("repeats", repeats, 100), check.integer("steps", steps, 1)
    check_model(prior, simulate, dynamics)
    of_other, of_start, of_run, of_data = jax.random.split(key, 4)
    expected = simulated(of_other, prior, simulate, repeats)
    truth, data = simulated(of_start, prior, simulate, repeats)
    chains = ensemble(dynamics, repeats)
    momenta = {} if kT is None else {"kT": kT}
    state = chains.init(of_run, per_member(truth), per_member(data), **momenta)

    @jax.jit
    def successive(state: State, data: PyTree, key: jax.Array) -> tuple[State, PyTree]:
        def one(k: jax.Array, carry: tuple[State, PyTree]) -> tuple[State, PyTree]:
            state, data = carry
            state = chains.step(state, per_member(data))
            data = jax.vmap(simulate)(jax.random.split(jax.random.fold_in(key, k), repeats), state.position)
            return chains.evaluate(state, per_member(data)), data

        return jax.lax.fori_loop(0, steps, one, (state, data))

    state, data = successive(state, data, of_data)
    found = (state.moving, moving(data))
    _check(state, found)
    expected = moving(expected[0]), moving(expected[1])
    mean = jax.tree.map(_difference, found, expected)
    square = jax.tree.map(lambda x, y: _difference(np.square(x), np.square(y)), found, expected)
    return JointTest(mean=mean, square=square, p_value=least(jax.tree.map(_chance, (mean, square))))


def _check(state: State, found: PyTree) -> None:
    bits = combined(state.status)
    if bits or not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(found)):
        raise ValueError(f"dynamics: expected finite numbers and a clean status, got {bits!r}: {bits.advice}.")


def _difference(x: jax.Array, y: jax.Array) -> np.ndarray:
    """Return the difference of the means of independent samples along the first axis, in standard errors."""
    one, other = np.asarray(x, float), np.asarray(y, float)
    gap = np.mean(one, axis=0) - np.mean(other, axis=0)
    error = np.sqrt((np.var(one, axis=0, ddof=1) + np.var(other, axis=0, ddof=1)) / len(one))
    # what is the same in all draws has no error
    return np.divide(gap, error, out=np.where(gap == 0, 0.0, np.inf), where=error > 0)


def _chance(sigmas: np.ndarray) -> np.ndarray:
    """Return the probability of a larger deviation."""
    from scipy import special

    return special.erfc(np.abs(sigmas) / np.sqrt(2))
