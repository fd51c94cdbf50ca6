"""What a run is known by: the same in every process, and another one as soon as something else is computed."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import treedyn as td
from tests.driver.environments import KEY, near_list, start_position
from treedyn import stream
from treedyn.driver.fingerprint import computes, describe

ROOT = Path(__file__).parents[2]
PROGRAM = """
import functools, jax, jax.numpy as jnp, treedyn as td
from treedyn import stream
SCALE = 2.0
NAMES = {"a", "b", "c", "d"}
def helper(x): return x * SCALE
def outer(weights):
    def energy(x): return helper(jnp.sum(weights * x**2)) + ("a" in {"a", "b", "c"})
    return energy
energy = outer(jnp.arange(3.0))
jitted = jax.jit(energy)
dynamics = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
print(computes((energy, jitted, dynamics, functools.partial(energy, 1.0), stream.mean(of=helper), lambda s: s.energy)))
print(describe((dynamics, {"k": jax.random.key(3), "f": energy, "n": 3})))
"""


def run_program(changes=()):
    text = "from treedyn.driver.fingerprint import computes, describe\n" + PROGRAM
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    seed = str(np.random.default_rng().integers(1, 1000))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=True)
    return done.stdout


def test_every_process_finds_the_same():
    first = run_program()
    assert first.count("\n") == 2 and run_program() == first
    # what changes nothing: a comment, an empty line, a name of a variable
    assert run_program([("def helper(x): return x", "# words\n\ndef helper(y): return y")]) == first


def outer(factor, array=None):
    def inner(x):
        return factor * x + (0 if array is None else array)

    return inner


class Spring(td.Struct):
    stiffness: float
    form: Callable = td.function()

    def __call__(self, x):
        return self.stiffness * self.form(x)


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


def defaulted(x, factor=2.0):
    return factor * x


def another(x, factor=3.0):
    return factor * x


another.__name__ = another.__qualname__ = "defaulted"
another.__code__ = defaulted.__code__
DIFFERENT = [
    [outer(1.0), outer(2.0), outer(1), outer(1.0, np.ones(2)), outer(1.0, np.ones(3)), outer(1.0, jnp.zeros(2))],
    [lambda x: x + 1, lambda x: x + 2, lambda x: x - 1, lambda x: jnp.sin(x), lambda x: jnp.cos(x), lambda x: (x,)],
    [Spring(stiffness=1.0, form=jnp.sin), Spring(stiffness=2.0, form=jnp.sin), Spring(stiffness=1.0, form=jnp.cos)],
    [Spring(stiffness=1.0, form=outer(1.0)), Spring(stiffness=1.0, form=outer(2.0))],
    [defaulted, another, functools.partial(defaulted, factor=1.0), functools.partial(defaulted, factor=2.0)],
    [stream.mean(of=outer(1.0)), stream.mean(of=outer(2.0)), stream.variance(of=outer(1.0))],
    [jax.jit(outer(1.0)), jax.jit(outer(2.0)), recursive, None, (), (None,)],
    [{"a": outer(1.0)}, {"b": outer(1.0)}, [outer(1.0)], (outer(1.0),), {outer}, {1, 2}, {1, 3}],
]


@pytest.mark.parametrize("values", DIFFERENT)
def test_what_computes_something_else_has_another_fingerprint(values):
    found = [computes(value) for value in values]
    assert len(set(found)) == len(values)
    assert [computes(value) for value in values] == found


def test_a_global_number_and_a_function_beside_it_count(tmp_path):
    def made(text):
        space = {"__name__": "made"}
        exec(text, space)
        for value in space.values():
            if callable(value):
                value.__module__ = "made"
        return computes(space["f"])

    base = "A = 1.0\ndef g(x): return x + 1\ndef f(x): return A * g(x)\n"
    assert made(base) == made(base) == made("B = 3\n" + base)
    changed = [base.replace("1.0", "2.0"), base.replace("x + 1", "x + 2"), base.replace("A *", "A +")]
    assert len({made(base), *map(made, changed)}) == 4


@given(st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False) | st.booleans() | st.integers() | st.text()))
def test_trees_are_described_by_their_bits(values):
    found = describe(values)
    assert found == describe(dict(reversed(values.items())))
    for name, value in values.items():
        other = {**values, name: value + value + 1 if isinstance(value, float) else [value]}
        assert (describe(other) == found) == (isinstance(value, float) and value + value + 1 == value)


def square(x):
    return jnp.sum(x**2) / 2


def begin(energy=square, env=None):
    dynamics = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
    return dynamics, dynamics.init(KEY, jnp.ones(3), env), env


def test_another_function_of_the_same_name_is_said_and_gone_on_with(tmp_path):
    def records(k):
        return lambda state: k * state.position

    td.run(*begin(), steps=10, record=records(1.0), checkpoint=tmp_path)
    with pytest.warns(
        UserWarning, match=r"other code or numbers in record, or .*from step 10 with what is here"
    ) as seen:
        out = td.run(*begin(), steps=20, record=records(2.0), checkpoint=tmp_path)
    assert seen[0].filename == __file__
    assert out.steps == 20
    td.run(*begin(), steps=30, record=records(2.0), checkpoint=tmp_path)  # said once

    def energies(k):
        def energy(x):
            return k * jnp.sum(x**2)

        return energy

    folder = tmp_path / "energy"
    td.run(*begin(energies(1.0)), steps=10, checkpoint=folder)
    with pytest.warns(UserWarning, match="in the forces and lists of the start, dynamics, or on another machine"):
        td.run(*begin(energies(2.0)), steps=20, checkpoint=folder)


def test_reducers_and_outputs_are_looked_at_as_well(tmp_path):
    def reducer(k):
        return stream.mean(of=lambda state: k * state.position)

    def go(steps, k):
        with td.files.CSVWriter(tmp_path / "x.csv", mode="a") as writer:
            outputs = [td.Output(writer, lambda s: {"x": k * s.energy}, every=5)]
            td.run(*begin(), steps=steps, reduce=reducer(k), outputs=outputs, checkpoint=tmp_path / "folder")

    go(10, 1.0)
    with pytest.warns(UserWarning, match=r"in reduce, the record of CSVWriter x\.csv, or"):
        go(20, 2.0)


def test_a_run_that_was_over_goes_on_for_another_end(tmp_path):
    def until(count):
        return lambda state: state.step >= count

    options = {"steps": 50, "checkpoint": tmp_path, "checkpoint_every": 4}
    assert td.run(*begin(), until=until(10), **options).steps == 10
    assert td.run(*begin(), until=until(10), **options).steps == 10
    with pytest.warns(UserWarning, match="in until"):
        assert td.run(*begin(), until=until(20), **options).steps == 20
    with pytest.warns(UserWarning, match="in until"):
        assert td.run(*begin(), until=until(15), **options).steps == 20
    with pytest.warns(UserWarning, match="in until"):
        out = td.run(*begin(), **options)
    assert out.steps == 50
    assert bool(jnp.all(out.state.position == td.run(*begin(), steps=50).state.position))


def test_another_environment_is_refused_and_other_lists_are_said(tmp_path):
    def energy(x, env):
        return jnp.sum(env["weights"] * x**2)

    def begin(env):
        dynamics = td.langevin(energy, dt=0.01, kT=1.0, gamma=1.0)
        return dynamics, dynamics.init(KEY, start_position(), env), env

    def env(weight, skin=0.8):
        return {"weights": jnp.full((9, 2), weight), "list": near_list(start_position(), skin=skin)}

    td.run(*begin(env(1.0)), steps=10, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"the run in .* is another one: env\['weights'\]"):
        td.run(*begin(env(2.0)), steps=20, checkpoint=tmp_path)
    with pytest.warns(UserWarning, match="in the forces and lists of the start, or on another machine"):
        td.run(*begin(env(1.0, skin=0.7)), steps=20, checkpoint=tmp_path)
