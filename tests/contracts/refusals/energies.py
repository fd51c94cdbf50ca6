"""What energies of particles and neighbor lists refuse when they are used."""

import functools
from typing import Any

import jax.numpy as jnp

from tests.contracts.refusals.kinds import NAN, THING, In, arg, f0, f4, row
from treedyn import particles as tp

BOX, CUBE = tp.periodic(8.0), jnp.ones((4, 3)) * jnp.arange(4.0)[:, None]


def lj(cutoff: float = 2.5) -> Any:
    return tp.shifted(tp.lennard_jones(), cutoff=cutoff)


@functools.cache
def energy() -> Any:
    return tp.pair_energy(lj(), BOX)


@functools.cache
def lists() -> Any:
    return tp.neighbor_list(BOX, 2.5).allocate(CUBE)


LISTS, TWO = In(lambda _: lists()), In(lambda _: [lists(), lists()])


def allocate(recipe: Any, position: Any) -> Any:
    return recipe.allocate(position)


def allocate_members(recipe: Any, **batch: Any) -> Any:
    return recipe.allocate_members(**batch)


def update(made: Any, position: Any, space: Any) -> Any:
    return made.update(position, space)


def evaluate(energy: Any, **arguments: Any) -> Any:
    return energy(**arguments)


def bonded(u: Any, position: Any, strain: Any = None) -> Any:
    return tp.bond_energy(u, [[0, 1]], tp.free())(position, strain=strain)


def paired(u: Any) -> Any:
    return tp.pair_energy(u, tp.free())(CUBE)


POTENTIALS = {
    "none": lambda r: None,
    "text": lambda r: "one",
    "thing": lambda r: THING,
    "vector": lambda r: jnp.stack([r, r]),
    "complex": lambda r: r.astype(complex),
    "integer": lambda r: 1,
    "boolean": lambda r: r > 0,
    "pair": lambda r: (r, r),
    "tree": lambda r: {"a": r},
}

ROWS = [
    row(
        allocate,
        called="neighbor_list(...).allocate",
        recipe=arg(tp.neighbor_list(BOX, 2.5), "", more={}),
        position=arg(CUBE, "points known_points", more={"plane": jnp.ones((4, 2)).at[0, 0].set(NAN)}),
    ),
    row(
        allocate,
        called="neighbor_list(cutoff).allocate",
        recipe=arg(tp.neighbor_list(BOX, 2.5), "", more={"long": tp.neighbor_list(BOX, 5.0)}, named="cutoff"),
        position=arg(CUBE, ""),
    ),
    row(
        allocate_members,
        called="neighbor_list(...).allocate_members",
        recipe=arg(tp.neighbor_list(tp.free(), 0.5, skin=0.1), ""),
        position=arg(jnp.stack([CUBE]), "points", "cube", {"nans": jnp.stack([CUBE]) * NAN, "empty": CUBE[None][:0]}),
        space=arg(None, "", more={"unbatched": tp.periodic(8.0), "number": 3.0}),
    ),
    row(
        update,
        called="NeighborList.update",
        made=arg(LISTS, ""),
        position=arg(CUBE, "points", more={"more": jnp.ones((5, 3)), "single": CUBE.astype(jnp.float32)}),
        space=arg(BOX, "space", "none", more={"free": tp.free(), "plane": tp.periodic(jnp.ones(2))}),
    ),
    row(
        evaluate,
        called="pair_energy(...)(position)",
        energy=arg(energy(), ""),
        position=arg(CUBE, "points"),
        env=arg(
            None,
            "struct",
            "none",
            {
                "two": TWO,
                "recipe": tp.neighbor_list(BOX, 2.5),
                "short": In(lambda _: tp.neighbor_list(BOX, 1.0).allocate(CUBE)),
                "other": In(lambda _: tp.neighbor_list(tp.free(), 2.5).allocate(CUBE)),
                "fewer": In(lambda _: tp.neighbor_list(BOX, 2.5).allocate(CUBE[:3])),
            },
            named="env|cutoff|space",
        ),
        strain=arg(None, "number", "none", {"small": jnp.ones((2, 2)), "row": jnp.ones(3), "number": 1.0}),
    ),
    row(paired, called="pair_energy(u)(position)", u=arg(lj(), "", more=POTENTIALS)),
    row(
        bonded,
        called="bond_energy(u)(position)",
        u=arg(lj(), "", more=POTENTIALS),
        position=arg(CUBE, "points", more={"short": CUBE[:1]}),
        strain=arg(None, "", more={"small": jnp.ones((2, 2)), "text": "one"}),
    ),
    row(
        tp.neighbor_sum,
        f=arg(
            lambda r, own, partner: 1.0,
            "function",
            more={
                "of_nothing": f0,
                "nothing": lambda r, own, partner: None,
                "text": lambda r, own, partner: "one",
                "complex": lambda r, own, partner: 1j,
            },
        ),
        position=arg(CUBE, "points"),
        neighbors=arg(None, "struct", "none", {"two": TWO}),
        quantities=arg(None, "", more={"short": CUBE[:3], "number": 1.0, "text": "one", "list": [1.0] * 4}),
        cutoff=arg(2.5, "number positive finite one constant", more={"long": 5.0}),
        space=arg(BOX, "space one_space"),
    ),
    row(
        tp.virial,
        energy=arg(
            energy(),
            "function",
            more={"of_nothing": f0, "without_strain": lambda x: jnp.sum(x), "vector": lambda x, strain: x},
        ),
        position=arg(CUBE, "points"),
        env=arg(None, ""),
    ),
    *(
        row(
            tensor,
            energy=arg(energy(), "function", more={"without_strain": lambda x: jnp.sum(x)}),
            position=arg(CUBE, "points"),
            space=arg(BOX, "space", more={"pair": (f4, f4), "free": tp.free()}),
            momentum=arg(CUBE, "points", "none", {"short": CUBE[:3]}),
            mass=arg(1.0, "number positive", "", {"short": jnp.ones(3)}),
        )
        for tensor in (tp.stress, tp.pressure)
    ),
    row(
        tp.pressure,
        called="pressure(volume)",
        energy=arg(energy(), ""),
        position=arg(CUBE, ""),
        volume=arg(1.0, "number positive finite one constant"),
    ),
]
