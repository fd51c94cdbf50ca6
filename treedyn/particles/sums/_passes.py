"""The two passes over all pairs, and how they make up the derivatives of a pair energy.

One pass returns the energy, the other the energy and its gradient with respect to the positions. A particle's gradient
is the sum of the gradients of its own distances with respect to its own coordinates: gathers only, where reverse mode
through the gathered partners would scatter. This is exact, because every pair is visited from both sides.

`pair_sum` is the first pass with the second as its derivative with respect to positions and strain. Its derivatives
with respect to everything else are autodiff of the first pass, in which positions are constants, so no scatter appears
there either. Higher derivatives are autodiff of both.

Strain enters as the metric by which distances are made of displacements, which takes d(d+1)/2 sums for the stress.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from treedyn._struct import Struct, static
from treedyn.particles.energies._parameters import elementwise, evaluate, parameters, with_numbers
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._kernel import Partners, sum_over_partners
from treedyn.particles.sums._reciprocal import reciprocal
from treedyn.space import Space
from treedyn.tree import PyTree


class Field(Struct):
    """Hold what a pair energy depends on besides positions and list.

    Attributes:
        u: the potential of one pair, boxed.
        space: how displacements are measured.
        metric: how distances are made of them, `[d, d]`; `None` where space is not strained.
        total: the name of the dtype to sum energies in; `None` for that of the position.
    """

    u: PyTree
    space: Space
    metric: jax.Array | None
    total: str | None = static(default=None)


class Particles(Struct):
    """Hold what the pairs are made from: for all particles, for the rows of a tile, or for their partners.

    Attributes:
        position: one array per component.
        numbers: one array per pair parameter of the potential.
    """

    position: spaces.Components
    numbers: list[jax.Array]


# energy, gradient with respect to the positions, gradient with respect to the metric where there is one
Slopes = tuple[jax.Array, jax.Array, jax.Array | None]


@jax.custom_jvp
def pair_sum(position: jax.Array, field: Field, partners: Partners | None) -> jax.Array:
    """Return the energy of all pairs; fast to differentiate with respect to positions and metric."""
    return _energy_pass(position, field, partners, once=True)


def _pair_sum_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    position, field, partners = primals
    motion, change, _ = tangents
    moved, strained = not _is_zero(motion), field.metric is not None and not _is_zero(change.metric)
    energy, rate = None, jnp.zeros((), field.total or position.dtype)
    if moved or strained:
        energy, gradient, of_metric = _slopes(position, field, partners)
        rate = rate + jnp.sum(gradient * motion, dtype=field.total) if moved else rate
        rate = rate + jnp.sum(of_metric * change.metric, dtype=field.total) if strained else rate
    others = (change.u, change.space)
    if energy is None or not all(_is_zero(x) for x in jax.tree.leaves(others)):
        value, more = _forward(
            lambda u, space: _energy_pass(position, field.replace(u=u, space=space), partners),
            (field.u, field.space),
            others,
        )
        energy, rate = value if energy is None else energy, rate + more
    return energy, rate


pair_sum.defjvp(_pair_sum_jvp, symbolic_zeros=True)


# A rule of its own keeps this loop whole when the energy is differentiated. Partial evaluation of a loop would move
# its constants out of it, as arrays of the size of a tile, which are then read in every iteration.
@jax.custom_jvp
def _slopes(position: jax.Array, field: Field, partners: Partners | None) -> Slopes:
    return _gradient_pass(position, field, partners, once=True)


def _slopes_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Slopes, Slopes]:
    return _forward(lambda x, field: _gradient_pass(x, field, primals[2]), primals[:2], tangents[:2])


_slopes.defjvp(_slopes_jvp, symbolic_zeros=True)


def _forward(f: Callable[..., PyTree], primals: PyTree, tangents: PyTree) -> tuple[PyTree, PyTree]:
    """Return `f(*primals)` and its rate of change, by autodiff with respect to those leaves that do change."""
    leaves, structure = jax.tree.flatten(primals)
    rates = jax.tree.leaves(tangents)
    active = [k for k, rate in enumerate(rates) if not _is_zero(rate)]

    def of_active(values: list[Any]) -> PyTree:
        new = dict(zip(active, values, strict=True))
        return f(*jax.tree.unflatten(structure, [new.get(k, leaf) for k, leaf in enumerate(leaves)]))

    return jax.jvp(of_active, ([leaves[k] for k in active],), ([rates[k] for k in active],))


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


@functools.partial(jax.jit, static_argnames="once")
def _energy_pass(position: jax.Array, field: Field, partners: Partners | None, *, once: bool = False) -> jax.Array:
    """Return the energy."""

    def delta(own: Particles, partner: Particles) -> spaces.Components:
        return spaces.separation(field.space, own.position, partner.position)

    def terms(own: Particles, partner: Particles, delta: spaces.Components, is_pair: jax.Array) -> jax.Array:
        distance = _distance(delta, stretch(field.metric, delta), is_pair)
        return jnp.where(is_pair, _of_distance(field.u, own, partner)(distance), 0)

    each = sum_over_partners(delta, terms, _particles(position, field), partners, once=once)
    return 0.5 * jnp.sum(each, dtype=field.total)


@functools.partial(jax.jit, static_argnames="once")
def _gradient_pass(position: jax.Array, field: Field, partners: Partners | None, *, once: bool = False) -> Slopes:
    """Return the energy and its gradients with respect to positions and metric."""

    def delta(own: Particles, partner: Particles) -> spaces.Components:
        return spaces.separation(field.space, own.position, partner.position)

    def terms(
        own: Particles, partner: Particles, delta: spaces.Components, is_pair: jax.Array
    ) -> tuple[jax.Array, PyTree, PyTree]:
        # The position of a particle once for every pair, for what every pair adds to its gradient.
        each = jax.tree.map(lambda x: jnp.broadcast_to(x, is_pair.shape), own.position)
        _, pull_back = jax.vjp(lambda a: spaces.separation(field.space, a, partner.position), each)
        stretched = stretch(field.metric, delta)
        distance = _distance(delta, stretched, is_pair)
        # as the distance changes by 1/r: u'(r)/r comes out at once, and a u with a 1/r of its own shares the division
        energy, slope = jax.jvp(_of_distance(field.u, own, partner), (distance,), (reciprocal(distance),))
        factor = jnp.where(is_pair, slope, 0)
        (gradient,) = pull_back(tuple(factor * x for x in stretched))
        virial = () if field.metric is None else [factor * x * y for k, x in enumerate(delta) for y in delta[: k + 1]]
        return jnp.where(is_pair, energy, 0), gradient, virial

    energy, gradient, virial = sum_over_partners(delta, terms, _particles(position, field), partners, once=once)
    # Every pair was counted twice, once from either side; a particle's own gradient is in only one of the two.
    total = 0.5 * jnp.sum(energy, dtype=field.total)
    return total, jnp.stack(gradient, axis=-1), _of_metric(virial, position.shape[-1])


def metric(strain: jax.Array | None) -> jax.Array | None:
    r"""Return the metric of strained space, $C = (1 + \epsilon)^T (1 + \epsilon)$: distances are $\sqrt{r^T C r}$."""
    if strain is None:
        return None
    deformation = jnp.eye(strain.shape[0], dtype=strain.dtype) + strain
    return deformation.T @ deformation


def stretch(metric: jax.Array | None, delta: spaces.Components) -> spaces.Components:
    """Return the metric times a displacement, component by component."""
    if metric is None:
        return delta
    axes = range(len(delta))
    return tuple(sum((metric[k, i] * delta[i] for i in axes[1:]), metric[k, 0] * delta[0]) for k in axes)


def _of_metric(virial: Sequence[jax.Array], dimension: int) -> jax.Array | None:
    """Return the gradient with respect to the metric from the sums of `slope / r * x_k * x_i` for `i <= k`."""
    if not virial:
        return None
    sums = iter(0.25 * jnp.sum(x) for x in virial)
    lower = {(k, i): next(sums) for k in range(dimension) for i in range(k + 1)}
    axes = range(dimension)
    return jnp.stack([jnp.stack([lower[max(k, i), min(k, i)] for i in axes]) for k in axes])


def _particles(position: jax.Array, field: Field) -> Particles:
    return Particles(position=spaces.unstack(position), numbers=[x.of_particles() for x in parameters(field.u)])


def _distance(delta: spaces.Components, stretched: spaces.Components, is_pair: jax.Array) -> jax.Array:
    square = sum((x * y for x, y in zip(delta[1:], stretched[1:], strict=True)), delta[0] * stretched[0])
    # An empty slot gets a harmless distance. Two particles in one place do not: theirs is 0, and what u makes of it.
    return jnp.sqrt(jnp.where(is_pair, square, 1))


def _of_distance(u: PyTree, own: Particles, partner: Particles) -> Callable[[jax.Array], jax.Array]:
    """Return the potential as a function of the array of distances of a tile."""
    numbers = [x.of_pairs(a, b) for x, a, b in zip(parameters(u), own.numbers, partner.numbers, strict=True)]

    def one(distance: jax.Array, *numbers: jax.Array) -> jax.Array:
        return evaluate(with_numbers(u, list(numbers)), distance)

    return lambda distances: elementwise(one, distances, *numbers)
