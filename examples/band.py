"""What a network does not know: a regression whose band widens away from the data, by four samplers.

The same posterior is sampled by NUTS, by stochastic-gradient HMC with minibatches, and by a Nosé-Hoover chain. In the
fourth panel only the last layer is sampled, whose posterior is known: the dashed lines are exact.

Run it with `pip install -e ".[demo]" && python examples/band.py`. It takes about a minute, and writes band.png.
"""

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from treedyn import networks

NOISE, WIDTH, MEMBERS = 0.1, 20, 8
KEYS = jax.random.split(jax.random.key(0), 5)
x = jnp.concatenate([jax.random.uniform(KEYS[0], (25,), minval=-2, maxval=-0.8), jnp.linspace(0.5, 1.3, 15)])
y = jnp.sin(2 * x) + NOISE * jax.random.normal(KEYS[1], x.shape)
grid = jnp.linspace(-3.5, 3.5, 141)


def net(p: dict, x: jax.Array) -> jax.Array:
    return jnp.tanh(x[:, None] * p["in"]["w"] + p["in"]["b"]) @ p["out"]


noise = networks.likelihood.gaussian(NOISE)
prior = {"in": networks.prior.gaussian(2.0), "out": networks.prior.gaussian(1.5 / WIDTH**0.5)}
target = networks.posterior(net, noise, prior)
start = {
    "in": {"w": 2 * jax.random.normal(KEYS[2], (1, WIDTH)), "b": 2 * jax.random.normal(KEYS[3], (1, WIDTH))},
    "out": jnp.zeros(WIDTH),
}


def exact(p: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the prediction, if only the last layer is not known."""

    def features(x: jax.Array) -> np.ndarray:
        return np.asarray(jnp.tanh(x[:, None] * p["in"]["w"] + p["in"]["b"]), float)

    known, new = features(x), features(grid)
    precision = known.T @ known / NOISE**2 + np.eye(WIDTH) * WIDTH / 1.5**2
    mean = new @ np.linalg.solve(precision, known.T @ np.asarray(y) / NOISE**2)
    return mean, np.sqrt(np.sum(new * np.linalg.solve(precision, new.T).T, axis=1))


def band(dynamics: td.Dynamics, env: object, steps: int, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the predictions of an ensemble of networks."""
    chains = td.ensemble(dynamics, MEMBERS)
    state = chains.init(KEYS[4], start, env)
    seen = td.stream.pooled(td.stream.variance(networks.predict(net, noise, (grid, jnp.zeros_like(grid)))))
    out = td.run(chains, state, env, steps=skip)
    found = td.run(chains, out.state, out.env, steps=steps, reduce=seen, every=max(1, steps // 2000)).reduced
    return np.asarray(found.mean.mean), np.sqrt(found.variance.mean)


def main(scale: float = 1.0, file: str = "band.png") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    batches = networks.batches(KEYS[4], (x, y), size=10)
    search = td.lbfgs(target)
    mode = td.run(search, search.init(KEYS[4], start, (x, y)), (x, y), steps=300).state.position
    variance = networks.gradient_noise(target, mode, batches)
    last = {"in": jnp.inf, "out": 1.0}
    count = {name: int(scale * n) for name, n in (("nuts", 1000), ("few", 300), ("many", 60_000))}
    bands = {
        "NUTS": band(td.warm_up(td.nuts(target, dt=0.01, depth=7), count["few"]), (x, y), count["nuts"], count["few"]),
        "SGHMC, 10 of 40 points a step": band(
            networks.sghmc(target, dt=1e-3, gamma=10.0, gradient_noise=variance), batches, count["many"], count["many"]
        ),
        "Nosé–Hoover chain": band(
            td.nose_hoover(target, dt=4e-3, kT=1.0, tau=0.1), (x, y), count["many"], count["many"]
        ),
        "last layer alone": band(
            td.langevin(target, dt=4e-3, kT=1.0, gamma=2.0, mass=last), (x, y), count["many"], count["many"] // 4
        ),
        "last layer, exact": exact(start),
    }
    if file:
        draw(bands, file)
    return bands


def draw(bands: dict[str, tuple[np.ndarray, np.ndarray]], file: str) -> None:
    """Draw a panel for every sampler."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), sharex=True, sharey=True, layout="constrained")
    for axis, (name, (mean, sd)) in zip(axes.flat, bands.items(), strict=False):
        for k, shade in ((2, 0.18), (1, 0.3)):
            axis.fill_between(grid, mean - k * sd, mean + k * sd, color="#2a6f97", alpha=shade, linewidth=0)
        axis.plot(grid, mean, color="#01497c", linewidth=1.6)
        axis.plot(x, y, ".", color="#e36414", markersize=6, zorder=3)
        axis.set_title(name, fontsize=11)
        axis.set(xlim=(-3.5, 3.5), ylim=(-3.2, 3.2))
        axis.spines[["top", "right"]].set_visible(False)
    mean, sd = bands["last layer, exact"]
    for line in (mean - 2 * sd, mean, mean + 2 * sd):
        axes.flat[3].plot(grid, line, "--", color="#222222", linewidth=1)
    figure.savefig(file, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
