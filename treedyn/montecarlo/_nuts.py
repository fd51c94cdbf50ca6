r"""The No-U-Turn sampler: trajectories that double until they turn back.

A trajectory is extended in both directions of time, by 1, 2, 4, ... steps, until its ends approach each other, or those
of one of the subtrees of which it is built. Every state on it is a candidate with the weight $e^{-\Delta/kT}$, where
$\Delta$ is its energy above that of the start. A candidate is chosen while the tree grows: within a new subtree in
proportion to the weights, and between the old and the new half with a bias for the new one.

The ends approach each other when the velocity at one of them has no component along the way between them. The way is
measured by the sum of the momenta on it, so no difference of positions is needed, and the method works in any space.

The subtrees are visited in the order of the steps. The states at their beginnings that are still needed, one for every
level, are kept in arrays of that size, so a tree is one compiled loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int32

from treedyn import _check as check
from treedyn import noise, operators, schedule, tree
from treedyn._state import State
from treedyn._status import INVALID_LIST, Status, has
from treedyn._struct import Struct, static
from treedyn.dynamics._compose import compose
from treedyn.montecarlo._metropolis import DIVERGENCE
from treedyn.montecarlo._metropolize import metropolize
from treedyn.montecarlo._stride import Strides
from treedyn.montecarlo._trajectories import Trajectories
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class Orbit(Struct):
    """The report of a step of NUTS, in `state.info`.

    Attributes:
        acceptance: mean over the new states of the trajectory of min(1, exp(-error)), to tune the time step by; 0 for a
            step that was halved.
        depth: how often the trajectory was doubled.
        steps: steps of the integrator, which are evaluations of the force.
        error: the energy of the chosen state above that of the start, in units of kT.
        divergent: whether the trajectory ended because the energy of a state was 1000 kT higher or not a number.
        turned: whether it ended because it turned back, or because a step that was halved cannot be retraced. If it
            neither turned nor diverged, it has the largest depth.
    """

    acceptance: Float[Array, "..."]
    depth: Int32[Array, "..."]
    steps: Int32[Array, "..."]
    error: Float[Array, "..."]
    divergent: Bool[Array, "..."]
    turned: Bool[Array, "..."]


class _Point(NamedTuple):
    """A state on the trajectory, with its energy above that of the start in units of kT."""

    state: State
    error: jax.Array


class _Subtree(NamedTuple):
    """Successive states of the trajectory.

    Attributes:
        last: the last of them, where it can be extended.
        chosen: the candidate.
        weight: logarithm of the sum of the weights.
        momenta: sum of the momenta.
        accepted: sum of min(1, exp(-error)).
        states: number of states.
        steps: number of steps of the integrator that led to them.
        turned: whether its ends, or those of a part of it, approach each other.
        divergent: whether the energy of the last state is far off.
        invalid: bits of all states for invalid neighbor lists.
    """

    last: _Point
    chosen: _Point
    weight: jax.Array
    momenta: PyTree
    accepted: jax.Array
    states: jax.Array
    steps: jax.Array
    turned: jax.Array
    divergent: jax.Array
    invalid: jax.Array


class NoUTurn(Trajectories):
    """The No-U-Turn sampler.

    Attributes:
        splitting: the dynamics of the trajectory.
        refresh: redraws the momenta before every trajectory.
        depth: the largest number of doublings.
        strides: whether and when a step is cut into smaller ones.
    """

    depth: int = static()
    strides: Strides

    def untried(self, kind: DTypeLike) -> PyTree:
        """Return the report of a state that has taken no step."""
        zero, none, false = jnp.zeros((), kind), jnp.int32(0), jnp.asarray(False)
        return Orbit(acceptance=zero, depth=none, steps=none, error=zero, divergent=false, turned=false)

    def draw(self, state: State) -> tuple[PyTree, ...]:
        """Return the noise of the momenta, the direction of every doubling, and uniform numbers for the choices."""
        key, kind = noise.of_step(state), tree.dtype(state.momentum)
        forward = jax.random.bernoulli(noise.at_path(key, "direction"), shape=(self.depth,))
        between = jax.random.uniform(noise.at_path(key, "between"), (self.depth,), kind)
        within = jax.random.uniform(noise.at_path(key, "within"), (2**self.depth,), kind)
        return self.refresh.draw(noise.at_path(key, "refresh"), state), forward, between, within

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, ...]) -> State:
        """Return the state that was chosen on the trajectory."""
        fresh, forward, between, within = noise
        start = self.begin(state, fresh)
        kind = tree.dtype(start.momentum)
        zero, none, false = jnp.zeros((), kind), jnp.int32(0), jnp.asarray(False)
        here = _Point(start, zero)
        whole = _Subtree(here, here, zero, start.momentum, zero, none, none, false, false, jnp.uint32(0))

        def on(carry: tuple[Any, ...]) -> jax.Array:
            depth, _, _, whole = carry
            return (depth < self.depth) & ~whole.turned & ~whole.divergent

        def double(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            depth, left, right, whole = carry
            way = forward[depth]
            # going backwards is going forwards with the momenta reversed
            edge = tree.where(way, right, _Point(self.reverse(left.state), left.error))
            new = self._subtree(edge, env, depth, within)
            end = tree.where(way, new.last, _Point(self.reverse(new.last.state), new.last.error))
            sums = jax.tree.map(lambda x: jnp.where(way, x, -x), new.momenta)
            left, right = tree.where(way, left, end), tree.where(way, end, right)
            complete = ~new.turned & ~new.divergent
            better = complete & (between[depth] < jnp.exp(new.weight - whole.weight))
            chosen = _Point(tree.where(way, new.chosen.state, self.reverse(new.chosen.state)), new.chosen.error)
            momenta = tree.add(whole.momenta, sums)
            turned = new.turned | (complete & _turned(left.state, right.state, momenta))
            whole = _Subtree(
                last=whole.last,
                chosen=tree.where(better, chosen, whole.chosen),
                weight=jnp.logaddexp(whole.weight, new.weight),
                momenta=momenta,
                accepted=whole.accepted + new.accepted,
                states=whole.states + new.states,
                steps=whole.steps + new.steps,
                turned=turned,
                divergent=new.divergent,
                invalid=whole.invalid | new.invalid,
            )
            return depth + 1, left, right, whole

        depth, _, _, whole = lax.while_loop(on, double, (jnp.int32(0), here, here, whole))
        chosen = whole.chosen.state
        info = Orbit(
            acceptance=whole.accepted / jnp.maximum(whole.states, 1).astype(kind),
            depth=depth,
            steps=whole.steps,
            error=whole.chosen.error,
            divergent=whole.divergent,
            turned=whole.turned,
        )
        return chosen.replace(status=state.status | chosen.status | whole.invalid, info=info)

    def _subtree(self, edge: _Point, env: PyTree, depth: jax.Array, within: jax.Array) -> _Subtree:
        """Take 2^depth steps from the edge, or fewer if a part of them turns back or diverges."""
        kT, size = schedule.at(self.kT, edge.state.step), jnp.left_shift(jnp.int32(1), depth)
        zero, none, false = jnp.zeros_like(edge.error), jnp.int32(0), jnp.asarray(False)
        nothing = tree.zeros_like(edge.state.momentum)
        empty = _Subtree(edge, edge, zero - jnp.inf, nothing, zero, none, none, false, false, jnp.uint32(0))
        shelf = jax.tree.map(lambda x: jnp.zeros((self.depth + 1, *x.shape), x.dtype), (nothing, nothing, nothing))

        def on(carry: tuple[Any, ...]) -> jax.Array:
            found, _ = carry
            return (found.states < size) & ~found.turned & ~found.divergent

        def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            found, shelf = carry
            old = found.last
            stride = self.strides.take(self.splitting, old.state, env, kT)
            new, error = stride.end, old.error + stride.change / kT
            good = (error <= DIVERGENCE) & ~has(new.status, Status.NONFINITE)
            weight = jnp.where(good, -error, -jnp.inf)
            total = jnp.logaddexp(found.weight, weight)
            # the numbers from 2^depth - 1 on belong to this subtree
            taken = within[size - 1 + found.states] < jnp.exp(weight - total)
            point = _Point(new, error)
            momenta = tree.add(found.momenta, new.momentum)
            shelf, turned = _look_back(shelf, found.states, new, momenta)
            found = _Subtree(
                last=point,
                chosen=tree.where(taken & good, point, found.chosen),
                weight=total,
                momenta=momenta,
                accepted=found.accepted + jnp.where(good & stride.whole, jnp.exp(-jnp.maximum(error, 0)), 0),
                states=found.states + 1,
                steps=found.steps + stride.steps,
                turned=turned | (good & ~stride.retraced),
                divergent=~good,
                invalid=found.invalid | (new.status & jnp.uint32(int(INVALID_LIST))),
            )
            return found, shelf

        found, _ = lax.while_loop(on, one, (empty, shelf))
        return found


def _look_back(shelf: PyTree, number: jax.Array, new: State, momenta: PyTree) -> tuple[PyTree, jax.Array]:
    """Tell whether a subtree that ends with this step has turned; keep the step if a subtree begins with it.

    An even step begins subtrees, and is kept in the place of their level. An odd step ends one subtree for every 1 at
    the end of its binary number; they began at the last kept steps.

    Args:
        shelf: momenta, velocities and sums of the momenta, of one step for every level.
        number: number of the step, from 0.
        new: the state after the step.
        momenta: sum of the momenta up to it.
    """
    place = lax.population_count(jnp.right_shift(number, 1))
    ends = lax.population_count(number ^ (number + 1)) - 1
    even = ends == 0
    kept = jax.tree.map(
        lambda old, x: jnp.where(even, old.at[place].set(x), old), shelf, (new.momentum, new.velocity, momenta)
    )

    def on(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        level, turned = carry
        return (level > place - ends) & ~turned

    def one(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        level, _ = carry
        momentum, velocity, before = jax.tree.map(lambda x: x[level], kept)
        part = tree.add(tree.subtract(momenta, before), momentum)
        return level - 1, _criterion(momentum, velocity, new.momentum, new.velocity, part)

    _, turned = lax.while_loop(on, one, (place, jnp.asarray(False)))
    return kept, turned


def _turned(left: State, right: State, momenta: PyTree) -> jax.Array:
    return _criterion(left.momentum, left.velocity, right.momentum, right.velocity, momenta)


def _criterion(p: PyTree, v: PyTree, q: PyTree, w: PyTree, momenta: PyTree) -> jax.Array:
    """Tell whether ends with momenta p, q and velocities v, w approach each other; `momenta` is the sum of all."""
    # the ends count half: the way between them is the integral of the momentum
    way = jax.tree.map(lambda total, p, q: total - (p + q) / 2, momenta, p, q)
    return (tree.vdot(v, way) <= 0) | (tree.vdot(w, way) <= 0)


def nuts(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree = 1.0,
    *,
    depth: int = 10,
    halvings: int = 0,
    tolerance: float = 0.3,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
) -> NoUTurn:
    """Sample exp(-U/kT) by the No-U-Turn sampler: trajectories of B A B that double until they turn back.

    With `halvings`, every step is cut into 2, 4, ... smaller ones where the energy needs it (WALNUTS). It then reaches
    the narrow places of a density, such as the neck of a funnel, where one step size for all fails.

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        kT: temperature in units of energy, positive: one number or schedule for all leaves.
        depth: the largest number of doublings; a trajectory has at most 2^depth - 1 steps. As many random numbers are
            drawn in every step.
        halvings: how often a step may be halved, at least 0. A step that is not small enough then is a divergence.
        tolerance: the largest difference of the energies within a step, in units of kT; used with `halvings` only.

    Returns:
        A dynamics. `state.info` has `acceptance`, `depth`, `steps`, `error`, `divergent` and `turned` of the last step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.nuts(lambda x: jnp.sum(x**2) / 2, dt=0.4)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(100))
        >>> out = td.run(dynamics, state, steps=200, record=lambda state: jnp.mean(state.position**2))
        >>> print(f"{out.records[10:].mean():.1f}")
        1.0

    Reference:
        Hoffman, Gelman, J. Mach. Learn. Res. 15, 1593 (2014), arXiv:1111.4246; Betancourt, arXiv:1701.02434 (2017);
        Phan, Pradhan, Jankowiak, arXiv:1912.11554 (2019); halving: Bou-Rabee, Carpenter, Kleppe, Liu, arXiv:2506.18746
        (2025).
    """
    A, B = operators.drift(space), operators.kick()
    hamiltonian = metropolize(compose(target, (B, A, B), dt, mass=mass, space=space), kT)
    limit = check.number("tolerance", tolerance, "one number", positive=True)
    return NoUTurn(
        splitting=hamiltonian.splitting,
        refresh=hamiltonian.refresh,
        depth=check.integer("depth", depth, 1, 16),
        strides=Strides(halvings=check.integer("halvings", halvings, 0, 31), tolerance=limit),
    )
