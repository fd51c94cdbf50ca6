"""One `langevin` call for a box of atoms, for the weights of a network, and for both in one tree.

The dynamics does not know which leaf is which. In the third part one tree holds the atoms and the weights of a small
network. Atoms stay in their periodic box, weights move freely, and each has a temperature of its own.

Run it with `pip install -e . && python examples/any_tree.py`. It takes some seconds.
"""

import jax
import jax.numpy as jnp

import treedyn as td
from treedyn import particles as tp

key = jax.random.key(0)

# 1. Atoms: a Lennard-Jones liquid in two dimensions, [N, 2].
crystal = tp.hexagonal(density=0.8, repeats=(10, 6))
argon = tp.pair_energy(tp.shifted(tp.lennard_jones(), cutoff=2.5), crystal.space)


# 2. Weights: a two-layer network on a curve, its posterior as an energy. The tree is a plain dict.
def network(weights: dict, x: jax.Array) -> jax.Array:
    hidden = jnp.tanh(x @ weights["in"]["w"] + weights["in"]["b"])
    return (hidden @ weights["out"]["w"])[:, 0]


def posterior(weights: dict, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    x, y = data
    misfit = jnp.sum((network(weights, x) - y) ** 2) / (2 * 0.1**2)
    prior = sum(jnp.sum(w**2) for w in jax.tree.leaves(weights)) / 2
    return misfit + prior


x = jnp.linspace(-2, 2, 40)[:, None]
data = (x, jnp.sin(2 * x[:, 0]))
weights = {
    "in": {"w": jax.random.normal(key, (1, 16)), "b": jnp.zeros((1, 16))},
    "out": {"w": jnp.zeros((16, 1))},
}


# 3. Both: the energies are added. Space and temperature are trees like the position; the environment is the data.
def together(position: dict, env: tuple[jax.Array, jax.Array]) -> jax.Array:
    return argon(position["atoms"]) + posterior(position["weights"], env)


def main(steps: int = 4000) -> dict[str, float]:
    atoms = td.langevin(argon, dt=5e-3, kT=0.7, gamma=1.0, space=crystal.space)
    net = td.langevin(posterior, dt=5e-3, kT=1.0, gamma=1.0)
    both = td.langevin(
        together,
        dt=5e-3,
        kT={"atoms": 0.7, "weights": 1.0},
        gamma=1.0,
        space={"atoms": crystal.space, "weights": td.euclidean()},
    )
    runs = {
        "atoms": (atoms, crystal.position, None),
        "weights": (net, weights, data),
        "both": (both, {"atoms": crystal.position, "weights": weights}, data),
    }
    mean = {}
    for name, (dynamics, position, env) in runs.items():
        state = dynamics.init(key, position, env)
        out = td.run(dynamics, state, env, steps=steps, every=10, record=lambda state: state.energy)
        mean[name] = float(out.records[len(out.records) // 2 :].mean())
        print(f"{name:8s} {td.tree.size(state.moving):5d} numbers, mean energy {mean[name]:9.2f}")
    # atoms and weights do not interact, so the mean energies add up
    print(f"{'sum':8s} {'':13s} mean energy {mean['atoms'] + mean['weights']:9.2f}")
    return mean


if __name__ == "__main__":
    main()
