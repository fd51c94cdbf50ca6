"""Targets from NumPyro models: the density written out by hand, named sites, and models that have no such density."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from jax.scipy.stats import norm
from numpyro import distributions as dist

import treedyn as td
from treedyn import bijector as tb

KEY = jax.random.key(0)
Y = jnp.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = jnp.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(error, y, centered):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", 8):
        if centered:
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
        else:
            theta = numpyro.deterministic("theta", mu + tau * numpyro.sample("z", dist.Normal(0.0, 1.0)))
        numpyro.sample("y", dist.Normal(theta, error), obs=y)


@pytest.mark.slow
@pytest.mark.parametrize("centered", [False, True])
def test_eight_schools_are_those_written_out_by_hand(centered):
    model = td.from_numpyro(KEY, schools, ERROR, Y, centered)

    def by_hand(x):
        prior = norm.logpdf(x["mu"] / 5) - jnp.log1p((x["tau"] / 5) ** 2)
        if centered:
            theta, prior = x["theta"], prior + jnp.sum(norm.logpdf((x["theta"] - x["mu"]) / x["tau"]))
            prior = prior - 8 * jnp.log(x["tau"])
        else:
            theta, prior = x["mu"] + x["tau"] * x["z"], prior + jnp.sum(norm.logpdf(x["z"]))
        return prior + jnp.sum(norm.logpdf((Y - theta) / ERROR))

    name = "theta" if centered else "z"
    target = td.transformed(
        td.from_log_density(by_hand), {"mu": tb.identity(), "tau": tb.positive(), name: tb.identity()}
    )
    one, other = model.start, jax.tree.map(lambda x: x + 0.3, model.start)
    a, b = ([f(x) for x in (one, other)] for f in (model, target))
    np.testing.assert_allclose(a[1].energy - a[0].energy, b[1].energy - b[0].energy, rtol=1e-12)
    for key, force in b[0].force.items():
        np.testing.assert_allclose(a[0].force[key], force, rtol=1e-10)
    sites = model.constrain(one)
    np.testing.assert_allclose(sites["tau"], target.constrain(one)["tau"], rtol=1e-14)
    assert sites["theta"].shape == (8,)


def test_the_data_are_leaves_of_the_target():
    model = td.from_numpyro(KEY, schools, ERROR, Y, False)
    leaves = [x for x in jax.tree.leaves(model.function) if isinstance(x, jax.Array)]
    assert any(np.array_equal(leaf, Y) for leaf in leaves) and len(leaves) == 2


def test_a_flat_prior_has_a_start_too():
    def flat(y):
        slope = numpyro.sample("slope", dist.ImproperUniform(dist.constraints.positive, (), (2,)))
        numpyro.sample("y", dist.Normal(slope[0], 1.0), obs=y)

    target = td.from_numpyro(KEY, flat, Y)
    found = target(target.start)
    assert np.isfinite(found.energy) and np.all(np.abs(target.start["slope"]) < 2)
    np.testing.assert_allclose(target.constrain(target.start)["slope"], np.exp(target.start["slope"]))


def discrete():
    numpyro.sample("k", dist.Bernoulli(0.5))


def subsampled():
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", 8, subsample_size=2) as rows:
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=Y[rows])


def optimized():
    numpyro.param("w", 1.0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (discrete, "the site 'k' is discrete"),
        (subsampled, "the plate 'rows' takes a subsample"),
        (optimized, "the site 'w' is a parameter to optimize"),
    ],
)
def test_models_without_a_density_over_real_numbers_are_errors(model, message):
    with pytest.raises(ValueError, match=f"model: {message}"):
        td.from_numpyro(KEY, model)
