"""Environments made for the tests of the drivers: a list of near pairs, a projectile, and targets that need them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from treedyn._status import word

CUTOFF = 1.0
KEY = jax.random.key(5)


def pairs_within(position: jax.Array, reach: Any) -> jax.Array:
    way = position[:, None] - position[None]
    return (jnp.sum(way**2, axis=-1) < reach**2) & ~jnp.eye(len(position), dtype=bool)


class Near(td.Refreshable):
    """Pairs that were closer than the cutoff and a skin, in a list with a fixed number of places."""

    pairs: jax.Array
    reference: jax.Array
    word: jax.Array
    skin: float

    @property
    def status(self) -> jax.Array:
        return self.word

    def valid(self, position: Any, margin: float = 1.0) -> jax.Array:
        moved = jnp.sum((points(position) - self.reference) ** 2, axis=-1)
        return jnp.all(moved <= (margin * self.skin / 2) ** 2)

    def rebuild(self, position: Any) -> "Near":
        position, capacity = points(position), len(self.pairs)
        near = pairs_within(position, CUTOFF + self.skin)
        rows, columns = jnp.nonzero(near, size=capacity, fill_value=len(position))
        lost = word(td.Status.OVERFLOW, jnp.sum(near) > capacity)
        return self.replace(pairs=jnp.stack([rows, columns], axis=1), reference=position, word=lost)

    def allocate(self, position: Any) -> "Near":
        count = int(np.sum(pairs_within(points(position), CUTOFF + self.skin)))
        return near_list(position, skin=self.skin, capacity=max(count + 12, len(self.pairs)))


def near_list(position: Any, *, skin: float = 0.8, capacity: int = 81) -> Near:
    pairs = jnp.zeros((capacity, 2), int)
    blank = Near(pairs=pairs, reference=points(position), word=jnp.uint32(0), skin=skin)
    return blank.rebuild(position)


class Projectile(td.Advancing):
    """Something that flies through on its own."""

    position: jax.Array
    velocity: jax.Array

    def advance(self, state: Any) -> "Projectile":
        return self.replace(position=self.position + self.velocity)


def points(position: Any) -> jax.Array:
    return position["points"] if isinstance(position, dict) else position


def soft(position: jax.Array, held: jax.Array) -> jax.Array:
    """Return the energy of soft discs in a trap, over the pairs that a list holds.

    The list enters as a mask, so that the sum has the same shape and order however many places the list has.
    """
    way = position[:, None] - position[None]
    square = jnp.sum(way**2, axis=-1)
    overlap = jnp.where(held & (square < CUTOFF**2), (1 - square) ** 2, 0)
    return 2 * jnp.sum(overlap) + 0.2 * jnp.sum(position**2)


def energy(position: Any, env: Any) -> jax.Array:
    """Return the energy over a list, and of a projectile where there is one."""
    x = points(position)
    near, shot = (env["near"], env["shot"]) if isinstance(env, dict) else (env, None)
    held = jnp.zeros((len(x), len(x)), bool).at[near.pairs[:, 0], near.pairs[:, 1]].set(True, mode="drop")
    hit = 0 if shot is None else jnp.sum(jnp.exp(-jnp.sum((x - shot.position[None]) ** 2, axis=-1)))
    return soft(x, held) + hit


def energy_of_all_pairs(position: Any) -> jax.Array:
    x = points(position)
    return soft(x, ~jnp.eye(len(x), dtype=bool))


def start_position(count: int = 9) -> jax.Array:
    """Return discs on a lattice, which the trap then pulls together."""
    side = int(np.ceil(count**0.5))
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:count]
    return jnp.asarray(1.68 * (lattice - (side - 1) / 2) + 0.07 * np.sin(np.arange(2 * count)).reshape(-1, 2))


def surroundings(position: Any, **options: Any) -> dict[str, Any]:
    shot = Projectile(position=jnp.array([-4.0, 0.3]), velocity=jnp.array([0.1, 0.0]))
    return {"near": near_list(position, **options), "shot": shot}
