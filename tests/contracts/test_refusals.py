"""Every wrong value of every argument of every public function is refused by name, at once, and by the library."""

import contextlib
import importlib
import inspect
import re
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import treedyn as td
from tests.contracts.refusals import drivers, energies, files, methods, nets, potentials, streams, views
from tests.contracts.refusals.drivers import STARTED
from tests.contracts.refusals.kinds import KINDS, In, Row
from tests.contracts.refusals.samples import nve, spring
from tests.helpers import KEY
from treedyn import particles as tp
from treedyn import store, tree
from treedyn.store._files import Closing

pytestmark = pytest.mark.slow

PARTS = (methods, drivers, streams, potentials, energies, files, views, nets)
ROWS = [row for part in PARTS for row in part.ROWS]
SECONDS = 20
# what a good message says besides the name: what was expected, or what to do
ADVICE = re.compile(
    r"expected|must|needs|cannot|continues|damaged|there is no|"
    r"\b(give|pass|use|call|write|store|check|leave|make|minimize|reduce|observe|allocate)\b",
    re.IGNORECASE,
)
MODULES = (
    *(
        "treedyn",
        "treedyn.bijector",
        "treedyn.stream",
        "treedyn.operators",
        "treedyn.minimize",
        "treedyn.montecarlo",
        "treedyn.networks",
        "treedyn.networks.prior",
        "treedyn.networks.likelihood",
        "treedyn.tree",
        "treedyn.environment",
    ),
    "treedyn.store",
    *("treedyn.view", "treedyn.particles", "treedyn.particles.io", "treedyn.particles.io.ase", "treedyn.testing"),
)
EXEMPT = {
    "takes no argument": """treedyn.euclidean treedyn.rotations treedyn.operators.kick treedyn.particles.free
        treedyn.montecarlo.fisher treedyn.montecarlo.variance treedyn.bijector.identity treedyn.bijector.positive
        treedyn.bijector.ordered treedyn.bijector.simplex treedyn.bijector.cholesky_of_correlation
        treedyn.networks.prior.flat treedyn.networks.likelihood.categorical treedyn.networks.likelihood.bernoulli
        treedyn.networks.likelihood.poisson""",
    "takes any number of dynamics, refused in `tests/dynamics/test_in_turn.py`": "treedyn.in_turn",
    "a pure function of carries that a run made": "treedyn.stream.pool",
    "made by a function, which looks at its number": "treedyn.minimize.Converged",
    "declares a field of a class, with any default": "treedyn.function treedyn.static",
    "a type": "treedyn.tree.PyTree",
    "arithmetic on numbers, called for every pair": """treedyn.particles.arithmetic_mean treedyn.particles.reciprocal
        treedyn.particles.geometric_mean""",
    "takes any tree, or any leaf of one": """treedyn.tree.is_array treedyn.tree.box treedyn.tree.unbox
        treedyn.tree.traceable treedyn.tree.boxed treedyn.environment.plain
        treedyn.tree.is_moving treedyn.tree.made_up
        treedyn.tree.describe treedyn.tree.paths treedyn.tree.known treedyn.tree.moving
        treedyn.environment.refreshable treedyn.environment.valid treedyn.environment.status
        treedyn.environment.update treedyn.environment.rebuild treedyn.environment.refresh treedyn.environment.at
        treedyn.environment.enlarged treedyn.stream.sum_dtype
        treedyn.environment.allocate treedyn.environment.tuned treedyn.environment.trusted
        treedyn.environment.advance treedyn.environment.advancing treedyn.environment.beginning
        treedyn.networks.prior.is_prior
        treedyn.environment.moves treedyn.environment.check treedyn.environment.member""",
    "arithmetic inside of compiled steps, on trees that were looked at where they came in": """treedyn.tree.strong
        treedyn.tree.merge treedyn.tree.cast treedyn.tree.add treedyn.tree.subtract treedyn.tree.scale
        treedyn.tree.axpy treedyn.tree.divide treedyn.tree.where treedyn.tree.zeros_like treedyn.tree.widest
        treedyn.tree.dtype treedyn.tree.total treedyn.tree.vdot treedyn.tree.norm treedyn.tree.max_abs
        treedyn.tree.size treedyn.tree.finite""",
}


