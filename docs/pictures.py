"""Make the pictures of the README and of the site, with `python docs/pictures.py`; needs matplotlib and diffrax.

- `sandcastle.png` and `siege.gif`: frames and a small film of `treedyn demo sandcastle`.
- `gravity.png`: the figure of `examples/gravity.py`.
- `any_tree.png`: the last state of the joint run of `examples/any_tree.py`.
- `denoising.png`: noise that becomes the castle of the demonstration: the places and the colors of 6,000 grains.
"""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from treedyn import diffusion, view
from treedyn.demo import _sandcastle as demo
from treedyn.demo._castle import CASTLE

ASSETS = Path(__file__).with_name("assets")
EXAMPLES = Path(__file__).parents[1] / "examples"
MOMENTS = (0, 40, 150)


def sandcastle() -> None:
    """Simulate the castle and write its pictures."""
    scene = demo.build(CASTLE)
    run = demo.shoot(scene)
    large = list(demo.draw(scene, run, 520))
    view.write_picture(ASSETS / "sandcastle.png", view.side_by_side([large[k] for k in MOMENTS], gap=12), colors=256)
    view.write_gif(ASSETS / "siege.gif", list(demo.draw(scene, run, 400))[::2], fps=12.5, colors=128)


def any_tree() -> None:
    """Draw the atoms of the joint run, and curves of its network."""
    from matplotlib import pyplot as plt

    example = runpy.run_path(str(EXAMPLES / "any_tree.py"))
    crystal, data = example["crystal"], example["data"]
    space = {"atoms": crystal.space, "weights": td.euclidean()}
    kT = {"atoms": 0.7, "weights": 1.0}
    both = td.langevin(example["together"], dt=5e-3, kT=kT, gamma=1.0, space=space)
    start = {"atoms": crystal.position, "weights": example["weights"]}
    state = both.init(jax.random.key(0), start, data)
    out = td.run(both, state, data, steps=12_000, every=200, record=lambda state: state.position["weights"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    left.imshow(
        view.render(out.state.position["atoms"], (38, 150, 156), box=crystal.box, radius=0.5),
        extent=(0, *np.asarray(crystal.box)[:1], 0, *np.asarray(crystal.box)[1:]),
    )
    left.set(title='position["atoms"]: a Lennard-Jones liquid', xticks=[], yticks=[])
    x = np.linspace(-3, 3, 200)[:, None]
    for k in range(20, 60):
        curve = example["network"](jax.tree.map(lambda leaf, k=k: leaf[k], out.records), x)
        right.plot(x[:, 0], curve, color="#1f6f78", alpha=0.25, lw=1)
    right.plot(data[0][:, 0], data[1], "o", color="#d9503f", ms=4, label="data")
    right.set(title='position["weights"]: curves of the network', ylim=(-2.5, 2.5))
    right.legend(frameon=False)
    figure.savefig(ASSETS / "any_tree.png", dpi=130)


def denoising() -> None:
    """Denoise the places and the colors of grains, and draw them at six levels."""
    from matplotlib import pyplot as plt

    sand = view.grains(CASTLE, 2500)
    place = np.asarray(sand.position, np.float32)
    middle, size = (place.max(0) + place.min(0)) / 2, np.ptp(place, axis=0).max() / 2
    mean = {"place": (place - middle) / size, "color": np.asarray(sand.color, np.float32) / 127.5 - 1}
    data = diffusion.mixture(
        np.ones(len(place)), mean, std={"place": np.full(len(place), 0.012), "color": np.full(len(place), 0.02)}
    )
    sampler = diffusion.dpmpp_2m(data, diffusion.edm(30, sigma_max=5.0))
    grains = td.ensemble(sampler, members=6000)
    like = {"place": jnp.zeros(2, jnp.float32), "color": jnp.zeros(3, jnp.float32)}
    state = grains.init(jax.random.key(0), sampler.start(jax.random.key(1), like, members=6000))
    out = td.run(grains, state, steps=sampler.steps, record=lambda state: state.position)
    figure, axes = plt.subplots(1, 6, figsize=(15, 2.75), layout="constrained")
    for axis, k in zip(axes, (0, 12, 17, 20, 23, 29), strict=True):
        x, color = (np.asarray(out.records[name][k]) for name in ("place", "color"))
        sigma = float(sampler.levels.sigma[k + 1])
        scale = np.sqrt(1 + sigma**2)
        axis.scatter(*(x / scale).T, s=2.2, c=np.clip((color / scale + 1) / 2, 0, 1), linewidths=0)
        axis.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), xticks=[], yticks=[], aspect="equal", title=f"σ = {sigma:.2g}")
        axis.spines[:].set_visible(False)
    figure.savefig(ASSETS / "denoising.png", dpi=110)


def main() -> None:
    """Write all pictures."""
    sandcastle()
    any_tree()
    denoising()
    runpy.run_path(str(EXAMPLES / "gravity.py"))["main"](file=str(ASSETS / "gravity.png"))  # sets 64 bits


if __name__ == "__main__":
    main()
