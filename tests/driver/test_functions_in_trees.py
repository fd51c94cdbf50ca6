"""Functions may be anywhere in a tree: in positions, in environments, in targets, and in what moves on its own."""

import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY
from tests.helpers import assert_same_bits
from treedyn import particles as tp
from treedyn import stream

NET = eqx.nn.MLP(3, "scalar", 8, 1, key=KEY)
X = jnp.ones(3)


class Turning(td.Advancing):
    """Something that moves on its own, by a function that is a part of it."""

    angle: jax.Array
    turn: object

    def advance(self, state):
        return self.replace(angle=self.turn(self.angle))


def add(angle):
    return angle + 0.1


ENV = {"net": NET, "turning": Turning(angle=jnp.zeros(()), turn=add), "n": 3, "name": "x", "f": jnp.tanh}


def pull(x, env):
    assert env["name"] == "x" and env["net"].activation is NET.activation
    return env["f"](env["net"](x)) + env["n"] * jnp.sum(x**2) * (1 + jnp.cos(env["turning"].angle))


def seen(state, env):
    return {"value": env["f"](env["net"](state.position)), "angle": env["turning"].angle}


def arrays(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]


@pytest.mark.slow
def test_a_run_and_a_trajectory_take_an_environment_with_functions(tmp_path):
    dynamics = td.langevin(pull, dt=0.05, kT=1.0, gamma=1.0)
    state = dynamics.init(KEY, X, ENV)
    options = {"steps": 20, "every": 5, "record": seen}
    out = td.run(dynamics, state, ENV, reduce=stream.mean(seen), until=lambda s, env: env["f"](s.energy) > 2, **options)
    assert out.steps == 20 and out.records["angle"].tolist() == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert out.env["f"] is jnp.tanh and out.env["net"].activation is NET.activation
    assert out.env["turning"].turn is add
    other = td.trajectory(dynamics, state, ENV, **options)
    assert_same_bits(arrays((other.state, other.records)), arrays((out.state, out.records)))
    assert other.env["f"] is jnp.tanh and float(other.env["turning"].angle) == pytest.approx(2.0)
    for steps in (10, 20):
        again = td.run(dynamics, state, ENV, **{**options, "steps": steps}, checkpoint=tmp_path)
    assert_same_bits(arrays((again.state, again.env, again.records)), arrays((out.state, out.env, out.records)))


@pytest.mark.slow
def test_a_loop_of_ones_own_takes_it_as_well():
    dynamics = td.langevin(pull, dt=0.05, kT=1.0, gamma=1.0)
    state = dynamics.init(KEY, X, ENV)

    @jax.jit
    def one(state, angle):
        env = td.environment.advance({**ENV, "turning": ENV["turning"].replace(angle=angle)}, state)
        return dynamics.step(state, env), env["turning"].angle

    angle = jnp.zeros(())
    for _ in range(20):
        state, angle = one(state, angle)
    expected = td.run(dynamics, dynamics.init(KEY, X, ENV), ENV, steps=20)
    assert_same_bits(state.position, expected.state.position)


@pytest.mark.slow
@pytest.mark.parametrize("make", [td.langevin, td.nose_hoover, td.fire])
def test_a_module_with_functions_in_it_is_a_target(make, tmp_path):
    numbers = {"langevin": {"kT": 1.0, "gamma": 1.0}, "nose_hoover": {"kT": 1.0, "tau": 1.0}}.get(make.__name__, {})
    dynamics = make(NET, dt=0.1, **numbers)
    state = dynamics.init(KEY, X)
    out = td.run(dynamics, state, steps=10, record=lambda state: state.energy, checkpoint=tmp_path)
    expected = td.run(make(lambda x: NET(x), dt=0.1, **numbers), state, steps=10)
    assert_same_bits(out.state.position, expected.state.position)
    assert td.run(dynamics, state, steps=10, record=lambda state: state.energy, checkpoint=tmp_path).steps == 10


@pytest.mark.slow
def test_flags_layers_and_classes_of_numbers_are_structure():
    layers = {"drop": eqx.nn.Dropout(0.5, inference=True), "dense": flax.linen.Dense(1), "dtype": jnp.float32}
    env = {**layers, "flag": True, "class": np.float64}

    def energy(x, env):
        assert env["dense"].features == 1 and env["dtype"] is jnp.float32 and env["class"] is np.float64
        return jnp.sum(env["drop"](x) ** 2) if env["flag"] else jnp.zeros(())

    dynamics = td.langevin(energy, dt=0.05, kT=1.0, gamma=1.0)
    out = td.run(dynamics, dynamics.init(KEY, X, env), env, steps=5)
    assert out.env["flag"] is True and out.env["drop"].inference is True
    module = td.langevin(lambda x: energy(x, env), dt=0.05, kT=1.0, gamma=1.0)
    assert_same_bits(out.state.position, td.run(module, module.init(KEY, X), steps=5).state.position)


def test_what_moves_keeps_what_changes_in_arrays():
    class Toggle(td.Advancing):
        on: bool

        def advance(self, state):
            return self.replace(on=not self.on)

    env = Toggle(on=True)
    dynamics = td.nve(lambda x: jnp.sum(x**2), dt=0.1)
    with pytest.raises(ValueError, match=r"(?s)env: Toggle\.advance must return the same tree.*jnp\.asarray\(True\)"):
        td.run(dynamics, dynamics.init(KEY, X, env), env, steps=3)


@pytest.mark.slow
def test_lists_hold_for_trees_with_functions_in_them():
    lattice = tp.fcc(2, density=0.8)
    pairs = tp.pair_energy(tp.lennard_jones(), lattice.space, cutoff=1.5)
    position = {"atoms": lattice.position, "net": NET}
    recipe = tp.neighbor_list(lattice.space, 1.5, skin=0.15, headroom=3.0, select=lambda tree: tree["atoms"])
    env = {"list": recipe.allocate(position), "f": jnp.tanh}

    def energy(tree, env):
        return pairs(tree["atoms"], env["list"]) + env["f"](tree["net"](X)) ** 2

    dynamics = td.langevin(energy, dt=0.004, kT=1.0, gamma=1.0)
    state = dynamics.init(KEY, position, env)
    out = td.run(dynamics, state, env, steps=150)
    assert out.rebuilds > 2 and out.env["f"] is jnp.tanh
    assert out.state.position["net"].activation is NET.activation
    loop = td.trajectory(dynamics, state, env, steps=150)
    assert int(loop.state.status) == 0
    x, y = out.state.position["atoms"], loop.state.position["atoms"]
    assert float(jnp.max(jnp.abs(x - y))) < 1e-8
    again = env["list"].update(out.state.position, lattice.space)
    assert bool(again.valid(out.state.position)) and not bool(env["list"].valid(out.state.position))
