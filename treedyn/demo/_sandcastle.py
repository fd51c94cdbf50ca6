"""The sandcastle: a picture becomes grains of sand, the grains settle, and a projectile goes through them.

Three stages, each a film and a picture:

1. settle: grains that attract each other, all pairs, at temperature 0;
2. shot: a projectile that moves on its own, as a part of the environment;
3. siege: ten times the grains, with neighbor lists, and a larger projectile.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from treedyn import particles as tp
from treedyn import view
from treedyn._extras import require
from treedyn.demo._castle import CASTLE

ROOM = 1.16  # sides of the box, in sides of the picture
LEAST = 45.0  # shortest side of a box: room for the ball, however narrow the picture is
CUTOFF = 2.5
NEIGHBORS = 1.112  # where two neighbors in a flat crystal of Lennard-Jones grains come to rest


class Projectile(td.Advancing):
    """Hold a ball that flies through the box at constant speed, whatever is in its way.

    Attributes:
        position: its middle, `[2]`.
        velocity: how far it moves per unit of time, `[2]`.
        dt: time step.
        space: the box, around which it wraps.
    """

    position: jax.Array
    velocity: jax.Array
    dt: float
    space: td.Space

    def advance(self, state: td.State) -> "Projectile":
        """Return the ball one step later."""
        return self.replace(position=self.space.shift(self.position, self.dt * self.velocity))


@dataclasses.dataclass(frozen=True)
class Stage:
    """Say what happens in one stage.

    Attributes:
        name: name of the files.
        title: what is printed while it runs.
        steps: how many steps to take.
        frames: how many pictures the film has.
        radius: radius of the projectile, in grains; 0 for none.
        dt: time step.
        gamma: friction.
        lists: whether to use neighbor lists.
        speed: how fast the projectile is.
    """

    name: str
    title: str
    steps: int
    frames: int
    radius: float = 0.0
    dt: float = 0.006
    gamma: float = 0.15
    lists: bool = False
    speed: float = 10.0


@dataclasses.dataclass(frozen=True)
class Sand:
    """Hold grains in their box.

    Attributes:
        position: `[N, 2]`.
        color: red, green, blue, 0 to 255, `uint8[N, 3]`.
        box: the two sides of the box, `[2]`.
    """

    position: jax.Array
    color: np.ndarray
    box: jax.Array


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Hold what a stage did.

    Attributes:
        stage: which.
        run: what `td.run` returned; its records are the positions of grains and projectile, one for every picture.
        sand: the grains as they were at the start.
        shot: positions of the projectile at the start and in every record, `[frames + 1, 2]`, or `None`.
        before: energy per grain at the start.
        after: energy per grain at the end.
        seconds: how long it took, compilation included.
        files: what was written.
    """

    stage: Stage
    run: td.Run
    sand: Sand
    shot: np.ndarray | None
    before: float
    after: float
    seconds: float
    files: tuple[Path, ...] = ()


SETTLE = Stage(name="settle", title="1  the castle settles", steps=500, frames=50, gamma=0.5)
SHOT = Stage(name="shot", title="2  a shot", steps=1_300, frames=100, radius=4.0)
SIEGE = Stage(name="siege", title="3  the siege", steps=3_500, frames=100, radius=13.0, lists=True, speed=11.0)


def pour(image: Any, count: int, *, spacing: float, shake: float = 0.0, seed: int = 0) -> Sand:
    """Turn a picture into grains in the middle of a box.

    Args:
        image: a file or a PIL image.
        count: how many grains, about.
        spacing: distance between neighbors.
        shake: how far the grains are moved at random, in spacings.
        seed: for the shaking.

    Returns:
        The grains.

    Raises:
        ValueError: `image` is no picture.
    """
    grains = view.grains(image, count)
    size = spacing * np.asarray(grains.size)
    box = np.maximum(ROOM * size, LEAST)
    kicks = np.random.default_rng(seed).uniform(-shake, shake, grains.position.shape)
    position = spacing * (grains.position + kicks) + (box - size) / 2
    return Sand(position=jnp.asarray(position, dtype=float), color=grains.color, box=jnp.asarray(box, dtype=float))


def play(stage: Stage, sand: Sand, *, seed: int = 0, progress: bool = False) -> Outcome:
    """Simulate one stage.

    Args:
        stage: what happens.
        sand: the grains.
        seed: of the random key.
        progress: whether to show a bar.

    Returns:
        What it did.
    """
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
    """Write the film and the picture of one stage.

    Args:
        outcome: what the stage did.
        folder: where to.
        width: pixels along the longer side of the MP4 film and each half of the picture; the GIF film is half as large.

    Returns:
        The outcome, with the names of its files.
    """
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
    """Draw the start of a stage and everything that was recorded; `width` is the longer side, in pixels."""
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
    image: str | Path | None = None,
    folder: str | Path = "sandcastle",
    *,
    full: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> list[Outcome]:
    """Play all three stages, write their films and pictures, and print what was done.

    Args:
        image: any picture; by default the castle that was drawn by `treedyn.demo.castle`.
        folder: where to write to.
        full: take all 30,000 steps of the siege.
        seed: of the random numbers.
        progress: whether to show bars.

    Returns:
        What each stage did.

    Raises:
        ValueError: `image` is no picture.
        ImportError: Pillow is missing; the message says how to get it.
    """
    require("PIL", "demo")
    image, folder = CASTLE if image is None else Path(image), Path(folder)
    siege = dataclasses.replace(SIEGE, steps=30_000, frames=300) if full else SIEGE
    few = pour(image, 1_600, spacing=1.15, shake=0.04, seed=seed)
    many = pour(image, 16_384, spacing=NEIGHBORS)
    outcomes: list[Outcome] = []
    for stage, sand in ((SETTLE, few), (SHOT, few), (siege, many)):
        if stage is SHOT:  # goes on where the castle has settled
            sand = dataclasses.replace(few, position=outcomes[-1].run.state.position)
        print(f"{stage.title}: {len(sand.position):,} grains, {stage.steps:,} steps", flush=True)
        outcomes.append(show(play(stage, sand, seed=seed, progress=progress), folder))
    print(f"\n{table(outcomes)}")
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """Return what was done, as a table."""
    head = ("stage", "grains", "steps", "steps/s", "rebuilds", "grown", "energy/grain", "seconds")
    rows = [
        (
            outcome.stage.name,
            f"{len(outcome.sand.position):,}",
            f"{outcome.run.steps:,}",
            f"{outcome.run.steps_per_second:,.0f}",
            f"{outcome.run.rebuilds:,}" if outcome.stage.lists else "all pairs",
            f"{outcome.run.allocations:,}" if outcome.stage.lists else "-",
            f"{outcome.before:.3f} -> {outcome.after:.3f}",
            f"{outcome.seconds:.1f}",
        )
        for outcome in outcomes
    ]
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    files = [f"  {path}" for outcome in outcomes for path in outcome.files]
    return "\n".join([*lines, "", "films and pictures:", *files])
