"""What a run reduces on the way is what its records amount to, and it neither grows nor is lost."""

import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, energy, near_list, start_position
from tests.helpers import assert_same_bits
from treedyn import stream

DYNAMICS = td.langevin(energy, dt=0.05, kT=0.3, gamma=1.0)
REDUCERS = {"mean": stream.mean(lambda state: state.position), "energy": [stream.variance(lambda state: state.energy)]}


def begin():
    position = start_position()
    env = near_list(position, capacity=24)  # grows on the way
    return DYNAMICS.init(KEY, position, env, kT=0.3), env


def records(state):
    return state.position, state.energy


@pytest.fixture(scope="module")
def stored():
    return td.run(DYNAMICS, *begin(), steps=60, every=4, record=records)


@pytest.mark.slow
def test_a_run_reduces_what_it_would_have_recorded(stored):
    out = td.run(DYNAMICS, *begin(), steps=62, every=4, reduce=REDUCERS, chunk=7)
    assert out.records is None and out.allocations > 0
    np.testing.assert_allclose(out.reduced["mean"], np.mean(stored.records[0], axis=0), rtol=1e-12)
    [found] = out.reduced["energy"]
    np.testing.assert_allclose(found.variance, np.var(stored.records[1], ddof=1), rtol=1e-10)


@pytest.mark.slow
def test_reducing_leaves_no_trace_in_the_trajectory(stored):
    out = td.run(DYNAMICS, *begin(), steps=60, every=4, record=records, reduce=REDUCERS, chunk=60)
    assert_same_bits((out.state, out.records), (stored.state, stored.records))
    again = td.run(DYNAMICS, *begin(), steps=60, every=4, reduce=REDUCERS, chunk=11)
    assert_same_bits(again.reduced["mean"], out.reduced["mean"])


@pytest.mark.slow
def test_a_run_in_pieces_reduces_to_the_same_bits(tmp_path):
    expected = td.run(DYNAMICS, *begin(), steps=60, every=4, reduce=REDUCERS)
    for steps in (13, 44, 60):
        out = td.run(DYNAMICS, *begin(), steps=steps, every=4, reduce=REDUCERS, checkpoint=tmp_path)
    assert_same_bits(out.reduced["mean"], expected.reduced["mean"])
    other = {**REDUCERS, "mean": stream.extremes(lambda state: state.position)}
    with pytest.raises(ValueError, match=r"reduce\['mean'\] = Mean.*instead of Extremes"):
        td.run(DYNAMICS, *begin(), steps=60, every=4, reduce=other, checkpoint=tmp_path)


def test_a_run_without_steps_reduces_to_nothing_seen():
    out = td.run(DYNAMICS, *begin(), steps=3, every=4, reduce=stream.extremes(lambda state: state.energy))
    assert jnp.all(out.reduced.largest == -jnp.inf)
