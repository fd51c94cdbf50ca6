"""What methods refuse: targets, dynamics, operators, minimizers, and the states in which they start."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import optax

import treedyn as td
from tests.contracts.refusals.kinds import INF, NAN, THING, X, arg, f0, f4, row
from tests.contracts.refusals.samples import nve, spring, state
from tests.helpers import KEY
from treedyn import bijector, minimize, operators

# --- what many have in common ----------------------------------------------------------------------------------------

TARGET = arg(spring, "function arity")
DT = arg(0.1, "number positive finite")
POSITIVE, THERMAL = arg(1.0, "number positive"), arg(1.0, "number nonnegative")
RATE = arg(1.0, "number nonnegative")
SPACE = arg(td.euclidean(), "space")
FLAG = arg(False, "flag")
ONE = arg(1.0, "number positive one constant")
GROUPS = arg(None, "", more={"floats": 0.5, "arrays": jnp.arange(2), "functions": f0, "keys": KEY, "things": [THING]})
LENGTH = arg(2, "natural counting", more={"pair": (3, 2), "triple": (1, 2, 3), "none": (0, 2)})
ONE_KT = arg(1.0, "number positive", more={"two": {"a": 1.0, "b": 2.0}})
KEPT = arg(0.5, "number nonnegative one constant", more={"one": 1.0})
HAS_AUX = arg(False, "flag")
PART = arg(1e-4, "number positive one constant", more={"half": 0.5, "nan": NAN})
RULE = {
    "dt": arg(0.1, "number positive one constant finite"),
    "dt_max": arg(1.0, "number positive one constant", "none", {"below_dt": 0.05}),
    "dt_min": arg(0.01, "number positive one constant", "none", {"above_dt": 0.2}),
    "max_step": arg(1.0, "number positive one constant"),
    "delay": arg(20, "natural"),
    "grow": arg(1.1, "number positive one constant", more={"below_one": 0.9}),
    "shrink": arg(0.5, "number positive one constant", more={"above_one": 1.1}),
    "alpha": arg(0.25, "number nonnegative one constant", more={"above_one": 1.1}),
    "alpha_shrink": arg(0.99, "number positive one constant", more={"above_one": 1.1}),
}
RESULTS = {  # of a function that should return an energy or a force
    "none": lambda x: None,
    "text": lambda x: "energy",
    "thing": lambda x: THING,
    "integer": lambda x: 3,
    "complex": lambda x: jnp.sum(x).astype(complex),
    "vector": lambda x: jnp.sum(x, axis=0),
    "pair": lambda x: (jnp.sum(x), x),
    "tree": lambda x: {"a": x},
    "function": lambda x: spring,
    "key": lambda x: KEY,
    "strings": lambda x: np.array(["a"]),
    "boolean": lambda x: jnp.sum(x) > 0,
}


def model() -> None:
    numpyro.sample("x", numpyro.distributions.Normal(0.0, 1.0))


def init(dynamics: Any, **arguments: Any) -> td.State:
    return dynamics.init(**arguments)


def evaluated(target: Any) -> Any:
    return td.nve(target, 0.1).init(KEY, X)


def energy_of(function: Any) -> Any:
    return evaluated(td.from_energy(function))


def force_of(function: Any) -> Any:
    return evaluated(td.from_force(function))


def with_aux(function: Any) -> Any:
    return evaluated(td.from_energy(function, has_aux=True))


METHODS = [
    row(
        td.nve,
        target=TARGET,
        dt=DT,
        mass=POSITIVE,
        space=SPACE,
        order=arg(2, "natural", more={"three": 3}),
        remove_drift=FLAG,
    ),
    row(
        td.langevin,
        **{"target": TARGET, "dt": DT, "kT": THERMAL, "gamma": RATE, "mass": POSITIVE, "space": SPACE},
        splitting=arg("BAOAB", "mode", more={"lower": "baoab", "without_noise": "BAB"}),
        remove_drift=FLAG,
    ),
    row(
        td.brownian,
        **{"target": TARGET, "dt": DT, "kT": THERMAL, "gamma": POSITIVE, "mass": POSITIVE, "space": SPACE},
        method=arg("euler_maruyama", "mode"),
    ),
    row(
        td.nose_hoover,
        **{"target": TARGET, "dt": DT, "kT": POSITIVE, "tau": POSITIVE, "mass": POSITIVE, "space": SPACE},
        length=arg(3, "natural counting"),
        substeps=arg(1, "natural counting"),
        order=arg(3, "natural counting", more={"two": 2}),
        groups=GROUPS,
        remove_drift=FLAG,
    ),
    *(
        row(
            method,
            **{"target": TARGET, "dt": DT, "kT": THERMAL, "tau": POSITIVE, "mass": POSITIVE, "space": SPACE},
            groups=GROUPS,
            remove_drift=FLAG,
        )
        for method in (td.csvr, td.berendsen)
    ),
    row(td.hmc, target=TARGET, dt=DT, steps=LENGTH, kT=ONE_KT, mass=POSITIVE, space=SPACE),
    row(td.mala, target=TARGET, dt=DT, kT=ONE_KT, mass=POSITIVE, space=SPACE),
    row(td.ghmc, target=TARGET, dt=DT, persistence=KEPT, kT=ONE_KT, steps=LENGTH, mass=POSITIVE, space=SPACE),
    row(td.malt, target=TARGET, dt=DT, steps=LENGTH, gamma=RATE, kT=ONE_KT, mass=POSITIVE, space=SPACE),
    row(
        td.nuts,
        **{"target": TARGET, "dt": DT, "kT": ONE_KT, "mass": POSITIVE, "space": SPACE},
        depth=arg(3, "natural counting", more={"huge": 30}),
        halvings=arg(2, "natural", more={"huge": 40}),
        tolerance=arg(0.3, "number positive one constant"),
    ),
    row(td.mclmc, target=TARGET, dt=DT, kT=ONE_KT, gamma=RATE, mass=POSITIVE, space=SPACE),
    row(
        td.warm_up,
        dynamics=arg(td.mala(spring, 0.1), "struct", more={"nve": td.nve(spring, 0.1)}),
        steps=arg(3, "natural counting"),
        acceptance=arg(0.8, "number positive one constant", more={"one": 1.0}),
        metric=arg(None, "struct", "none"),
        pool=FLAG,
    ),
    row(
        td.transformed,
        target=arg(td.from_energy(spring), "function arity", more={"force": td.from_force(spring)}),
        bijectors=arg(bijector.positive(), "struct"),
        kT=ONE,
    ),
    row(
        td.laplace,
        target=TARGET,
        position=arg(X, "position"),
        steps=arg(9, "natural counting"),
        force=arg(1e-3, "number positive one constant", "none"),
    ),
    row(
        td.pathfinder,
        key=arg(KEY, "key"),
        target=TARGET,
        position=arg(X, "position"),
        **{name: arg(9, "natural counting") for name in ("steps", "history", "draws")},
    ),
    row(
        td.montecarlo.unadjusted,
        splitting=arg(td.mclmc(spring, 0.1), "struct", more={"cold": nve(), "brownian": td.brownian(spring, 0.1, 1.0)}),
    ),
    row(td.montecarlo.low_rank, rank=arg(2, "natural counting"), samples=arg(9, "natural counting", more={"one": 1})),
    row(td.gibbs, target=TARGET, conditional=arg(lambda key, x: x, "function")),
    row(td.from_numpyro, key=arg(KEY, "key"), model=arg(model, "function")),
    *(row(f, bound=arg(1.0, "number finite")) for f in (bijector.above, bijector.below)),
    row(bijector.interval, low=arg(-1.0, "number finite", more={"high": 2.0}), high=arg(1.0, "number finite")),
    row(td.random_walk, target=TARGET, length=DT, kT=POSITIVE, space=SPACE),
    row(
        td.metropolize,
        splitting=arg(nve(), "struct", more={"minimizer": td.fire(spring, 0.1), "open": td.langevin(spring, 0.1, 2.0)}),
        kT=ONE_KT,
        steps=LENGTH,
        persistence=KEPT,
    ),
    row(td.andersen, target=TARGET, dt=DT, kT=THERMAL, rate=RATE, mass=POSITIVE, space=SPACE),
    row(
        td.compose,
        target=TARGET,
        operators=arg(
            (operators.kick(), operators.drift(td.euclidean())),
            "struct",
            more={
                "nothing": (),
                "one": operators.kick(),
                "triple": [(operators.kick(), 0.5, 1)],
                "number": [0.5],
                "nan": [(operators.kick(), NAN)],
                "text": [(operators.kick(), "1")],
                "flag": [(operators.kick(), True)],
                "inf": [(operators.kick(), INF)],
                "function": [f0],
            },
        ),
        dt=DT,
        mass=POSITIVE,
        space=SPACE,
    ),
    row(td.gradient_descent, target=TARGET, rate=POSITIVE, max_step=ONE, space=SPACE),
    row(td.fire, target=TARGET, dt=RULE["dt"], max_step=ONE, space=SPACE),
    row(minimize.Fire, **RULE),
    row(minimize.Steepest, rate=POSITIVE),
    row(minimize.LBFGS, history=arg(10, "natural counting")),
    row(minimize.Limited, max_step=ONE),
    row(minimize.Armijo, max_step=ONE, decrease=PART, most=arg(20, "natural counting")),
    row(
        minimize.StrongWolfe,
        **{"max_step": ONE, "decrease": PART, "most": arg(20, "natural counting")},
        curvature=arg(
            0.9, "number positive one constant", more={"one": 1.0, "below": 1e-5}, named="curvature|decrease"
        ),
    ),
    row(td.lbfgs, target=TARGET, history=arg(10, "natural counting"), max_step=ONE, space=SPACE),
    row(td.conjugate_gradient, target=TARGET, max_step=ONE, space=SPACE),
    row(td.converged, force=arg(1e-3, "number positive finite one constant")),
    row(
        td.minimizer,
        target=TARGET,
        direction=arg(minimize.Fire(dt=0.1), "struct", more={"optax": optax.adam(0.1)}),
        length=arg(minimize.Whole(), "struct", "none"),
        space=SPACE,
    ),
    row(td.as_optax, direction=arg(minimize.Fire(dt=0.1), "struct")),
    row(
        td.from_optax,
        target=TARGET,
        transformation=arg(optax.adam(0.1), "struct", more={"direction": minimize.Fire(dt=0.1)}),
        space=SPACE,
    ),
]
OPERATORS = [
    row(operators.drift, space=SPACE),
    row(operators.deform, length=arg(lambda time: 1.0 + time, "function", more={"of_nothing": f0, "of_four": f4})),
    row(operators.remove_drift, space=SPACE),
    row(operators.ornstein_uhlenbeck, kT=THERMAL, gamma=RATE),
    row(operators.white_noise, kT=THERMAL, gamma=RATE),
    row(operators.overdamped, kT=THERMAL, gamma=POSITIVE, space=SPACE, averaged=FLAG),
    row(operators.collide, kT=THERMAL, rate=RATE, space=SPACE),
    row(operators.refresh, kT=THERMAL, persistence=KEPT),
    row(operators.isokinetic_kick, kT=ONE_KT),
    row(operators.isokinetic_bath, kT=ONE_KT, gamma=RATE),
    row(operators.csvr, kT=THERMAL, tau=POSITIVE, groups=GROUPS),
    row(operators.berendsen, kT=THERMAL, tau=POSITIVE, groups=GROUPS),
    row(
        operators.nose_hoover_chain,
        kT=POSITIVE,
        tau=POSITIVE,
        length=arg(3, "natural counting"),
        substeps=arg(1, "natural counting"),
        order=arg(3, "natural counting", more={"nine": 9}),
        groups=GROUPS,
    ),
    row(
        operators.hold_center,
        wanted=FLAG._replace(good=True, named="remove_drift"),
        space=SPACE,
        **{name: arg(1.0, "", more={"tree": {"a": 1.0}, "row": jnp.ones(2)}) for name in ("kT", "gamma", "dt")},
        groups=arg(None, "", more={"labels": {"a": 0}}),
    ),
]
STARTS = [
    row(
        init,
        called="dynamics.init",
        dynamics=arg(nve(), ""),
        key=arg(KEY, "key"),
        position=arg(X, "position"),
        momentum=arg(None, "position points", "none", {"short": X[:2], "nans": X * NAN}),
    ),
    row(
        init,
        called="dynamics.init at kT",
        dynamics=arg(nve(), ""),
        key=arg(KEY, ""),
        position=arg(X, ""),
        kT=arg(1.0, "number nonnegative", "none", {"leaf": {"a": 1.0}}),
    ),
    row(
        evaluated, called="target", target=arg(spring, "function arity", more=RESULTS | {"none": None}, named="target")
    ),
    row(energy_of, called="from_energy(function)", function=arg(spring, "", more=RESULTS)),
    row(force_of, called="from_force(function)", function=arg(lambda x: -x, "", more=RESULTS)),
    row(
        with_aux,
        called="from_energy(function, has_aux=True)",
        function=arg(lambda x: (spring(x), x), "", "pair", RESULTS | {"energy": spring, "triple": lambda x: (x, x, x)}),
    ),
    *(
        row(make, function=arg(spring, "function arity", named="target|function"), has_aux=HAS_AUX)
        for make in (td.from_energy, td.from_force, td.from_log_density, td.from_score)
    ),
    row(td.as_space, value=arg(td.euclidean(), "space", named="space")),
    row(
        td.thermal_momentum,
        key=arg(KEY, "key"),
        position=arg(X, "position"),
        kT=arg(1.0, "number nonnegative", more={"leaf": {"a": 1.0}}),
        mass=POSITIVE,
        space=arg(None, "space", "none"),
        exact=FLAG,
    ),
]
MEMBERS = {
    "dynamics": arg(nve(), "struct", more={"nothing": [], "mixed": [nve(), None], "other": [nve(), state("fire")]}),
    "members": arg(3, "natural counting"),
}
ENSEMBLES = [
    row(td.ensemble, **MEMBERS),
    row(
        td.per_member,
        values=arg(X, "", more={"number": 1.0, "none": None, "ragged": [X, X[:2]], "text": "a", "empty": X[:0]}),
    ),
    row(td.stack, trees=arg([X, X], "struct", more={"nothing": [], "ragged": [X, X[:2]], "other": [X, {"a": X}]})),
    row(td.jointly, function=arg(spring, "function arity")),
    row(
        init,
        called="ensemble.init",
        dynamics=arg(td.ensemble(nve(), 3), ""),
        key=arg(KEY, "key"),
        position=arg(X, "position", more={"members": td.per_member(jnp.ones((2, 3)))}),
    ),
    row(td.sphere, radius=arg(1.0, "number positive finite one constant")),
]
ROWS = [*METHODS, *OPERATORS, *STARTS, *ENSEMBLES]
