"""A box that shrinks or grows during a run costs no pair: forces are those of all pairs in the same box, or it ends.

The box is a part of the environment that moves on its own. A neighbor list beside it was made in another box and does
not know; a node that holds both, and tells its list of the box, follows.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_same_bits
from treedyn import particles as tp

pytestmark = pytest.mark.slow

KEY = jax.random.key(3)
CUTOFF, SKIN, SPACING, DT = 1.5, 0.4, 1.4, 0.005
# So small that particles come near each other across the faces before they push: what they do not do themselves, to the
# list, is done by the box.
PAIR = tp.shifted(tp.lennard_jones(sigma=0.5), CUTOFF)
SHRINK, GROW = 0.8 ** (1 / 100), 1.2 ** (1 / 100)


def space_of(cell):
    return tp.triclinic(cell) if cell.ndim == 2 else tp.periodic(cell)


class Box(td.Advancing):
    """A box that is scaled after every step."""

    cell: jax.Array
    factor: jax.Array

    def advance(self, state):
        return self.replace(cell=self.cell * self.factor)


class Followed(td.Refreshable, td.Advancing):
    """A box that is scaled after every step, and a list that is asked, and made, in the box of now."""

    cell: jax.Array
    factor: jax.Array
    lists: tp.NeighborList

    @property
    def status(self):
        return self.lists.status

    def valid(self, position, margin=1.0):
        return self.lists.valid(position, margin, space_of(self.cell))

    def rebuild(self, position):
        return self.replace(lists=self.lists.rebuild(position, space_of(self.cell)))

    def allocate(self, position):
        return self.replace(lists=self.lists.allocate(position, space_of(self.cell)))

    def advance(self, state):
        return self.replace(cell=self.cell * self.factor)


class Timed(td.Refreshable, td.Timed):
    """A box that is a function of time, and a list that is asked, and made, in the box of then."""

    start: jax.Array
    rate: jax.Array
    cell: jax.Array
    lists: tp.NeighborList

    def at(self, time):
        return self.replace(cell=self.start * jnp.exp(self.rate * time))

    @property
    def status(self):
        return self.lists.status

    def valid(self, position, margin=1.0):
        return self.lists.valid(position, margin, space_of(self.cell))

    def rebuild(self, position):
        return self.replace(lists=self.lists.rebuild(position, space_of(self.cell)))

    def allocate(self, position):
        return self.replace(lists=self.lists.allocate(position, space_of(self.cell)))


class Cell(td.Timed):
    """The box alone."""

    start: jax.Array
    rate: jax.Array

    def at(self, time):
        return self.start * jnp.exp(self.rate * time)


def beside(position, env):
    return tp.pair_energy(PAIR, space_of(env["box"].cell))(position, env["lists"])


def inside(position, env):
    return tp.pair_energy(PAIR, space_of(env.cell))(position, env.lists)


@jax.jit
def of_all_pairs(position, cell):
    energy, gradient = jax.value_and_grad(lambda x: tp.pair_energy(PAIR, space_of(cell))(x))(position)
    return energy, -gradient


# dimension, particles along an edge, oblique
SHAPES = {
    "rectangle": (2, 6, False),
    "rhombus": (2, 6, True),
    "cuboid": (3, 4, False),
    "triclinic": (3, 4, True),
    "small": (2, 3, False),
}


def start(shape, factor, follows, kT=0.02):
    dimension, side, oblique = SHAPES[shape]
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * dimension), axis=-1).reshape(-1, dimension) + 0.5
    cell = np.full(dimension, side * SPACING)
    position = lattice * SPACING
    if oblique:
        slant = np.eye(dimension) + 0.2 * np.tril(np.ones((dimension, dimension)), -1)
        cell, position = np.diag(cell) @ slant, position @ slant
    position, cell = jnp.asarray(position), jnp.asarray(cell)
    lists = tp.neighbor_list(space_of(cell), CUTOFF, skin=SKIN, headroom=4.0).allocate(position)
    parts = {"cell": cell, "factor": jnp.asarray(factor)}
    env = Followed(**parts, lists=lists) if follows else {"box": Box(**parts), "lists": lists}
    dynamics = td.nve(inside if follows else beside, dt=DT)
    return dynamics, dynamics.init(KEY, position, env, kT=kT), env


def observe(state):
    return state.position, state.energy, state.force


def go(start, steps=100, every=1, chunk=None):
    return td.run(*start, steps=steps, every=every, chunk=chunk, record=observe, on_failure="return")


def assert_exact(out, cell, factor):
    """Require energy and forces of every record to be those of all pairs, in the box of that time."""
    assert out.steps > 4 and len(out.records[0]) == out.steps
    for k, (position, energy, force) in enumerate(zip(*out.records, strict=True)):
        expected, pull = of_all_pairs(position, cell * factor ** (k + 1))
        np.testing.assert_allclose(energy, expected, rtol=1e-10)
        np.testing.assert_allclose(force, pull, rtol=0, atol=1e-10 * np.max(np.abs(pull)))


@pytest.mark.parametrize("shape, factor", [("cuboid", SHRINK), ("rhombus", GROW)])
def test_a_list_beside_a_box_that_moves_is_right_or_ends_the_run(shape, factor):
    system = start(shape, factor, follows=False)
    out = go(system)
    assert_exact(out, system[2]["box"].cell, factor)
    # the list cannot learn of the box, so the energy refuses it as soon as a pair may be missing
    assert out.failure is not None and out.failure.status == td.Status.NONFINITE
    assert "every neighbor list was made with the box of its energy" in str(out.failure)
    assert out.steps == out.state.step and np.isfinite(out.state.position).all() and np.isfinite(out.state.energy)


@pytest.mark.parametrize(
    "shape, factor", [("rectangle", SHRINK), ("rectangle", GROW), ("cuboid", SHRINK), ("triclinic", GROW)]
)
def test_a_list_that_follows_its_box_finds_every_pair(shape, factor):
    system = start(shape, factor, follows=True)
    out = go(system)
    cell = system[2].cell
    assert_exact(out, cell, factor)
    assert out.failure is None and out.rebuilds > 5 and out.steps == 100
    np.testing.assert_allclose(out.env.cell, cell * factor**100)
    # the others have one cell from the start; where several become too narrow, the run makes fewer
    if shape == "rectangle":
        before, after = (lists.grid.counts for lists in (system[2].lists, out.env.lists))
        assert (out.allocations > 0 and after < before) == (factor < 1)


@pytest.mark.parametrize("run, order", [(td.run, 2), (td.trajectory, 4)])
def test_a_list_in_a_box_that_is_a_function_of_time_finds_every_pair_at_the_time_of_every_force(order, run):
    _, state, followed = start("cuboid", 1.0, follows=True)
    rate = np.log(SHRINK) / DT
    env = Timed(start=followed.cell, rate=jnp.asarray(rate), cell=followed.cell, lists=followed.lists)
    dynamics = td.nve(inside, dt=DT, order=order)
    state = dynamics.init(KEY, state.position, env, kT=0.02)
    out = run(dynamics, state, env, steps=60, record=observe)
    for k, (position, energy, force) in enumerate(zip(*out.records, strict=True)):
        expected, pull = of_all_pairs(position, followed.cell * np.exp(rate * DT * (k + 1)))
        np.testing.assert_allclose(energy, expected, rtol=1e-10)
        np.testing.assert_allclose(force, pull, rtol=0, atol=1e-10 * np.max(np.abs(pull)))
    assert int(out.state.status) == 0
    if run is td.run:
        assert out.rebuilds > 5
    # the same with all pairs
    all_pairs = td.nve(lambda x, cell: tp.pair_energy(PAIR, space_of(cell))(x), dt=DT, order=order)
    pure = td.trajectory(all_pairs, state, Cell(start=env.start, rate=env.rate), steps=60)
    np.testing.assert_allclose(out.state.position, pure.state.position, rtol=0, atol=1e-9)


def test_a_box_below_twice_the_reach_of_its_list_ends_the_run_with_the_last_good_state():
    system = start("small", 0.998, follows=True)
    out, side = go(system), float(system[2].cell[0])
    assert_exact(out, system[2].cell, 0.998)
    assert out.failure is not None and out.failure.status == td.Status.BOX and int(out.state.status) == 0
    # where the list was last made the box was large enough; there is none that could be made now
    now = side * 0.998**out.steps
    assert now < 2 * (CUTOFF + SKIN) < side
    with pytest.raises(ValueError, match=r"skin: cutoff \+ skin must stay within half of the smallest box height"):
        out.env.allocate(out.state.position)


@functools.cache
def warm(factor):
    system = start("cuboid", factor, follows=True, kT=0.5)
    return system, go(system, 60, every=60)


@pytest.mark.parametrize("chunk", [1, 7])
@pytest.mark.parametrize("factor", [0.9995, 1.0005])
def test_how_a_run_with_a_moving_box_is_cut_changes_no_bit(factor, chunk):
    system, expected = warm(factor)
    out = go(system, 60, every=60, chunk=chunk)
    assert out.rebuilds == expected.rebuilds > 2
    assert_same_bits((out.state, out.env), (expected.state, expected.env))
