"""A table of what was sampled, with warnings where it cannot be trusted."""

import dataclasses
from typing import Any

import jax
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn.diagnostics._convergence import effective_sample_size, monte_carlo_error, r_hat, real
from treedyn.diagnostics._samples import Sample, divergences, e_bfmi
from treedyn.diagnostics._table import aligned
from treedyn.driver._run import Run
from treedyn.tree import PyTree

_R_HAT, _PER_CHAIN, _E_BFMI = 1.01, 100, 0.3
_ROWS = 40
_COLUMNS = ("mean", "sd", "error", "5 %", "95 %", "bulk", "tail", "R-hat")


@dataclasses.dataclass(frozen=True, repr=False)
class Summary:
    """A table of what was sampled; print it.

    Attributes:
        mean: mean of every element, a tree like the position.
        sd: standard deviation.
        error: Monte Carlo error of the mean.
        low: 5 % quantile.
        high: 95 % quantile.
        bulk: effective sample size of the bulk.
        tail: effective sample size of the tail.
        r_hat: potential scale reduction; NaN for one chain.
        draws: number of draws of a chain.
        chains: number of chains.
        warnings: sentences that say why the numbers cannot be trusted; empty if nothing was found.
    """

    mean: PyTree
    sd: PyTree
    error: PyTree
    low: PyTree
    high: PyTree
    bulk: PyTree
    tail: PyTree
    r_hat: PyTree
    draws: int
    chains: int
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the table as text."""
        columns = (self.mean, self.sd, self.error, self.low, self.high, self.bulk, self.tail, self.r_hat)
        numbers = zip(*(np.concatenate([np.ravel(x) for x in jax.tree.leaves(c)]) for c in columns), strict=True)
        rows = [_row(name, *row) for name, row in zip(_names(self.mean), numbers, strict=True)]
        more = len(rows) - _ROWS
        lines = aligned([("", *_COLUMNS), *rows[:_ROWS]])
        lines += [f"... and {more} more"] * (more > 0)
        return "\n".join(
            [*lines, "", f"{self.chains} chain{'s' * (self.chains > 1)} of {self.draws} draws", *self.warnings]
        )


def summary(records: Run | Sample | PyTree, *, skip: int = 0) -> Summary:
    """Return a table of means, errors and diagnostics of what was sampled.

    Args:
        records: the result of a run with `record=td.sample`; or such records; or any tree of draws,
            `[draws, chains, ...]`.
        skip: number of draws at the beginning to leave out, such as those of a warm-up.

    Returns:
        A `Summary`; printing it shows the table. Its warnings tell of divergences, of chains that differ (R-hat above
        1.01), of fewer than 100 effective draws per chain, of an E-BFMI below 0.3, and of elements that never moved.

    Raises:
        ValueError: there are no records, or an array is not `[draws, chains, ...]`.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> chains = td.ensemble(td.hmc(lambda x: jnp.sum((x["a"] - 3) ** 2) / 2, dt=0.9, steps=(1, 3)), 4)
        >>> out = td.run(chains, chains.init(jax.random.key(0), {"a": jnp.zeros(2)}), steps=1100, record=td.sample)
        >>> table = td.summary(out, skip=100)
        >>> table.mean["a"].round(1), table.warnings
        (array([3., 3.]), ())
    """
    sampled = draws_of(records, skip)
    position = sampled.position
    first = jax.tree.leaves(position)[0]
    several = first.shape[1] > 1

    def of(f: Any) -> PyTree:
        with np.errstate(invalid="ignore"):
            return jax.tree.map(lambda x: f(np.asarray(x, float)), position)

    low, high = (of(lambda x, q=q: np.quantile(x, q, axis=(0, 1))) for q in (0.05, 0.95))
    found = Summary(
        mean=of(lambda x: np.mean(x, axis=(0, 1))),
        sd=of(lambda x: np.std(x, axis=(0, 1), ddof=1)),
        error=monte_carlo_error(position),
        low=low,
        high=high,
        bulk=effective_sample_size(position, "bulk"),
        tail=effective_sample_size(position, "tail"),
        r_hat=r_hat(position) if several else of(lambda x: np.full(x.shape[2:], np.nan)),
        draws=first.shape[0],
        chains=first.shape[1],
        warnings=(),
    )
    return dataclasses.replace(found, warnings=tuple(_warnings(found, sampled)))


def draws_of(records: Any, skip: int) -> Sample:
    """Return records as a sample with arrays `[draws, chains, ...]`, without those at the beginning."""
    alone = False
    if isinstance(records, Run):
        alone = not np.ndim(records.state.step)
        records = records.records
    if not jax.tree.leaves(records):
        raise ValueError("records: expected draws, got none. Run with record=td.sample.")
    if not isinstance(records, Sample):
        records = Sample(position=records, energy=None, info=None)
    for path, x in zip(tree.paths(records.position), jax.tree.leaves(records.position), strict=True):
        if real(x, f"records{path}").ndim < 2 - alone:
            raise ValueError(
                f"records{path}: expected an array [draws, chains, ...], got shape {list(np.shape(x))}. Pass the "
                "result of td.run, or add an axis for one chain."
            )
    check.integer("skip", skip, 0, max(len(jax.tree.leaves(records)[0]), 1))
    records = jax.tree.map(lambda x: np.asarray(x)[skip:], records)
    return jax.tree.map(lambda x: x[:, None], records) if alone else records


def _warnings(found: Summary, sampled: Sample) -> list[str]:
    bulk, tail, reduction = (_all(x) for x in (found.bulk, found.tail, found.r_hat))
    still, names = ~np.isfinite(bulk), np.array(_names(found.mean))
    said = []
    if np.any(still):
        said.append(f"Not known, because the draws are constant, too few or not finite: {_some(names[still])}.")
    apart = reduction > _R_HAT
    if np.any(apart):
        said.append(f"The chains differ, R-hat is up to {np.nanmax(reduction):.2f}: {_some(names[apart])}.")
    least = _PER_CHAIN * found.chains
    short = (bulk < least) | (tail < least)
    if np.any(short):
        said.append(f"Fewer than {least} effective draws: {_some(names[short])}. Make a longer run.")
    if (divergent := divergences(sampled.info)) is not None and (count := int(np.sum(divergent))):
        said.append(f"{count} steps diverged: parts of the distribution may be missing. Use a smaller dt.")
    if sampled.energy is not None:
        fraction = np.nanmin(np.append(e_bfmi(sampled.energy), np.inf))
        if fraction < _E_BFMI:
            said.append(f"E-BFMI is down to {fraction:.2f}: the chains may miss the tails. Change the coordinates.")
    return said


def _all(values: PyTree) -> np.ndarray:
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(values)])


def _some(names: np.ndarray) -> str:
    return ", ".join(names[:5].tolist()) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _names(values: PyTree) -> list[str]:
    """Return the name of every element, such as `theta[3]`."""
    names = []
    for path, x in zip(leaf_names(values), jax.tree.leaves(values), strict=True):
        names += [path + (f"[{', '.join(map(str, k))}]" if k else "") for k in np.ndindex(np.shape(x))]
    return names


def leaf_names(values: PyTree) -> list[str]:
    """Return a short name for every leaf: its path without brackets and quotes, `x` for a single array."""
    return [jax.tree_util.keystr(path, simple=True, separator=".") or "x" for path, _ in _paths(values)]


def _paths(values: PyTree) -> list[Any]:
    return jax.tree_util.tree_leaves_with_path(values)


def _row(name: str, *numbers: float) -> tuple[str, ...]:
    mean, sd, error, low, high, bulk, tail, reduction = numbers
    # two digits of the error are the digits that are known
    size = error if np.isfinite(error) and error > 0 else abs(mean) / 1000
    digits = int(1 - np.floor(np.log10(size))) if size > 0 else 2
    if not -1 <= digits <= 8:
        values = [f"{x:.4g}" for x in (mean, sd, error, low, high)]
    else:
        values = [f"{x:.{max(digits, 0)}f}" for x in (mean, sd, error, low, high)]
    return name, *values, *(f"{x:.0f}" for x in (bulk, tail)), f"{reduction:.3f}"
