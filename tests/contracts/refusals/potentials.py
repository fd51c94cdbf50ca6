"""What boxes, crystals, potentials and recipes refuse."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.contracts.refusals.kinds import INF, NAN, arg, f4, row
from treedyn import particles as tp

BOX = tp.periodic(8.0)


def identity(x: Any) -> Any:
    return x


def lj(cutoff: float = 2.5) -> Any:
    return tp.shifted(tp.lennard_jones(), cutoff=cutoff)


FLAG = arg(False, "flag")
SPACE = arg(BOX, "space one_space")
CUTOFF = arg(2.5, "number positive finite one constant")
PARAMETER = arg(1.0, "number constant", "", {"inf": INF, "list_of_text": ["1.0", "2.0"], "tree": {"a": 1.0}})
POSITIVE = arg(1.0, "number positive constant", "", {"tree": {"a": 1.0}})
U = arg(lj(), "function arity")
SELECT = arg(identity, "function arity", "none")
REPEATS = arg(2, "natural counting", "", {"two": [2, 2], "halves": [1.5, 2, 2], "zeros": [0, 1, 1]})
CONSTANT = arg(1.0, "number positive finite one constant")

BOXES = [
    row(
        tp.periodic,
        box=arg(8.0, "number positive finite constant", more={"matrix": np.eye(3), "empty": [], "tree": {"a": 1.0}}),
        axes=arg(None, "struct", "none", {"numbers": [1, 0, 1], "texts": ["x"], "empty": [], "one": True}),
    ),
    row(
        tp.periodic,
        called="periodic(axes) of 3",
        box=arg(jnp.ones(3), ""),
        axes=arg((True,) * 3, "", more={"two": (True, True)}),
    ),
    row(
        tp.triclinic,
        cell=arg(
            np.eye(3),
            "number",
            more={
                "row": np.ones(3),
                "flat": np.ones((3, 3)),
                "nan": np.eye(3) * NAN,
                "wide": np.ones((2, 3)),
                "inf": np.diag([1.0, INF, 1.0]),
                "text": [["a"]],
                "empty": np.ones((0, 0)),
            },
        ),
        axes=arg(None, "struct", "none", {"numbers": [1, 0, 1], "two": [True, True]}),
        fractional=FLAG,
    ),
    *(row(make, repeats=REPEATS, lattice_constant=CONSTANT) for make in (tp.sc, tp.bcc, tp.fcc, tp.diamond, tp.hcp)),
    row(
        tp.hexagonal,
        repeats=REPEATS._replace(but=frozenset({"list"}), more={"three": [2, 2, 2], "zeros": [0, 1]}),
        density=CONSTANT,
    ),
]
POTENTIAL = [
    row(tp.lennard_jones, epsilon=PARAMETER, sigma=PARAMETER),
    row(tp.soft_sphere, epsilon=PARAMETER, sigma=POSITIVE, alpha=POSITIVE),
    row(tp.morse, epsilon=PARAMETER, alpha=PARAMETER, sigma=PARAMETER),
    row(tp.harmonic, stiffness=PARAMETER, length=PARAMETER),
    *(row(cut, u=U, cutoff=POSITIVE) for cut in (tp.cut, tp.shifted, tp.force_shifted)),
    row(
        tp.smooth,
        u=U,
        onset=arg(1.0, "number nonnegative constant", more={"beyond": 3.0, "tree": {"a": 1.0}}),
        cutoff=arg(2.0, "number positive constant", more={"before": 0.5}),
    ),
    row(tp.cutoff_of, u=arg(lj(), "function arity", more={"of_bonds": lj(np.array([2.5, 2.0]))}, named="u|cutoff")),
    row(
        tp.long_range_correction,
        u=arg(tp.cut(tp.lennard_jones(), 2.5), "struct", more={"shifted": lj(), "slow": tp.cut(lambda r: 1 / r, 2.5)}),
        density=arg(0.8, "number nonnegative finite constant", more={"tree": {"a": 1.0}}),
        dimension=arg(3, "natural counting"),
    ),
    row(
        tp.by_species,
        table=arg(
            [[1.0, 2.0], [2.0, 1.0]],
            "number",
            more={
                "wide": np.ones((1, 2)),
                "uneven": [[1.0, 2.0], [3.0, 1.0]],
                "row": np.ones(2),
                "ragged": [[1.0], [1.0, 2.0]],
                "nan": np.full((2, 2), NAN),
            },
        ),
        species=arg(
            [0, 1],
            "struct",
            more={
                "floats": [0.0, 1.0],
                "minus": [-1, 0],
                "beyond": [0, 2],
                "matrix": [[0, 1]],
                "number": 0,
                "booleans": [True, False],
            },
        ),
    ),
    row(
        tp.by_particle,
        values=arg(
            [1.0, 2.0],
            "number",
            more={"number": 1.0, "matrix": np.ones((2, 2)), "texts": ["a", "b"], "nan": [1.0, NAN]},
        ),
        combine=arg(
            tp.arithmetic_mean,
            "function",
            more={
                "of_one": identity,
                "of_four": f4,
                "first": lambda a, b: a,
                "nothing": lambda a, b: None,
                "vector": lambda a, b: jnp.stack([a, b]),
            },
        ),
    ),
]
RECIPES = [
    row(
        tp.pair_energy,
        u=U,
        space=SPACE,
        cutoff=arg(None, "number positive constant", "none"),
        precision=arg(None, "struct", "none", {"integer": jnp.int32, "name": "float31", "complex": complex}),
    ),
    row(
        tp.bond_energy,
        u=arg(
            tp.harmonic(),
            "function arity",
            more={"of_species": tp.harmonic(tp.by_species([[1.0]], [0, 0])), "of_three": tp.harmonic(jnp.ones(3))},
        ),
        bonds=arg(
            [[0, 1]],
            "struct",
            more={
                "triple": [[0, 1, 2]],
                "self": [[1, 1]],
                "minus": [[-1, 0]],
                "floats": [[0.0, 1.0]],
                "row": [0, 1],
                "booleans": [[True, False]],
                "ragged": [[0, 1], [2]],
            },
        ),
        space=SPACE,
    ),
    row(
        tp.neighbor_list,
        space=SPACE,
        cutoff=CUTOFF,
        skin=arg(0.3, "number nonnegative finite one constant", "none", {"other": "best"}),
        tolerance=arg(0.0, "number nonnegative finite one constant", more={"all": 1.0}),
        select=SELECT._replace(more={"of_env": lambda *, env: env}),
        headroom=arg(1.25, "number positive finite one constant", more={"below": 0.5}),
    ),
    row(
        tp.radial_distribution,
        space=SPACE,
        bins=arg(10, "natural counting"),
        cutoff=CUTOFF,
        select=SELECT,
        species=arg(
            [0, 1],
            "struct",
            "none",
            {"floats": [0.0, 1.0], "minus": [-1, 0], "matrix": [[0, 1]], "booleans": [True, False]},
        ),
        volume=arg(1.0, "number positive finite one constant", "none"),
    ),
    row(
        tp.mean_squared_displacement,
        space=SPACE,
        lags=arg(2, "natural counting"),
        stride=arg(1, "natural counting"),
        select=SELECT,
    ),
]
ROWS = [*BOXES, *POTENTIAL, *RECIPES]
