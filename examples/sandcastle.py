"""Turn a picture into grains of sand and shoot at them: custom simulation code in ten lines.

    python examples/sandcastle.py [PICTURE]

A simulation has three parts:

- the target: the total energy, a function of the position and of the environment;
- the environment: everything else that the energy depends on, here a neighbor list and a ball that moves on its own;
- the dynamics: here friction without noise, so that the grains come to rest again.

`treedyn demo sandcastle` is a longer version.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from treedyn import particles as tp
from treedyn import view
from treedyn.demo._castle import CASTLE

RADIUS = 4.0
DT = 0.005


# An `Advancing` is a part of the environment that moves on its own: `advance` is called once per step. Its fields are
# arrays, so it is compiled with everything else. `space` wraps it around the box, like the grains.
class Ball(td.Advancing):
    position: jax.Array
    velocity: jax.Array
    space: td.Space

    def advance(self, state):
        return self.replace(position=self.space.shift(self.position, DT * self.velocity))


def main(picture: str | Path = CASTLE, film: str | Path = "sandcastle.gif", count: int = 1_600, steps: int = 2_000):
    # 1. Grains: a hexagonal lattice over the picture, in units of the distance between neighbors, in a larger box.
    grains = view.grains(picture, count)
    box = 1.16 * 1.112 * jnp.asarray(grains.size)
    position = jnp.asarray(1.112 * grains.position) + (box - 1.112 * jnp.asarray(grains.size))[None] / 2

    # 2. The target. A potential is a function of one distance; `pair_energy` sums it over the pairs of a neighbor list.
    #    The interaction of ball and sand is one line of JAX.
    space = tp.periodic(box)
    sand = tp.pair_energy(tp.smooth(tp.lennard_jones(), onset=2.0, cutoff=2.5), space)
    contact = tp.soft_sphere(epsilon=1200.0, sigma=RADIUS + 0.5)

    def energy(position, env):
        return sand(position, env) + jnp.sum(contact(space.distance(position, env["ball"].position[None])))

    # 3. The environment: any tree. `sand` finds the one neighbor list in it.
    env = {
        "near": tp.neighbor_list(space, cutoff=2.5, skin=1.0).allocate(position),
        "ball": Ball(position=box * jnp.array([0.07, 0.53]), velocity=jnp.array([10.0, 0.7]), space=space),
    }

    # 4. The dynamics, and a run. Lists are rebuilt when necessary, and enlarged when they are full.
    dynamics = td.langevin(energy, dt=DT, kT=0.0, gamma=0.15, space=space)
    state = dynamics.init(jax.random.key(0), position, env)
    out = td.run(
        dynamics, state, env, steps=steps, every=25, record=lambda state, env: (state.position, env["ball"].position)
    )
    print(f"{len(position)} grains, {out.steps} steps, {out.steps_per_second:.0f} steps/s, {out.rebuilds} rebuilds")

    # 5. A film.
    positions, ball = out.records
    frames = view.frames(
        positions,
        grains.color,
        box=np.asarray(box),
        radius=0.52,
        balls=[view.Ball(ball, RADIUS)],
        look=view.Look(width=400),
    )
    print("film:", view.write_film(film, frames, fps=25))


if __name__ == "__main__":
    main(*sys.argv[1:2])
