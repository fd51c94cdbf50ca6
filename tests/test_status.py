"""The status word, and the advice for every bit."""

import jax
import jax.numpy as jnp
import pytest

from treedyn._status import SimulationError, Status, clear, has, word

BITS = [bit for bit in Status if bit]


def test_bits_are_single_and_different():
    assert len(BITS) == 8 and sum(BITS) == 255 and all(bit & (bit - 1) == 0 for bit in BITS)
    assert Status.OK.advice == "nothing went wrong"


@pytest.mark.parametrize("bit", BITS)
def test_every_bit_has_a_description_and_advice(bit):
    what, _, advice = bit.advice.partition(": ")
    assert len(what) > 20 and len(advice) > 20


def test_advice_starts_with_the_most_severe_bit():
    both = (Status.STALE | Status.NONFINITE).advice
    assert both == f"{Status.NONFINITE.advice}; {Status.STALE.advice}"


def test_words_are_set_read_and_cleared_under_jit():
    @jax.jit
    def f(x):
        status = word(Status.NONFINITE, ~jnp.isfinite(x)) | word(Status.BOX, x > 3) | word(Status.STALE)
        return status, has(status, Status.BOX | Status.NONFINITE), clear(status, Status.STALE)

    status, trouble, rest = f(jnp.inf)
    assert status.dtype == rest.dtype == jnp.uint32
    assert Status(int(status)) == Status.NONFINITE | Status.BOX | Status.STALE
    assert trouble and Status(int(rest)) == Status.NONFINITE | Status.BOX
    assert not f(1.0)[1]


def test_the_error_carries_state_env_records_and_step():
    error = SimulationError(Status.BOX | Status.STALE, "state", "env", "records", 12)
    assert (error.status, error.state, error.env, error.records, error.step) == (5, "state", "env", "records", 12)
    assert "after step 12 (STALE|BOX)" in str(error) and Status.BOX.advice in str(error)
