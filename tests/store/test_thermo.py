"""Thermodynamic quantities of a run, and the table of them."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn import store

KEY = jax.random.key(0)


def test_record_has_the_numbers_of_the_state():
    dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)
    state = dynamics.init(KEY, jnp.ones(3), momentum=jnp.full(3, 2.0))
    record = store.thermo(dt=0.1, conserved=dynamics.conserved, pressure=lambda state, env: env * 1.0)
    out = td.run(dynamics, state, jnp.array(7.0), steps=4, every=2, record=record)
    np.testing.assert_allclose(out.records["time"], [0.2, 0.4])
    np.testing.assert_allclose(out.records["total"], out.records["potential"] + out.records["kinetic"])
    np.testing.assert_allclose(out.records["conserved"], out.records["total"])
    np.testing.assert_allclose(out.records["temperature"], 2 * out.records["kinetic"] / 3)
    np.testing.assert_allclose(out.records["pressure"], 7.0)
    assert out.records["kinetic"][-1] == td.kinetic_energy(out.state)
    assert record == store.thermo(dt=0.1, conserved=dynamics.conserved, pressure=record.more[0][1])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_record_keeps_the_precision_of_the_state(dtype):
    dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)
    state = dynamics.init(KEY, jnp.ones(3, dtype), momentum=jnp.ones(3, dtype))
    assert {x.dtype for x in store.thermo(dt=0.1)(state).values()} == {jnp.dtype(dtype)}


def test_record_leaves_out_missing_quantities():
    force = td.from_force(lambda x: -x)
    state = td.brownian(force, dt=0.1, kT=1.0, gamma=1.0).init(KEY, jnp.ones(3))
    assert store.thermo()(state) == {}
    state = td.nve(force, dt=0.1).init(KEY, jnp.ones(3), kT=1.0)
    assert set(store.thermo()(state)) == {"kinetic", "temperature"}
    with pytest.raises(ValueError, match="pressure"):
        store.thermo(pressure=1.0)


def lines(table, *calls):
    stream, clock = io.StringIO(), iter(np.arange(100.0))
    with store.ThermoTable(stream, clock=lambda: float(next(clock)), **table) as out:
        for call in calls:
            call(out)
    return stream.getvalue().splitlines()


def rows(*steps, **numbers):
    n = len(steps)
    given = numbers or {"potential": -1.5}
    return lambda out: out.write(np.array(steps), {name: np.full(n, x) for name, x in given.items()})


def test_columns_are_aligned_for_all_numbers():
    numbers = {"potential": -123456.789, "kinetic": 1e-9, "pressure": np.nan, "total": 3e12, "temperature": 0.0}
    text = lines({}, rows(0, 1_000_000_000, **numbers))
    assert len({len(line) for line in text}) == 1
    assert text[0].split() == ["step", "potential", "kinetic", "total", "temperature", "pressure", "steps/s"]
    assert text[2].split() == ["0", "-123456.7890", "1.0000e-09", "3.0000e+12", "0.0000", "nan", "–"]
    ends = [text[0].index(name) + len(name) for name in text[0].split()]
    assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for line in text[2:] for end in ends)


def test_header_is_repeated_and_follows_the_columns():
    text = lines({"header_every": 2, "speed": False}, rows(1, 2, 3), rows(4, kinetic=1.0))
    assert [line.split()[1] for line in text if "step" in line] == ["potential", "potential", "kinetic"]


def test_speed_is_measured_between_two_calls():
    text = lines({}, rows(0), rows(500, 1000), rows(1010))
    assert [line.split()[-1] for line in text[2:]] == ["–", "1,000", "1,000", "10"]


def test_rewinding_is_printed_and_steps_can_be_repeated():
    text = lines({"speed": False}, rows(10, 20), lambda out: out.rewind(10), rows(20))
    assert text[-2] == "── back to step 10 ──"
    assert text[-1] == text[-3]
    with pytest.raises(ValueError, match="rewind"):
        lines({}, rows(10, 20), rows(20))


def test_default_stream_is_the_current_standard_output(capsys):
    store.ThermoTable(speed=False).write(np.array([5]), {"potential": np.array([1.0])})
    assert capsys.readouterr().out.split()[-2:] == ["5", "1.0000"]
