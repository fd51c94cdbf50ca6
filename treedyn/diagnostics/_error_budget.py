r"""The error budget of a run: what the time step, the noise of the gradient and the length of the run contribute.

The mean and the covariance of the draws are those of a quadratic model. The certificate of the step on this model gives
the covariance that the dynamics would sample from it, at this time step and with this noise in the gradient. The model
is changed until that covariance is the one that was measured. The difference of both is the bias.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from treedyn import _check as check
from treedyn import metric, schedule, tree
from treedyn import space as space_of
from treedyn._state import State
from treedyn._struct import Struct
from treedyn._target import Target, from_energy
from treedyn.diagnostics._certify import Certificate, certify
from treedyn.diagnostics._convergence import effective_sample_size, monte_carlo_error
from treedyn.diagnostics._samples import Sample
from treedyn.diagnostics._summary import draws_of, leaf_names
from treedyn.diagnostics._table import aligned
from treedyn.driver._run import Run
from treedyn.dynamics._compose import Splitting
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten

_ROUNDS = 100


class Quadratic(Struct):
    """The energy of a normal density.

    Attributes:
        mean: the mean, a tree like the moving part of the position.
        stiffness: the Hessian, over the elements of all leaves.
    """

    mean: PyTree
    stiffness: Float[ArrayLike, "n n"]

    def __call__(self, position: PyTree) -> jax.Array:
        """Return the energy."""
        way = flatten(tree.subtract(tree.moving(tree.box(position)), self.mean))
        return way @ tree.cast(self.stiffness, way) @ way / 2


@dataclasses.dataclass(frozen=True, repr=False)
class ErrorBudget:
    """The errors of a run, one number for each leaf; print it.

    Variances are the mean over the elements of a leaf.

    Attributes:
        time_step: relative bias of the variance from the time step, a tree like the position.
        gradient_noise: the same from the noise of the gradient.
        monte_carlo: relative standard error of the variance, from the effective number of draws.
        predicted: kinetic temperature that the model predicts; `None` without momenta.
        measured: kinetic temperature of the run; `None` where it was not recorded.
        error: Monte Carlo error of it.
        doubts: sentences that say why the model cannot be trusted; empty if nothing was found.
    """

    time_step: PyTree
    gradient_noise: PyTree
    monte_carlo: PyTree
    predicted: PyTree
    measured: PyTree
    error: PyTree
    doubts: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        """Return whether nothing was found that the model gets wrong."""
        return not self.doubts

    def __repr__(self) -> str:
        """Return the table as text."""
        head = ["", "time step", "gradient noise", "Monte Carlo", "kT predicted", "kT measured"]
        columns = [jax.tree.leaves(x) for x in (self.time_step, self.gradient_noise, self.monte_carlo)]
        none = [None] * len(columns[0])
        predicted, measured, error = (
            none if x is None else jax.tree.leaves(x) for x in (self.predicted, self.measured, self.error)
        )
        rows = [head]
        for k, name in enumerate(leaf_names(self.time_step)):
            shares = [f"{100 * column[k]:{sign}.2g} %" for column, sign in zip(columns, "++-", strict=True)]
            shares = ["?" if "nan" in share else share for share in shares]
            heat = ["" if predicted[k] is None else f"{predicted[k]:.4g}"]
            heat += ["" if measured[k] is None else f"{measured[k]:.4g} ({error[k]:.1g})"]
            rows.append([name, *shares, *heat])
        return "\n".join([*aligned(rows), *self.doubts])


class NoModelError(ValueError):
    """No quadratic target is sampled with the covariance of a run."""


def bias(
    dynamics: Splitting,
    state: State,
    mean: PyTree,
    covariance: Float[ArrayLike, "n n"],
    *,
    kT: float,
    gradient_noise: PyTree = None,
) -> tuple[np.ndarray, np.ndarray, Certificate]:
    r"""Return what time step and noise add to the covariance of the positions, if the sampled one is `covariance`.

    Args:
        dynamics: Langevin or Brownian dynamics in flat space.
        state: a state of it, of one system.
        mean: mean of the positions, a tree like their moving part.
        covariance: covariance of the elements of all leaves, leaf by leaf, as the dynamics samples it.
        kT: temperature in units of energy.
        gradient_noise: covariance of the noise in the force, as in `td.certify`.

    Returns:
        The bias of the time step and that of the noise, both `[n, n]`, and the certificate with both.

    Raises:
        ValueError: the step is not affine on a quadratic target.
        NoModelError: no quadratic target gives this covariance at this time step.
    """
    wanted = check.reals("covariance", covariance, "a covariance matrix", (2,))
    true, close = wanted, 100 * float(jnp.finfo(tree.dtype(mean)).eps)
    for _ in range(_ROUNDS):
        if np.min(np.linalg.eigvalsh(true)) <= 0:
            break
        moved, start = dynamics.replace(target=_quadratic(mean, true, kT)), state.replace(moving=mean)
        noisy = certify(moved, start, gradient_noise=gradient_noise)
        gap = wanted - noisy.position_covariance
        if np.max(np.abs(gap)) < close * np.max(np.abs(wanted)):
            quiet = noisy if gradient_noise is None else certify(moved, start)
            return quiet.position_covariance - true, noisy.position_covariance - quiet.position_covariance, noisy
        true = true + (gap + gap.T) / 4  # half of the way: near the limit of stability the whole goes too far
    raise NoModelError("covariance: no quadratic target is sampled with it at this time step. Use a smaller dt.")


def error_budget(dynamics: Splitting, out: Run, *, skip: int = 0, gradient_noise: PyTree = None) -> ErrorBudget:
    r"""Return how much the time step, the noise of the gradient and the length of a run contribute to its errors.

    The biases are those of a quadratic model with the mean and the covariance of the run. It is compared with the run
    by the kinetic temperature. Where both differ by more than the Monte Carlo error and 30 % of the predicted
    deviation from kT, `doubts` says so. The covariance is a dense matrix over all elements.

    Args:
        dynamics: the Langevin or Brownian dynamics of the run; of one member, if the run is of an ensemble.
        out: the result of `td.run` with `record=td.sample`.
        skip: number of draws at the beginning to leave out.
        gradient_noise: covariance of the noise in the force, as in `td.certify`.

    Returns:
        An `ErrorBudget`; printing it shows a table by leaf.

    Raises:
        ValueError: an argument does not fit, or the step is not affine on a quadratic target.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.8, kT=1.0, splitting="OBABO")
        >>> chains = td.ensemble(dynamics, 50)
        >>> out = td.run(chains, chains.init(jax.random.key(0), jnp.zeros(2)), steps=1000, record=td.sample)
        >>> budget = td.error_budget(dynamics, out, skip=100)
        >>> print(f"{budget.time_step:.2f}", budget.trusted)  # exactly 0.16/0.84
        0.19 True

    Reference:
        Leimkuhler, Matthews, Molecular Dynamics, Springer (2015), doi:10.1007/978-3-319-16375-8.
    """
    sampled = _sampled(dynamics, out, skip)
    measured = error = None
    if sampled.temperature is not None:
        measured = jax.tree.map(_mean, sampled.temperature)
        error = monte_carlo_error(sampled.temperature)
    try:
        fit = _fit(dynamics, out, sampled, gradient_noise)
    except NoModelError as reason:
        unknown = jax.tree.map(lambda _: float("nan"), sampled.position)
        return ErrorBudget(unknown, unknown, unknown, None, measured, error, doubts=(f"{reason}",))
    shares = [jax.tree.map(_mean, fit.tree(np.diag(x) / np.diag(fit.true))) for x in (fit.step, fit.noise)]
    size = jax.tree.map(_mean, effective_sample_size(fit.sampled.position, "sd"))
    predicted = None
    if fit.found.momentum_covariance is not None:
        predicted = jax.tree.map(_mean, fit.tree(fit.heat(fit.found)))
    return ErrorBudget(
        time_step=shares[0],
        gradient_noise=shares[1],
        monte_carlo=jax.tree.map(lambda n: float(np.sqrt(2 / n)), size),
        predicted=predicted,
        measured=measured,
        error=error,
        doubts=tuple(_doubts(fit, size, predicted, measured, error)),
    )


def suggest_dt(
    dynamics: Splitting, out: Run, *, accuracy: float = 0.01, skip: int = 0, gradient_noise: PyTree = None
) -> PyTree:
    """Return the largest time step at which no variance of a position or a momentum is wrong by more than `accuracy`.

    The biases are those of `error_budget`. Momenta count, because the positions of a target that is not harmonic have
    errors of the same order, even where the splitting is exact for a harmonic one.

    `dynamics`, `out`, `skip` and `gradient_noise` are those of `error_budget`.

    Args:
        accuracy: largest relative error of a variance, positive.

    Returns:
        A time step, or a tree of them like `dynamics.dt`, all longer or shorter by the same factor.

    Raises:
        ValueError: an argument does not fit, or no time step is small enough.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.5, kT=1.0)
        >>> chains = td.ensemble(dynamics, 50)
        >>> out = td.run(chains, chains.init(jax.random.key(0), jnp.zeros(2)), steps=1000, record=td.sample)
        >>> print(f"{td.suggest_dt(dynamics, out, accuracy=0.01, skip=100):.2f}")  # h^2/4 = 0.01
        0.20
    """
    goal = float(check.number("accuracy", accuracy, positive=True))
    fit = _fit(dynamics, out, _sampled(dynamics, out, skip), gradient_noise)
    target = _quadratic(fit.mean, fit.true, fit.kT)

    def fits(factor: float) -> bool:
        scaled = dynamics.replace(target=target, dt=jax.tree.map(lambda h: h * factor, dynamics.dt))
        try:
            found = certify(scaled, fit.state.replace(moving=fit.mean), gradient_noise=gradient_noise)
        except ValueError:  # unstable
            return False
        worst = np.max(np.abs(np.diag(found.position_covariance) / np.diag(fit.true) - 1))
        if found.momentum_covariance is not None:
            worst = max(worst, np.max(np.abs(fit.heat(found) / fit.kT - 1)))
        return bool(worst <= goal)

    low = high = 1.0
    while not fits(low):
        low /= 2
        if low < 1e-6:
            raise ValueError(f"accuracy: no time step is within {goal:g}. The noise of the gradient may be too large.")
    while fits(high) and high < 1e6:
        high *= 2
    for _ in range(10):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if fits(middle) else (low, middle)
    return jax.tree.map(lambda h: h * low, dynamics.dt)


class _Fit(NamedTuple):
    """A quadratic model of a run, with its biases."""

    sampled: Sample
    state: State
    mean: PyTree
    kT: float
    true: np.ndarray
    step: np.ndarray
    noise: np.ndarray
    found: Certificate

    def tree(self, elements: np.ndarray) -> PyTree:
        """Return one number for each element as a tree."""
        return jax.tree.map(np.asarray, unflatten(elements, self.mean))

    def heat(self, found: Certificate) -> np.ndarray:
        """Return the kinetic temperature of every element."""
        masses = metric.masses(self.state.metric, "error_budget")
        full = jax.tree.map(lambda m, x: jnp.broadcast_to(m, x.shape), masses, self.mean)
        assert found.momentum_covariance is not None
        return np.diag(found.momentum_covariance) / np.asarray(flatten(full), np.float64)


def _sampled(dynamics: Splitting, out: Run, skip: int) -> Sample:
    check.instance("dynamics", dynamics, Splitting, "a dynamics such as td.langevin(...), of one member")
    check.instance("out", out, Run, "the result of td.run(..., record=td.sample)")
    sampled = draws_of(out, skip)
    if jax.tree.structure(sampled.position) != jax.tree.structure(out.state.moving) or sampled.energy is None:
        raise ValueError("out: expected the records of td.sample, got others. Run with record=td.sample.")
    return sampled


def _fit(dynamics: Splitting, out: Run, sampled: Sample, gradient_noise: PyTree) -> _Fit:
    state = jax.tree.map(lambda x: x[0], out.state) if out.state.step.ndim else out.state
    part, kT = state.moving, _temperature(dynamics, state)
    wide = space_of.shift(dynamics.space, part, jax.tree.map(lambda x: 1e3 * (1 + jnp.abs(x)), part))
    for path, x, y in zip(tree.paths(part), jax.tree.leaves(part), jax.tree.leaves(wide), strict=True):
        if not np.allclose(y, x + 1e3 * (1 + jnp.abs(x)), rtol=1e-3):
            raise NoModelError(
                f"position{path}: a leaf that moves in a bounded space has no quadratic model. The difference of the "
                f"measured kinetic temperature and kT = {kT:g} shows the error of the time step."
            )
    flat = [np.asarray(x, np.float64).reshape(x.shape[0] * x.shape[1], -1) for x in jax.tree.leaves(sampled.position)]
    draws = np.concatenate(flat, axis=1)
    if len(draws) <= draws.shape[1]:
        raise NoModelError(
            f"out: expected more draws than elements for a covariance, got {len(draws)} of {draws.shape[1]}. Make a "
            "longer run."
        )
    mean = unflatten(jnp.asarray(np.mean(draws, axis=0)), part)
    covariance = np.atleast_2d(np.cov(draws, rowvar=False))
    step, noise, found = bias(dynamics, state, mean, covariance, kT=kT, gradient_noise=gradient_noise)
    return _Fit(sampled, state, mean, kT, covariance - step - noise, step, noise, found)


def _quadratic(mean: PyTree, covariance: np.ndarray, kT: float) -> Target:
    return from_energy(Quadratic(mean=mean, stiffness=jnp.asarray(kT * np.linalg.inv(covariance))))


def _temperature(dynamics: Splitting, state: State) -> float:
    """Return the temperature of the bath."""
    found = [schedule.at(kT, state.step) for op in dynamics.operators if (kT := getattr(op, "kT", None)) is not None]
    numbers = {float(x) for kT in found for leaf in jax.tree.leaves(kT) for x in np.ravel(leaf)}
    if len(numbers) != 1:
        raise ValueError(
            f"dynamics: expected one temperature, got {sorted(numbers)}. A model needs a bath, the same for all leaves."
        )
    return numbers.pop()


def _mean(x: Any) -> float:
    return float(np.mean(x))


def _doubts(fit: _Fit, size: PyTree, predicted: PyTree, measured: PyTree, error: PyTree) -> list[str]:
    names, said = leaf_names(size), []
    for name, n in zip(names, jax.tree.leaves(size), strict=True):
        if not n > 100:
            said.append(f"{name}: {n:.0f} effective draws of the variance are too few for a model. Make a longer run.")
    if predicted is None:
        return [*said, "Nothing is known of the momenta, so the model was not compared with the run."]
    columns = (jax.tree.leaves(x) for x in (predicted, measured, error))
    for name, there, here, width in zip(names, *columns, strict=True):
        if not abs(here - there) <= 4 * width + 0.3 * abs(there - fit.kT):
            said.append(
                f"{name}: the kinetic temperature is {here:.4g}, and that of the model {there:.4g}: the target is not "
                "like the model. Do not trust it."
            )
    return said
