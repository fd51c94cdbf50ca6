"""A picture becomes grains of sand, and a ball is fired at them.

The position is a dictionary of the grains and the ball, which have masses and frictions of their own. The energy is a
sum: grains attract each other and have weight, and the floor and the ball push them away. The unit of length is the
distance between two grains, that of energy the work to part them, and that of mass is one grain.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

import treedyn as td
from treedyn import particles as tp
from treedyn import view
from treedyn._extras import require
from treedyn.demo._castle import CASTLE

if TYPE_CHECKING:
    from PIL.Image import Image

GRAINS = 13_400  # of a picture without background; others have less
STEPS, FRAMES = 4_500, 150
GRAIN = 0.5  # radius
SPEED = 6.0  # of the ball
DENSITY = 3.0  # of the ball, in grains per area
SKY, GROUND = (216, 233, 242), (206, 176, 132)  # colors


class Scene(NamedTuple):
    """A heap of sand and a ball to the left of it."""

    position: dict[str, Float[Array, "..."]]  # "sand": [grains, 2], "ball": [2]; the floor is at height 0
    color: UInt8[np.ndarray, "grains 3"]
    size: Float[np.ndarray, "2"]  # width and height of the sand
    radius: float  # of the ball


def build(image: "str | os.PathLike[str] | Image", count: int = GRAINS) -> Scene:
    """Turn the subject of a picture into sand, with `count` grains if it fills a rectangle."""
    trial = np.ptp(view.grains(image, 1_000).position, axis=0) + 1
    if max(trial) > 6 * min(trial):
        wanted = "image: expected a subject at most six times as long as wide"
        raise ValueError(f"{wanted}, got {max(trial) / min(trial):.0f} times. Crop the picture.")
    filled = 1_000 / (np.prod(trial) * 2 / np.sqrt(3))
    grains = view.grains(image, round(count * max(filled, 0.2)))
    position = grains.position - grains.position.min(axis=0) + [0, 2 * GRAIN]
    size = position.max(axis=0)
    radius = 0.08 * float(np.sqrt(np.prod(size)))
    ball = np.array([-6.5 * radius, size[1] / 2])  # not yet in the frame
    return Scene({"sand": jnp.asarray(position), "ball": jnp.asarray(ball)}, grains.color, size, radius)


def shoot(scene: Scene, *, steps: int = STEPS, frames: int = FRAMES, progress: bool = False) -> td.Run:
    """Fire the ball and record the position for every frame."""
    space = tp.free()
    weight = 6.3 / scene.size[1]  # of a grain: the foot of the sand carries the same load in every picture
    mass = {"sand": 1.0, "ball": DENSITY * np.pi * scene.radius**2}
    well, spring = tp.morse(alpha=5.0), tp.soft_sphere(epsilon=300.0)
    # inside, a spring replaces the steep wall of the well, so that no hit is too hard for the time step
    grain = tp.smooth(lambda r: well(jnp.maximum(r, 1.0)) + spring(r), onset=1.6, cutoff=2.0)
    cohesion = tp.pair_energy(grain, space)
    contact = tp.soft_sphere(epsilon=300 * scene.radius, sigma=scene.radius + GRAIN)

    def ground(position: jax.Array, mass: float, radius: float) -> jax.Array:
        x, y = position[..., 0], position[..., 1]
        height = y - 0.2 * jnp.cos(2 * jnp.pi * x)  # a rough floor, on which sand does not slide
        return jnp.sum(weight * mass * y + 200 * jnp.maximum(radius - height, 0) ** 2)

    def energy(position: dict[str, jax.Array], env: tp.NeighborList) -> jax.Array:
        sand, ball = position["sand"], position["ball"]
        pushed = jnp.sum(contact(space.distance(sand, ball[None])))
        weights = ground(sand, mass["sand"], GRAIN) + ground(ball, mass["ball"], scene.radius)
        return cohesion(sand, env) + pushed + weights

    near = tp.neighbor_list(space, cutoff=2.0, skin=1.2, headroom=1.6, select=lambda position: position["sand"])
    dynamics = td.langevin(energy, dt=0.02, kT=0.0, gamma={"sand": 0.04, "ball": 0.0}, mass=mass, space=space)
    rest = jnp.zeros_like(scene.position["sand"])
    momentum = {"sand": rest, "ball": mass["ball"] * SPEED * jnp.array([1.0, 0.08])}
    env = near.allocate(scene.position)
    state = dynamics.init(jax.random.key(0), scene.position, env, momentum=momentum)
    return td.run(
        dynamics, state, env, steps=steps, every=steps // frames, record=lambda state: state.position, progress=progress
    )


def draw(scene: Scene, run: td.Run, width: int = 720) -> Iterator[np.ndarray]:
    """Draw the start and the records of a run; the longer side of a frame has `width` pixels."""
    sand, ball = (np.concatenate([scene.position[name][None], run.records[name]]) for name in ("sand", "ball"))
    frame, side = scene.size + np.array([8, 2.5]) * scene.radius, 4 * scene.radius
    # a canvas wraps around its edges, so it is larger than the frame, and whatever leaves it stays on its edge
    margin = 1.5 * scene.radius
    box, corner = frame + 2 * margin, np.array([-side - margin, -margin])
    sand, ball = (np.clip(path - corner, 0, box) for path in (sand, ball))
    pixels = width / frame.max()
    cut, floor = round(pixels * margin), round(pixels * 0.2 * scene.radius)
    balls, look = [view.Ball(ball, scene.radius)], view.Look(round(pixels * box[0]), background=SKY)
    for picture in view.frames(sand, scene.color, box=box, radius=GRAIN, balls=balls, look=look):
        picture[-cut:] = GROUND
        yield picture[cut : floor - cut, cut:-cut]


def sandcastle(
    image: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] = "sandcastle",
    *,
    count: int = GRAINS,
    steps: int = STEPS,
    frames: int = FRAMES,
    progress: bool = False,
) -> None:
    """Shoot at a picture, by default the castle, and write a picture and a film to `folder`."""
    require("imageio_ffmpeg", "demo")
    scene, folder = build(CASTLE if image is None else image, count), Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(bytes(10_000_000))  # more than the files need
    except OSError as error:
        raise ValueError(f"out: cannot write to {str(folder)!r} ({error.strerror}). Pass another folder.") from error
    print(f"A ball hits {len(scene.color):,} grains of sand. This takes one to two minutes.", flush=True)
    run = shoot(scene, steps=steps, frames=frames, progress=progress)
    print(f"{steps:,} steps, {run.steps_per_second:,.0f} steps/s, {run.rebuilds:,} neighbor lists.", flush=True)
    pictures = list(draw(scene, run))
    moments = [pictures[k] for k in (0, frames // 4, frames)]
    print("written:", view.write_picture(folder / "siege.png", view.side_by_side(moments)))
    print("written:", view.write_mp4(folder / "siege.mp4", pictures))