class Hung(BaseException):
    """Raised when a call takes too long."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def called(row: Row, folder: Path, **wrong: Any) -> Any:
    values = {name: argument.good for name, argument in row.arguments.items()} | wrong
    found = row.of(**{name: x.make(folder) if isinstance(x, In) else x for name, x in values.items()})
    if isinstance(found, Closing):
        found.close()
    return found


def complaint(act: Callable[[], Any], name: str, folder: Path) -> str | None:
    """Return what is wrong with how a call was refused, or `None`."""
    try:
        with limited():
            found = act()
    except (ValueError, TypeError, OSError) as error:
        message, where = str(error), traceback.extract_tb(error.__traceback__)[-1].filename
        if "/treedyn/" not in where:
            return f"raised in {Path(where).name}: {type(error).__name__}: {message[:120]}"
        # a path of a file is told by itself
        if not re.search(rf"(?<!\w)({name})(?!\w)|{re.escape(str(folder))}", message):
            return f"does not name it: {message[:160]}"
        return None if ADVICE.search(message) else f"without advice: {message[:160]}"
    except Hung:
        return f"took more than {SECONDS} seconds"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]}"
    return f"accepted, returned {str(found)[:80]!r}"


def cases(row: Row) -> list[tuple[str, str, Any]]:
    return [(name, label, x) for name, argument in row.arguments.items() for label, x in argument.wrong().items()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_wrong_values_are_refused_by_name(row, tmp_path):
    called(row, tmp_path)
    complaints = []
    for name, label, x in cases(row):
        said = complaint(
            lambda name=name, x=x: called(row, tmp_path, **{name: x}), row.arguments[name].named or name, tmp_path
        )
        complaints += [f"{name}={label}: {said}"] if said else []
    assert not complaints, "\n".join(["", *complaints])


def public() -> dict[str, Any]:
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            # what a module imports for itself is not its own, unless it is a package, which says so
            own = getattr(value, "__module__", "") == name or hasattr(module, "__path__")
            if not key.startswith("_") and own and callable(value) and not inspect.ismodule(value):
                found[f"{name}.{key}"] = value
    return found


def is_checked_elsewhere(value: Any) -> bool:
    """Tell whether something is a type whose objects are made by functions, and looked at where they are used."""
    made = (td.Struct, td.Run, tree.Static, store.Thermo, tuple, Exception, int, Closing)
    return inspect.isclass(value) and issubclass(value, made)


def test_every_public_function_is_in_the_table():
    tried = {row.of for row in ROWS}
    exempt = {name for names in EXEMPT.values() for name in names.split()}
    found = public()
    missing = [n for n, x in found.items() if x not in tried and n not in exempt and not is_checked_elsewhere(x)]
    assert not missing
    assert exempt <= set(found)


def test_the_table_has_more_than_a_thousand_wrong_values():
    assert sum(len(cases(row)) for row in ROWS) > 1000


# --- combinations ----------------------------------------------------------------------------------------------------


def saved(path: Any, value: Any, like: Any) -> Any:
    td.save(path, value)
    return td.load(path, like)


GOOD = {
    "run": (td.run, {"dynamics": nve(), "state": STARTED, "steps": 2, "every": 1, "record": spring, "chunk": 1}),
    "init": (nve().init, {"key": KEY, "position": {"a": 1.0}, "momentum": None, "kT": 0.5}),
    "pair_energy": (tp.pair_energy, {"u": tp.lennard_jones(), "space": tp.free(), "cutoff": 2.5, "precision": None}),
    "neighbor_list": (tp.neighbor_list, {"space": tp.free(), "cutoff": 1.0, "skin": 0.1, "headroom": 1.5}),
    "periodic": (tp.periodic, {"box": 5.0, "axes": None}),
    "langevin": (td.langevin, {"target": spring, "dt": 0.1, "kT": 1.0, "gamma": 1.0, "mass": 1.0, "space": tp.free()}),
    "save and load": (saved, {"path": "tree.npz", "value": {"a": 1.0}, "like": {"a": 1.0}}),
}
VALUES = [x for kind in KINDS.values() for x in kind.values() if not isinstance(x, In)]
LEAVES = st.sampled_from(VALUES) | st.integers(-3, 3) | st.floats() | st.text(max_size=3) | st.none() | st.booleans()
GARBAGE = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.text(max_size=2), LEAVES, max_size=2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GOOD)
@given(data=st.data())
def test_garbage_in_any_combination_is_an_error_of_value_or_type(name, data):
    function, good = GOOD[name]
    values = {key: data.draw(st.just(x) | GARBAGE, label=key) for key, x in good.items()}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), limited():
        try:
            function(**{key: x.make(Path(folder)) if isinstance(x, In) else x for key, x in values.items()})
        except (ValueError, TypeError, OSError) as error:
            assert str(error)
        except td.SimulationError:
            assert name == "run"
