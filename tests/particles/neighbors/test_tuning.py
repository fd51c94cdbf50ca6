"""A free skin (`skin="auto"`) is chosen for the shortest time per step, and does not change the trajectory."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn import particles as tp
from treedyn.environment._parts import Pace
from treedyn.particles.neighbors import _list as neighbors
from treedyn.particles.neighbors._tuning import best_skin


@pytest.mark.parametrize("force, build", [(1e-3, 1e-4), (1e-3, 1e-3), (1e-3, 1e-2)])
def test_the_best_skin_minimizes_the_time_of_a_step(force, build):
    # t(s) ~ (c + s)^3 (f + b s0/s): with f' = b s0, 3 (f + f'/s) = (c + s) f'/s^2
    cutoff, now = 2.5, 0.3
    skin, gain = best_skin(now, 2.5, cutoff, 3, force, build)
    scaled = build * now
    np.testing.assert_allclose(3 * (force + scaled / skin), (cutoff + skin) * scaled / skin**2, rtol=0.1)
    assert gain > 0


def test_the_best_skin_fits_the_box_and_is_a_fixed_point():
    assert best_skin(0.1, 0.2, 2.5, 3, 1e-3, 1.0)[0] == pytest.approx(0.2)
    best, _ = best_skin(0.3, 2.5, 2.5, 3, 1e-3, 1e-4)
    again, gain = best_skin(best, 2.5, 2.5, 3, 1e-3, 1e-4 * 0.3 / best)
    assert again == pytest.approx(best, rel=0.05) and gain < 1e-6


def system(skin):
    crystal = tp.fcc(4, density=0.8442)
    energy = tp.pair_energy(tp.force_shifted(tp.lennard_jones(), cutoff=2.2), crystal.space)
    env = tp.neighbor_list(crystal.space, 2.2, skin=skin).allocate(crystal.position)
    dynamics = td.nve(energy, dt=0.005, space=crystal.space)
    return dynamics, dynamics.init(jax.random.key(0), crystal.position, env, kT=1.4), env


@pytest.mark.slow
def test_a_given_skin_is_kept():
    _, state, env = system(0.3)
    assert env.tuned(state.position, Pace(seconds=10.0, life=1.0, left=10**6)) is env


@pytest.mark.slow
def test_a_free_skin_is_kept_near_the_end_of_a_run():
    _, state, env = system("auto")
    assert env.tuned(state.position, Pace(seconds=1e-3, life=2.0, left=10)) is env


@pytest.mark.slow
def test_a_free_skin_shrinks_if_forces_are_expensive():
    _, state, env = system("auto")
    found = env.tuned(state.position, Pace(seconds=10.0, life=7.0, left=10**6))
    assert 0 < found.skin < env.skin
    assert bool(found.valid(state.position)) and not found.word


@pytest.mark.slow
def test_the_skin_of_a_small_box_fits_it():
    space = tp.periodic(4.5)
    position = 4.5 * jax.random.uniform(jax.random.key(0), (30, 3))
    env = tp.neighbor_list(space, 2.2, skin="auto").allocate(position)
    assert env.skin == pytest.approx(0.05)
    with pytest.raises(ValueError, match="skin: cutoff"):
        tp.neighbor_list(space, 2.2, skin=0.3).allocate(position)


@pytest.mark.slow
def test_a_run_that_tunes_its_skin_has_the_same_trajectory(monkeypatch):
    dynamics, state, env = system(0.3)
    fixed = td.run(dynamics, state, env, steps=60, record=lambda state: state.position)
    monkeypatch.setattr(importlib.import_module("treedyn.driver._session"), "_TUNE_AFTER", 0.0)
    monkeypatch.setattr(neighbors, "WORTH", 0.0)
    monkeypatch.setattr(neighbors, "best_skin", lambda *_: (0.15, 1.0))
    _, _, env = system("auto")
    tuned = td.run(dynamics, state, env, steps=60, chunk=10, record=lambda state: state.position)
    assert tuned.env.skin == pytest.approx(0.15)
    difference = jax.vmap(jax.vmap(dynamics.space.displacement))(jnp.asarray(tuned.records), jnp.asarray(fixed.records))
    assert jnp.max(jnp.abs(difference)) < 1e-9
