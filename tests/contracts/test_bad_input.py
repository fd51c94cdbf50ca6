"""Arguments that are wrong only together, misspelt names, and numbers that turn bad during a run.

Values that are wrong by themselves are generated in `test_refusals`.
"""

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


def stepped(dynamics, position=None):
    return jax.eval_shape(lambda: dynamics.step(start(dynamics, position)))  # known numbers are known under tracing


FIXED = {"a": 1.0, "b": float("inf")}
TWO = {"a": 1.0, "b": 2.0}
# what is done, the argument in the message, and a word of the fix
TOGETHER = {
    "key and position exchanged": (lambda: langevin().init(X, KEY), "position", "at least one floating-point leaf"),
    "momentum of a wrong shape": (lambda: start(langevin(), X, momentum=X.T), "momentum", "like the position"),
    "momentum without momenta": (lambda: start(td.brownian(spring, 0.1, 1.0), X, momentum=X), "momentum", "overdamped"),
    "kT without momenta": (lambda: start(td.brownian(spring, 0.1, 1.0), X, kT=1.0), "kT", "overdamped"),
    "momentum and kT": (lambda: start(langevin(), X, momentum=X, kT=1.0), "momentum, kT", "one of"),
    "exact momenta at two kT": (lambda: td.thermal_momentum(KEY, TREE, TWO, exact=True), "kT", "one kT"),
    "temperature of a minimizer": (lambda: td.temperature(start(td.fire(spring, 0.1))), "momentum", "no"),
    "energy or force of a scalar": (lambda: start(langevin(lambda x: x**2), 1.0), "energy or a force", "from_energy"),
    "a force of a wrong shape": (lambda: start(langevin(td.from_force(lambda x: -x[:2])), X), "like the pos", "2, 2"),
    "a force for other leaves": (
        lambda: start(langevin(td.from_force(lambda x: {"a": x["a"]}))),
        "like the position",
        "one force for every leaf",
    ),
    "conserved quantity of a force": (
        lambda: td.nve(spring, 0.1).conserved(start(td.nve(lambda x: -x, 0.1), X)),
        "conserved",
        "td.from_energy",
    ),
    "conserved quantity of an open bath": (
        lambda: langevin().conserved(start(langevin())),
        "conserved: .*ornstein_uhlenbeck",
        "kinetic_energy",
    ),
    "a line search on a force": (lambda: stepped(td.from_optax(lambda x: -x, optax.lbfgs()), X), "target", "energ"),
    "dt for other leaves": (lambda: stepped(td.nve(spring, {"a": 0.1, "c": 0.1})), "dt does not fit", "same keys"),
    "dt of a wrong shape": (lambda: stepped(td.nve(spring, jnp.full(5, 0.1))), r"dt of shape \(5,\)", "a scalar"),
    "mass for other leaves": (lambda: start(langevin(mass={"a": 1.0, "c": 1.0})), "mass does not fit", "same keys"),
    "mass of a wrong shape": (lambda: start(langevin(mass=jnp.ones(2)), X), r"mass of shape \(2,\)", r"row \(3,\)"),
    "space for other leaves": (lambda: start(langevin(space={"a": td.euclidean()})), "space does not fit", "same keys"),
    "groups for other leaves": (lambda: start(td.csvr(spring, 0.1, 1, 1, groups={"a": 0})), "groups does", "same keys"),
    "two kT in one group": (lambda: stepped(td.csvr(spring, 0.1, TWO, 1.0, groups="all")), "kT", "group of its own"),
    "kT for every element of a chain": (
        lambda: stepped(td.nose_hoover(spring, 0.1, jnp.ones(3), 1.0), X),
        "kT",
        "share one number",
    ),
    "dt for every leaf of a chain": (
        lambda: stepped(td.nose_hoover(spring, TWO, 1.0, 1.0)),
        "nose_hoover",
        "dt as one",
    ),
    "a chain without degrees of freedom": (
        lambda: start(td.nose_hoover(spring, 0.1, TWO, 1.0, mass=FIXED)),
        "groups",
        "degrees of freedom",
    ),
    "a centre of two temperatures": (lambda: langevin(kT=TWO, remove_drift=True), "remove_drift", "one kT"),
    "the state of a minimizer": (lambda: td.run(langevin(), start(td.fire(spring, 0.1)), steps=1), "state", "init"),
    "the state of another minimizer": (
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
}
MISSPELT = {
    "an argument of a factory": (lambda: td.langevin(spring, 0.1, 1.0, frction=1.0), "frction"),
    "an argument of init": (lambda: langevin().init(KEY, X, momenta=X), "momenta"),
    "an argument of run": (lambda: td.run(langevin(), start(langevin()), steps=1, evry=3), "evry"),
    "an argument of trajectory": (lambda: td.trajectory(langevin(), start(langevin()), steps=1, records=1), "records"),
    "a field of a state": (lambda: start(langevin()).replace(momenta=X), "momenta"),
    "a field of a dynamics": (lambda: langevin().replace(kt=2.0), "kt"),
    "a missing temperature": (lambda: td.langevin(spring, 0.1), "kT"),
    "an option by place": (lambda: td.nve(spring, 0.1, 2.0), "positional"),
}


def rows(table):
    return [pytest.param(*row, id=name.replace(" ", "_")) for name, row in table.items()]


@pytest.mark.parametrize("act, argument, fix", rows(TOGETHER))
def test_an_error_names_the_argument_and_the_fix(act, argument, fix):
    with pytest.raises(ValueError, match=f"(?s)({argument})") as caught:
        act()
    caught.match(f"(?s){fix}")


@pytest.mark.parametrize("act, name", rows(MISSPELT))
def test_misspelt_names_are_type_errors(act, name):
    with pytest.raises(TypeError, match=name):
        act()


def test_numbers_that_turn_bad_during_a_run_set_the_status():
    bad = langevin(kT=lambda step: jnp.where(step < 1, 1.0, -1.0))
    state = start(bad, X)
    for _ in range(3):
        state = bad.step(state)
    assert td.Status.NONFINITE in td.Status(int(state.status))
    assert np.isnan(state.position).any()
