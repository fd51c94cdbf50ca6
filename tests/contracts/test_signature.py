"""Every dynamics has the same two verbs, with the same arguments in the same order."""

import inspect

import jax.numpy as jnp
import pytest

import treedyn as td
from tests.helpers import KEY, METHODS, by_method, make

EVERY_METHOD = pytest.mark.parametrize("method", METHODS)


@EVERY_METHOD
def test_init_takes_key_position_env_and_names_the_rest(method):
    parameters = list(inspect.signature(make(method).init).parameters.values())
    assert [p.name for p in parameters[:3]] == ["key", "position", "env"]
    assert [p.default for p in parameters[:3]] == [inspect.Parameter.empty, inspect.Parameter.empty, None]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[3:])


@EVERY_METHOD
def test_step_takes_state_and_env(method):
    parameters = inspect.signature(make(method).step).parameters
    assert list(parameters) == ["state", "env"]
    assert parameters["env"].default is None


@by_method("langevin_baoab", "fire")
def test_a_dynamics_unpacks_into_init_and_step(method):
    dynamics = make(method)
    init, step = dynamics
    assert init == dynamics.init and step == dynamics.step
    assert step(init(KEY, jnp.ones(3))).step == 1


@pytest.mark.parametrize(
    "factory", [td.nve, td.langevin, td.brownian, td.nose_hoover, td.csvr, td.berendsen, td.andersen]
)
def test_factories_take_target_dt_and_kT_first_and_no_keyword_bus(factory):
    parameters = inspect.signature(factory).parameters
    assert list(parameters)[:2] == ["target", "dt"]
    assert "kT" not in parameters or list(parameters)[2] == "kT"
    assert all(p.kind is not p.VAR_KEYWORD and p.kind is not p.VAR_POSITIONAL for p in parameters.values())
    assert {"mass", "space"} <= set(parameters)
