"""Driven systems keep the order of their integrator: a force is computed with the environment of its own time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import treedyn as td
from tests.helpers import mostly_slow
from treedyn import operators as to

KEY = jax.random.key(0)
STEPS = (40, 160)
END = 4.0


class Timed(td.Timed):
    """The drive as a function of time."""

    frequency: jax.Array

    def at(self, time):
        return jnp.cos(self.frequency * time)


class Clock(td.Advancing):
    """The drive as an environment that advances once per step."""

    dt: jax.Array
    step: jax.Array

    @property
    def drive(self):
        return jnp.cos(2 * self.dt * self.step)

    def advance(self, state):
        return self.replace(step=self.step + 1)


def timed(x, env):
    return x**2 / 2 - env * x


def advancing(x, env):
    return x**2 / 2 - env.drive * x


def exact(gamma):
    """Return the final position and momentum of x'' = -x - gamma x' + cos 2t, from rest at 1."""
    steady = 1 / (-3 + 2j * gamma)  # of x = Re(steady exp(2it))
    root = -gamma / 2 + np.emath.sqrt(gamma**2 / 4 - 1)
    a, b = 1 - steady.real, -(2j * steady).real
    decay = np.linalg.solve([[1, 0], [root.real, root.imag]], [a, b]) @ [1, -1j]
    z = decay * np.exp(root * END)
    w = steady * np.exp(2j * END)
    return np.array([(z + w).real, (root * z + 2j * w).real])


METHODS = {
    "verlet": (lambda f, dt: td.nve(f, dt), 0.0),
    "yoshida": (lambda f, dt: td.nve(f, dt, order=4), 0.0),
    "nose_hoover": (lambda f, dt: td.nose_hoover(f, dt, 1.0, tau=1e9), 0.0),
    "csvr": (lambda f, dt: td.csvr(f, dt, 1.0, tau=1e15), 0.0),
    "berendsen": (lambda f, dt: td.berendsen(f, dt, 1.0, tau=1e15), 0.0),
    "andersen": (lambda f, dt: td.andersen(f, dt, 1.0, rate=0.0), 0.0),
    **{
        splitting: (lambda f, dt, s=splitting: td.langevin(f, dt, 0.0, 0.7, splitting=s), 0.7)
        for splitting in ("BAOAB", "OBABO", "ABOBA", "OABAO", "BOAOB")
    },
}


def by_run(dynamics, state, env, steps):
    return td.run(dynamics, state, env, steps=steps).state


def by_trajectory(dynamics, state, env, steps):
    return td.trajectory(dynamics, state, env, steps=steps).state


def by_hand(dynamics, state, env, steps):
    @jax.jit
    def step(state, env):
        env = td.environment.advance(env, state)
        return dynamics.step(state, env), env

    for _ in range(steps):
        state, env = step(state, env)
    return state


def order(make, gamma, target, environment, go):
    errors = []
    for steps in STEPS:
        dt = END / steps
        dynamics = make(td.from_energy(target), dt)
        env = environment(dt)
        end = go(dynamics, dynamics.init(KEY, 1.0, env, momentum=0.0), env, steps)
        np.testing.assert_allclose(end.time, END, rtol=1e-14)
        errors.append(np.linalg.norm(np.array([end.position, end.momentum]) - exact(gamma)))
    return np.polyfit(np.log(STEPS), -np.log(errors), 1)[0]


LOOPS = (by_run, by_hand, by_trajectory)


# a method does not see the loop around it, so every method is in one of them, and one method in every one
@pytest.mark.parametrize(
    "method, go",
    [
        *(("verlet", go) for go in LOOPS),
        *(("yoshida", by_trajectory), ("ABOBA", by_trajectory)),
        *mostly_slow([(method, by_trajectory) for method in METHODS if method not in ("verlet", "yoshida", "ABOBA")]),
    ],
)
def test_a_function_of_time_keeps_the_order_of_every_method_in_every_kind_of_loop(method, go):
    make, gamma = METHODS[method]
    found = order(make, gamma, timed, lambda dt: Timed(frequency=jnp.asarray(2.0)), go)
    np.testing.assert_allclose(found, 4 if method == "yoshida" else 2, atol=0.1)


