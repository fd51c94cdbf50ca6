"""A planetary system from an energy of three lines: a symplectic integrator beside a Runge-Kutta solver.

The four inner planets and Jupiter orbit the sun, in units of astronomical units, years and solar masses. `td.nve` and
a Runge-Kutta solver of diffrax (Tsit5, fifth order) get the same force and the same number of force evaluations.
Runge-Kutta loses energy at every step, in proportion to time. The error of the symplectic method oscillates and does
not grow: after 1,000 years it is smaller by three orders of magnitude.

Run it with `pip install -e ".[demo]" diffrax matplotlib && python examples/gravity.py`. It takes some seconds and
writes gravity.png.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td

jax.config.update("jax_enable_x64", True)

NAMES = ("sun", "mercury", "venus", "earth", "mars", "jupiter")
MASS = jnp.array([1.0, 1.66e-7, 2.45e-6, 3.00e-6, 3.23e-7, 9.55e-4])
DISTANCE = jnp.array([0.0, 0.387, 0.723, 1.0, 1.524, 5.203])
G = 4 * jnp.pi**2

STEPS_PER_YEAR = 600
EVERY = 61  # steps between records: no planet's year is a multiple of it


def energy(position: jax.Array) -> jax.Array:
    """Return the gravitational energy."""
    i, j = jnp.triu_indices(len(MASS), 1)
    distance = jnp.linalg.norm(position[i] - position[j], axis=-1)
    return -G * jnp.sum(MASS[i] * MASS[j] / distance)


def start() -> tuple[jax.Array, jax.Array]:
    """Return circular orbits with different phases, in the frame of the center of mass."""
    angle = 2.4 * jnp.arange(len(MASS), dtype=float)
    direction = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    position = DISTANCE[:, None] * direction
    speed = jnp.where(DISTANCE > 0, jnp.sqrt(G / jnp.where(DISTANCE > 0, DISTANCE, 1)), 0)
    momentum = (MASS * speed)[:, None] * jnp.stack([-direction[:, 1], direction[:, 0]], axis=-1)
    return position, momentum.at[0].set(-jnp.sum(momentum[1:], axis=0))


def total_energy(position: jax.Array, momentum: jax.Array) -> jax.Array:
    return energy(position) + jnp.sum(momentum**2 / (2 * MASS[:, None]))


def verlet(years: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and relative energy errors, about ten times a year."""
    position, momentum = start()
    dynamics = td.nve(energy, dt=1 / STEPS_PER_YEAR, mass=MASS)
    state = dynamics.init(jax.random.key(0), position, momentum=momentum)
    out = td.run(
        dynamics,
        state,
        steps=years * STEPS_PER_YEAR,
        every=EVERY,
        record=lambda state: (state.position, dynamics.conserved(state)),
        progress="nve",
    )
    before = dynamics.conserved(state)
    return out.records[0], np.abs(out.records[1] / before - 1)


def runge_kutta(years: int) -> np.ndarray:
    """Return relative energy errors of Tsit5. It takes six forces per step, so its steps are six times as long."""

    def field(t: jax.Array, y: tuple[jax.Array, jax.Array], args: None) -> tuple[jax.Array, jax.Array]:
        position, momentum = y
        return momentum / MASS[:, None], -jax.grad(energy)(position)

    y = start()
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=float(years),
        dt0=6 / STEPS_PER_YEAR,
        y0=y,
        saveat=diffrax.SaveAt(ts=(EVERY / STEPS_PER_YEAR) * jnp.arange(1.0, years * STEPS_PER_YEAR // EVERY + 1)),
        max_steps=None,
    )
    return np.asarray(np.abs(jax.vmap(total_energy)(*solution.ys) / total_energy(*y) - 1))


def picture(position: np.ndarray, errors: dict[str, np.ndarray], file: str) -> None:
    """Draw orbits on the left and energy errors on the right."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for k, name in enumerate(NAMES):
        orbit = position[-1200:, k] - position[-1200:, 0]
        left.scatter(*orbit.T, s=1 if k else 60, label=name)
    left.set(aspect="equal", xlabel="AU", ylabel="AU", title="the last 120 years")
    for handle in left.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)).legend_handles:
        handle.set_sizes([30])
    for name, error in errors.items():
        right.loglog(np.arange(1, len(error) + 1) * (EVERY / STEPS_PER_YEAR), np.maximum.accumulate(error), label=name)
    right.set(xlabel="years", ylabel="largest relative energy error so far", title="same force, same cost")
    right.legend(frameon=False)
    figure.savefig(file, dpi=130)


def main(years: int = 1000, file: str = "gravity.png") -> dict[str, np.ndarray]:
    position, symplectic = verlet(years)
    errors = {"nve (velocity Verlet)": symplectic, "Runge-Kutta (Tsit5)": runge_kutta(years)}
    for name, error in errors.items():
        print(f"{name:24s} energy error after {years} years: {error[-1]:.1e}, largest: {error.max():.1e}")
    if file:
        picture(position, errors, file)
        print(f"picture: {file}")
    return errors


if __name__ == "__main__":
    main()
