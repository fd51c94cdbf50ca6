"""Line searches: in displacements, with valid lists, in any stored coordinates."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.helpers import mostly_slow
from treedyn import minimize
from treedyn import particles as tp

KEY = jax.random.key(0)
FORCE = 1e-8
METHODS = {
    "lbfgs": lambda f, step, space: td.lbfgs(f, max_step=step, space=space),
    "conjugate_gradient": lambda f, step, space: td.conjugate_gradient(f, max_step=step, space=space),
    "fire": lambda f, step, space: td.fire(f, 2e-3 if step == 0.1 else 0.02, max_step=step, space=space),
}
every_method = pytest.mark.parametrize("method", mostly_slow(METHODS, "lbfgs"))


def minimized(dynamics, position, env=None, steps=20_000, force=FORCE):
    """Return the end of a minimization and its number of evaluations."""
    state = dynamics.init(KEY, position, env)
    out = td.run(
        dynamics, state, env, steps=steps, until=td.converged(force=force), record=lambda s: s.info.evaluations
    )
    assert out.finished and float(td.tree.max_abs(out.state.force)) < force and int(out.state.status) == 0
    return out, int(np.sum(out.records))


# --- coordinates ------------------------------------------------------------------------------------------------------


def coordinates(position, side, make):
    """Return energy, space, position and box for real coordinates, wrapped ones and fractions."""
    dimension = position.shape[1]
    box, cell = tp.periodic(side), tp.triclinic(np.eye(dimension) * side, fractional=True)
    inside = position % side
    return {
        "real": (make(box), tp.free(), position, box),
        "periodic": (make(box), box, inside, box),
        "fractional": (make(cell), cell, inside / side, cell),
    }


def alike(method, position, side, make, reach, skin, step, spread=0.05):
    counts, energies = {}, {}
    for name, (energy, space, start, box) in coordinates(position, side, make).items():
        lists = tp.neighbor_list(box, reach, skin=skin).allocate(start)
        out, counts[name] = minimized(METHODS[method](energy, step, space), start, lists)
        energies[name] = float(out.state.energy)
        assert out.rebuilds > 1
    middle = sorted(counts.values())[1]
    assert all(abs(n / middle - 1) <= spread for n in counts.values()), counts
    np.testing.assert_allclose(list(energies.values()), energies["real"], rtol=1e-11)
    return energies["real"]


# the other methods are in the next test, in two dimensions
@pytest.mark.slow
def test_lennard_jones_atoms_reach_the_same_minimum_in_all_coordinates():
    crystal = tp.fcc(4, density=0.8442)
    side = float(np.ravel(crystal.space.box)[0])
    start = crystal.position + 0.1 * jax.random.normal(KEY, crystal.position.shape)
    pair = tp.smooth(tp.lennard_jones(), onset=2.0, cutoff=2.5)
    energy = alike("lbfgs", start, side, lambda space: tp.pair_energy(pair, space), 2.5, 0.4, 0.1)
    assert energy == pytest.approx(float(tp.pair_energy(pair, crystal.space)(crystal.position)), rel=1e-9)


@pytest.mark.slow
@every_method
def test_soft_discs_reach_the_same_minimum_in_all_coordinates(method):
    count, ratio, fraction = 128, 1.4, 0.95
    radii = np.where(np.arange(count) % 2, 0.5 * ratio, 0.5)
    side = float(np.sqrt(np.pi * np.sum(radii**2) / fraction))
    lattice = np.stack(np.meshgrid(np.arange(12), np.arange(11)), axis=-1).reshape(-1, 2)[:count]
    noise = 0.2 * np.asarray(jax.random.normal(KEY, (count, 2)))
    start = jnp.asarray((lattice + 0.5) * side / np.array([12, 11]) + noise)
    diameter = tp.by_particle(jnp.asarray(radii), combine=lambda a, b: a + b)

    def make(space):
        return tp.pair_energy(tp.soft_sphere(sigma=diameter), space, cutoff=ratio)

    # over hundreds of line searches in a rough landscape, conjugate gradients amplify the rounding of coordinates
    spread = 0.2 if method == "conjugate_gradient" else 0.05
    assert alike(method, start, side, make, ratio, 0.3, 0.2, spread) > 0.01


@pytest.mark.slow
@every_method
def test_rosenbrock_in_a_dict_reaches_its_minimum(method):
    def rosenbrock(x):
        return jnp.sum((1 - x["x"]) ** 2 + 100 * (x["y"]["z"] - x["x"] ** 2) ** 2)

    start = {"x": jnp.array([-1.2, 0.5]), "y": {"z": jnp.array([1.0, -0.5])}}
    make = METHODS[method] if method != "fire" else lambda f, step, space: td.fire(f, 2e-3, space=space)
    out, evaluations = minimized(make(rosenbrock, float("inf"), td.euclidean()), start)
    np.testing.assert_allclose(out.state.position["y"]["z"], 1, atol=1e-7)
    # SciPy takes 68 with L-BFGS-B and 111 with CG
    assert evaluations < {"lbfgs": 110, "conjugate_gradient": 260, "fire": 2000}[method]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", mostly_slow([jnp.float32, jnp.float64], jnp.float32))
@pytest.mark.parametrize("make", [td.lbfgs, td.conjugate_gradient])
def test_a_minimum_is_found_to_the_precision_of_the_dtype(make, dtype):
    def energy(x):
        return jnp.sum(jnp.cosh(x - 1)) + 1000

    eps = float(jnp.finfo(dtype).eps)
    out, _ = minimized(make(energy), jnp.linspace(-2, 2, 7, dtype=dtype), steps=100, force=20 * eps)
    np.testing.assert_allclose(out.state.position, 1, atol=20 * eps)
    assert out.state.position.dtype == dtype


@pytest.mark.slow
def test_optax_lbfgs_reaches_the_same_minimum_in_all_coordinates():
    # with gradients by fractions, or wrapped steps, it stops at forces of order 1
    crystal = tp.fcc(2, density=0.8442)
    side = float(np.ravel(crystal.space.box)[0])
    start = crystal.position + 0.05 * jax.random.normal(KEY, crystal.position.shape)
    pair = tp.smooth(tp.lennard_jones(), onset=1.3, cutoff=1.6)
    ends = {}
    for name, (energy, space, position, _) in coordinates(start, side, lambda s: tp.pair_energy(pair, s)).items():
        dynamics = td.from_optax(energy, optax.lbfgs(), space=space)
        out = td.run(dynamics, dynamics.init(KEY, position), steps=60)
        assert float(td.tree.max_abs(out.state.force)) < 1e-4
        ends[name] = float(out.state.energy)
    np.testing.assert_allclose(list(ends.values()), ends["real"], rtol=1e-9)


def test_optax_sees_unwrapped_displacements():
    # wrapping would look like a jump to an average of parameters
    box = tp.periodic(10.0)
    dynamics = td.from_optax(lambda x: -jnp.sum(x), optax.sgd(0.4), space=box)
    state = dynamics.init(KEY, jnp.full((1, 2), 9.5))
    for _ in range(5):
        state = dynamics.step(state)
    np.testing.assert_allclose(state.memory["optax"]["way"], 2.0, rtol=1e-14)
    np.testing.assert_allclose(state.position, 1.5, rtol=1e-13)


# --- trials -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [td.lbfgs, td.conjugate_gradient])
def test_trials_beyond_the_skin_are_evaluated_with_valid_lists(make):
    # a spring pulls two particles by far more than the skin
    pair = tp.shifted(tp.lennard_jones(), 2.0)
    energy = tp.pair_energy(pair, tp.free())
    all_pairs = lambda x: energy(x) + 0.5 * jnp.sum((x - jnp.array([[0.0, 0.0], [8.0, 0.0]])) ** 2)  # noqa: E731

    def with_list(x, env):
        return energy(x, env) + all_pairs(x) - energy(x)

    start = jnp.array([[0.0, 0.0], [-1.5, 0.3]])
    lists = tp.neighbor_list(tp.free(), 2.0, skin=0.05).allocate(start)
    listed, expected = make(with_list, space=tp.free()), make(all_pairs, space=tp.free())
    a, b = listed.init(KEY, start, lists), expected.init(KEY, start)
    step, right = jax.jit(listed.step), jax.jit(expected.step)
    for _ in range(6):
        a, b = step(a, lists), right(b)
        assert int(a.status) == 0
        np.testing.assert_allclose(a.position, b.position, rtol=1e-9, atol=1e-9)
    out = td.run(listed, listed.init(KEY, start, lists), lists, steps=100, until=td.converged(force=1e-6))
    assert out.finished


def test_a_step_satisfies_the_wolfe_conditions():
    def energy(x):
        return jnp.sum(x**4 - 3 * x**2 + jnp.sin(5 * x))

    for curvature in (0.9, 0.01):
        length = minimize.StrongWolfe(decrease=1e-3, curvature=curvature)
        dynamics = td.minimizer(energy, minimize.Steepest(rate=1.0), length)
        state = dynamics.init(KEY, jnp.array([0.3, -1.9, 2.5]))
        new = jax.jit(dynamics.step)(state)
        way = state.force
        slope, after = -jnp.vdot(state.force, way), -jnp.vdot(new.force, way)
        assert new.info.found and abs(after) <= curvature * abs(slope)
        assert new.energy <= state.energy + 1e-3 * new.info.length * slope
        np.testing.assert_allclose(new.position, state.position + new.info.length * way, rtol=1e-12)


def test_armijo_takes_the_first_length_that_is_low_enough():
    dynamics = td.minimizer(
        td.from_energy(lambda x: x**2 / 2), minimize.Steepest(rate=1.9), minimize.Armijo(decrease=0.04)
    )
    one = dynamics.step(dynamics.init(KEY, 1.0))
    assert int(one.info.evaluations) == 1 and float(one.position) == pytest.approx(-0.9)
    strict = td.minimizer(
        td.from_energy(lambda x: x**2 / 2), minimize.Steepest(rate=1.9), minimize.Armijo(decrease=0.2)
    )
    two = strict.step(strict.init(KEY, 1.0))
    assert int(two.info.evaluations) == 2 and abs(float(two.position)) < 0.9


def test_a_trial_of_infinite_energy_shortens_the_search():
    dynamics = td.lbfgs(td.from_energy(lambda x: -jnp.log(x) + x))
    out, _ = minimized(dynamics, 1e-3, steps=100)
    np.testing.assert_allclose(out.state.position, 1, rtol=1e-7)


@pytest.mark.slow
def test_no_element_moves_further_than_the_step_limit():
    for make in (td.lbfgs, td.conjugate_gradient):
        dynamics = make(lambda x: jnp.sum((x - jnp.array([10.0, -3.0])) ** 2), max_step=0.5)
        path = td.trajectory(dynamics, dynamics.init(KEY, jnp.zeros(2)), steps=30, record=lambda s: s.position).records
        assert np.max(np.abs(np.diff(path, axis=0))) <= 0.5 * (1 + 1e-12)
        np.testing.assert_allclose(path[-1], [10, -3], rtol=1e-10)


@pytest.mark.slow
def test_a_failed_search_does_not_move_and_is_reported():
    # the force has the wrong sign, so no trial is lower
    class Wrong(td.Target):
        def __call__(self, position, env=None):
            return td.Evaluation(energy=jnp.sum(position**2), force=2 * position)

    dynamics = td.lbfgs(Wrong(function=lambda x: x))
    state = dynamics.init(KEY, jnp.ones(2))
    new = dynamics.step(state)
    np.testing.assert_allclose(new.position, state.position, rtol=1e-12)
    assert not new.info.found and int(new.step) == 1 and int(new.status) == 0
    with pytest.warns(UserWarning, match="line search"):
        td.run(dynamics, state, steps=3, until=td.converged(force=0.1))


def test_a_minimization_that_did_not_converge_warns():
    dynamics = td.gradient_descent(lambda x: jnp.sum(x**2), 1e-3)
    state = dynamics.init(KEY, jnp.ones(2))
    with pytest.warns(UserWarning, match="until: it was not met after 5 steps, so the minimization has not converged"):
        assert not td.run(dynamics, state, steps=5, until=td.converged(force=1e-6)).finished
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not td.run(dynamics, state, steps=5).finished
        md = td.nve(lambda x: jnp.sum(x**2), 0.1)
        assert not td.run(md, md.init(KEY, jnp.ones(2)), steps=5, until=lambda s: s.energy < -1).finished


@pytest.mark.slow
@pytest.mark.parametrize("make", [td.lbfgs, td.conjugate_gradient])
def test_forces_with_overflowing_squares_are_followed(make):
    def energy(x):
        way = x[1] - x[0]
        return jnp.sum(way**2) ** -6 - jnp.sum(way**2) ** -3

    start = jnp.array([[0.0, 0.0], [0.012, 0.0]], jnp.float32)
    dynamics = make(energy, max_step=0.3)
    state = dynamics.init(KEY, start)
    assert 1e19 < jnp.max(state.force) < jnp.inf
    out = td.run(dynamics, state, steps=200, until=td.converged(force=1e-3))
    np.testing.assert_allclose(out.state.position[1, 0] - out.state.position[0, 0], 2 ** (1 / 6), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("make", [td.lbfgs, td.conjugate_gradient])
def test_the_minimum_has_a_derivative_in_forward_mode(make):
    def minimum(k):
        dynamics = make(lambda x, k: jnp.sum(jnp.cosh(x - k)))
        state = dynamics.init(KEY, jnp.zeros(2, k.dtype), k)
        return td.trajectory(dynamics, state, k, steps=8).state.position[0]

    value, slope = jax.jvp(minimum, (jnp.float64(0.5),), (jnp.float64(1.0),))
    np.testing.assert_allclose([value, slope], [0.5, 1.0], rtol=1e-6)


def test_line_searches_need_an_energy():
    dynamics = td.lbfgs(td.from_force(lambda x: -x))
    with pytest.raises(ValueError, match="compares energies"):
        jax.eval_shape(dynamics.step, dynamics.init(KEY, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("make", [td.lbfgs, td.conjugate_gradient])
def test_members_of_an_ensemble_search_independently(make):
    def energy(x):
        return jnp.sum((1 - x["x"]) ** 2 + 100 * (x["y"] - x["x"] ** 2) ** 2)

    starts = {"x": jnp.array([-1.2, 0.5, 1.0]), "y": jnp.array([1.0, -0.5, 1.0])}
    dynamics = make(energy)
    many = td.ensemble(dynamics, 3)
    out = td.run(many, many.init(KEY, td.per_member(starts)), steps=500, until=td.converged(force=1e-6))
    assert out.finished.all() and out.state.step[2] == 1
    for k in range(3):
        one = dynamics.init(KEY, jax.tree.map(lambda x, k=k: x[k], starts))
        alone = td.run(dynamics, one, steps=500, until=td.converged(force=1e-6))
        assert int(alone.state.step) == int(out.state.step[k])
        np.testing.assert_allclose(out.state.position["x"][k], alone.state.position["x"], rtol=1e-9)


# --- curved spaces ----------------------------------------------------------------------------------------------------

CURVED = {
    "gradient_descent": lambda f, space: td.gradient_descent(f, 0.15, space=space),
    "fire": lambda f, space: td.fire(f, 0.1, space=space),
    "conjugate_gradient": lambda f, space: td.conjugate_gradient(f, space=space),
    "lbfgs": lambda f, space: td.lbfgs(f, space=space),
}


@pytest.mark.parametrize(
    "method, dimension",
    [("lbfgs", 3), *mostly_slow([*((method, 3) for method in CURVED if method != "lbfgs"), ("lbfgs", 7)])],
)
def test_the_lowest_eigenvector_is_found_on_a_sphere(method, dimension):
    A = jax.random.normal(jax.random.key(1), (dimension, dimension))
    A = (A + A.T) / 2
    points = jax.random.normal(KEY, (2, dimension))
    points = points / jnp.linalg.norm(points, axis=1, keepdims=True)
    out, _ = minimized(CURVED[method](lambda x: jnp.sum(x @ A * x), td.sphere()), points)
    np.testing.assert_allclose(jnp.linalg.norm(out.state.position, axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(jnp.sum(out.state.position @ A * out.state.position, axis=1), np.linalg.eigvalsh(A)[0])


@pytest.mark.parametrize("method", mostly_slow(CURVED, "conjugate_gradient"))
def test_the_best_rotation_is_found(method):
    # turning points onto others (Kabsch)
    points = jax.random.normal(KEY, (6, 3))

    def turned(q, x):
        w, v = q[None, :1], q[None, 1:]
        return x + 2 * jnp.cross(jnp.broadcast_to(v, x.shape), jnp.cross(jnp.broadcast_to(v, x.shape), x) + w * x)

    right = jnp.array([0.5, -0.5, 0.7, 0.1])
    right = right / jnp.linalg.norm(right)
    goal = turned(right, points)
    out, _ = minimized(
        CURVED[method](lambda q: jnp.sum((turned(q, points) - goal) ** 2) / 20, td.rotations()),
        jnp.array([1.0, 0.0, 0.0, 0.0]),
    )
    np.testing.assert_allclose(abs(jnp.vdot(out.state.position, right)), 1, rtol=1e-12)


def test_optax_is_refused_on_a_manifold():
    with pytest.raises(ValueError, match=r"space: Optax remembers vectors.*Use td\.lbfgs"):
        td.from_optax(lambda x: jnp.sum(x), optax.adam(0.1), space=td.sphere()).init(KEY, jnp.array([0.0, 1.0]))
