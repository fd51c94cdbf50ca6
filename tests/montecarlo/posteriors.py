"""Nine posteriors whose means and standard deviations are known, by conjugacy and quadrature."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats

import treedyn as td
from treedyn import bijector as tb

DATA = Path(os.environ.get("TREEDYN_DATA", Path(__file__).parents[3] / "shared" / "data")) / "posteriors"


@dataclasses.dataclass(frozen=True)
class Posterior:
    """A posterior.

    Attributes:
        log_density: log density of the parameters.
        bijectors: their constraints.
        start: parameters to know the shapes by.
        mean: exact means of all elements of `shown`, in the order of the leaves.
        sd: exact standard deviations.
        shown: what the exact values are of, from the parameters.
    """

    log_density: Callable[..., Any]
    bijectors: Any
    start: Any
    mean: Any
    sd: Any
    shown: Callable[[Any], Any] = lambda x: x

    @property
    def target(self):
        return td.transformed(td.from_log_density(self.log_density), self.bijectors)

    def begin(self, key, chains):
        """Return free coordinates between -2 and 2, for every chain."""
        free = self.target.unconstrain(self.start)

        def one(key):
            return td.noise.draw(lambda *how: jax.random.uniform(*how, minval=-2.0, maxval=2.0), key, free)

        return td.per_member(jax.vmap(one)(jax.random.split(key, chains)))


def data(name):
    """Return the columns of a data set; skip the test where it is not installed."""
    if not (DATA / name).exists():
        pytest.skip(f"the data of posteriordb are not in {DATA}; set TREEDYN_DATA to their folder")
    return {key: np.asarray(value, float) for key, value in json.loads((DATA / name).read_text()).items()}


def half_cauchy(x, scale):
    return -jnp.log1p((x / scale) ** 2)


def regression(x, y, mean, sd, prior=lambda sigma: 0.0):
    """Return the posterior of y ~ N(x beta, sigma), flat in beta."""
    x, y = jnp.asarray(x), jnp.asarray(y)

    def log_density(p):
        return jnp.sum(stats.norm.logpdf(y, x @ p["beta"], p["sigma"])) + prior(p["sigma"])

    bijectors = {"beta": tb.identity(), "sigma": tb.positive()}
    return Posterior(log_density, bijectors, {"beta": jnp.zeros(x.shape[1]), "sigma": jnp.array(1.0)}, mean, sd)


def eight_schools():
    y, s = jnp.array([28.0, 8, -3, 7, -1, 1, 18, 12]), jnp.array([15.0, 10, 16, 11, 9, 11, 10, 18])

    def log_density(p):
        prior = stats.norm.logpdf(p["mu"], 0, 5) + half_cauchy(p["tau"], 5) - jnp.sum(p["eta"] ** 2) / 2
        return prior + jnp.sum(stats.norm.logpdf(y, p["mu"] + p["tau"] * p["eta"], s))

    bijectors = {"eta": tb.identity(), "mu": tb.identity(), "tau": tb.positive()}
    mean = [4.396821, 3.597705, 6.211884, 4.940178, 3.927004, 4.757098, 3.615477, 4.042613, 6.296725, 4.854253]
    sd = [3.317704, 3.219958, 5.593126, 4.674268, 5.262615, 4.780297, 4.657453, 4.826866, 5.077849, 5.290801]
    start = {"eta": jnp.zeros(8), "mu": jnp.array(0.0), "tau": jnp.array(1.0)}
    return Posterior(
        log_density, bijectors, start, mean, sd, lambda p: (p["mu"], p["tau"], p["mu"] + p["tau"] * p["eta"])
    )


def kidscore():
    d = data("kidiq.json")
    x = np.stack([np.ones_like(d["mom_iq"]), d["mom_iq"]], axis=1)
    mean, sd = [25.799778, 0.60997457, 18.277474], [5.924525, 0.05859127, 0.622714]
    return regression(x, d["kid_score"], mean, sd, lambda sigma: half_cauchy(sigma, 2.5))


def ar_k():
    y = data("arK.json")["y"]
    lags = jnp.stack([jnp.asarray(y[5 - k : -k]) for k in range(1, 6)], axis=1)

    def log_density(p):
        prior = -(p["alpha"] ** 2 + jnp.sum(p["beta"] ** 2)) / 200 + half_cauchy(p["sigma"], 2.5)
        return prior + jnp.sum(stats.norm.logpdf(y[5:], p["alpha"] + lags @ p["beta"], p["sigma"]))

    bijectors = {"alpha": tb.identity(), "beta": tb.identity(), "sigma": tb.positive()}
    mean = [-0.00080542, 0.69153117, 0.44015963, 0.10509496, -0.03566847, -0.30121725, 0.15044795]
    sd = [0.01079444, 0.0706531, 0.08692439, 0.09213005, 0.08663828, 0.07004656, 0.00780527]
    start = {"alpha": jnp.array(0.0), "beta": jnp.zeros(5), "sigma": jnp.array(1.0)}
    return Posterior(log_density, bijectors, start, mean, sd)


def logmesquite():
    d = data("mesquite.json")
    names = ("diam1", "diam2", "canopy_height", "total_height", "density")
    x = np.stack([np.ones(46), *(np.log(d[name]) for name in names), d["group"]], axis=1)
    mean = [5.3514701, 0.39378308, 1.15119, 0.37323379, 0.39431617, 0.10930042, -0.58343074, 0.34058097]
    sd = [0.17744031, 0.29349245, 0.21876014, 0.29203281, 0.32570422, 0.12691356, 0.13392143, 0.04027502]
    return regression(x, np.log(d["weight"]), mean, sd)


def logmesquite_logvolume():
    d = data("mesquite.json")
    x = np.stack([np.ones(46), np.log(d["diam1"] * d["diam2"] * d["canopy_height"])], axis=1)
    return regression(x, np.log(d["weight"]), [5.1696586, 0.72237572, 0.42631847], [0.0862865, 0.05654802, 0.04722054])


def nes1980():
    d = data("nes1980.json")
    ages = [(d["age_discrete"] == k).astype(float) for k in (2, 3, 4)]
    x = np.stack([np.ones(701), d["real_ideo"], d["race_adj"], *ages, d["educ1"], d["gender"], d["income"]], axis=1)
    mean = [1.6766082, 0.60391828, -1.2844678, -0.1462587, -0.38373449, 0.0238989, 0.0955034, 0.02850379, 0.22816242]
    sd = [0.56217269, 0.05031681, 0.24473923, 0.19531015, 0.19615319, 0.23085313, 0.0832049, 0.14023269, 0.0724976]
    return regression(x, d["partyid7"], [*mean, 1.8283928], [*sd, 0.04926331])


def gp_regr():
    x = jnp.arange(-10.0, 11.0, 2.0)
    y = [4.75906, 1.59423, 2.99548, 5.27501, 1.66472, 2.24347, 2.8914, 4.08681, 4.60588, 0.802364, 3.92136]

    def log_density(p):
        distance = x[:, None] - x[None, :]
        covariance = p["alpha"] ** 2 * jnp.exp(-(distance**2) / (2 * p["rho"] ** 2)) + p["sigma"] * jnp.eye(11)
        prior = 24 * jnp.log(p["rho"]) - 4 * p["rho"] - p["alpha"] ** 2 / 8 - p["sigma"] ** 2 / 2
        return prior + stats.multivariate_normal.logpdf(jnp.array(y), jnp.zeros(11), covariance)

    start = dict.fromkeys(("alpha", "rho", "sigma"), jnp.array(1.0))
    return Posterior(log_density, tb.positive(), start, [2.438096, 6.893431, 1.831686], [0.790064, 1.289694, 0.500178])


def garch11():
    y = jnp.asarray(data("garch.json")["y"])

    def log_density(p):
        alpha1, beta1 = p["part"][0], p["part"][1]

        def step(variance, y):
            return p["alpha0"] + alpha1 * (y - p["mu"]) ** 2 + beta1 * variance, variance

        _, variances = jax.lax.scan(step, jnp.asarray(0.25), y)
        return jnp.sum(stats.norm.logpdf(y, p["mu"], jnp.sqrt(variances)))

    bijectors = {"alpha0": tb.positive(), "mu": tb.identity(), "part": tb.simplex()}
    start = {"alpha0": jnp.array(1.0), "mu": jnp.array(0.0), "part": jnp.ones(3) / 3}
    mean, sd = [5.05075, 1.4709, 0.56869, 0.29135], [0.12318, 0.5677, 0.12566, 0.12262]
    return Posterior(log_density, bijectors, start, mean, sd, lambda p: (p["mu"], p["alpha0"], p["part"][..., :2]))


def low_dim_gauss_mix():
    y = jnp.asarray(data("low_dim_gauss_mix.json")["y"])

    def log_density(p):
        prior = -jnp.sum(p["mu"] ** 2) / 8 - jnp.sum(p["sigma"] ** 2) / 8
        prior = prior + 4 * (jnp.log(p["theta"]) + jnp.log1p(-p["theta"]))
        parts = (stats.norm.logpdf(y, p["mu"][k], p["sigma"][k]) for k in (0, 1))
        one, other = parts
        return prior + jnp.sum(jnp.logaddexp(jnp.log(p["theta"]) + one, jnp.log1p(-p["theta"]) + other))

    bijectors = {"mu": tb.ordered(), "sigma": tb.positive(), "theta": tb.interval(0, 1)}
    start = {"mu": jnp.array([-1.0, 1.0]), "sigma": jnp.ones(2), "theta": jnp.array(0.5)}
    mean, sd = [-2.733127, 2.869789, 1.028739, 1.023417, 0.621393], [0.042099, 0.054195, 0.031369, 0.040434, 0.015355]
    return Posterior(log_density, bijectors, start, mean, sd)


POSTERIORS = {
    f.__name__: functools.cache(f)
    for f in (
        *(eight_schools, kidscore, ar_k, logmesquite, logmesquite_logvolume),
        *(nes1980, gp_regr, garch11, low_dim_gauss_mix),
    )
}
