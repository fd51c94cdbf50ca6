"""Annealed dynamics and correctors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.diffusion.cases import EDM_DATA, KEY, law, run
from tests.helpers import mostly_slow
from treedyn import diffusion as df
from treedyn.testing import sigmas

LEVELS = df.variance_exploding(10, sigma_min=0.01, sigma_max=1.0)
FIRST = LEVELS.at(0)
TARGET, MASS = EDM_DATA.at(FIRST), df.unit_mass(FIRST)


@pytest.mark.parametrize(
    "corrections, known", mostly_slow([(100, 0.507847248), (1000, 0.500837506)], (100, 0.507847248))
)
def test_annealed_langevin_dynamics_ends_with_the_known_deviation(corrections, known):
    # steps of 2e-5 (sigma/0.01)^2
    walk = td.brownian(TARGET, dt=0.2, kT=1.0, gamma=1.0, mass=MASS, method="euler_maruyama")
    mean, std = law(df.annealed(walk, EDM_DATA, LEVELS, corrections), std=1.0)
    assert abs(std - known) < 1e-6 and abs(mean) < 1e-6


@pytest.mark.slow
def test_momenta_follow_the_masses_of_the_levels():
    # without friction and with exact data at rest, only the mass changes
    walk = td.langevin(TARGET, 0.5, 1.0, 1.0, mass=MASS)
    sampler = df.annealed(walk, EDM_DATA, LEVELS, 40)
    state = sampler.init(KEY, jnp.zeros(2000))
    ratios = []
    for _ in range(4):
        state = sampler.step(state)
        own = state.memory["corrector"]
        ratios.append(np.mean(own["momentum"] ** 2) * float(LEVELS.at(state.step - 1).sigma) ** 2)
    np.testing.assert_allclose(ratios, 1.0, atol=0.3)


@pytest.mark.slow
def test_a_corrector_repairs_a_poor_predictor():
    levels = df.variance_exploding(8, sigma_min=0.01, sigma_max=20.0)
    first = levels.at(0)
    walk = td.langevin(EDM_DATA.at(first), 0.7, 1.0, 1.0, mass=df.unit_mass(first))
    euler = df.euler(EDM_DATA, levels)
    poor = law(euler, std=20.0)[1]
    good = law(df.annealed(walk, EDM_DATA, levels, 20, predictor=euler), std=20.0)[1]
    assert abs(good - 0.5) < 0.2 * abs(poor - 0.5)


CORRECTORS = {
    "hmc": lambda: td.hmc(TARGET, 0.5, 4, mass=MASS),
    "nuts": lambda: td.nuts(TARGET, 0.5, mass=MASS),
    "nose_hoover": lambda: td.nose_hoover(TARGET, 0.5, 1.0, 2.0, mass=MASS),
    "csvr": lambda: td.csvr(TARGET, 0.5, 1.0, 2.0, mass=MASS),
}


@pytest.mark.parametrize("name", mostly_slow(CORRECTORS))
def test_any_dynamics_is_a_corrector(name):
    sampler = df.annealed(CORRECTORS[name](), EDM_DATA, LEVELS, 20)
    state = run(sampler, KEY, sampler.start(jax.random.key(1), jnp.zeros(2000)), 10)
    x = state.position
    # chains without noise keep some of their energy
    slack = {"csvr": 0.05, "nose_hoover": 0.05}.get(name, 0.015)
    assert abs(np.std(x) - 0.5) < slack and abs(sigmas(x, 0.0)) < 5
    if name == "hmc":
        assert 0 < state.info.acceptance <= 1


def test_a_corrector_of_another_target_is_refused():
    with pytest.raises(ValueError, match=r"corrector.*denoiser\.at"):
        df.annealed(td.langevin(lambda x: jnp.sum(x**2), 0.1, 1.0), EDM_DATA, LEVELS)