def clock(dt):
    return Clock(dt=jnp.asarray(dt), step=jnp.asarray(0.0))


ENDS = [m for m in METHODS if m not in ("verlet", "yoshida", "ABOBA", "OABAO")]  # with forces at the ends of steps


@pytest.mark.parametrize(
    "method, go",
    [
        *(("verlet", go) for go in LOOPS),
        *mostly_slow([(method, by_trajectory) for method in ENDS]),
    ],
)
def test_a_drive_that_advances_once_per_step_keeps_order_two(method, go):
    np.testing.assert_allclose(order(*METHODS[method], advancing, clock, go), 2, atol=0.1)


def test_forces_within_a_step_need_a_function_of_time():
    # shows that the tests of the order can fail
    np.testing.assert_allclose(order(*METHODS["ABOBA"], advancing, clock, by_trajectory), 1, atol=0.2)


def test_time_advances_after_a_billion_steps():
    dynamics = td.nve(td.from_energy(lambda x: x**2 / 2), jnp.float32(1e-3))
    state = dynamics.init(KEY, jnp.float32(1.0)).replace(time=1e6, step=jnp.int32(10**9))
    assert state.time.dtype == jnp.float32
    end = td.trajectory(dynamics, state, steps=5000).state
    assert end.time == jnp.float32(1e6 + 5)


def test_time_starts_at_the_given_value_and_follows_a_schedule_of_dt():
    dts = jnp.array([0.1, 0.25, 0.05])
    dynamics = td.langevin(td.from_energy(timed), dt=lambda step: dts[step], kT=1.0)
    env = Timed(frequency=jnp.asarray(2.0))
    state = dynamics.init(KEY, 0.5, env, time=3.0)
    np.testing.assert_allclose(state.force, np.cos(6.0) - 0.5, rtol=1e-14)
    np.testing.assert_allclose(td.trajectory(dynamics, state, env, steps=3).state.time, 3.4, rtol=1e-15)


def test_records_conditions_and_reducers_see_the_environment_at_the_time_of_the_state():
    env = {"drive": Timed(frequency=jnp.asarray(2.0))}
    dynamics = td.nve(td.from_energy(lambda x, env: timed(x, env["drive"])), 0.1)
    state = dynamics.init(KEY, 1.0, env, momentum=0.0)

    def look(state, env):
        return env["drive"]

    def until(state, env):
        return env["drive"] < -0.98

    out = td.run(dynamics, state, env, steps=100, record=look, reduce=td.stream.extremes(look), until=until)
    assert out.finished and out.steps == 15
    np.testing.assert_allclose(out.records, np.cos(0.2 * np.arange(1, 16)), rtol=1e-13)
    np.testing.assert_allclose(out.reduced.least, np.cos(3.0), rtol=1e-13)
    np.testing.assert_allclose(td.trajectory(dynamics, state, env, steps=15, record=look).records, out.records)


def test_a_function_of_time_needs_one_time():
    dynamics = td.nve(lambda x, env: env * x["a"] + x["b"], dt={"a": 0.1, "b": 0.2})
    with pytest.raises(ValueError, match=r"env: Timed is a function of time.*Give one dt"):
        dynamics.init(KEY, {"a": 1.0, "b": 1.0}, Timed(frequency=jnp.asarray(2.0)))
    state = td.nve(lambda x: x["a"] ** 2 + x["b"] ** 2, dt={"a": 0.1, "b": 0.2}).init(KEY, {"a": 1.0, "b": 1.0})
    assert state.time is None


def test_time_is_constant_in_a_minimizer():
    dynamics = td.gradient_descent(td.from_energy(timed), 0.5)
    env = Timed(frequency=jnp.asarray(2.0))
    end = td.trajectory(dynamics, dynamics.init(KEY, 0.0, env, time=1.0), env, steps=60).state
    assert end.time == 1.0
    np.testing.assert_allclose(end.position, np.cos(2.0), rtol=1e-12)


# --- work -------------------------------------------------------------------------------------------------------------


