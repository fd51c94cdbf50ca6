"""Make the pictures of the README and of the site, with `python docs/pictures.py`; needs matplotlib and diffrax.

- `sandcastle.png` and `siege.gif`: frames and a small film of `treedyn demo sandcastle`.
- `gravity.png`: the figure of `examples/gravity.py`.
- `any_tree.png`: the last state of the joint run of `examples/any_tree.py`.
"""

import runpy
from pathlib import Path

import jax
import numpy as np

import treedyn as td
from treedyn import view
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


def main() -> None:
    """Write all pictures."""
    sandcastle()
    any_tree()
    runpy.run_path(str(EXAMPLES / "gravity.py"))["main"](file=str(ASSETS / "gravity.png"))  # sets 64 bits


if __name__ == "__main__":
    main()
