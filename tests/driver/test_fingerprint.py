"""What a run is known by: the same in every process, and another one as soon as something else is computed."""

import functools
import itertools
import os
import subprocess
import sys
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
from treedyn.driver._fingerprint import computation, describe

ROOT = Path(__file__).parents[2]
PROGRAM = """
import functools, jax, jax.numpy as jnp, treedyn as td
from treedyn import particles as tp
from treedyn.driver._fingerprint import computation, describe
NAMES = frozenset({"a", "b", "c", "d"})
@jax.jit
def helper(x): return x * 2.0
def said(x): jax.debug.print("energy {x}", x=x); return x
def outer(weights, names):
    def energy(x): return said(helper(jnp.sum(weights * x**2)) + float("a" in names))
    return energy
energy = functools.partial(outer(jnp.arange(3.0), NAMES))
dynamics = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
state = dynamics.init(jax.random.key(0), jnp.ones(3))
print(computation(dynamics.step, state), computation(jax.jit(energy), jnp.ones(3)))
print(describe((dynamics, {"k": jax.random.key(3), "f": energy, "n": 3, "names": NAMES})))
lattice = tp.fcc(3, density=0.8)
pairs = td.nve(tp.pair_energy(tp.lennard_jones(), lattice.space, cutoff=1.5), dt=0.001)
env = tp.neighbor_list(lattice.space, 1.5).allocate(lattice.position)
print(computation(pairs.step, pairs.init(jax.random.key(0), lattice.position, env), env))
"""


def run_program(*changes):
    text = PROGRAM
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    seed = str(np.random.default_rng().integers(1, 1000))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.splitlines()[-3:]  # what it prints before is of the energy


@pytest.mark.slow
def test_every_process_finds_the_same():
    first = run_program()
    assert len(set(first)) == 3 and run_program() == first
    # what changes nothing: words, names, the way it is written
    same = "# words\n\ndef assistant(y):\n    'Say more.'\n    return 2.0 * y if False else y * 2.0"
    assert run_program(("helper(jnp", "assistant(jnp"), ("def helper(x): return x * 2.0", same)) == first
    assert run_program(("energy {x}", "the energy is {x}")) == first
    assert run_program(("x * 2.0", "x * 2.5")) != first


SCALE, TABLE, ARRAY = 2.0, {"a": [1.0]}, np.ones(3)


def scaled(scale, table, array):
    """Return a function that uses all of them as globals, in a comprehension and through a helper."""
    space = {"SCALE": scale, "TABLE": table, "ARRAY": array, "jnp": jnp, "jax": jax}
    exec(
        "helper = jax.jit(lambda x: x + TABLE['a'][0])\n"
        "def f(x): return sum([SCALE * helper(x) for _ in range(2)]) + jnp.sum(ARRAY)",
        space,
    )
    return space["f"]


class Plain:
    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        return self.k * x

    def method(self, x):
        return x + self.k


class Spring(td.Struct):
    stiffness: float

    def __call__(self, x):
        return self.stiffness * x


def outer(factor, array=None):
    return lambda x: factor * x + (0 if array is None else jnp.sum(array) * array.size)


@pytest.mark.parametrize(
    "values",
    [
        [outer(1.0), outer(2.0), outer(np.nextafter(1.0, 2.0)), outer(1.0, np.ones(2)), outer(1.0, jnp.zeros(2))],
        [outer(1.0, np.arange(2000.0)), outer(1.0, np.arange(2000.0) + 1e-9)],
        [lambda x: x + 1, lambda x: x + 2, lambda x: x - 1, jnp.sin, jnp.cos, lambda x: (x,), lambda x: [x, x]],
        [scaled(1.0, TABLE, ARRAY), scaled(2.0, TABLE, ARRAY), scaled(1.0, {"a": [2.0]}, ARRAY)],
        [scaled(1.0, TABLE, ARRAY), scaled(1.0, TABLE, 2 * ARRAY), scaled(1.0, TABLE, np.ones(4))],
        [Plain(1.0), Plain(2.0), Plain(1.0).method, Plain(2.0).method],
        [functools.partial(jnp.add, 1.0), functools.partial(jnp.add, 2.0), functools.partial(jnp.multiply, 1.0)],
        [Spring(stiffness=3.0), Spring(stiffness=2.0), jax.jit(outer(1.0)), jax.jit(outer(2.0))],
        [lambda x, n=n, s=s: jax.lax.fori_loop(0, n, lambda _, y: y * s, x) for n in (2, 3) for s in (1.0, 1.5)],
        [jax.grad(lambda x, k=k: jnp.sum(jax.nn.softplus(k * x))) for k in (1.0, 2.0)],
        [jax.checkpoint(outer(1.0)), jax.checkpoint(outer(2.0)), jax.vmap(outer(1.0)), jax.vmap(outer(2.0))],
    ],
)
def test_what_computes_something_else_has_another_fingerprint(values):
    x = jnp.arange(3.0)
    found = [computation(value, x) for value in values]
    assert [computation(value, x) for value in values] == found
    results = [np.asarray(value(x)) for value in values]
    for one, other in itertools.combinations(range(len(values)), 2):
        assert np.array_equal(results[one], results[other]) or found[one] != found[other]
    assert len(set(found)) > len(values) / 2