class Box(td.Timed):
    def at(self, time):
        return 2 - 0.3 * time + 0.1 * jnp.sin(time)


def test_a_shrinking_box_does_the_exact_work_on_an_ideal_gas():
    # adiabatic, one dimension: T L^2 is constant
    length = Box().at
    A, B, S = to.drift(td.euclidean()), to.kick(), to.deform(length)
    for steps in (7, 40):
        dynamics = td.compose(lambda x: 0 * jnp.sum(x), (B, A, S, A, B), dt=END / steps)
        state = dynamics.init(KEY, jnp.linspace(0, 2, 50), kT=1.0)
        end = td.trajectory(dynamics, state, steps=steps).state
        ratio = td.temperature(end) / td.temperature(state)
        np.testing.assert_allclose(ratio, (length(0) / length(END)) ** 2, rtol=1e-13)


@pytest.mark.slow
def test_the_work_of_a_shrinking_box_on_interacting_particles_is_of_second_order():
    def lattice(x, length):
        return jnp.sum(jnp.cos(2 * jnp.pi * x / length))

    A, B, S = to.drift(td.euclidean()), to.kick(), to.deform(Box().at)
    start = jnp.array([0.1, 0.5, 1.3])

    def end(steps):
        dynamics = td.compose(lattice, (B, A, S, A, B), dt=END / steps)
        state = dynamics.init(KEY, start, Box(), momentum=jnp.array([1.0, -0.5, 0.2]))
        return td.trajectory(dynamics, state, Box(), steps=steps).state

    # in fractions of the box, s = x/L and p_s = L p, H = p_s^2/2L^2 + U(s), integrated by SciPy
    def motion(t, z):
        s, p = np.split(z, 2)
        return np.append(p / float(Box().at(t)) ** 2, 2 * np.pi * np.sin(2 * np.pi * s))

    before, after = float(Box().at(0.0)), float(Box().at(END))
    z = scipy.integrate.solve_ivp(
        motion, (0, END), np.append(start / before, np.array([1.0, -0.5, 0.2]) * before), rtol=1e-12, atol=1e-12
    ).y[:, -1]
    right = np.append(z[:3] * after, z[3:] / after)
    errors = [np.linalg.norm(np.append(state.position, state.momentum) - right) for state in map(end, (100, 200, 400))]
    np.testing.assert_allclose(np.polyfit(np.log([100, 200, 400]), -np.log(errors), 1)[0], 2, atol=0.1)


class Wall(td.Timed):
    def at(self, time):
        return 3 - 0.3 * time


def walls(x, wall):
    return 50 * jnp.sum(jnp.minimum(x, 0) ** 4 + jnp.maximum(x - wall, 0) ** 4)


@pytest.mark.parametrize("order", mostly_slow([2, 4], 2))
def test_the_work_of_a_moving_wall_has_the_order_of_the_method(order):
    start, momentum = jnp.array([1.0, 2.0, 0.4]), jnp.array([1.0, -1.1, 0.7])

    def work(steps):
        dynamics = td.nve(walls, END / steps, order=order)
        state = dynamics.init(KEY, start, Wall(), momentum=momentum)
        end = td.trajectory(dynamics, state, Wall(), steps=steps).state
        return dynamics.conserved(end) - dynamics.conserved(state)

    def motion(t, z):
        x, p = np.split(z[:6], 2)
        over = np.maximum(x - (3 - 0.3 * t), 0)
        push = -200 * (np.minimum(x, 0) ** 3 + over**3)
        return np.concatenate([p, push, [0.3 * 200 * np.sum(over**3)]])  # the last one is the work, dU/dt

    begin = np.concatenate([start, momentum, [0.0]])
    exact = scipy.integrate.solve_ivp(motion, (0, END), begin, method="DOP853", rtol=1e-12, atol=1e-12).y[-1, -1]
    assert exact > 0.3
    counts = (100, 200, 400)
    errors = [abs(work(steps) - exact) for steps in counts]
    np.testing.assert_allclose(np.polyfit(np.log(counts), -np.log(errors), 1)[0], order, atol=0.3)
