"""The sandcastle: a picture becomes grains of sand, the grains settle, and a projectile flies through them.

The third stage has ten times the grains, neighbor lists, and a larger projectile. Each stage has a film and a picture.
"""

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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

ROOM = 1.16  # sides of the box, in sides of the picture
LEAST = 45.0  # shortest side of a box: room for the ball beside a narrow picture
CUTOFF = 2.5
NEIGHBORS = 1.112  # distance of neighbors in a flat Lennard-Jones crystal at rest


class Projectile(td.Advancing):
    """A ball that flies through the box at constant velocity and wraps around it."""

    position: Float[Array, "2"]
    velocity: Float[Array, "2"]
    dt: float
    space: td.Space

    def advance(self, state: td.State) -> "Projectile":
        """Return the ball one step later."""
        return self.replace(position=self.space.shift(self.position, self.dt * self.velocity))


@dataclasses.dataclass(frozen=True)
class Stage:
    """The parameters of one stage."""

    name: str  # of the files
    title: str  # printed during the run
    steps: int
    frames: int  # pictures in the film
    radius: float = 0.0  # of the projectile, in grains; 0 for none
    dt: float = 0.006
    gamma: float = 0.15
    lists: bool = False  # whether to use neighbor lists
    speed: float = 10.0  # of the projectile