@given(st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False) | st.booleans() | st.integers() | st.text()))
def test_trees_are_described_by_their_bits(values):
    found = describe(values)
    assert found == describe(dict(reversed(values.items())))
    for name, value in values.items():
        other = not value if isinstance(value, bool) else value * 2 + value
        same = other == value and repr(other) == repr(value)  # 0, infinity and no words
        assert describe({**values, name: [value]}) != found and (describe({**values, name: other}) == found) == same
    assert describe(jnp.float32(1)) != describe(jnp.float64(1)) != describe(jnp.ones(1))
    assert describe(jnp.zeros((2, 3))) != describe(jnp.zeros((3, 2))) != describe(jnp.zeros((3, 2), int))


def test_structs_are_described_by_their_kind_and_their_static_fields():
    def dynamics(*, length=3, kind=td.nose_hoover):
        return describe(kind(outer(1.0), dt=0.1, kT=1.0, tau=1.0, **({"length": length} if length else {})))

    assert dynamics() == dynamics() != dynamics(length=4)
    assert dynamics(length=None, kind=td.csvr) != dynamics(length=None, kind=td.berendsen)
    assert describe(td.nve(outer(1.0), dt=0.1)) == describe(td.nve(outer(2.0), dt=0.1))


def square(x):
    return jnp.sum(x**2) / 2


def begin(energy=square, env=None):
    dynamics = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
    return dynamics, dynamics.init(KEY, jnp.ones(3), env), env


def test_another_function_of_the_same_name_is_said_and_gone_on_with(tmp_path):
    def records(k):
        return lambda state: k * state.position

    td.run(*begin(), steps=10, record=records(1.0), checkpoint=tmp_path)
    with pytest.warns(UserWarning, match=r"checkpoint: record: not what the run in .* was begun with") as seen:
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
    with pytest.warns(UserWarning, match="checkpoint: dynamics: not what"):
        td.run(*begin(energies(2.0)), steps=20, checkpoint=folder)


def test_reducers_and_outputs_are_looked_at_as_well(tmp_path):
    def reducer(k):
        return stream.mean(of=lambda state: k * state.position)

    def go(steps, k):
        with td.store.CSVWriter(tmp_path / "x.csv", mode="a") as writer:
            outputs = [td.Output(writer, lambda s: {"x": k * s.energy}, every=5)]
            td.run(*begin(), steps=steps, reduce=reducer(k), outputs=outputs, checkpoint=tmp_path / "folder")

    go(10, 1.0)
    with pytest.warns(UserWarning, match=r"reduce, the record of CSVWriter \.\./x\.csv: not what"):
        go(20, 2.0)


def test_other_momenta_at_the_start_are_said(tmp_path):
    dynamics, state, _ = begin()
    td.run(dynamics, state, steps=10, checkpoint=tmp_path)
    with pytest.warns(UserWarning, match="checkpoint: the momenta of the start: not what"):
        td.run(dynamics, state.replace(momentum=1.5 * state.momentum), steps=20, checkpoint=tmp_path)


def test_a_run_that_was_over_goes_on_for_another_end(tmp_path):
    def until(count):
        return lambda state: state.step >= count

    options = {"steps": 50, "checkpoint": tmp_path, "checkpoint_every": 4}
    assert td.run(*begin(), until=until(10), **options).steps == 10
    assert td.run(*begin(), until=until(10), **options).steps == 10
    with pytest.warns(UserWarning, match="checkpoint: until: not what"):
        assert td.run(*begin(), until=until(20), **options).steps == 20
    with pytest.warns(UserWarning, match="checkpoint: until: not what"):
        assert td.run(*begin(), until=until(15), **options).steps == 20
    with pytest.warns(UserWarning, match="checkpoint: until: not what"):
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
    with pytest.warns(UserWarning, match="checkpoint: the lists in env: not what"):
        td.run(*begin(env(1.0, skin=0.7)), steps=20, checkpoint=tmp_path)
