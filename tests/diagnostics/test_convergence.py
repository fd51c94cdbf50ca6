"""Convergence of chains: the same numbers as ArviZ, exact values of autoregressive chains, and tables that warn."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz
    from arviz.utils import Numba

# with Numba installed, ArviZ 0.23 fails on NumPy 2.4
Numba.numba_flag = False

RANDOM = np.random.default_rng(0)


def autoregressive(phi, draws, chains):
    x = RANDOM.normal(size=(draws, chains))
    for t in range(1, draws):
        x[t] = phi * x[t - 1] + np.sqrt(1 - phi**2) * x[t]
    return x


DRAWS = {
    "normal": RANDOM.normal(size=(200, 4)),
    "odd": RANDOM.normal(size=(101, 3)),
    "heavy tails": RANDOM.standard_cauchy((300, 4)),
    "slow": autoregressive(0.99, 100, 4),
    "antithetic": autoregressive(-0.95, 300, 2),
    "apart": RANDOM.normal(size=(100, 4)) + np.arange(4),
    "integers": RANDOM.integers(0, 40, (100, 4)),
    "booleans": RANDOM.random((100, 4)) < 0.3,
    **{f"{n} draws": RANDOM.normal(size=(n, 2)) for n in (4, 5, 6, 7)},
}


def by_arviz(function, x, **how):
    """Return a diagnostic of every element, from arrays `[chains, draws]`."""
    x = np.asarray(x)
    columns = np.moveaxis(x.reshape(*x.shape[:2], -1), 2, 0)
    found = [function(np.asarray(column, float).T, **how) for column in columns]
    return np.reshape(found, x.shape[2:])


@pytest.mark.parametrize("name", DRAWS)
def test_all_numbers_are_those_of_arviz(name):
    x = DRAWS[name]
    np.testing.assert_allclose(td.r_hat(x), by_arviz(arviz.rhat, x), rtol=1e-6)
    for of in ("bulk", "tail", "mean", "sd"):
        np.testing.assert_allclose(td.effective_sample_size(x, of), by_arviz(arviz.ess, x, method=of), rtol=1e-6)
    for of in ("mean", "sd"):
        np.testing.assert_allclose(td.monte_carlo_error(x, of), by_arviz(arviz.mcse, x, method=of), rtol=1e-6)
    for level in (0.5, 0.13):
        how = {"method": "quantile", "prob": level}
        np.testing.assert_allclose(td.effective_sample_size(x, level), by_arviz(arviz.ess, x, **how), rtol=1e-6)
        np.testing.assert_allclose(td.monte_carlo_error(x, level), by_arviz(arviz.mcse, x, **how), rtol=1e-6)
    np.testing.assert_allclose(td.e_bfmi(x), arviz.bfmi(np.asarray(x, float).T), rtol=1e-6)


def test_the_leaves_of_a_tree_are_treated_element_by_element():
    draws = {"a": RANDOM.normal(size=(60, 3, 2, 2)), "b": (jnp.asarray(RANDOM.normal(size=(60, 3)), jnp.float32), ())}
    for ours, theirs in ((td.r_hat, arviz.rhat), (td.effective_sample_size, arviz.ess)):
        found = ours(draws)
        assert jax.tree.structure(found) == jax.tree.structure(draws)
        np.testing.assert_allclose(found["a"], by_arviz(theirs, draws["a"]), rtol=1e-6)
        np.testing.assert_allclose(found["b"][0], by_arviz(theirs, draws["b"][0]), rtol=1e-6)


@pytest.mark.parametrize(("phi", "share"), [(0.9, 0.0526316), (-0.5, 3.0)])
def test_the_effective_sample_size_of_autoregressive_chains_is_exact(phi, share):
    x = autoregressive(phi, 20_000, 8)
    np.testing.assert_allclose(td.effective_sample_size(x, "mean") / x.size, share, rtol=0.06)
    np.testing.assert_allclose(td.monte_carlo_error(x), np.sqrt(1 / (x.size * share)), rtol=0.05)


def test_chains_that_say_nothing_are_never_called_good():
    good = RANDOM.normal(size=(50, 2))
    for bad in (np.full((50, 2), 3.7), np.where(np.arange(50)[:, None] == 7, np.nan, good), good[:3], good * np.inf):
        for found in (td.r_hat(bad), td.effective_sample_size(bad), td.monte_carlo_error(bad)):
            assert np.isnan(found)
        assert "Not known" in td.summary({"x": bad}).warnings[0]
    both = td.effective_sample_size(np.stack([good, 0 * good], axis=2))
    assert both[0] > 10 and np.isnan(both[1])
    assert td.r_hat(np.sign(np.arange(2) - 0.5) + 1e-3 * good) > 1.5


def test_a_table_has_the_numbers_and_says_what_is_wrong_with_them():
    table = td.summary({"b": DRAWS["apart"], "a": RANDOM.normal(size=(200, 4, 2))[:100]})
    np.testing.assert_allclose(table.mean["b"], np.mean(DRAWS["apart"]))
    np.testing.assert_allclose(table.high["b"], np.quantile(DRAWS["apart"], 0.95))
    assert [line.split()[0] for line in repr(table).splitlines()[1:4]] == ["a[0]", "a[1]", "b"]
    assert len({len(line) for line in repr(table).splitlines()[:4]}) == 1
    assert any(said.startswith("The chains differ, R-hat is up to") and ": b" in said for said in table.warnings)
    assert any("Fewer than 400 effective draws" in said for said in table.warnings)
    assert "... and 460 more" in repr(td.summary(RANDOM.normal(size=(10, 2, 500))))


@pytest.fixture(scope="module")
def run():
    chains = td.ensemble(td.nuts(lambda x: x["a"] ** 2 / 2 + jnp.sum(x["b"] ** 2), dt=1.2, depth=4), 4)
    start = {"a": jnp.array(0.0), "b": jnp.zeros((2, 1)), "name": "inert"}
    return td.run(chains, chains.init(jax.random.key(0), start), steps=600, record=td.sample)


@pytest.mark.slow
def test_a_run_is_summarized_without_its_beginning(run):
    table = td.summary(run, skip=100)
    assert (table.draws, table.chains, table.warnings) == (500, 4, ())
    assert abs(table.mean["a"]) < 4 * table.error["a"] and abs(table.sd["b"][0, 0] - 0.5**0.5) < 0.1
    broken = run.records.replace(info=run.records.info.replace(divergent=run.records.info.depth > 1))
    assert "steps diverged" in td.summary(broken).warnings[-1]
    slow = run.records.replace(energy=np.cumsum(run.records.energy, axis=0))
    assert "E-BFMI is down to 0.0" in td.summary(slow).warnings[-1]


def test_arviz_reads_a_run(run):
    data = td.to_arviz(run, skip=100)
    assert data.posterior["b"].shape == (4, 500, 2, 1)
    np.testing.assert_array_equal(data.posterior["a"], run.records.position["a"][100:].T)
    for ours, theirs in (("divergent", "diverging"), ("depth", "tree_depth"), ("acceptance", "acceptance_rate")):
        np.testing.assert_array_equal(data.sample_stats[theirs], getattr(run.records.info, ours)[100:].T)
    np.testing.assert_array_equal(data.sample_stats["energy"], run.records.energy[100:].T)


def test_one_system_is_one_chain():
    walk = td.random_walk(lambda x: jnp.sum(x**2) / 2, length=2.0)
    out = td.run(walk, walk.init(jax.random.key(0), jnp.zeros(2)), steps=500, record=td.sample)
    table = td.summary(out)
    assert table.chains == 1 and np.all(np.isnan(table.r_hat)) and np.all(table.bulk > 10)
    assert td.to_arviz(out).posterior["x"].shape == (1, 500, 2)


def test_what_are_no_draws_is_refused(run):
    for call, said in [
        (lambda: td.r_hat(np.zeros(9)), r"draws: expected arrays \[draws, chains, ...\], got shape \[9\]"),
        (lambda: td.r_hat(np.zeros((9, 1))), "draws: expected at least two chains, got one"),
        (lambda: td.effective_sample_size(DRAWS["odd"], "head"), 'of: expected one of "mean", "sd"'),
        (lambda: td.effective_sample_size(DRAWS["odd"], 1.0), "of: expected a number between 0 and 1"),
        (lambda: td.monte_carlo_error(DRAWS["odd"], "bulk"), 'of: expected "mean", "sd", or a number'),
        (lambda: td.e_bfmi(np.zeros(9)), r"energy: expected an array \[draws, chains\]"),
        (lambda: td.summary({}), "records: expected draws, got none"),
        (lambda: td.summary({"a": np.zeros(3)}), r"records\['a'\]: expected an array"),
        (lambda: td.summary(run, skip=600), "skip: expected an integer below 600"),
        (lambda: td.summary(run, skip=-1), "skip: expected an integer of at least 0"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()
