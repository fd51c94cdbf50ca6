"""What drivers, files of trees, diagnostics and trees refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from tests.contracts.refusals.kinds import INF, NAN, THING, In, X, arg, f4, file, row
from tests.contracts.refusals.samples import langevin, nve, spring, state
from tests.helpers import KEY
from treedyn import environment, minimize, store, testing, tree

FLAG = arg(False, "flag")
STARTED, AT_REST = In(lambda _: state()), In(lambda _: state("fire"))
BATCH = In(lambda _: jax.tree.map(lambda x: jnp.stack([x, x]), state("fire")))
STATE = arg(STARTED, "struct", more={"position": X, "batch": BATCH})
MOMENTA = arg(STARTED, "struct", more={"position": X, "of_a_minimizer": AT_REST})
FUNCTION = arg(spring, "function arity")
STEPS = arg(2, "natural")


class Standing(td.Advancing):
    def advance(self, state):
        return self


def loaded(folder: Any, name: str = "tree.npz") -> Any:
    td.save(folder / name, {"a": X})
    return folder / name


_TREE = {"a": X, "b": X}
_SAVED = {"wrong_keys": {"b": X}, "wrong_shape": {"a": X[:2]}, "wrong_dtype": {"a": X > 0}, "more": {"a": X, "b": X}}
_SAVED |= {"array": X, "none": None, "thing": THING, "list": [X]}

REPLACED = {"short": X[:1], "tree": {"a": X}, "none": None, "number": 1.0}

DRAWS = arg(np.sin(np.arange(128.0)).reshape(64, 2), "struct", more={"flat": np.ones(9), "empty": {}})
ACCURACY = arg(0.1, "number positive one constant")
BUDGET = {
    "dynamics": arg(langevin(), "struct", more={"minimizer": minimize.Fire(dt=0.1), "nve": nve()}),
    "out": arg(
        In(lambda _: td.run(langevin(), state("langevin"), steps=200, record=td.sample)),
        "struct",
        more={"positions": In(lambda _: td.run(langevin(), state("langevin"), steps=9, record=lambda s: s.position))},
    ),
    "skip": arg(0, "natural", more={"all": 200}),
}

DRIVERS = [
    row(
        lambda momentum: td.run(nve(), state().replace(momentum=momentum), steps=1),
        called="run(state.replace(momentum=))",
        momentum=arg(X, "", more=REPLACED),
    ),
    row(
        td.run,
        dynamics=arg(nve(), "struct", more={"rule": minimize.Fire(dt=0.1), "target": td.from_energy(spring)}),
        state=arg(STARTED, "struct", more={"position": X, "of_a_minimizer": AT_REST}),
        steps=STEPS,
        every=arg(1, "natural counting", more={"huge": 2**40}),
        record=arg(
            None,
            "function arity",
            "none",
            {"nothing": lambda s: None, "text": lambda s: "a", "key": lambda s: s.key, "thing": lambda s: THING},
        ),
        until=arg(
            None,
            "function arity",
            "none",
            {
                "nothing": lambda s: None,
                "text": lambda s: "a",
                "tree": lambda s: {"a": s.step},
                "vector": lambda s: s.position,
                "number": lambda s: 0.5,
                "float": lambda s: s.energy,
            },
        ),
        outputs=arg((), "struct", "empty_text", more={"writer": [THING], "number": [1.0]}),
        chunk=arg(None, "natural counting", "none"),
        reduce=arg(None, "struct", "none", {"function": spring, "tree": {"a": spring}}),
        progress=arg(False, "flag", "text empty_text"),
        check_energy=arg(True, "flag"),
        on_failure=arg("raise", "mode"),
    ),
    row(
        td.run,
        called="treedyn.run with checkpoints",
        dynamics=arg(nve(), ""),
        state=arg(STARTED, ""),
        steps=arg(0, ""),
        checkpoint=arg(file(""), "path", "none", {"a_file": In(loaded)}),
        checkpoint_every=arg(None, "natural counting", "none"),
        keep=arg(3, "natural counting"),
        resume=arg("auto", "mode", more={"must": "must"}),
        tag=arg("", "struct", "text empty_text"),
    ),
    row(
        td.trajectory,
        dynamics=arg(nve(), "struct", more={"rule": minimize.Fire(dt=0.1)}),
        state=arg(STARTED, "struct", more={"position": X, "of_a_minimizer": AT_REST}),
        steps=STEPS,
        every=arg(1, "natural counting", more={"huge": 2**40}),
        record=arg(None, "function arity", "none", {"nothing": lambda s: None, "text": lambda s: "a"}),
    ),
    row(
        td.Output,
        writer=arg(store.ThermoTable(), "struct"),
        record=arg(spring, "function arity"),
        every=arg(1, "natural counting", more={"huge": 2**40}),
    ),
    row(
        td.save,
        path=arg(In(lambda folder: folder / "saved.npz"), "path to_write"),
        value=arg({"a": X}, "", more={"objects": np.array([THING]), "strings": {"a": np.array(["a"])}}),
        note=arg(
            None, "", more={"thing": THING, "array": X, "bytes": b"a", "set": {1}, "key": KEY, "deep": {"a": [THING]}}
        ),
    ),
    row(
        td.load,
        path=arg(
            In(loaded),
            "path to_read",
            more={"text": In(lambda folder: (folder / "t.npz").write_text("no") and folder / "t.npz")},
        ),
        like=arg({"a": X}, "", more=_SAVED),
        resized=FLAG,
    ),
]
DIAGNOSTICS = [
    row(
        td.certify,
        dynamics=arg(langevin(), "struct", more={"target": td.from_energy(spring)}),
        state=arg(In(lambda _: state("langevin")), "struct", more={"position": X, "of_a_minimizer": AT_REST}),
    ),
    *(row(f, state=MOMENTA) for f in (td.kinetic_energy, td.temperature, td.degrees_of_freedom)),
    row(
        td.standard_error,
        series=arg(
            np.sin(np.arange(64.0)),
            "struct",
            more={
                "empty": np.ones(0),
                "number": 1.0,
                "nans": np.full(64, NAN),
                "inf": np.r_[np.ones(63), INF],
            },
        ),
    ),
    *(
        row(f, draws=DRAWS, of=arg("mean", "number", more={"other": "median", "two": 2.0, "minus": -0.1}))
        for f in (td.effective_sample_size, td.monte_carlo_error)
    ),
    row(td.r_hat, draws=arg(DRAWS.good, "struct", more={**DRAWS.more, "one_chain": np.ones((9, 1))})),
    row(td.e_bfmi, energy=arg(DRAWS.good, "struct", more={"flat": np.ones(9)})),
    *(row(f, records=DRAWS, skip=arg(0, "natural", more={"all": 64})) for f in (td.summary, td.to_arviz)),
    row(td.sample, state=arg(STARTED, "struct", more={"position": X})),
    *(row(f, **BUDGET, **more) for f, more in ((td.error_budget, {}), (td.suggest_dt, {"accuracy": ACCURACY}))),
    row(
        testing.sigmas,
        series=arg(np.sin(np.arange(64.0)), "struct", more={"nans": np.full(64, NAN)}),
        expected=arg(0.0, "number", "true", {"shape": np.ones(7)}),
    ),
    row(
        testing.flat_difference,
        make=arg(
            lambda target: td.nve(target, 0.1),
            "function arity",
            more={"nothing": lambda target: None, "target": lambda target: target},
        ),
        energy=FUNCTION,
        key=arg(KEY, "key"),
        position=arg(X, "position"),
        steps=arg(1, "natural"),
    ),
    row(
        testing.convergence_order,
        dynamics_of_dt=arg(lambda dt: td.nve(spring, dt), "function arity", more={"nothing": lambda dt: None}),
        init=arg(
            lambda dynamics: dynamics.init(KEY, X, momentum=X),
            "function arity",
            more={"nothing": lambda dynamics: None},
        ),
        time=arg(1.0, "number positive one constant finite"),
        dts=arg(
            [0.5, 0.25],
            "struct",
            more={
                "one": [0.5],
                "none": [],
                "zero": [0.5, 0.0],
                "minus": [0.5, -0.5],
                "nan": [NAN, 0.5],
                "uneven": [0.3, 0.5],
                "text": ["a", "b"],
                "same": [0.5, 0.5],
            },
        ),
    ),
    row(
        testing.reversal_error,
        dynamics=arg(nve(), "struct", more={"minimizer": td.fire(spring, 0.1)}),
        state=STATE,
        steps=arg(1, "natural"),
    ),
    row(testing.log_volume, dynamics=arg(nve(), "struct", more={"minimizer": td.fire(spring, 0.1)}), state=STATE),
]
_PLACED = {"name": arg("mass", "")}
TREES = [
    row(
        tree.align,
        number=arg(
            jnp.ones(3),
            "",
            more={"long": jnp.ones(2), "last": jnp.ones((1, 3)), "deep": jnp.ones((3, 2, 1))},
            named="mass",
        ),
        leaf=arg(X, ""),
        **_PLACED,
    ),
    row(
        tree.broadcast,
        prefix=arg(
            1.0,
            "",
            more={"other": {"a": 1.0}, "more": {"a": 1.0, "b": 1.0, "c": 1.0}, "list": [1.0], "long": jnp.ones(2)},
            named="mass",
        ),
        tree=arg(_TREE, ""),
        **_PLACED,
    ),
    row(
        tree.prefix_map,
        f=arg(f4, ""),
        prefix=arg({}, "", more={"other": {"a": 1.0}, "more": [1.0, 2.0]}, named="mass"),
        tree=arg({}, "", more={}),
        **_PLACED,
    ),
    row(environment.with_advancing, env=arg({}, ""), nodes=arg([], "", more={"more": [Standing()], "none": None})),
]
ROWS = [*DRIVERS, *DIAGNOSTICS, *TREES]
