"""How a checkpoint recognizes its run: by the bits of its inputs, the shapes of its results, versions and a tag."""

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

import treedyn as td
from tests.driver.environments import KEY
from treedyn.driver._resume import describe


def scaled(factor):
    return lambda x: factor * jnp.sum(x**2) / 2


HARMONIC = scaled(1.0)


def begin(energy=HARMONIC, env=None):
    dynamics = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
    return dynamics, dynamics.init(KEY, jnp.ones(3), env), env


@given(st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False) | st.booleans() | st.integers() | st.text()))
def test_trees_are_described_by_their_bits(values):
    found = describe(values)
    assert found == describe(dict(reversed(values.items())))
    for name, value in values.items():
        other = not value if isinstance(value, bool) else value * 2 + value
        same = other == value and repr(other) == repr(value)  # 0, infinity and empty strings
        assert describe({**values, name: [value]}) != found and (describe({**values, name: other}) == found) == same
    assert describe(jnp.float32(1)) != describe(jnp.float64(1)) != describe(jnp.ones(1))
    assert describe(jnp.zeros((2, 3))) != describe(jnp.zeros((3, 2))) != describe(jnp.zeros((3, 2), int))


def test_structs_are_described_by_their_class_and_static_fields():
    def dynamics(*, length=3, kind=td.nose_hoover):
        return describe(kind(scaled(1.0), dt=0.1, kT=1.0, tau=1.0, **({"length": length} if length else {})))

    assert dynamics() == dynamics() != dynamics(length=4)
    assert dynamics(length=None, kind=td.csvr) != dynamics(length=None, kind=td.berendsen)
    assert describe(td.nve(scaled(1.0), dt=0.1)) == describe(td.nve(scaled(2.0), dt=0.1))


@pytest.mark.slow
def test_another_tag_is_refused(tmp_path):
    td.run(*begin(), steps=10, checkpoint=tmp_path, tag="one")
    with pytest.raises(ValueError, match=r"another run, with tag = one instead of two.*resume=\"never\""):
        td.run(*begin(scaled(2.0)), steps=20, checkpoint=tmp_path, tag="two")
    assert td.run(*begin(), steps=20, checkpoint=tmp_path, tag="one").steps == 20
    assert td.run(*begin(), steps=20, checkpoint=tmp_path, tag="two", resume="never").steps == 20


def test_another_version_is_reported(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("treedyn.driver._resume.version", lambda name: "0.0.1")
        td.run(*begin(), steps=10, checkpoint=tmp_path)
    with pytest.warns(UserWarning, match=r"written by treedyn 0\.0\.1, jax 0\.0\.1; the last bits") as seen:
        assert td.run(*begin(), steps=20, checkpoint=tmp_path).steps == 20
    assert seen[0].filename == __file__
    assert td.run(*begin(), steps=30, checkpoint=tmp_path).steps == 30  # reported once


@pytest.mark.slow
def test_a_finished_run_goes_on_with_another_until(tmp_path):
    def until(count):
        return lambda state: state.step >= count

    options = {"steps": 50, "checkpoint": tmp_path, "checkpoint_every": 4}
    assert td.run(*begin(), until=until(10), **options).steps == 10
    assert td.run(*begin(), until=until(10), **options).steps == 10
    assert td.run(*begin(), until=until(20), **options).steps == 20
    assert td.run(*begin(), until=until(15), **options).steps == 20
    out = td.run(*begin(), **options)
    assert out.steps == 50
    assert bool(jnp.all(out.state.position == td.run(*begin(), steps=50).state.position))


def test_another_environment_is_refused(tmp_path):
    def energy(x, env):
        return jnp.sum(env["weights"] * x**2)

    def begin(env):
        dynamics = td.langevin(energy, dt=0.01, kT=1.0, gamma=1.0)
        return dynamics, dynamics.init(KEY, jnp.ones((3, 2)), env), env

    def env(weight):
        return {"weights": jnp.full((3, 2), weight)}

    td.run(*begin(env(1.0)), steps=10, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"another run, with env\['weights'\]"):
        td.run(*begin(env(2.0)), steps=20, checkpoint=tmp_path)
