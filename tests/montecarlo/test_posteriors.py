"""Posteriors by NUTS after a warm-up: exact means and standard deviations, from overdispersed starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.montecarlo.posteriors import POSTERIORS

CHAINS, WARM_UP, DRAWS = 4, 600, 1000


def shown(posterior, position):
    """Return all elements that the exact values are of, `[..., elements]`."""
    leaves = jax.tree.leaves(posterior.shown(posterior.target.constrain(position)))
    return jnp.concatenate([jnp.atleast_1d(leaf) for leaf in leaves])


@pytest.mark.slow
@pytest.mark.parametrize("name", POSTERIORS)
def test_means_and_deviations_are_exact(name):
    posterior = POSTERIORS[name]()
    chains = td.ensemble(td.warm_up(td.nuts(posterior.target, dt=0.1), steps=WARM_UP), CHAINS)
    state = chains.init(jax.random.key(0), posterior.begin(jax.random.key(1), CHAINS))
    out = td.run(
        chains,
        state,
        steps=WARM_UP + DRAWS,
        record=lambda s: td.sample(s).replace(position=shown(posterior, s.position)),
    )
    table = td.summary(out, skip=WARM_UP)
    print(table)
    draws = out.records.position[WARM_UP:]
    assert np.all(table.r_hat < 1.02) and np.all(table.bulk > 400)
    assert np.max(np.abs(table.mean - posterior.mean) / table.error) < 4
    assert np.max(np.abs(table.sd - posterior.sd) / td.monte_carlo_error(draws, "sd")) < 4
    assert np.mean(out.records.info.divergent[WARM_UP:]) < 0.01
