"""Draws for ArviZ, which plots and compares them."""

import inspect
from typing import Any

import jax
import numpy as np

from treedyn._extras import require
from treedyn.diagnostics._samples import Sample
from treedyn.diagnostics._summary import draws_of, leaf_names
from treedyn.driver._run import Run
from treedyn.tree import PyTree

_NAMES = {
    "acceptance": "acceptance_rate",
    "divergent": "diverging",
    "depth": "tree_depth",
    "steps": "n_steps",
    "error": "energy_error",
}


def to_arviz(records: Run | Sample | PyTree, *, skip: int = 0) -> Any:
    """Return draws as ArviZ reads them: an `InferenceData` for ArviZ 0.x, a `DataTree` for ArviZ 1.

    Args:
        records: the result of a run with `record=td.sample`; or such records; or any tree of draws,
            `[draws, chains, ...]`. Leaves are named by their paths.
        skip: number of draws at the beginning to leave out.

    Returns:
        The group `posterior`, and `sample_stats` where the energy and the reports of the steps were recorded.

    Raises:
        ImportError: ArviZ is not installed.
        ValueError: there are no records, or an array is not `[draws, chains, ...]`.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> chains = td.ensemble(td.nuts(lambda x: jnp.sum(x["a"] ** 2) / 2, dt=0.5), 4)
        >>> out = td.run(chains, chains.init(jax.random.key(0), {"a": jnp.zeros(2)}), steps=10, record=td.sample)
        >>> td.to_arviz(out).posterior["a"].shape
        (4, 10, 2)
    """
    arviz = require("arviz", "arviz")
    sampled = draws_of(records, skip)
    leaves = map(np.asarray, jax.tree.leaves(sampled.position))
    groups: dict[str, Any] = {"posterior": dict(zip(leaf_names(sampled.position), leaves, strict=True))}
    stats = {} if sampled.info is None else {_NAMES.get(k, k): v for k, v in vars(sampled.info).items()}
    if sampled.energy is not None:
        stats["energy"] = sampled.energy
    if stats:
        groups["sample_stats"] = stats
    groups = jax.tree.map(lambda x: np.swapaxes(np.asarray(x), 0, 1), groups)
    one_mapping = next(iter(inspect.signature(arviz.from_dict).parameters)) == "data"
    return arviz.from_dict(groups) if one_mapping else arviz.from_dict(**groups)
