"""A wrong number or option of a method is refused by name, with what was expected, what was given, and the fix."""

import jax
import jax.numpy as jnp
import optax
import pytest

import treedyn as td
from tests.helpers import KEY
from treedyn import operators

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


def keep(x):
    return x


# what is done, and what the message has to say: the argument, and a word of the fix
NUMBERS = {
    "dt of zero": (lambda: td.nve(spring, 0.0), "dt", "positive"),
    "dt below zero": (lambda: td.nve(spring, -0.1), "dt", "positive"),
    "dt that is infinite": (lambda: td.nve(spring, float("inf")), "dt", "positive and finite"),
    "dt that is NaN": (lambda: td.nve(spring, float("nan")), "dt", "positive"),
    "dt below zero for one row": (
        lambda: td.nve(spring, jnp.array([0.1, -0.1])),
        "dt",
        "positive and finite, got -0.1",
    ),
    "dt below zero for one leaf": (lambda: td.nve(spring, {"a": 0.1, "b": -1}), "dt", "positive"),
    "dt that is a string": (lambda: td.nve(spring, "0.1"), "dt", "expected a number"),
    "dt that is None": (lambda: td.nve(spring, None), "dt", "expected a number"),
    "dt that is a boolean": (lambda: td.nve(spring, True), "dt", "expected a number"),
    "dt for other leaves": (lambda: stepped(td.nve(spring, {"a": 0.1, "c": 0.1})), "dt does not fit", "same keys"),
    "dt of a wrong shape": (
        lambda: stepped(td.nve(spring, jnp.full(5, 0.1))),
        r"dt of shape \(5,\)",
        "expected a scalar",
    ),
    "complex dt": (lambda: td.nve(spring, 0.1 + 1j), "dt", "expected a number"),
    "complex kT array": (lambda: langevin(kT=jnp.array(1 + 1j)), "kT", "expected a number|real"),
    "kT below zero": (lambda: langevin(kT=-1.0), "kT", "zero or positive"),
    "kT of zero for a chain": (lambda: td.nose_hoover(spring, 0.1, 0.0, 1.0), "kT", "must be positive"),
    "kT for other leaves": (lambda: stepped(langevin(kT={"a": 1.0})), "kT does not fit", "same keys"),
    "kT that is None": (lambda: langevin(kT=None), "kT", "expected a number"),
    "kT that is a key": (lambda: langevin(kT=KEY), "kT", "expected a number"),
    "two kT in one group": (
        lambda: stepped(td.csvr(spring, 0.1, {"a": 1.0, "b": 2.0}, 1.0, groups="all")),
        "kT",
        "group of its own",
    ),
    "kT for every element under one chain": (
        lambda: stepped(td.nose_hoover(spring, 0.1, jnp.ones(3), 1.0), X),
        "kT",
        "share one number",
    ),
    "gamma below zero": (lambda: langevin(gamma=-1.0), "gamma", "zero or positive"),
    "gamma of zero without momenta": (lambda: td.brownian(spring, 0.1, 1.0, 0.0), "gamma", "must be positive"),
    "tau of zero": (lambda: td.csvr(spring, 0.1, 1.0, 0.0), "tau", "must be positive"),
    "tau below zero": (lambda: td.berendsen(spring, 0.1, 1.0, -1.0), "tau", "must be positive"),
    "rate below zero": (lambda: td.andersen(spring, 0.1, 1.0, -1.0), "rate", "zero or positive"),
    "rate of zero": (lambda: td.gradient_descent(spring, 0.0), "rate", "must be positive"),
    "max_step of zero": (
        lambda: td.gradient_descent(spring, 0.1, max_step=0.0),
        "max_step",
        "expected one number, positive",
    ),
    "max_step for every leaf": (
        lambda: td.gradient_descent(spring, 0.1, max_step={"a": 1.0}),
        "max_step",
        "one number",
    ),
    "mass of zero": (lambda: langevin(mass=0.0), "mass", "must be positive"),
    "mass below zero": (lambda: langevin(mass={"a": 1.0, "b": -1.0}), "mass", "must be positive, got -1"),
    "mass for other leaves": (lambda: start(langevin(mass={"a": 1.0, "c": 1.0})), "mass does not fit", "same keys"),
    "mass as a list": (lambda: start(langevin(mass=[1.0, 2.0, 3.0]), X), "mass does not fit", "scalar"),
    "mass of a wrong shape": (
        lambda: start(langevin(mass=jnp.ones(2)), X),
        r"mass of shape \(2,\)",
        r"one number per row \(3,\)",
    ),
    "mass along the last axis": (lambda: start(langevin(mass=jnp.ones((1, 3))), X), "mass of shape", "full shape"),
    "dt for every leaf under a chain": (
        lambda: stepped(td.nose_hoover(spring, {"a": 0.1, "b": 0.2}, 1.0, 1.0)),
        "nose_hoover",
        "dt as one",
    ),
    "dt for every leaf of fire": (lambda: td.fire(spring, {"a": 0.1, "b": 0.2}), "dt", "one number"),
    "dt of fire above its largest": (lambda: td.minimize.Fire(dt=0.1, dt_max=0.05), "dt_max", "at most"),
    "dt of fire that shrinks when it should grow": (lambda: td.minimize.Fire(dt=0.1, grow=0.9), "grow", "at most"),
    "dt of fire that grows when it should shrink": (lambda: td.minimize.Fire(dt=0.1, shrink=1.5), "shrink", "at most"),
    "dt of fire as a schedule": (lambda: td.fire(spring, lambda step: 0.1), "dt", "one number"),
}
OPTIONS = {
    "letters that are no operators": (lambda: langevin(splitting="BAOAX"), "splitting", "BAOAB"),
    "letters in lower case": (lambda: langevin(splitting="baoab"), "splitting", "BAOAB"),
    "a splitting without noise": (lambda: langevin(splitting="BAB"), "splitting", "at least once"),
    "no letters": (lambda: langevin(splitting=""), "splitting", "BAOAB"),
    "a splitting of operators": (lambda: langevin(splitting=("B", "A", "O")), "splitting", "letters"),
    "order 3": (lambda: td.nve(spring, 0.1, order=3), "order", r"2 .* or 4"),
    "order 2 of a chain": (lambda: td.nose_hoover(spring, 0.1, 1.0, 1.0, order=2), "order", "1, 3, 5 or 7"),
    "no chain": (lambda: td.nose_hoover(spring, 0.1, 1.0, 1.0, length=0), "length", "at least 1"),
    "half a substep": (lambda: td.nose_hoover(spring, 0.1, 1.0, 1.0, substeps=0.5), "substeps", "integer"),
    "a method that is none": (lambda: td.brownian(spring, 0.1, 1.0, method="heun"), "method", "euler_maruyama"),
    "delay below zero": (lambda: td.minimize.Fire(dt=0.1, delay=-1), "delay", "at least 0"),
    "groups for other leaves": (
        lambda: start(td.csvr(spring, 0.1, 1.0, 1.0, groups={"a": 0})),
        "groups does not fit",
        "same keys",
    ),
    "a chain that has nothing to hold": (
        lambda: start(td.nose_hoover(spring, 0.1, {"a": 1.0, "b": 2.0}, 1.0, mass={"a": 1.0, "b": float("inf")})),
        "groups",
        "degrees of freedom",
    ),
    "groups that are floats": (
        lambda: start(td.csvr(spring, 0.1, 1.0, 1.0, groups={"a": 0.0, "b": 1.0})),
        "groups",
        "integers or strings",
    ),
    "holding a centre that is none": (lambda: start(td.nve(spring, 0.1, remove_drift=True)), "remove_drift", "space="),
    "holding a centre of two temperatures": (
        lambda: langevin(kT={"a": 1.0, "b": 2.0}, remove_drift=True),
        "remove_drift",
        "one kT",
    ),
    "space for other leaves": (lambda: start(langevin(space={"a": td.euclidean()})), "space does not fit", "same keys"),
    "space that is a number": (lambda: langevin(space=3.0), "space", "euclidean"),
    "space that is one function": (lambda: langevin(space=keep), "space", r"\(displacement, shift\)"),
    "space that is None": (lambda: start(langevin(space=None)), "space", "euclidean|one value"),
    "operators that are letters": (lambda: td.compose(spring, "BAB", 0.1), "operators", "expected operators"),
    "operators that are classes": (
        lambda: td.compose(spring, (operators.Kick,), 0.1),
        "operators",
        "expected operators",
    ),
    "one operator alone": (lambda: td.compose(spring, operators.kick(), 0.1), "operators", "sequence"),
    "no operators": (lambda: td.compose(spring, (), 0.1), "operators", "at least one"),
    "a fraction that is none": (
        lambda: td.compose(spring, ((operators.kick(), "half"),), 0.1),
        "operators",
        "fraction",
    ),
    "an optimizer that is none": (lambda: td.from_optax(spring, optax.adam), "transformation", r"optax.adam\("),
    "a direction that is a minimizer": (lambda: td.as_optax(td.fire(spring, 0.1)), "direction", "Fire"),
    "a direction that is optax's": (lambda: td.minimizer(spring, optax.adam(0.1)), "direction", "from_optax"),
}


def rows(*tables):
    return [pytest.param(*row, id=name.replace(" ", "_")) for table in tables for name, row in table.items()]


@pytest.mark.parametrize("act, argument, fix", rows(NUMBERS, OPTIONS))
def test_bad_input_is_a_value_error_that_names_the_argument_and_the_fix(act, argument, fix):
    with pytest.raises(ValueError, match=f"(?s)({argument})") as caught:
        act()
    caught.match(f"(?s){fix}")