class Sand(NamedTuple):
    """Grains in a box: positions, colors, and the sides of the box."""

    position: Float[Array, "grains 2"]
    color: UInt8[np.ndarray, "grains 3"]
    box: Float[Array, "2"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of a stage."""

    stage: Stage
    run: td.Run  # records: positions of grains and projectile for every picture
    sand: Sand  # at the start
    shot: np.ndarray | None  # positions of the projectile at the start and in every record, [frames + 1, 2]
    before: float  # energy per grain at the start
    after: float  # energy per grain at the end
    seconds: float  # wall time, compilation included
    files: tuple[Path, ...] = ()


SETTLE = Stage(name="settle", title="1  the castle settles", steps=500, frames=50, gamma=0.5)
SHOT = Stage(name="shot", title="2  a shot", steps=1_300, frames=100, radius=4.0)
SIEGE = Stage(name="siege", title="3  the siege", steps=3_500, frames=100, radius=13.0, lists=True, speed=11.0)


def pour(
    image: "str | os.PathLike[str] | Image", count: int, *, spacing: float, shake: float = 0.0, seed: int = 0
) -> Sand:
    """Turn a picture into about `count` grains in a box, displaced at random by up to `shake` spacings."""
    grains = view.grains(image, count)
    size = spacing * np.asarray(grains.size)
    box = np.maximum(ROOM * size, LEAST)
    kicks = np.random.default_rng(seed).uniform(-shake, shake, grains.position.shape)
    position = spacing * (grains.position + kicks) + (box - size) / 2
    return Sand(position=jnp.asarray(position, dtype=float), color=grains.color, box=jnp.asarray(box, dtype=float))


def play(stage: Stage, sand: Sand, *, seed: int = 0, progress: bool = False) -> Outcome:
    """Simulate one stage."""
    space = tp.periodic(sand.box)
    attraction = tp.pair_energy(tp.smooth(tp.lennard_jones(), onset=2.0, cutoff=CUTOFF), space)
    repulsion = tp.soft_sphere(epsilon=300.0 * stage.radius, sigma=stage.radius + 0.5) if stage.radius else None

    def energy(position: jax.Array, env: dict[str, Any]) -> jax.Array:
        total = attraction(position, env.get("near"))
        if repulsion is None:
            return total
        return total + jnp.sum(repulsion(space.distance(position, env["shot"].position[None])))

    env: dict[str, Any] = {}
    if stage.lists:
        env["near"] = tp.neighbor_list(space, CUTOFF, skin=1.0, headroom=1.6).allocate(sand.position)
    if stage.radius:
        start = sand.box * jnp.array([0.064, 0.53])
        velocity = stage.speed * jnp.array([1.0, 0.07])
        env["shot"] = Projectile(position=start, velocity=velocity, dt=stage.dt, space=space)
    dynamics = td.langevin(td.from_energy(energy), dt=stage.dt, kT=0.0, gamma=stage.gamma, space=space)

    def record(state: td.State, env: dict[str, Any]) -> Any:
        return state.position, env["shot"].position if stage.radius else None

    began = time.perf_counter()
    state = dynamics.init(jax.random.key(seed), sand.position, env)
    run = td.run(
        dynamics, state, env, steps=stage.steps, every=stage.steps // stage.frames, record=record,
        progress=stage.title if progress else False,
    )  # fmt: skip
    count = len(sand.position)
    shot = np.concatenate([np.asarray(env["shot"].position)[None], run.records[1]]) if stage.radius else None
    assert state.energy is not None and run.state.energy is not None
    return Outcome(
        stage=stage, run=run, sand=sand, shot=shot, before=float(state.energy) / count,
        after=float(run.state.energy) / count, seconds=time.perf_counter() - began,
    )  # fmt: skip


def show(outcome: Outcome, folder: Path, *, width: int = 720) -> Outcome:
    """Write the films and the picture of one stage, and return its outcome with their names."""
    stage = outcome.stage
    pictures = list(draw(outcome, width))
    small = [block_mean(picture) for picture in pictures[::2]]
    folder.mkdir(parents=True, exist_ok=True)
    files = [view.write_gif(folder / f"{stage.name}.gif", small, fps=12.5)]
    try:
        files.append(view.write_mp4(folder / f"{stage.name}.mp4", pictures, fps=25))
    except (ImportError, OSError) as error:
        print(f"no MP4: {error}")
    both = view.side_by_side([pictures[0], pictures[-1]], ["start", f"after {outcome.run.steps:,} steps"])
    files.append(view.write_picture(folder / f"{stage.name}.png", both))
    return dataclasses.replace(outcome, files=tuple(files))


def draw(outcome: Outcome, width: int) -> Iterator[np.ndarray]:
    """Draw the start of a stage and its records; the longer side has `width` pixels."""
    sand = outcome.sand
    positions = np.concatenate([np.asarray(sand.position)[None], outcome.run.records[0]])
    balls = [view.Ball(outcome.shot, outcome.stage.radius)] if outcome.shot is not None else []
    box = np.asarray(sand.box)
    look = view.Look(width=round(width * box[0] / box.max()))
    return view.frames(positions, sand.color, box=box, radius=0.52, balls=balls, look=look)


def block_mean(picture: np.ndarray) -> np.ndarray:
    """Return a picture of half the size."""
    height, width = (side // 2 for side in picture.shape[:2])
    blocks = picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return blocks.mean(axis=(1, 3), dtype=np.float32).astype(np.uint8)


def sandcastle(
    image: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] = "sandcastle",
    *,
    full: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> list[Outcome]:
    """Play all three stages, write their films and pictures to `folder`, and print a summary.

    `image` is any picture, by default the castle; with `full`, the siege takes all of its 30,000 steps.
    """
    require("PIL", "demo")
    image, folder = CASTLE if image is None else image, Path(folder)
    siege = dataclasses.replace(SIEGE, steps=30_000, frames=300) if full else SIEGE
    few = pour(image, 1_600, spacing=1.15, shake=0.04, seed=seed)
    many = pour(image, 16_384, spacing=NEIGHBORS)
    outcomes: list[Outcome] = []
    for stage, sand in ((SETTLE, few), (SHOT, few), (siege, many)):
        if stage is SHOT:  # continues with the settled castle
            sand = few._replace(position=outcomes[-1].run.state.position)
        print(f"{stage.title}: {len(sand.position):,} grains, {stage.steps:,} steps", flush=True)
        outcomes.append(show(play(stage, sand, seed=seed, progress=progress), folder))
    print(f"\n{table(outcomes)}")
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a table of the stages and a list of their files."""
    rows: list[tuple[str, ...]] = [
        ("stage", "grains", "steps", "steps/s", "rebuilds", "grown", "energy/grain", "seconds")
    ]
    for outcome in outcomes:
        stage, run = outcome.stage, outcome.run
        lists = (f"{run.rebuilds:,}", f"{run.allocations:,}") if stage.lists else ("all pairs", "-")
        energy = f"{outcome.before:.3f} -> {outcome.after:.3f}"
        speed = (f"{len(outcome.sand.position):,}", f"{run.steps:,}", f"{run.steps_per_second:,.0f}")
        rows.append((stage.name, *speed, *lists, energy, f"{outcome.seconds:.1f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    files = [f"  {path}" for outcome in outcomes for path in outcome.files]
    return "\n".join([*lines, "", "films and pictures:", *files])
