"""The small kernels, for pytest-benchmark: `pytest benchmarks --numprocesses=0`."""

from typing import Any

import jax
import pytest

from benchmarks import systems
from benchmarks.peers.treedyn import Melt
from benchmarks.work import Work

pytest.importorskip("pytest_benchmark", reason="comes with the extra `bench`")

WORK = Work(atoms=4_000, warm=200)


@pytest.fixture(scope="module")
def melt() -> Melt:
    program = Melt(WORK, systems.make(WORK))
    program.warm(WORK)
    program.env = program.env.rebuild(program.state.position)
    return program


def _measure(benchmark: Any, function: Any, *arguments: Any) -> Any:
    """Measure a function that has been compiled, until its result is there."""
    compiled = jax.jit(function).lower(*arguments).compile()
    return benchmark(lambda: jax.block_until_ready(compiled(*arguments)))


def test_force(benchmark: Any, melt: Melt) -> None:
    _measure(benchmark, jax.grad(melt.potential), melt.state.position, melt.env)


def test_energy(benchmark: Any, melt: Melt) -> None:
    _measure(benchmark, melt.potential, melt.state.position, melt.env)


def test_build(benchmark: Any, melt: Melt) -> None:
    lists = _measure(benchmark, lambda lists, x: lists.rebuild(x), melt.env, melt.state.position)
    assert int(lists.status) == 0


def test_check_of_the_list(benchmark: Any, melt: Melt) -> None:
    valid = _measure(benchmark, lambda lists, x: lists.valid(x), melt.env, melt.state.position)
    assert bool(valid)


def test_step(benchmark: Any, melt: Melt) -> None:
    state = _measure(benchmark, melt.dynamics.step, melt.state, melt.env)
    assert int(state.status) == 0
