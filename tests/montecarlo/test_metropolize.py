"""Metropolis methods: acceptance of Gaussians in closed form, exact moments, detailed balance, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import treedyn as td
from treedyn import operators as to
from treedyn.testing import sigmas

KEY = jax.random.key(0)


def quadratic(x):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x)) / 2


def verlet(h, stiffness=1.0, mass=1.0):
    """Return the matrix of one step of velocity Verlet of an oscillator, in units of its thermal amplitudes."""
    w = h * np.sqrt(stiffness / mass)
    return np.array([[1 - w**2 / 2, w], [-w * (1 - w**2 / 4), 1 - w**2 / 2]])


def acceptance(h, steps, d):
    """Return the mean acceptance of HMC on N(0, 1)^d, from the larger eigenvalue of (M^L)^T M^L."""
    m = np.linalg.matrix_power(verlet(h), steps)
    lam = np.max(np.linalg.eigvalsh(m.T @ m))
    return 2 * scipy.special.betainc(d / 2, d / 2, 1 / (1 + lam))


@jax.jit
def one_step(dynamics, keys, positions):
    """Return the states after one step from equilibrium."""
    return jax.vmap(lambda key, x: dynamics.step(dynamics.init(key, x)))(keys, positions)


def equilibrium(count, shape):
    return jax.random.split(KEY, count), jax.random.normal(jax.random.key(1), (count, *shape))


@pytest.mark.parametrize(
    ("h", "steps", "d", "exact", "error"),
    [
        (1.0, 1, 1, 0.920833152, 0.03125),
        (1.0, 1, 10, 0.700933577, 0.03125),
        (0.5, 3, 10, 0.920843141, 0.002077103),
        (0.9, 4, 100, 0.528065501, 0.008018183),
        (1.5, 5, 1, 0.788835520, 0.237252183),
    ],
)
def test_acceptance_of_hmc_on_a_gaussian_is_the_closed_form(h, steps, d, exact, error):
    np.testing.assert_allclose(acceptance(h, steps, d), exact, atol=1e-8)
    dynamics = td.mala(quadratic, dt=h) if steps == 1 else td.hmc(quadratic, dt=h, steps=steps)
    states = one_step(dynamics, *equilibrium(20_000, (d,)))
    info = states.info
    assert abs(sigmas(info.acceptance, exact)) < 4
    assert abs(sigmas(info.accepted.astype(float), exact)) < 4
    assert abs(sigmas(info.error / d, error)) < 4
    assert abs(sigmas(jnp.exp(-info.error), 1.0)) < 4
    assert not np.any(info.divergent) and np.all(info.steps == steps)
    # the target is stationary: the second moment of a sample stays what it was
    assert abs(sigmas(jnp.mean(states.position**2, axis=1), 1.0)) < 4


@pytest.mark.slow
def test_acceptance_with_a_mass_and_a_stiffness_for_every_leaf_is_the_closed_form():
    stiffness, mass = {"a": 1.0, "b": 4.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 0.25}

    def energy(x):
        return sum(stiffness[name] * jnp.sum(x[name] ** 2) for name in x) / 2

    dynamics = td.hmc(energy, dt=0.6, steps=2, mass=mass)
    keys, _ = equilibrium(40_000, ())
    shapes = {"a": jnp.zeros(3), "b": jnp.zeros(()), "c": jnp.zeros(2)}
    draw = jax.vmap(lambda key: td.noise.normal(key, shapes))(jax.random.split(jax.random.key(2), 40_000))
    positions = {name: x / np.sqrt(stiffness[name]) for name, x in draw.items()}
    assert abs(sigmas(one_step(dynamics, keys, positions).info.acceptance, 0.834413432)) < 4


def double_well(x):
    return jnp.sum(x**4 / 4 - x**2 / 2 + x / 4)


def moments(kT):
    grid = np.linspace(-8, 8, 200_001)
    weight = np.exp(-(grid**4 / 4 - grid**2 / 2 + grid / 4) / kT)
    return [np.sum(weight * grid**power) / np.sum(weight) for power in (1, 2, 4)]


def warm(kT):
    """Return how time steps grow with the temperature: not at all as long as the bottom of the well is harmonic."""
    return max(kT, 0.25) ** 0.25


METHODS = {
    "hmc": lambda U, kT, **more: td.hmc(U, dt=0.7 * warm(kT), steps=(1, 4), kT=kT, **more),
    "mala": lambda U, kT, **more: td.mala(U, dt=0.8 * warm(kT), kT=kT, **more),
    "ghmc": lambda U, kT, **more: td.ghmc(U, dt=0.7 * warm(kT), persistence=0.7, kT=kT, **more),
    "malt": lambda U, kT, **more: td.malt(U, dt=0.7 * warm(kT), steps=3, gamma=1.0, kT=kT, **more),
    "random_walk": lambda U, kT, **more: td.random_walk(U, length=1.2 * kT**0.5, kT=kT, **more),
    "nuts": lambda U, kT, **more: td.nuts(U, dt=0.7 * warm(kT), kT=kT, depth=5, **more),
}
every_method = pytest.mark.parametrize("name", METHODS)


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("d", [1, pytest.param(10, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow)])
def test_samples_of_a_harmonic_well_scale_with_the_root_of_the_temperature(name, d):
    keys, start = equilibrium(2000, (d,))

    def at(kT):
        pace = METHODS[name](quadratic, 1.0).pace * (kT**0.5 if name == "random_walk" else 1)
        return one_step(METHODS[name](quadratic, kT).with_pace(pace), keys, start * kT**0.5)

    one = at(1.0)
    assert abs(sigmas(jnp.mean(one.position**2, axis=1), 1.0)) < 4
    for kT in (0.01, 0.25, 4.0):
        other = at(kT)
        np.testing.assert_allclose(other.position / kT**0.5, one.position, atol=1e-9)
        np.testing.assert_allclose(other.info.acceptance, one.info.acceptance, atol=1e-9)


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("kT", [0.01, 0.25, 1.0, 4.0])
def test_moments_of_a_double_well_are_exact_at_large_steps(name, kT):
    walkers = td.ensemble(METHODS[name](double_well, kT), members=4000)
    # at 0.01 the right well has a weight of exp(-50)
    state = walkers.init(KEY, jnp.full(1, -1.0 if kT < 0.1 else 0.0))
    out = td.run(walkers, state, steps=200, every=100, record=lambda s: getattr(s.info, "acceptance", 0.5))
    assert 0.2 < np.mean(out.records) < 0.97
    for power, exact in zip((1, 2, 4), moments(kT), strict=True):
        assert abs(sigmas(out.state.position[:, 0] ** power, exact)) < 4
    mean, square, _ = moments(4 * kT)
    assert abs(sigmas((out.state.position[:, 0] - mean) ** 2, square - mean**2)) > 4


@pytest.mark.slow
@every_method
def test_heights_on_a_sphere_beside_a_flat_leaf_are_exact(name):
    # <z> of U = 2 z at kT = 1 is 1/2 - coth 2
    def energy(x):
        return 2 * x["s"][2] + jnp.sum(x["f"] ** 2) / 2

    space = {"s": td.sphere(), "f": td.euclidean()}
    walkers = td.ensemble(METHODS[name](energy, 1.0, space=space), members=4000)
    start = {"s": jnp.asarray([1.0, 0.0, 0.0]), "f": jnp.zeros(2)}
    position = td.run(walkers, walkers.init(KEY, start), steps=100).state.position
    assert abs(sigmas(position["s"][:, 2], 0.5 - 1 / np.tanh(2))) < 4
    assert abs(sigmas(position["f"] ** 2, 1.0)).max() < 4
    np.testing.assert_allclose(jnp.linalg.norm(position["s"], axis=1), 1, rtol=1e-12)


@pytest.mark.slow
@every_method
def test_a_run_in_pieces_is_the_run_in_one_and_an_inert_leaf_changes_no_bit(name):
    dynamics = METHODS[name](lambda x: double_well(x["a"]), 1.0)
    state = dynamics.init(KEY, {"a": jnp.ones(3)})
    once = td.run(dynamics, state, steps=30).state
    again = td.run(dynamics, td.run(dynamics, state, steps=13).state, steps=17, chunk=5).state
    more = td.run(dynamics, dynamics.init(KEY, {"a": jnp.ones(3), "b": jnp.arange(4)}), steps=30).state
    assert jnp.array_equal(once.position["a"], again.position["a"])
    assert jnp.array_equal(once.position["a"], more.position["a"])
    assert once.step == 30 and once.status == 0


@pytest.mark.slow
def test_a_rejection_reverses_the_refreshed_momenta():
    dynamics = td.ghmc(lambda x: jnp.sum(x["a"] ** 2) / 2, dt=1.2, persistence=0.5)
    keys = jax.random.split(KEY, 50)
    states = one_step(dynamics, keys, {"a": jnp.ones((50, 20))})
    refused = ~states.info.accepted
    assert 5 < np.sum(refused) < 50
    np.testing.assert_array_equal(states.position["a"][refused], 1)
    for key in keys[np.asarray(refused)][:3]:
        state = dynamics.init(key, {"a": jnp.ones(20)})
        fresh, _ = dynamics.refresh.apply(state, 0.0, dynamics.draw(state)[2], None)
        np.testing.assert_allclose(dynamics.step(state).momentum["a"], -fresh.momentum["a"], rtol=1e-14)


@pytest.mark.slow
def test_a_trajectory_that_overflows_is_a_divergence_and_the_run_goes_on():
    dynamics = td.hmc(lambda x: jnp.sum(x**4), dt=10.0, steps=20)
    out = td.run(dynamics, dynamics.init(KEY, jnp.ones(3)), steps=5, record=lambda s: s.info)
    assert np.all(out.records.divergent) and not np.any(out.records.accepted) and out.state.status == 0
    np.testing.assert_array_equal(out.state.position, 1)


def test_splittings_that_cannot_be_metropolized_are_refused_when_they_are_built():
    A, B, bath = to.drift(td.euclidean()), to.kick(), to.ornstein_uhlenbeck(1.0, 1.0)
    N = to.nose_hoover_chain(1.0, 1.0)

    def build(*operators, kT=1.0, **more):
        return td.metropolize(td.compose(quadratic, operators, 0.1), kT, **more)

    build(bath, B, A, B, bath), build(A, B, A), build(B, A, to.csvr(1.0, 1.0), A, B)
    refused = {
        "expected a palindrome, got drift kick": lambda: build(A, B),
        "expected a palindrome": lambda: build((A, 0.3), B, (A, 0.7)),
        "nose_hoover_chain is neither a flow": lambda: build(N, B, A, B, N),
        "kT: expected the temperature 2.0 in the bath ornstein_uhlenbeck": lambda: build(bath, B, A, B, bath, kT=2.0),
        "kT: expected one number or schedule for all leaves": lambda: build(B, A, B, kT={"a": 1.0, "b": 2.0}),
        "splitting: expected a dynamics with momenta": lambda: build(to.overdamped(1.0, 1.0, td.euclidean())),
        "mass: expected constants where momenta are kept": lambda: td.ghmc(
            quadratic, 0.1, 0.5, mass=lambda step: 1.0 + step
        ),
        r"steps: expected \(least, most\), got \(3, 2\)": lambda: build(B, A, B, steps=(3, 2)),
        r"persistence: expected one number in \[0, 1\)": lambda: build(B, A, B, persistence=1.0),
        "splitting: expected a dynamics from td.compose": lambda: td.metropolize(td.fire(quadratic, 0.1), 1.0),
        "target: expected an energy": lambda: td.hmc(td.from_force(lambda x: -x), 0.1, 2).init(KEY, jnp.ones(2)),
        "env: expected parts that do not change": lambda: td.mala(quadratic, 0.1).init(KEY, jnp.ones(2), Wave()),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()


class Wave(td.Timed):
    def at(self, time):
        return time


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hmc", "nuts"])
def test_a_mass_that_changes_from_step_to_step_leaves_a_gaussian_as_it_is(name):
    dynamics = METHODS[name](quadratic, 1.0, mass=lambda step: jnp.where(step % 2 == 0, 1.0, 4.0))
    keys, start = equilibrium(20_000, (2,))

    @jax.jit
    def two_steps(dynamics, keys, start):
        return jax.vmap(lambda key, x: dynamics.step(dynamics.step(dynamics.init(key, x))))(keys, start)

    assert abs(sigmas(jnp.mean(two_steps(dynamics, keys, start).position ** 2, axis=1), 1.0)) < 4


@pytest.mark.slow
def test_a_trajectory_through_an_infinite_energy_is_rejected_and_the_run_goes_on():
    def ring(x):
        r = jnp.abs(x[0])
        return x[0] ** 2 / 2 + jnp.where((r >= 1) & (r < 1.3), jnp.inf, 0.0)

    for dynamics in (td.hmc(ring, dt=0.8, steps=4), td.nuts(ring, dt=0.8)):
        out = td.run(dynamics, dynamics.init(KEY, jnp.zeros(1)), steps=50, record=lambda s: s.info.divergent)
        assert out.state.status == 0 and 0 < np.sum(out.records) < 50
        assert np.all(np.abs(out.state.position) < 1)


@pytest.mark.slow
def test_one_schedule_is_one_temperature_for_the_bath_and_the_rule():
    def cooling(step):
        return 1 / (1 + 0.01 * step)

    dynamics = td.malt(quadratic, 0.3, 2, 1.0, cooling)
    out = td.run(dynamics, dynamics.init(KEY, jnp.ones(3)), steps=20, record=lambda s: s.info.accepted)
    assert np.any(out.records)
    with pytest.raises(ValueError, match="splitting, kT: expected the temperature"):
        td.metropolize(td.langevin(quadratic, 0.1, cooling, splitting="OBABO"), lambda step: 1.0)


class Accounted(to.OrnsteinUhlenbeck):
    """A bath that accounts for the heat that it brings."""

    accounts = True

    def init(self, state):
        return jnp.zeros(())

    def apply(self, state, h, noise, memory):
        new, _ = super().apply(state, h, noise, None)
        return new, memory - (td.kinetic_energy(new) - td.kinetic_energy(state))

    def energy(self, state, memory):
        return memory


@pytest.mark.slow
def test_a_bath_that_accounts_for_its_heat_is_accepted_like_one_that_does_not():
    A, B = to.drift(td.euclidean()), to.kick()
    baths = to.ornstein_uhlenbeck(1.0, 1.0), Accounted(kT=1.0, gamma=1.0)
    one, other = (td.metropolize(td.compose(quadratic, (O, B, A, B, O), 1.2), 1.0, steps=3) for O in baths)  # noqa: E741
    keys, positions = equilibrium(200, (5,))
    a, b = (one_step(dynamics, keys, positions).info for dynamics in (one, other))
    np.testing.assert_allclose(a.error, b.error, atol=1e-12)
    assert np.std(a.error) > 0.1
