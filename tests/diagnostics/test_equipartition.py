"""Temperatures of leaves: exact for harmonic wells, right for others, and within the band of chi squared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import treedyn as td
from treedyn.diagnostics import equipartition, temperature_band

RANDOM = np.random.default_rng(3)


def test_the_band_is_that_of_chi_squared_and_holds_as_often_as_it_says():
    low, high = temperature_band(2.0, 50, 0.9)
    np.testing.assert_allclose([low, high], 2 * stats.chi2.ppf([0.05, 0.95], 50) / 50, rtol=1e-12)
    measured = 2 * np.mean(RANDOM.normal(size=(4000, 50)) ** 2, axis=1)
    inside = np.mean((low < measured) & (measured < high))
    assert abs(inside - 0.9) < 5 * np.sqrt(0.9 * 0.1 / 4000)


def test_the_center_of_the_coordinates_does_not_matter():
    x = RANDOM.normal(size=(500, 4, 3))
    near, far = (equipartition(x + shift, x).kT for shift in (0.0, 1e4))
    np.testing.assert_allclose(far, near, rtol=1e-9)


@pytest.mark.slow
def test_positions_and_momenta_of_a_run_have_its_temperature_leaf_by_leaf():
    def energy(x):
        return jnp.sum(x["quartic"] ** 4) + 3 * x["spring"] ** 2

    chains = td.ensemble(td.langevin(td.from_energy(energy), dt=0.05, kT=0.6, gamma=1.0), 8)
    state = chains.init(jax.random.key(0), {"quartic": jnp.full((5, 2), 0.3), "spring": jnp.array(0.2)})
    out = td.run(chains, state, steps=20_000, every=20, record=lambda s: (s.moving, s.force, s.momentum, s.velocity))
    x, force, p, v = jax.tree.map(lambda leaf: leaf[50:], out.records)
    for found in (equipartition(x, jax.tree.map(np.negative, force)), equipartition(p, v)):
        for name in ("quartic", "spring"):
            assert abs(found.kT[name] - 0.6) < 5 * found.error[name] < 0.1
            assert abs(found.kT[name] - 0.75) > 5 * found.error[name]
    # momenta of a small step are normal, so their temperature is within the band
    count = float(np.sum(td.effective_sample_size(p, "sd")["quartic"]))
    low, high = temperature_band(0.6, count, 0.9999)
    assert low < equipartition(p, v).kT["quartic"] < high


def test_constant_or_unknown_draws_have_no_error():
    x = RANDOM.normal(size=(50, 2))
    assert np.isnan(equipartition(0 * x, x).error)
    found = equipartition(np.where(x > 2, np.nan, x), x)
    assert np.isnan(found.kT) and np.isnan(found.error)


def test_wrong_arguments_are_refused():
    x = np.zeros((5, 2))
    for call, said in [
        (lambda: equipartition({"a": x}, x), "slopes: expected a tree like draws"),
        (lambda: equipartition(x, x[:4]), r"draws, slopes: expected equal shapes .* \[5, 2\] and \[4, 2\]"),
        (lambda: equipartition(x[:, 0], x[:, 0]), "draws, slopes: expected equal shapes"),
        (lambda: temperature_band(-1.0, 5), "kT: expected one number, positive"),
        (lambda: temperature_band(1.0, 0), "count: expected one number, positive"),
        (lambda: temperature_band(1.0, 5, 1.0), "level: expected a number between 0 and 1"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()
