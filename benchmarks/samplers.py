"""Effective samples per gradient of NUTS after a warm-up, beside nutpie and BlackJAX: `python -m benchmarks.samplers`.

Every program warms up and samples the same posteriors, in the same free coordinates, in float64, from the same starts.
The figure is the smallest effective sample size of all parameters (bulk), divided by the number of gradients after the
warm-up. Ratios are medians over the seeds.
"""

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import treedyn as td
from tests.montecarlo.posteriors import POSTERIORS, Posterior

CHAINS = 4


def by_treedyn(posterior: Posterior, seed: int, tune: int, draws: int) -> tuple[Any, int]:
    """Return the draws in free coordinates, `[draws, chains, ...]`, and the number of gradients."""
    chains = td.ensemble(td.warm_up(td.nuts(posterior.target, dt=0.1), steps=tune), CHAINS)
    state = chains.init(jax.random.key(seed), posterior.begin(jax.random.key(seed), CHAINS))
    out = td.run(chains, state, steps=tune + draws, record=lambda s: (s.position, s.info.steps))
    position, steps = out.records
    return jax.tree.map(lambda x: x[tune:], position), int(np.sum(steps[tune:]))


def flat(posterior: Posterior) -> tuple[Callable[..., Any], Callable[..., Any], np.ndarray, Callable[[int], Any]]:
    """Return the log density of a vector, its tree, the start, and the starts of all chains: nutpie takes no trees."""
    target = posterior.target
    start, unravel = ravel_pytree(target.unconstrain(posterior.start))

    def begin(seed: int) -> jax.Array:
        return jax.vmap(lambda x: ravel_pytree(x)[0])(posterior.begin(jax.random.key(seed), CHAINS).values)

    return (lambda x: target.function(unravel(x))), unravel, np.asarray(start), begin


def by_blackjax(posterior: Posterior, seed: int, tune: int, draws: int) -> tuple[Any, int]:
    """Return the same by BlackJAX: its window adaptation, then NUTS."""
    import blackjax

    log_density, unravel, _, begin = flat(posterior)

    def chain(key: jax.Array, x: jax.Array) -> tuple[Any, Any]:
        first, second = jax.random.split(key)
        adapt = blackjax.window_adaptation(blackjax.nuts, log_density)
        (state, numbers), _ = adapt.run(first, x, num_steps=tune)
        kernel = blackjax.nuts(log_density, **numbers).step

        def step(state: Any, key: jax.Array) -> tuple[Any, Any]:
            state, info = kernel(key, state)
            return state, (state.position, info.num_integration_steps)

        return jax.lax.scan(step, state, jax.random.split(second, draws))[1]

    x, steps = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(seed), CHAINS), begin(seed))
    return jax.vmap(jax.vmap(unravel))(jnp.swapaxes(x, 0, 1)), int(np.sum(steps))


def by_nutpie(posterior: Posterior, seed: int, tune: int, draws: int) -> tuple[Any, int]:
    """Return the same by nutpie, with its default metric."""
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    log_density, unravel, start, begin = flat(posterior)
    both = jax.jit(jax.value_and_grad(log_density))
    starts = iter(np.asarray(begin(seed)))

    def evaluate() -> Callable[..., Any]:
        def value(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = both(x)
            return float(value), np.asarray(gradient)

        return value

    def expand(*_: Any) -> Callable[..., Any]:
        return lambda x, *_, **__: {"x": np.asarray(x)}

    model = from_pyfunc(
        len(start),
        evaluate,
        expand,
        [np.dtype(np.float64)],
        [(len(start),)],
        ["x"],
        make_initial_point_fn=lambda _: next(starts),
    )
    out = nutpie.sample(
        model, draws=draws, tune=tune, chains=CHAINS, cores=1, seed=seed, progress_bar=False, save_warmup=False
    )
    x = jnp.asarray(np.swapaxes(out.posterior["x"].values, 0, 1))
    return jax.vmap(jax.vmap(unravel))(x), int(out.sample_stats["n_steps"].sum())


PROGRAMS = {"treedyn": by_treedyn, "nutpie": by_nutpie, "blackjax": by_blackjax}


def efficiency(free: Any, gradients: int) -> float:
    """Return the smallest effective sample size of all coordinates for each gradient."""
    sizes = td.effective_sample_size(free)
    return float(min(np.min(x) for x in jax.tree.leaves(sizes))) / gradients


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("--posteriors", nargs="+", default=["ar_k", "gp_regr", "garch11"], choices=POSTERIORS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    for name in options.posteriors:
        posterior = POSTERIORS[name]()
        found = {program: [] for program in PROGRAMS}
        for seed in range(options.seeds):
            for program, run in PROGRAMS.items():
                found[program].append(efficiency(*run(posterior, seed, options.tune, options.draws)))
        ours = np.array(found["treedyn"])
        text = [f"{name:22s} treedyn {np.median(ours):.4f} per gradient"]
        for program in list(PROGRAMS)[1:]:
            ratios = np.quantile(ours / np.array(found[program]), [0.25, 0.5, 0.75])
            text.append(f"{ratios[1]:.2f} x {program} (quartiles {ratios[0]:.2f}-{ratios[2]:.2f})")
        print(", ".join(text), flush=True)


if __name__ == "__main__":
    main()
