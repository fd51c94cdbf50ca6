"""Spheres and rotations: geodesics, parallel transport, and dynamics, compared with exact values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.transform
from hypothesis import given
from hypothesis import strategies as st

import treedyn as td
from tests.helpers import mostly_slow
from treedyn.particles import free
from treedyn.testing import convergence_order, log_volume, reversal_error, sigmas

KEY = jax.random.key(0)
EXACT_Z = 1 / 2 - 1 / np.tanh(2)  # <z> for U = 2 z at kT = 1


def unit(key, *shape, dtype=None):
    x = jax.random.normal(key, shape, dtype)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


SPACES = {
    "circle": (td.sphere(), 2),
    "sphere": (td.sphere(), 3),
    "large": (td.sphere(5.0), 3),
    "hypersphere": (td.sphere(0.5), 6),
    "rotations": (td.rotations(), 4),
}
every_space = pytest.mark.parametrize("name", mostly_slow(SPACES, "sphere", "rotations"))


def sample(name, seed=0, dtype=None):
    space, d = SPACES[name]
    keys = jax.random.split(jax.random.key(seed), 4)
    x = space.size * unit(keys[0], 3, d, dtype=dtype)
    a, b = (space.project(x, jax.random.normal(k, x.shape, x.dtype)) for k in keys[1:3])
    return space, x, a, b


# --- geometry ---------------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames="name")
def geometry(name, seed):
    """Return numbers that are zero on a space of geodesics, by what they say, for random points and tangent vectors."""
    space, x, a, b = sample(name, seed)
    limit = jnp.pi * space.radius / (2 if space.antipodal else 1)

    def length(x):
        return jnp.linalg.norm(x, axis=-1, keepdims=True)

    def dot(a, b):
        return jnp.sum(a * b, axis=-1)

    y, half = space.shift(x, a), space.shift(x, a / 2)
    short = a * jnp.minimum(1, 0.99 * limit / length(a))
    way = space.displacement(space.shift(x, b), x)
    carried, along = space.transport(x, a, b), space.transport(x, a, a)
    return {
        "points stay on the space": length(y) / space.size - 1,
        "a shift is reversed": (space.shift(y, -along) - x) / space.size,
        "a shift is split": (space.shift(half, space.transport(x, a / 2, a / 2)) - y) / space.size,
        "a displacement is the shift that it undoes": (space.displacement(space.shift(x, short), x) - short) / limit,
        "a displacement is the shortest": jnp.maximum(length(way) / limit - 1, 0),
        "a displacement is tangent": dot(way, x),
        "what is carried is tangent": dot(carried, y),
        "what is carried keeps its length": dot(carried, carried) / dot(b, b) - 1,
        "what is carried keeps its angles": dot(carried, along) - dot(a, b),
    }


@every_space
@given(seed=st.integers(0, 100))
def test_shifts_displacements_and_transport_are_those_of_geodesics(name, seed):
    for claim, residual in geometry(name, seed).items():
        np.testing.assert_allclose(residual, 0, atol=1e-12, err_msg=claim)


@every_space
def test_the_pull_back_is_the_derivative_along_a_displacement(name):
    space, x, a, _ = sample(name)
    energy = lambda x: jnp.sum(jnp.sin(3 * x) * jnp.arange(1.0, x.size + 1).reshape(x.shape))  # noqa: E731

    @jax.jit
    def pulled_back(x, a):
        h, pull = 1e-5, jax.grad(energy)(x)
        slope = (energy(space.shift(x, h * a)) - energy(space.shift(x, -h * a))) / (2 * h)
        return space.pull_back(x, pull), super(td.Manifold, space).pull_back(x, pull), slope

    pulled, general, slope = pulled_back(x, a)
    np.testing.assert_allclose(pulled, general, atol=1e-12)
    np.testing.assert_allclose(jnp.sum(pulled * a), slope, rtol=1e-7)


@pytest.mark.slow
def test_second_derivatives_at_zero_displacement_include_the_curvature():
    # U = z at the pole falls by 1 - cos(angle): its second derivative along a geodesic is -U'
    x = jnp.array([0.0, 0.0, 1.0])
    hessian = jax.jit(jax.hessian(lambda d: td.sphere().shift(x, d)[2]))(jnp.zeros(3))
    np.testing.assert_allclose(hessian[:2, :2], -np.eye(2), atol=1e-14)


@pytest.mark.slow
def test_rotations_agree_with_scipy():
    q = unit(KEY, 5, 4)
    space = td.rotations()
    d = space.project(q, jax.random.normal(jax.random.key(1), (5, 4)))
    moved = scipy.spatial.transform.Rotation.from_quat(np.array(space.shift(q, d))[:, [1, 2, 3, 0]])
    start = scipy.spatial.transform.Rotation.from_quat(np.array(q)[:, [1, 2, 3, 0]])
    # the rotation vector in the laboratory is the vector part of d q*
    vector = laboratory(d, q)
    turn = scipy.spatial.transform.Rotation.from_rotvec(np.array(vector))
    np.testing.assert_allclose((turn * start).as_matrix(), moved.as_matrix(), atol=1e-14)
    np.testing.assert_allclose(jnp.linalg.norm(d, axis=-1), jnp.linalg.norm(vector, axis=-1), rtol=1e-14)
    np.testing.assert_allclose(space.displacement(-q, q), 0, atol=1e-15)


def laboratory(p, q):
    """Return the vector part of p q*."""
    return q[..., :1] * p[..., 1:] - p[..., :1] * q[..., 1:] - jnp.cross(p[..., 1:], q[..., 1:])


@every_space
def test_single_precision_is_kept(name):
    @jax.jit
    def moved(x, a, b):
        return space.shift(x, a), space.displacement(x, x), space.transport(x, a, b), space.pull_back(x, a)

    space, x, a, b = sample(name, dtype=jnp.float32)
    assert all(y.dtype == jnp.float32 and np.all(np.isfinite(y)) for y in moved(x, a, b))


# --- dynamics ---------------------------------------------------------------------------------------------------------

METHODS = {
    "langevin": lambda f, space: td.langevin(f, 0.1, 1.0, 1.0, space=space),
    "brownian": lambda f, space: td.brownian(f, 0.01, 1.0, 1.0, space=space),
    "euler_maruyama": lambda f, space: td.brownian(f, 0.005, 1.0, 1.0, space=space, method="euler_maruyama"),
    "andersen": lambda f, space: td.andersen(f, 0.05, 1.0, 1.0, space=space),
    "nose_hoover": lambda f, space: td.nose_hoover(f, 0.05, 1.0, 1.0, space=space),
    "csvr": lambda f, space: td.csvr(f, 0.05, 1.0, 1.0, space=space),
}


def height(x):
    return 2 * jnp.sum(x[..., 2])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_thermostats_have_the_exact_mean_height_on_a_sphere(method):
    # Every point has its own thermostat: under a common one, their energies would not mix. They start in equilibrium,
    # with z from its inverse distribution function, and leave it within a tenth of the run if a method is wrong.
    many = td.ensemble(METHODS[method](height, td.sphere()), 1000)
    z, angle = np.random.default_rng(1).random((2, 1000, 1))
    z = -np.log(np.exp(2) - z * (np.exp(2) - np.exp(-2))) / 2
    ring, angle = np.sqrt(1 - z**2), 2 * np.pi * angle
    points = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=-1)
    state = many.init(KEY, td.per_member(jnp.asarray(points)))
    out = td.run(many, state, steps=2000, every=10, reduce=td.stream.mean(lambda s: s.position[0, 2]))
    z = out.reduced  # of every member
    assert abs(sigmas(z, EXACT_Z)) < 4
    assert abs(sigmas(z, -0.56)) > 4
    np.testing.assert_allclose(jnp.linalg.norm(out.state.position, axis=-1), 1, rtol=1e-12)
    if out.state.momentum is not None:
        np.testing.assert_allclose(jnp.sum(out.state.position * out.state.momentum, axis=-1), 0, atol=1e-12)
        assert np.all(out.state.dof == 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, dof", [("sphere", 6), *mostly_slow([("circle", 3), ("hypersphere", 15), ("rotations", 9)])]
)
def test_degrees_of_freedom_and_thermal_momenta_are_those_of_the_tangent_space(name, dof):
    space, x, _, _ = sample(name)
    dynamics = td.langevin(lambda x: 0 * jnp.sum(x), 0.1, kT=1.7, mass=3.0, space=space)
    assert td.degrees_of_freedom(dynamics.init(KEY, x)) == dof
    keys = jax.random.split(KEY, 5000)
    momenta = jax.jit(jax.vmap(lambda key: dynamics.init(key, x).momentum))(keys)
    np.testing.assert_allclose(jnp.sum(momenta * x[None], axis=-1), 0, atol=1e-12)
    assert abs(sigmas(jnp.sum(momenta**2 / 3, axis=(1, 2)), dof * 1.7)) < 5
    p = td.thermal_momentum(KEY, x, 1.7, mass=3.0, space=space, exact=True)
    np.testing.assert_allclose(jnp.sum(p**2 / 3), dof * 1.7, rtol=1e-13)
    heavy = td.nve(lambda x: 0 * jnp.sum(x), 0.1, mass=jnp.array([1.0, jnp.inf, 2.0]), space=space)
    assert td.degrees_of_freedom(heavy.init(KEY, x)) == dof * 2 / 3


@pytest.mark.slow
@pytest.mark.parametrize("order", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_constant_energy_has_its_order_reversal_and_volume_on_a_sphere(order):
    def energy(x):
        return height(x) + jnp.sum(jnp.cos(2 * x[:, 0]) * x[:, 1])

    x = unit(KEY, 3, 3)

    def make(dt):
        return td.nve(energy, dt, space=td.sphere(), order=order)

    def start(dynamics):
        return dynamics.init(KEY, x, kT=1.0)

    np.testing.assert_allclose(convergence_order(make, start, time=2.0, dts=(0.1, 0.05, 0.025)), order, atol=0.1)
    dynamics = make(0.1)
    assert reversal_error(dynamics, start(dynamics), steps=100) < 1e-12
    assert abs(log_volume(dynamics, start(dynamics))) < 1e-12


@pytest.mark.slow
def test_nose_hoover_conserves_its_energy_to_second_order_on_a_sphere():
    x = unit(KEY, 4, 3)
    drifts = []
    for dt in (0.1, 0.05):
        dynamics = td.nose_hoover(height, dt, 1.0, 1.0, space=td.sphere())
        state = dynamics.init(KEY, x)
        ends = td.trajectory(dynamics, state, steps=round(4 / dt), record=dynamics.conserved).records
        drifts.append(np.max(np.abs(ends - dynamics.conserved(state))))
    np.testing.assert_allclose(np.log2(drifts[0] / drifts[1]), 2, atol=0.3)


@pytest.mark.slow
def test_a_free_spherical_top_keeps_its_angular_momentum_over_100000_steps():
    space, inertia = td.rotations(), 2.5
    dynamics = td.nve(lambda q: 0 * jnp.sum(q), 0.05, mass=inertia, space=space)
    state = dynamics.init(KEY, unit(KEY, 4, 4), kT=2.0)
    end = td.run(dynamics, state, steps=100_000).state
    before, after = (laboratory(s.momentum, s.position) for s in (state, end))
    np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(td.kinetic_energy(end), jnp.sum(before**2) / (2 * inertia), rtol=1e-10)
    # it rotates about that vector at the rate |L|/I, so it returns after a full period
    period = 2 * np.pi * inertia / float(jnp.linalg.norm(before[0]))
    turned = td.trajectory(td.nve(lambda q: 0 * jnp.sum(q), period / 100, mass=inertia, space=space), state, steps=100)
    np.testing.assert_allclose(space.displacement(turned.state.position[0], state.position[0]), 0, atol=1e-11)


@pytest.mark.slow
def test_the_force_on_a_rotation_is_the_torque():
    # a dipole in a field: U = -mu B cos(angle); small swings have the frequency sqrt(mu B/I)
    def energy(q):
        return -3.0 * (1 - 2 * (q[1] ** 2 + q[2] ** 2))

    dynamics = td.nve(energy, 1e-3, mass=2.0, space=td.rotations())
    q = jnp.array([np.cos(0.005), np.sin(0.005), 0.0, 0.0])  # tilted by 0.01 about x
    state = dynamics.init(KEY, q, momentum=jnp.zeros(4))
    np.testing.assert_allclose(jnp.linalg.norm(state.force), 3 * np.sin(0.01), rtol=1e-12)
    quarter = td.trajectory(dynamics, state, steps=round(np.pi / 2 / np.sqrt(1.5) / 1e-3)).state
    tilt = jnp.linalg.norm(td.rotations().displacement(quarter.position, jnp.array([1.0, 0.0, 0.0, 0.0])))
    assert tilt < 1e-5


@pytest.mark.slow
def test_spheres_and_other_spaces_in_one_tree():
    space = {
        "spins": td.sphere(),
        "rest": {"w": td.euclidean(), "angle": (lambda a, b: a - b, lambda x, d: (x + d) % 1.0)},
    }
    x = {"spins": unit(KEY, 2, 3, dtype=jnp.float32), "rest": {"w": jnp.ones(2), "angle": jnp.array(0.3)}}

    def energy(x):
        return (
            height(x["spins"]).astype(float) + jnp.sum(x["rest"]["w"] ** 2) + jnp.cos(2 * jnp.pi * x["rest"]["angle"])
        )

    dynamics = td.langevin(energy, 0.1, 1.0, 1.0, space=space, mass={"spins": jnp.array([1.0, 2.0]), "rest": 1.0})
    state = dynamics.init(KEY, x)
    assert td.degrees_of_freedom(state) == 4 + 2 + 1
    end = jax.jit(lambda s: td.trajectory(dynamics, s, steps=50).state)(state)
    np.testing.assert_allclose(jnp.linalg.norm(end.position["spins"], axis=1), 1, rtol=1e-6)
    assert end.position["spins"].dtype == jnp.float32 and 0 <= end.position["rest"]["angle"] < 1
    batch = jax.vmap(lambda kT: td.trajectory(dynamics, dynamics.init(KEY, x, kT=kT), steps=3).state)(jnp.ones(2))
    assert batch.position["spins"].shape == (2, 2, 3)


@pytest.mark.slow
def test_gradients_go_through_the_radius_of_a_sphere():
    @jax.jit
    def end(radius):
        dynamics = td.nve(height, 0.1, space=td.sphere(radius))
        state = dynamics.init(KEY, radius * unit(KEY, 2, 3), kT=1.0)
        return td.trajectory(dynamics, state, steps=3).state.energy

    h = 1e-6
    np.testing.assert_allclose(jax.grad(end)(1.5), (end(1.5 + h) - end(1.5 - h)) / (2 * h), rtol=1e-6)


# --- errors -----------------------------------------------------------------------------------------------------------


class Bent(td.Space):
    """Unit vectors without transport."""

    def shift(self, position, displacement):
        moved = position + displacement
        return moved / jnp.linalg.norm(moved, axis=-1, keepdims=True)

    def displacement(self, a, b):
        return a - b


def polar():
    """Return the plane in polar coordinates, with displacements along both."""
    return (
        lambda a, b: a - b,
        lambda x, d: jnp.stack([x[..., 0] + d[..., 0], x[..., 1] + d[..., 1] / x[..., 0]], axis=-1),
    )


class HalfPlane(td.Space):
    """The hyperbolic half-plane with its geodesics: small displacements commute, but it is not flat."""

    point_ndim = 1

    def shift(self, position, displacement):
        def rate(x, v):
            y = x[..., 1]
            return v, jnp.stack([2 * v[..., 0] * v[..., 1] / y, (v[..., 1] ** 2 - v[..., 0] ** 2) / y], axis=-1)

        x, v, h = position, displacement, 0.25
        for _ in range(4):
            half = [z + h / 2 * dz for z, dz in zip((x, v), rate(x, v), strict=True)]
            x, v = (z + h * dz for z, dz in zip((x, v), rate(*half), strict=True))
        return x

    def displacement(self, a, b):
        return a - b


class Scaled(Bent):
    radius: float

    def shift(self, position, displacement):
        return self.radius * super().shift(position, displacement)


def moved_in(space):
    return td.langevin(jnp.sum, 0.1, 1.0, space=space)


X = jnp.array([[0.6, 0.8]])
CURVED = {
    "unit vectors": lambda: moved_in(Bent()).init(KEY, X),
    "polar coordinates under jit": lambda: jax.jit(moved_in(polar()).init)(KEY, X),
    "the half-plane": lambda: moved_in(HalfPlane()).init(KEY, X),
    "a number that is not known": lambda: jax.jit(lambda r: moved_in(Scaled(radius=r)).init(KEY, X))(1.0),
    "members": lambda: td.ensemble([moved_in(Scaled(radius=r)) for r in (1.0, 2.0)]).init(KEY, X),
}


@pytest.mark.parametrize("case", mostly_slow(CURVED, "unit vectors", "polar coordinates under jit"))
def test_a_curved_space_without_transport_is_refused(case):
    with pytest.raises(ValueError, match=r"space: that of position is not flat.*td\.Manifold"):
        CURVED[case]()


@pytest.mark.slow
def test_points_off_a_sphere_set_the_status_where_numbers_are_unknown():
    off = jnp.array([3.0, 4.0, 0.0])

    def make(radius):
        return td.nve(height, 0.1, space=td.sphere(radius))

    assert td.Status(int(jax.jit(make(1.0).init)(KEY, off).status)) == td.Status.NONFINITE
    many = td.ensemble([make(1.0), make(5.0)])
    out = td.run(many, many.init(KEY, off), steps=3, on_failure="return")
    assert out.failure.members == {0: td.Status.NONFINITE} and out.state.step[1] == 3


@pytest.mark.slow
def test_the_path_to_the_opposite_point_is_half_a_circle():
    x = jnp.array([[0.0, 0.0, 1.0], [0.6, 0.0, -0.8]])
    way = td.sphere().displacement(-x, x)
    np.testing.assert_allclose(jnp.linalg.norm(way, axis=-1), np.pi, rtol=1e-14)
    np.testing.assert_allclose(td.sphere().shift(x, way), -x, atol=1e-14)


FLAT = {
    "logarithms": (lambda a, b: jnp.log(a / b), lambda x, d: x * jnp.exp(d)),
    "turns": (lambda a, b: a - b, lambda x, d: (x + d) % 1.0),
    "halves": (lambda a, b: 2 * (a - b), lambda x, d: x + d / 2),
}


@pytest.mark.parametrize(
    "space, dtype",
    [
        *((name, jnp.float64) for name in FLAT),
        *mostly_slow([("logarithms", jnp.bfloat16), ("logarithms", jnp.float16)]),
    ],
)
def test_flat_spaces_of_a_user_are_accepted(space, dtype):
    td.nve(jnp.sum, 0.1, space=FLAT[space]).init(KEY, jnp.array([0.2, 0.7], dtype))


def begin(position, space=None, **more):
    dynamics = td.nve(lambda x: jnp.sum(jax.tree.leaves(x)[0]), 0.1, space=space or td.sphere(), **more)
    return dynamics.init(KEY, position)


@pytest.mark.parametrize(
    "wrong, match",
    [
        (lambda: begin(2 * unit(KEY, 2, 3)), "position: expected points of Sphere"),
        (lambda: begin(jnp.array(1.0)), r"position: expected points \[..., d\]"),
        (lambda: begin(unit(KEY, 2, 3), td.rotations()), "position: expected unit quaternions"),
        (lambda: begin(unit(KEY, 2, 3), mass=jnp.ones((2, 3))), "mass: expected one number per point"),
        (lambda: begin({"a": jnp.ones((2, 3))}, {"a": td.sphere()}), r"position\['a'\]: expected points of Sphere"),
    ],
)
def test_points_off_the_sphere_and_wrong_shapes_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        wrong()


class Dense(td.Metric):
    """A mass matrix of a whole leaf."""

    matrix: jax.Array

    def velocity(self, position, momentum):
        return jnp.linalg.solve(self.matrix, momentum)

    def twice_kinetic(self, position, momentum):
        return momentum * self.velocity(position, momentum)

    def thermal(self, position, noise, kT):
        return jnp.sqrt(kT) * (jnp.linalg.cholesky(self.matrix) @ noise)

    def degrees(self, position):
        return jnp.asarray(position.size)


@pytest.mark.slow
def test_a_dense_metric_is_a_change_of_coordinates():
    # with M = L L^T, x = L^-T y moves as y does at unit mass
    M = jnp.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 3.0]])
    L = jnp.linalg.cholesky(M)
    energy = lambda x: jnp.sum(x**4) + x[0] * x[1]  # noqa: E731
    dense = td.langevin(energy, 0.1, 0.7, 1.0, mass=Dense(matrix=M))
    plain = td.langevin(lambda y: energy(jnp.linalg.solve(L.T, y)), 0.1, 0.7, 1.0)
    x = jnp.array([0.5, -0.2, 1.0])
    a, b = dense.init(KEY, x), plain.init(KEY, L.T @ x)
    np.testing.assert_allclose(a.momentum, L @ b.momentum, rtol=1e-13)
    for _ in range(20):
        a, b = dense.step(a), plain.step(b)
    np.testing.assert_allclose(L.T @ a.position, b.position, rtol=1e-11)
    np.testing.assert_allclose(td.kinetic_energy(a), td.kinetic_energy(b), rtol=1e-11)
    exact = td.certify(td.langevin(lambda x: jnp.sum(x**2) / 2, 0.3, 1.0, mass=Dense(matrix=M)), dense.init(KEY, x))
    np.testing.assert_allclose(exact.position_covariance, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(exact.momentum_covariance, M - 0.09 / 4 * np.eye(3), atol=1e-10)


@pytest.mark.slow
def test_a_metric_works_beside_masses_and_thermostats_of_other_leaves():
    x = {"a": jnp.ones(2), "b": jnp.ones((2, 2))}
    M = Dense(matrix=jnp.array([[2.0, 0.5], [0.5, 1.0]]))
    energy = lambda x: jnp.sum(x["a"] ** 2) + jnp.sum(x["b"] ** 4)  # noqa: E731
    for dynamics in (
        td.nose_hoover(energy, 0.05, 1.0, 1.0, mass={"a": M, "b": 2.0}),
        td.csvr(energy, 0.05, 1.0, 1.0, mass={"a": M, "b": lambda step: 2.0}),
    ):
        state = dynamics.init(KEY, x)
        end = td.run(dynamics, state, steps=200).state
        np.testing.assert_allclose(dynamics.conserved(end), dynamics.conserved(state), atol=0.02)
        assert td.degrees_of_freedom(end) == 6
    with pytest.raises(ValueError, match=r"mass: a Dense on a Sphere would not move freely.*one mass per point"):
        td.nve(height, 0.1, mass=M, space=td.sphere()).init(KEY, unit(KEY, 2, 3))
    with pytest.raises(ValueError, match="remove_drift: needs a mass for every element, got a Dense"):
        td.nve(energy, 0.1, mass={"a": M, "b": 1.0}, space=free(), remove_drift=True).init(KEY, x)


class Uneven(td.Metric):
    """A metric that depends on the position, or only seems to."""

    turns: bool = td.static()

    def velocity(self, position, momentum):
        return momentum if self.turns else momentum / (1 + position**2)

    def twice_kinetic(self, position, momentum):
        if self.turns:
            cosine, sine = jnp.cos(position), jnp.sin(position)
            return (cosine * momentum + sine) ** 2 + (sine * momentum - cosine) ** 2 - 1
        return momentum**2 / (1 + position**2)

    def thermal(self, position, noise, kT):
        return noise

    def degrees(self, position):
        return position.size


@pytest.mark.parametrize("dtype", mostly_slow([jnp.bfloat16, jnp.float32], jnp.float32))
def test_a_metric_that_depends_on_the_position_is_refused_from_any_start(dtype):
    x = jnp.zeros(3, dtype)
    uneven, even = (td.nve(jnp.sum, 0.1, mass=Uneven(turns=turns)) for turns in (False, True))
    for init in (uneven.init, jax.jit(uneven.init)):
        with pytest.raises(ValueError, match=r"mass: the velocity of a Uneven .* depends on the position"):
            init(KEY, x)
    even.init(KEY, x)


class WrongShape(td.Space):
    def shift(self, position, displacement):
        return jnp.sum(position + displacement)

    def displacement(self, a, b):
        return a - b


def test_a_shift_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match=r"space: the shift of a WrongShape .* returns shape \(\) for \(3,\)"):
        td.nve(jnp.sum, 0.1, space=WrongShape()).init(KEY, jnp.ones(3))
