"""Gradients per second of HMC on a two-layer network, beside BlackJAX and NumPyro: `python -m benchmarks.gradients`.

A network of 64 tanh units is fitted to 512 points with 16 inputs, by full-batch HMC with 32 steps, in float32. All
three programs take the same tree of parameters, time step and unit masses. Rounds are interleaved; ratios are medians.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td

STEPS, DT = 32, 2e-3
KEYS = jax.random.split(jax.random.key(0), 4)
X = jax.random.normal(KEYS[0], (512, 16))
Y = jnp.sin(X[:, 0]) + 0.1 * jax.random.normal(KEYS[1], (512,))
START = {
    "in": {"w": jax.random.normal(KEYS[2], (16, 64)) / 4, "b": jnp.zeros(64)},
    "out": {"w": jax.random.normal(KEYS[3], (64,)) / 8, "b": jnp.zeros(())},
}


def energy(net: Any) -> jax.Array:
    """Return the negative log posterior."""
    hidden = jnp.tanh(X @ net["in"]["w"] + net["in"]["b"])
    residual = Y - hidden @ net["out"]["w"] - net["out"]["b"]
    return jnp.sum(residual**2) / (2 * 0.1**2) + sum(jnp.sum(x**2) for x in jax.tree.leaves(net)) / 2


def by_treedyn(draws: int) -> Callable[[], Any]:
    """Return a function that takes that many draws."""
    hmc = td.hmc(energy, dt=DT, steps=STEPS)
    state = hmc.init(jax.random.key(1), START)
    run = jax.jit(lambda state: td.trajectory(hmc, state, steps=draws, record=lambda s: s.info.acceptance))
    return lambda: run(state).records


def by_blackjax(draws: int) -> Callable[[], Any]:
    """Return the same by BlackJAX."""
    import blackjax

    size = sum(x.size for x in jax.tree.leaves(START))
    hmc = blackjax.hmc(
        lambda x: -energy(x), step_size=DT, inverse_mass_matrix=jnp.ones(size), num_integration_steps=STEPS
    )
    state = hmc.init(START)

    @jax.jit
    def run(state: Any) -> Any:
        def step(state: Any, key: jax.Array) -> tuple[Any, Any]:
            state, info = hmc.step(key, state)
            return state, info.acceptance_rate

        return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), draws))[1]

    return lambda: run(state)


def by_numpyro(draws: int) -> Callable[[], Any]:
    """Return the same by NumPyro, without adaptation."""
    from numpyro.infer.hmc import hmc

    init, step = hmc(energy, algo="HMC")
    state = init(
        START, 0, step_size=DT, trajectory_length=DT * STEPS, num_steps=STEPS, adapt_step_size=False,
        adapt_mass_matrix=False, rng_key=jax.random.key(1),
    )  # fmt: skip

    @jax.jit
    def run(state: Any) -> Any:
        def one(state: Any, _: None) -> tuple[Any, Any]:
            state = step(state)
            return state, (state.accept_prob, state.num_steps)

        return jax.lax.scan(one, state, length=draws)[1]

    def checked() -> Any:
        accept, steps = run(state)
        assert int(steps[0]) == STEPS
        return accept

    return checked


PROGRAMS = {"treedyn": by_treedyn, "BlackJAX": by_blackjax, "NumPyro": by_numpyro}


def main() -> None:
    """Print gradients per second and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradients", description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    runs = {name: make(options.draws) for name, make in PROGRAMS.items()}
    for name, run in runs.items():  # compile
        print(f"{name}: mean acceptance {float(np.mean(jax.block_until_ready(run()))):.2f}")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    rates = {name: options.draws * STEPS / np.array(took) for name, took in times.items()}
    for name, rate in rates.items():
        quartiles = np.quantile(rates["treedyn"] / rate, [0.25, 0.5, 0.75])
        print(
            f"{name:9s} {np.median(rate):8.0f} gradients/s, treedyn is {quartiles[1]:.3f} x as fast "
            f"(quartiles {quartiles[0]:.3f}-{quartiles[2]:.3f})"
        )


if __name__ == "__main__":
    main()
