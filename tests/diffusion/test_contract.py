"""What holds for every dynamics holds for samplers: trees, dtypes, batches, restarts, ensembles, one trace."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.diffusion import cases
from tests.diffusion.cases import EDM_DATA, KEY, MIXTURE, end
from tests.helpers import TREES, assert_close, assert_same_bits, mostly_slow, moving_leaves
from treedyn import diffusion as df

LEVELS = df.edm(8)
FIRST = LEVELS.at(0)


def annealed(data, levels):
    walk = td.langevin(data.at(levels.at(0)), 0.5, 1.0, 1.0, mass=df.unit_mass(levels.at(0)))
    return df.annealed(walk, data, levels, 3, predictor=df.euler(data, levels))


SAMPLERS = {
    "euler": df.euler,
    "heun": df.heun,
    "midpoint": df.midpoint,
    "rk4": df.rk4,
    "dpmpp_2s": df.dpmpp_2s,
    "dpmpp_2m": df.dpmpp_2m,
    "dpmpp_3m": df.dpmpp_3m_corrected,
    "unipc": df.unipc,
    "adams_bashforth": df.adams_bashforth,
    "ancestral": df.ancestral,
    "dpmpp_2m_sde": df.dpmpp_2m_sde,
    "churned": df.churned,
    "euler_maruyama": df.euler_maruyama,
    "annealed": annealed,
}
few_fast = pytest.mark.parametrize("name", mostly_slow(SAMPLERS, "dpmpp_2m", "annealed"))


@partial(jax.jit, static_argnames="steps")
def run_boxed(sampler, boxed, steps):
    return td.trajectory(sampler, sampler.init(KEY, td.tree.unbox(boxed)), steps=steps).state


def run(name, position, data=EDM_DATA, steps=8):
    return run_boxed(SAMPLERS[name](data, LEVELS), td.tree.box(position), steps)


@few_fast
def test_rich_trees_keep_their_structure_and_float32_is_close_to_float64(name):
    single, double = (run(name, TREES["rich"](dtype)) for dtype in (jnp.float32, jnp.float64))
    assert jax.tree.structure(single.position) == jax.tree.structure(TREES["rich"](jnp.float32))
    assert int(single.status) == 0 and single.position["number"] == 3
    deterministic = name in ("euler", "heun", "midpoint", "rk4", "dpmpp_2s", "dpmpp_2m", "dpmpp_3m", "unipc")
    for x, y in zip(moving_leaves(single.position), moving_leaves(double.position), strict=True):
        assert x.dtype == jnp.float32 and np.all(np.isfinite(x))
        if deterministic or name == "adams_bashforth":
            np.testing.assert_allclose(x, y, atol=1e-4)


@few_fast
def test_a_sample_does_not_depend_on_its_batch_nor_on_other_leaves(name):
    sampler = SAMPLERS[name](MIXTURE, LEVELS)
    ends = {}
    for members in (1, 64):
        many = td.ensemble(sampler, members=members)
        ends[members] = cases.run(many, KEY, sampler.start(KEY, jnp.zeros(()), members=members), 8).position
    np.testing.assert_allclose(ends[64][0], ends[1][0], rtol=1e-9)
    assert len(np.unique(ends[64])) == 64


@pytest.mark.parametrize("name", mostly_slow(("heun", "dpmpp_3m", "unipc", "ancestral", "annealed"), "dpmpp_3m"))
def test_chunks_and_restarts_give_the_same_bits(name, tmp_path):
    sampler = SAMPLERS[name](MIXTURE, LEVELS)
    start = sampler.init(KEY, jnp.asarray(20.0))
    once = td.run(sampler, start, steps=8).state
    td.run(sampler, start, steps=3, chunk=2, checkpoint=tmp_path)
    again = td.run(sampler, start, steps=8, chunk=3, checkpoint=tmp_path).state
    assert_same_bits(again.position, once.position)
    assert_same_bits(again.aux, once.aux)


# the others report their last evaluation, which was at another position
@pytest.mark.parametrize(
    "name", mostly_slow([name for name in SAMPLERS if name not in ("unipc", "churned")], "dpmpp_2m", "annealed")
)
def test_force_and_aux_are_score_and_denoised_data_of_the_position(name):
    state = run(name, jnp.array([3.0, -20.0]), steps=5)
    fresh = EDM_DATA.at(LEVELS.at(5))(state.position)
    assert_close(state.force, fresh.force, 1e-12)
    assert_close(state.aux, fresh.aux, 1e-12)


@few_fast
def test_a_step_is_traced_once_and_levels_may_change_without_another_trace(name):
    count = 0

    @jax.jit
    def step(sampler, state):
        nonlocal count
        count += 1
        return sampler.step(state)

    for levels in (LEVELS, df.edm(8, sigma_max=50.0)):
        sampler = SAMPLERS[name](EDM_DATA, levels)
        state = cases.begin(sampler, KEY, jnp.ones(2))
        for _ in range(2):
            state = step(sampler, state)
    assert count == 1


@pytest.mark.slow
def test_samples_are_differentiable_with_respect_to_parameters_of_the_denoiser():
    def mean(shift):
        return jnp.mean(end(df.dpmpp_2m(df.gaussian(mean=shift, std=0.5), LEVELS), jnp.array([10.0, -5.0])))

    h = 1e-5
    np.testing.assert_allclose(jax.grad(mean)(0.3), (mean(0.3 + h) - mean(0.3 - h)) / (2 * h), rtol=1e-8)


def test_the_network_is_asked_once_a_level_by_one_step_methods_and_not_without_noise():
    calls = []

    def apply(params, x, level):
        jax.debug.callback(lambda s: calls.append(float(s)), level.sigma)
        return x / (1 + level.sigma**2)

    for name, count in (("euler", 8), ("heun", 15), ("dpmpp_2m", 8), ("unipc", 8), ("ancestral", 8)):
        calls.clear()
        sampler = SAMPLERS[name](df.network(apply, None, predicts="denoised"), LEVELS)
        jax.block_until_ready(td.trajectory(sampler, sampler.init(KEY, jnp.ones(2)), steps=8))
        jax.effects_barrier()
        assert len(calls) == count and min(calls) > 0
