"""A wrong position, target, state or argument of a driver is refused at once, and so is every misspelt name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.helpers import KEY

X = jnp.ones((3, 2))
TREE = {"a": X, "b": X}


def spring(x):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x)) / 2


def langevin(target=spring, dt=0.1, kT=1.0, **more):
    return td.langevin(target, dt, kT, **more)


def start(dynamics, position=None, **more):
    return dynamics.init(KEY, TREE if position is None else position, **more)


def stepped(dynamics, position=None, **more):
    # tracing is enough: whatever can be known of the arguments is known then
    return jax.eval_shape(lambda: dynamics.step(start(dynamics, position, **more)))


def run(steps=2, **more):
    dynamics = td.nve(spring, 0.1)
    return td.run(dynamics, start(dynamics), steps=steps, **more)


def trajectory(**more):
    dynamics = td.nve(spring, 0.1)
    return td.trajectory(dynamics, start(dynamics), **more)


def keep(x):
    return x


# what is done, and what the message has to say: the argument, and a word of the fix
POSITIONS = {
    "NaN": (lambda: start(langevin(), {"a": X.at[0, 0].set(jnp.nan), "b": X}), r"position\['a'\]", "1 NaN or infinite"),
    "infinity": (lambda: start(langevin(), jnp.array([jnp.inf, 1.0])), "position", "1 NaN or infinite"),
    "integers": (lambda: start(langevin(), jnp.arange(3)), "position", "1.0, not 1"),
    "nothing": (lambda: start(langevin(), {}), "position", "no floating-point leaf"),
    "None": (lambda: langevin().init(KEY, None), "position", "no floating-point leaf"),
    "a function": (lambda: start(langevin(), jnp.tanh), "position", "no floating-point leaf"),
    "complex numbers": (
        lambda: start(langevin(), {"a": X, "z": jnp.ones(2, complex)}),
        r"position\['z'\] is complex",
        "two real leaves",
    ),
    "complex Python number": (lambda: start(langevin(), 1j), "position is complex", "two real leaves"),
    "key and position exchanged": (lambda: langevin().init(X, KEY), "position", "no floating-point leaf"),
    "a seed for a key": (lambda: langevin().init(0, X), "key", r"jax.random.key\(0\)"),
    "no key": (lambda: langevin().init(None, X), "key", r"jax.random.key\(0\)"),
    "several keys": (lambda: langevin().init(jax.random.split(KEY, 2), X), "key", "one random key"),
    "several old keys": (lambda: langevin().init(jnp.zeros((3, 2), jnp.uint32), X), "key", "one random key"),
    "momentum for other leaves": (lambda: start(langevin(), momentum={"a": X}), "momentum", "like the position"),
    "momentum of a wrong shape": (
        lambda: start(langevin(), X, momentum=jnp.ones((2, 3))),
        "momentum",
        r"\(3, 2\) like the position",
    ),
    "momentum that is NaN": (lambda: start(langevin(), X, momentum=X * jnp.nan), "momentum", "NaN"),
    "momentum without momenta": (lambda: start(td.brownian(spring, 0.1, 1.0), X, momentum=X), "momentum", "overdamped"),
    "kT without momenta": (lambda: start(td.brownian(spring, 0.1, 1.0), X, kT=1.0), "kT", "overdamped"),
    "momentum and kT": (lambda: start(langevin(), X, momentum=X, kT=1.0), "momentum, kT", "one of"),
    "negative kT at the start": (lambda: start(langevin(), X, kT=-1.0), "kT", "zero or positive"),
    "a seed for thermal momenta": (lambda: td.thermal_momentum(0, X, 1.0), "key", r"jax.random.key\(0\)"),
    "exact momenta at two kT": (
        lambda: td.thermal_momentum(KEY, TREE, {"a": 1.0, "b": 2.0}, exact=True),
        "kT",
        "one kT",
    ),
    "temperature of a minimizer": (lambda: td.temperature(start(td.fire(spring, 0.1))), "momentum", "no"),
}
TARGETS = {
    "an energy that is a vector": (
        lambda: start(langevin(lambda x: x["a"] ** 2)),
        "neither a scalar",
        "td.from_energy",
    ),
    "a declared energy that is a vector": (
        lambda: start(langevin(td.from_energy(lambda x: x**2)), X),
        "one real number, got float64",
        "from_force",
    ),
    "an energy that is an integer": (
        lambda: start(langevin(td.from_energy(lambda x: 3)), X),
        "one real number",
        "scalar",
    ),
    "an energy that is complex": (
        lambda: start(langevin(td.from_energy(lambda x: jnp.sum(x).astype(complex))), X),
        "one real number",
        "scalar",
    ),
    "an energy that is None": (lambda: start(langevin(lambda x: None), X), "neither a scalar", "td.from_energy"),
    "an energy with aux that was not announced": (
        lambda: start(langevin(lambda x: (spring(x), x)), X),
        "neither a scalar",
        "has_aux=True",
    ),
    "an energy without the aux that was announced": (
        lambda: start(langevin(td.from_energy(spring, has_aux=True)), X),
        "has_aux=True",
        "pair",
    ),
    "energy or force of a scalar": (
        lambda: start(langevin(lambda x: x**2), 1.0),
        "energy or a force",
        "td.from_energy",
    ),
    "a force of a wrong shape": (
        lambda: start(langevin(td.from_force(lambda x: -x[:2])), X),
        "like the position",
        r"float64\[2, 2\]",
    ),
    "a force for other leaves": (
        lambda: start(langevin(td.from_force(lambda x: {"a": x["a"]}))),
        "like the position",
        "one force for every leaf",
    ),
    "a bare force for other leaves": (
        lambda: start(langevin(lambda x: {"a": x["a"]})),
        "neither a scalar",
        "td.from_force",
    ),
    "a target that is a number": (lambda: start(langevin(3.0), X), "target", "function of position"),
    "a declared energy that is a number": (lambda: td.from_energy(3.0), "function", "function of position"),
    "the conserved quantity of a force": (
        lambda: td.nve(spring, 0.1).conserved(start(td.nve(lambda x: -x, 0.1), X)),
        "conserved",
        "td.from_energy",
    ),
    "the conserved quantity under an open bath": (
        lambda: langevin().conserved(start(langevin())),
        "conserved: ornstein_uhlenbeck",
        "kinetic_energy",
    ),
    "a line search on a force": (lambda: stepped(td.from_optax(lambda x: -x, optax.lbfgs()), X), "target", "energies"),
}
RUNS = {
    "steps below zero": (lambda: run(-1), "steps", "at least 0"),
    "steps that are no integer": (lambda: run(1e3), "steps", "integer"),
    "steps that are True": (lambda: run(True), "steps", "integer"),
    "every of zero": (lambda: run(every=0), "every", "at least 1"),
    "every below zero": (lambda: run(every=-5), "every", "at least 1"),
    "chunk of zero": (lambda: run(chunk=0), "chunk", "at least 1"),
    "chunk of 2.5": (lambda: run(chunk=2.5), "chunk", "integer"),
    "a record of nothing": (lambda: run(record=lambda state: None), "record", "arrays"),
    "a record of a string": (lambda: run(record=lambda state: "x"), "record", "arrays"),
    "a record that is no function": (lambda: run(record="position"), "record", "function"),
    "a record of random keys": (lambda: run(record=keep), "record", "state.replace"),
    "until that is no function": (lambda: run(until=5), "until", "function"),
    "until that is a vector": (lambda: run(until=lambda state: state.position["a"] > 0), "until", "one boolean"),
    "state and dynamics exchanged": (lambda: td.run(start(langevin()), langevin(), steps=1), "dynamics", "td.langevin"),
    "a position for a state": (lambda: td.run(langevin(), TREE, steps=1), "state", r"dynamics.init"),
    "the state of a minimizer": (
        lambda: td.run(langevin(), start(td.fire(spring, 0.1)), steps=1),
        "state",
        r"dynamics.init",
    ),
    "a state without momenta": (
        lambda: td.nve(spring, 0.1).step(start(td.brownian(spring, 0.1, 1.0))),
        "state",
        r"dynamics.init",
    ),
    "a minimizer with the state of another": (
        lambda: td.fire(spring, 0.1).step(start(td.gradient_descent(spring, 0.1))),
        "state",
        r"dynamics.init",
    ),
    "a batch of states": (
        lambda: td.run(langevin(), jax.tree.map(lambda x: jnp.stack([x, x]), start(langevin(), X)), steps=1),
        "state",
        "td.ensemble",
    ),
    "run under jit": (
        lambda: jax.jit(lambda s: td.run(langevin(), s, steps=1).state)(start(langevin())),
        "state",
        "td.trajectory",
    ),
    "trajectory steps below zero": (lambda: trajectory(steps=-1), "steps", "at least 0"),
    "trajectory every of zero": (lambda: trajectory(steps=3, every=0), "every", "at least 1"),
    "trajectory of a position": (lambda: td.trajectory(langevin(), TREE, steps=1), "state", "dynamics.init"),
    "trajectory record of nothing": (lambda: trajectory(steps=1, record=lambda state: None), "record", "arrays"),
}
MISSPELT = {
    "an argument of a factory": (lambda: td.langevin(spring, 0.1, 1.0, frction=1.0), "frction"),
    "an argument of a minimizer": (lambda: td.fire(spring, 0.1, dtmax=1.0), "dtmax"),
    "an argument of init": (lambda: langevin().init(KEY, X, momenta=X), "momenta"),
    "an argument of run": (lambda: run(evry=3), "evry"),
    "an argument of trajectory": (lambda: trajectory(steps=1, records=keep), "records"),
    "a field of a state": (lambda: start(langevin()).replace(momenta=X), "momenta"),
    "a field of a dynamics": (lambda: langevin().replace(kt=2.0), "kt"),
    "a missing temperature": (lambda: td.langevin(spring, 0.1), "kT"),
    "a missing key": (lambda: langevin().init(position=X), "key"),
    "an option by place": (lambda: td.nve(spring, 0.1, 2.0), "positional"),
}


def rows(*tables):
    return [pytest.param(*row, id=name.replace(" ", "_")) for table in tables for name, row in table.items()]


@pytest.mark.parametrize("act, argument, fix", rows(POSITIONS, TARGETS, RUNS))
def test_bad_input_is_a_value_error_that_names_the_argument_and_the_fix(act, argument, fix):
    with pytest.raises(ValueError, match=f"(?s)({argument})") as caught:
        act()
    caught.match(f"(?s){fix}")


@pytest.mark.parametrize("act, name", rows(MISSPELT))
def test_misspelt_names_are_type_errors(act, name):
    with pytest.raises(TypeError, match=name):
        act()


def test_a_struct_is_frozen():
    with pytest.raises(AttributeError):
        langevin().dt = 0.2


def test_bad_numbers_that_are_seen_only_while_running_set_the_status():
    bad = langevin(kT=lambda step: jnp.where(step < 1, 1.0, -1.0))
    state = start(bad, X)
    for _ in range(3):
        state = bad.step(state)
    assert td.Status.NONFINITE in td.Status(int(state.status))
    assert np.isnan(state.position).any()
