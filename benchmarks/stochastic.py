"""Steps per second of SGLD and SGHMC, beside BlackJAX and a loop by hand: `python -m benchmarks.stochastic`.

The network, the data and the noise of the labels are those of `benchmarks.gradients`. All programs draw minibatches of
64 rows with replacement in every step, in float32. Rounds are interleaved; ratios are medians.
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
from benchmarks.gradients import START, X, Y
from treedyn import networks

SIZE, DT, GAMMA = 64, 1e-6, 10.0
KEY = jax.random.key(1)
Tree = dict[str, Any]


def net(p: Tree, x: jax.Array) -> jax.Array:
    """Return the prediction."""
    return jnp.tanh(x @ p["in"]["w"] + p["in"]["b"]) @ p["out"]["w"] + p["out"]["b"]


TARGET = networks.posterior(net, networks.likelihood.gaussian(0.1), networks.prior.gaussian())


def log_density(p: Tree, rows: jax.Array) -> jax.Array:
    """Return the logarithm of the posterior density, estimated from some rows."""
    x, y = X[rows], Y[rows]
    misfit = jnp.sum((net(p, x) - y) ** 2) / (2 * 0.1**2)
    return -(len(X) / SIZE) * misfit - sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p)) / 2


def drawn(key: jax.Array) -> jax.Array:
    """Return the rows of a minibatch."""
    return jax.random.randint(key, (SIZE,), 0, len(X))


def by_treedyn(method: str, steps: int) -> Callable[[], Any]:
    """Return a function that takes that many steps."""
    makers = {"sgld": lambda: networks.sgld(TARGET, DT), "sghmc": lambda: networks.sghmc(TARGET, DT**0.5, gamma=GAMMA)}
    sampler = makers[method]()
    env = networks.batches(KEY, (X, Y), SIZE, rows="independent")
    state = sampler.init(KEY, START, env)
    run = jax.jit(lambda state, env: td.trajectory(sampler, state, env, steps=steps).state.position)
    return lambda: run(state, env)


def by_hand(method: str, steps: int) -> Callable[[], Any]:
    """Return the same as a scan."""
    force = jax.grad(log_density)
    h = DT if method == "sgld" else DT**0.5
    keep = float(np.exp(-GAMMA * h))

    def noise(key: jax.Array, like: Tree) -> Tree:
        leaves, structure = jax.tree.flatten(like)
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(structure, [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])

    def sgld(carry: Any, key: jax.Array) -> tuple[Any, None]:
        p, _, f = carry
        rows, own = jax.random.split(key)
        xi = noise(own, p)
        p = jax.tree.map(lambda x, f, n: x + h * f + (2 * h) ** 0.5 * n, p, f, xi)
        return (p, None, force(p, drawn(rows))), None

    def sghmc(carry: Any, key: jax.Array) -> tuple[Any, None]:
        p, v, f = carry
        rows, own = jax.random.split(key)
        v = jax.tree.map(lambda v, f: v + h / 2 * f, v, f)
        p = jax.tree.map(lambda x, v: x + h / 2 * v, p, v)
        v = jax.tree.map(lambda v, n: keep * v + (1 - keep**2) ** 0.5 * n, v, noise(own, p))
        p = jax.tree.map(lambda x, v: x + h / 2 * v, p, v)
        f = force(p, drawn(rows))
        return (p, jax.tree.map(lambda v, f: v + h / 2 * f, v, f), f), None

    step = {"sgld": sgld, "sghmc": sghmc}[method]
    still = None if method == "sgld" else jax.tree.map(jnp.zeros_like, START)

    @jax.jit
    def run(start: Tree) -> Tree:
        first = start, still, force(start, drawn(KEY))
        return jax.lax.scan(step, first, jax.random.split(KEY, steps))[0][0]

    return lambda: run(START)


def by_blackjax(method: str, steps: int) -> Callable[[], Any]:
    """Return the same by BlackJAX; its SGHMC takes ten gradients of one minibatch in a step."""
    import blackjax

    gradient = jax.grad(log_density)
    if method == "sgld":
        sampler, each, h = blackjax.sgld(gradient), 1, DT
    else:
        sampler, each, h = blackjax.sghmc(gradient, num_integration_steps=10, alpha=GAMMA), 10, DT**0.5

    @jax.jit
    def run(start: Tree) -> Tree:
        def step(p: Tree, key: jax.Array) -> tuple[Tree, None]:
            rows, own = jax.random.split(key)
            return sampler.step(own, p, drawn(rows), h), None

        return jax.lax.scan(step, start, jax.random.split(KEY, steps // each))[0]

    return lambda: run(START)


PROGRAMS = {"treedyn": by_treedyn, "by hand": by_hand, "BlackJAX": by_blackjax}


def main() -> None:
    """Print steps per second and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stochastic", description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for method in ("sgld", "sghmc"):
        runs = {name: make(method, options.steps) for name, make in PROGRAMS.items()}
        for run in runs.values():  # compile
            jax.block_until_ready(run())
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                start = time.perf_counter()
                jax.block_until_ready(run())
                times[name].append(time.perf_counter() - start)
        for name, took in times.items():
            ratio = np.quantile(np.array(took) / np.array(times["treedyn"]), [0.25, 0.5, 0.75])
            print(
                f"{method:6s} {name:9s} {options.steps / np.median(took):8.0f} steps/s, treedyn is {ratio[1]:.3f} x as "
                f"fast (quartiles {ratio[0]:.3f}-{ratio[2]:.3f})"
            )


if __name__ == "__main__":
    main()
