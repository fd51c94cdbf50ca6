"""Whatever is wrong with an argument is said at once: by name, with what was expected, what was given, and the fix."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.helpers import KEY
from treedyn import operators

X = jnp.ones((3, 2))
TREE = {"a": jnp.ones(3), "b": jnp.ones((2, 2))}


def spring(x):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x)) / 2


def langevin(target=spring, dt=0.1, kT=1.0, **more):
    return td.langevin(target, dt, kT, **more)


def start(dynamics, position=None, **more):
    return dynamics.init(KEY, TREE if position is None else position, **more)


def stepped(dynamics, position=None, **more):
    return dynamics.step(start(dynamics, position, **more))


def run(steps=2, **more):
    dynamics = td.nve(spring, 0.1)
    return td.run(dynamics, start(dynamics), steps=steps, **more)


def trajectory(**more):
    dynamics = td.nve(spring, 0.1)
    return td.trajectory(dynamics, start(dynamics), **more)


def keep(x):
    return x


# what is done, and what the message has to say: the argument, and a word of the fix
NUMBERS = {
    "dt of zero": (lambda: td.nve(spring, 0.0), "dt", "positive"),
    "dt below zero": (lambda: td.nve(spring, -0.1), "dt", "positive"),
    "dt that is NaN": (lambda: td.nve(spring, float("nan")), "dt", "positive"),
    "dt below zero for one row": (lambda: td.nve(spring, jnp.array([0.1, -0.1])), "dt", "positive, got -0.1"),
    "dt below zero for one leaf": (lambda: td.nve(spring, {"a": 0.1, "b": -1}), "dt", "positive"),
    "dt that is a string": (lambda: td.nve(spring, "0.1"), "dt", "expected a number"),
    "dt that is None": (lambda: td.nve(spring, None), "dt", "expected a number"),
    "dt that is a boolean": (lambda: td.nve(spring, True), "dt", "expected a number"),
    "dt for other leaves": (lambda: stepped(td.nve(spring, {"a": 0.1, "c": 0.1})), "dt does not fit", "same keys"),
    "dt of a wrong shape": (lambda: stepped(td.nve(spring, jnp.full(5, 0.1))), r"dt of shape \(5,\)", "expected a scalar"),
    "complex dt": (lambda: td.nve(spring, 0.1 + 1j), "dt", "expected a number"),
    "complex kT array": (lambda: langevin(kT=jnp.array(1 + 1j)), "kT", "expected a number|real"),
    "kT below zero": (lambda: langevin(kT=-1.0), "kT", "zero or positive"),
    "kT of zero for a chain": (lambda: td.nose_hoover(spring, 0.1, 0.0, 1.0), "kT", "must be positive"),
    "kT for other leaves": (lambda: stepped(langevin(kT={"a": 1.0})), "kT does not fit", "same keys"),
    "kT that is None": (lambda: langevin(kT=None), "kT", "expected a number"),
    "kT that is a key": (lambda: langevin(kT=KEY), "kT", "expected a number"),
    "two kT in one group": (lambda: stepped(td.csvr(spring, 0.1, {"a": 1.0, "b": 2.0}, 1.0, groups="all")), "kT", "group of its own"),
    "kT for every element under one chain": (lambda: stepped(td.nose_hoover(spring, 0.1, jnp.ones(3), 1.0), X), "kT", "share one number"),
    "gamma below zero": (lambda: langevin(gamma=-1.0), "gamma", "zero or positive"),
    "gamma of zero without momenta": (lambda: td.brownian(spring, 0.1, 1.0, 0.0), "gamma", "must be positive"),
    "tau of zero": (lambda: td.csvr(spring, 0.1, 1.0, 0.0), "tau", "must be positive"),
    "tau below zero": (lambda: td.berendsen(spring, 0.1, 1.0, -1.0), "tau", "must be positive"),
    "rate below zero": (lambda: td.andersen(spring, 0.1, 1.0, -1.0), "rate", "zero or positive"),
    "rate of zero": (lambda: td.gradient_descent(spring, 0.0), "rate", "must be positive"),
    "max_step of zero": (lambda: td.gradient_descent(spring, 0.1, max_step=0.0), "max_step", "must be positive"),
    "max_step for every leaf": (lambda: td.gradient_descent(spring, 0.1, max_step={"a": 1.0}), "max_step", "one number"),
    "mass of zero": (lambda: langevin(mass=0.0), "mass", "must be positive"),
    "mass below zero": (lambda: langevin(mass={"a": 1.0, "b": -1.0}), "mass", "must be positive, got -1"),
    "mass for other leaves": (lambda: start(langevin(mass={"a": 1.0, "c": 1.0})), "mass does not fit", "same keys"),
    "mass as a list": (lambda: start(langevin(mass=[1.0, 2.0, 3.0]), X), "mass does not fit", "scalar"),
    "mass of a wrong shape": (lambda: start(langevin(mass=jnp.ones(2)), X), r"mass of shape \(2,\)", r"one number per row \(3,\)"),
    "mass along the last axis": (lambda: start(langevin(mass=jnp.ones((1, 3))), X), "mass of shape", "full shape"),
    "dt for every leaf under a chain": (lambda: stepped(td.nose_hoover(spring, {"a": 0.1, "b": 0.2}, 1.0, 1.0)), "nose_hoover", "dt as one"),
    "dt for every leaf of fire": (lambda: td.fire(spring, {"a": 0.1, "b": 0.2}), "dt", "one number"),
    "dt of fire as a schedule": (lambda: td.fire(spring, lambda step: 0.1), "dt", "one number"),
}
OPTIONS = {
    "letters that are no operators": (lambda: langevin(splitting="BAOAX"), "splitting", "BAOAB"),
    "letters in lower case": (lambda: langevin(splitting="baoab"), "splitting", "BAOAB"),
    "a splitting without noise": (lambda: langevin(splitting="BAB"), "splitting", "at least once"),
    "no letters": (lambda: langevin(splitting=""), "splitting", "BAOAB"),
    "a splitting of operators": (lambda: langevin(splitting=("B", "A", "O")), "splitting", "letters"),
    "order 3": (lambda: td.nve(spring, 0.1, order=3), "order", r"2 .* or 4"),
    "order 2 of a chain": (lambda: td.nose_hoover(spring, 0.1, 1.0, 1.0, order=2), "order", r"\[1, 3, 5, 7\]"),
    "no chain": (lambda: td.nose_hoover(spring, 0.1, 1.0, 1.0, length=0), "length", "at least 1"),
    "half a substep": (lambda: td.nose_hoover(spring, 0.1, 1.0, 1.0, substeps=0.5), "substeps", "integer"),
    "a method that is none": (lambda: td.brownian(spring, 0.1, 1.0, method="heun"), "method", "euler_maruyama"),
    "delay below zero": (lambda: td.fire(spring, 0.1, delay=-1), "delay", "at least 0"),
    "groups for other leaves": (lambda: start(td.csvr(spring, 0.1, 1.0, 1.0, groups={"a": 0})), "groups does not fit", "same keys"),
    "groups that are floats": (lambda: start(td.csvr(spring, 0.1, 1.0, 1.0, groups={"a": 0.0, "b": 1.0})), "groups", "integers or strings"),
    "holding a centre that is none": (lambda: start(td.nve(spring, 0.1, remove_drift=True)), "remove_drift", "space="),
    "holding a centre of two temperatures": (lambda: langevin(kT={"a": 1.0, "b": 2.0}, remove_drift=True), "remove_drift", "one kT"),
    "space for other leaves": (lambda: start(langevin(space={"a": td.euclidean()})), "space does not fit", "same keys"),
    "space that is a number": (lambda: langevin(space=3.0), "space", "euclidean"),
    "space that is one function": (lambda: langevin(space=keep), "space", r"\(displacement, shift\)"),
    "space that is None": (lambda: start(langevin(space=None)), "space", "euclidean|one value"),
    "operators that are letters": (lambda: td.compose(spring, "BAB", 0.1), "operators", "expected operators"),
    "operators that are classes": (lambda: td.compose(spring, (operators.Kick,), 0.1), "operators", "expected operators"),
    "one operator alone": (lambda: td.compose(spring, operators.kick(), 0.1), "operators", "sequence"),
    "no operators": (lambda: td.compose(spring, (), 0.1), "operators", "at least one"),
    "a fraction that is none": (lambda: td.compose(spring, ((operators.kick(), "half"),), 0.1), "operators", "fraction"),
    "an optimizer that is none": (lambda: td.from_optax(spring, optax.adam), "transformation", r"optax.adam\("),
    "a rule that is a minimizer": (lambda: td.as_optax(td.fire(spring, 0.1)), "rule", "fire_rule"),
    "a rule that is optax's": (lambda: td.minimizer(spring, optax.adam(0.1)), "rule", "from_optax"),
}
POSITIONS = {
    "NaN": (lambda: start(langevin(), {"a": jnp.array([1.0, jnp.nan]), "b": X}), r"position\['a'\]", "1 NaN or infinite"),
    "infinity": (lambda: start(langevin(), jnp.array([jnp.inf, 1.0])), "position", "1 NaN or infinite"),
    "integers": (lambda: start(langevin(), jnp.arange(3)), "position", "1.0, not 1"),
    "nothing": (lambda: start(langevin(), {}), "position", "no floating-point leaf"),
    "None": (lambda: langevin().init(KEY, None), "position", "no floating-point leaf"),
    "a function": (lambda: start(langevin(), jnp.tanh), "position", "no floating-point leaf"),
    "complex numbers": (lambda: start(langevin(), {"a": X, "z": jnp.ones(2, complex)}), r"position\['z'\] is complex", "two real leaves"),
    "complex Python number": (lambda: start(langevin(), 1j), "position is complex", "two real leaves"),
    "key and position exchanged": (lambda: langevin().init(X, KEY), "position", "no floating-point leaf"),
    "a seed for a key": (lambda: langevin().init(0, X), "key", r"jax.random.key\(0\)"),
    "no key": (lambda: langevin().init(None, X), "key", r"jax.random.key\(0\)"),
    "several keys": (lambda: langevin().init(jax.random.split(KEY, 2), X), "key", "one random key"),
    "several old keys": (lambda: langevin().init(jnp.zeros((3, 2), jnp.uint32), X), "key", "one random key"),
    "momentum for other leaves": (lambda: start(langevin(), momentum={"a": jnp.ones(3)}), "momentum", "like the position"),
    "momentum of a wrong shape": (lambda: start(langevin(), X, momentum=jnp.ones((2, 3))), "momentum", r"\(3, 2\) like the position"),
    "momentum that is NaN": (lambda: start(langevin(), X, momentum=X * jnp.nan), "momentum", "NaN"),
    "momentum without momenta": (lambda: start(td.brownian(spring, 0.1, 1.0), X, momentum=X), "momentum", "overdamped"),
    "kT without momenta": (lambda: start(td.brownian(spring, 0.1, 1.0), X, kT=1.0), "kT", "overdamped"),
    "momentum and kT": (lambda: start(langevin(), X, momentum=X, kT=1.0), "momentum, kT", "one of"),
    "negative kT at the start": (lambda: start(langevin(), X, kT=-1.0), "kT", "zero or positive"),
    "a seed for thermal momenta": (lambda: td.thermal_momentum(0, X, 1.0), "key", r"jax.random.key\(0\)"),
    "exact momenta at two kT": (lambda: td.thermal_momentum(KEY, TREE, {"a": 1.0, "b": 2.0}, exact=True), "kT", "one kT"),
    "temperature of a minimizer": (lambda: td.temperature(start(td.fire(spring, 0.1))), "momentum", "no"),
}
TARGETS = {
    "an energy that is a vector": (lambda: start(langevin(lambda x: x["a"] ** 2)), "neither a scalar", "td.from_energy"),
    "a declared energy that is a vector": (lambda: start(langevin(td.from_energy(lambda x: x**2)), X), "one real number, got float64", "from_force"),
    "an energy that is an integer": (lambda: start(langevin(td.from_energy(lambda x: 3)), X), "one real number", "scalar"),
    "an energy that is complex": (lambda: start(langevin(td.from_energy(lambda x: jnp.sum(x).astype(complex))), X), "one real number", "scalar"),
    "an energy that is None": (lambda: start(langevin(lambda x: None), X), "neither a scalar", "td.from_energy"),
    "an energy with aux that was not announced": (lambda: start(langevin(lambda x: (spring(x), x)), X), "neither a scalar", "has_aux=True"),
    "an energy without the aux that was announced": (lambda: start(langevin(td.from_energy(spring, has_aux=True)), X), "has_aux=True", "pair"),
    "energy or force of a scalar": (lambda: start(langevin(lambda x: x**2), 1.0), "energy or a force", "td.from_energy"),
    "a force of a wrong shape": (lambda: start(langevin(td.from_force(lambda x: -x[:2])), X), "like the position", r"float64\[2, 2\]"),
    "a force for other leaves": (lambda: start(langevin(td.from_force(lambda x: {"a": x["a"]}))), "like the position", "one force for every leaf"),
    "a bare force for other leaves": (lambda: start(langevin(lambda x: {"a": x["a"]})), "neither a scalar", "td.from_force"),
    "a target that is a number": (lambda: start(langevin(3.0), X), "target", "function of position"),
    "a declared energy that is a number": (lambda: td.from_energy(3.0), "target", "function of position"),
    "the conserved quantity of a force": (lambda: td.nve(spring, 0.1).conserved(start(td.nve(lambda x: -x, 0.1), X)), "conserved", "td.from_energy"),
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
    "the state of a minimizer": (lambda: td.run(langevin(), start(td.fire(spring, 0.1)), steps=1), "state", r"dynamics.init"),
    "a state without momenta": (lambda: td.nve(spring, 0.1).step(start(td.brownian(spring, 0.1, 1.0))), "state", r"dynamics.init"),
    "a minimizer with the state of another": (lambda: td.fire(spring, 0.1).step(start(td.gradient_descent(spring, 0.1))), "state", r"dynamics.init"),
    "a batch of states": (lambda: td.run(langevin(), jax.vmap(lambda k: langevin().init(k, X))(jax.random.split(KEY, 2)), steps=1), "state", "td.trajectory"),
    "run under jit": (lambda: jax.jit(lambda s: td.run(langevin(), s, steps=1).state)(start(langevin())), "state", "td.trajectory"),
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


@pytest.mark.parametrize("act, argument, fix", rows(NUMBERS, OPTIONS, POSITIONS, TARGETS, RUNS))
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
