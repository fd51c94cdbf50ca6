"""The two passes over all pairs that make up a pair energy and its derivatives.

One pass returns the energy, the other the energy and its gradient with respect to the positions. The gradient of a
particle is the sum of the gradients of its own distances with respect to its own coordinates: gathers only, while
reverse mode through the gathered partners would scatter. This is exact, because every pair is visited from both sides.

`pair_sum` is the first pass with the second as its derivative with respect to positions and strain. All other
derivatives are autodiff of the first pass, in which positions are constants, so they do not scatter either. Higher
derivatives are autodiff of both.

Strain enters as the metric that turns displacements into distances, so the stress takes d(d+1)/2 sums.
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
    """Everything that a pair energy depends on besides positions and list.

    Attributes:
        u: the potential of one pair, boxed.
        space: the space in which displacements are measured.
        metric: the metric of strained space, `[d, d]`; `None` without strain.
        total: name of the dtype in which energies are summed; `None` for that of the position.
    """

    u: PyTree
    space: Space
    metric: jax.Array | None
    total: str | None = static(default=None)


class Particles(Struct):
    """Positions, one array per component, and one array per pair parameter: of all particles, a tile, or partners."""

    position: spaces.Components
    numbers: list[jax.Array]


# energy, gradient with respect to the positions, gradient with respect to the metric where there is one
Slopes = tuple[jax.Array, jax.Array, jax.Array | None]


@jax.custom_jvp
def pair_sum(position: jax.Array, field: Field, partners: Partners | None) -> jax.Array:
    """Return the energy of all pairs, with a fast derivative with respect to positions and metric."""
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


# A custom rule keeps this loop whole when the energy is differentiated. Partial evaluation would move its constants out
# of the loop, as arrays of the size of a tile that are read in every iteration.
@jax.custom_jvp
def _slopes(position: jax.Array, field: Field, partners: Partners | None) -> Slopes:
    return _gradient_pass(position, field, partners, once=True)


def _slopes_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Slopes, Slopes]:
    return _forward(lambda x, field: _gradient_pass(x, field, primals[2]), primals[:2], tangents[:2])


_slopes.defjvp(_slopes_jvp, symbolic_zeros=True)


def _forward(f: Callable[..., PyTree], primals: PyTree, tangents: PyTree) -> tuple[PyTree, PyTree]:
    """Return `f(*primals)` and its rate of change, by autodiff with respect to the leaves with nonzero tangents."""
    leaves, structure = jax.tree.flatten(primals)
    rates = jax.tree.leaves(tangents)
    active = [k for k, rate in enumerate(rates) if not _is_zero(rate)]

    def of_active(values: list[Any]) -> PyTree:
        new = dict(zip(active, values, strict=True))
        return f(*jax.tree.unflatten(structure, [new.get(k, leaf) for k, leaf in enumerate(leaves)]))

    return jax.jvp(of_active, ([leaves[k] for k in active],), ([rates[k] for k in active],))


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _separations(field: Field) -> Callable[[Particles, Particles], spaces.Components]:
    return lambda own, partner: spaces.separation(field.space, own.position, partner.position)


@functools.partial(jax.jit, static_argnames="once")
def _energy_pass(position: jax.Array, field: Field, partners: Partners | None, *, once: bool = False) -> jax.Array:
    """Return the energy."""

    def terms(own: Particles, partner: Particles, delta: spaces.Components, is_pair: jax.Array) -> jax.Array:
        distance = _distance(delta, stretch(field.metric, delta), is_pair)
        return jnp.where(is_pair, _of_distance(field.u, own, partner)(distance), 0)

    each = sum_over_partners(_separations(field), terms, _particles(position, field), partners, once=once)
    return 0.5 * jnp.sum(each, dtype=field.total)


@functools.partial(jax.jit, static_argnames="once")
def _gradient_pass(position: jax.Array, field: Field, partners: Partners | None, *, once: bool = False) -> Slopes:
    """Return the energy and its gradients with respect to positions and metric."""

    def terms(
        own: Particles, partner: Particles, delta: spaces.Components, is_pair: jax.Array
    ) -> tuple[jax.Array, PyTree, PyTree]:
        # one copy of the particle's position per pair, to get the gradient of each pair
        each = jax.tree.map(lambda x: jnp.broadcast_to(x, is_pair.shape), own.position)
        _, pull_back = jax.vjp(lambda a: spaces.separation(field.space, a, partner.position), each)
        stretched = stretch(field.metric, delta)
        distance = _distance(delta, stretched, is_pair)
        # with the tangent 1/r this is u'(r)/r, and a potential that contains 1/r shares the division
        energy, slope = jax.jvp(_of_distance(field.u, own, partner), (distance,), (reciprocal(distance),))
        factor = jnp.where(is_pair, slope, 0)
        (gradient,) = pull_back(tuple(factor * x for x in stretched))
        virial = () if field.metric is None else [factor * x * y for k, x in enumerate(delta) for y in delta[: k + 1]]
        return jnp.where(is_pair, energy, 0), gradient, virial

    sums = sum_over_partners(_separations(field), terms, _particles(position, field), partners, once=once)
    energy, gradient, virial = sums
    # every pair was counted twice, but the gradient of a particle is in only one of the two
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
    """Return the gradient with respect to the metric, from the sums of `slope / r * x_k * x_i` for `i <= k`."""
    if not virial:
        return None
    sums = iter(0.25 * jnp.sum(x) for x in virial)
    lower = {(k, i): next(sums) for k in range(dimension) for i in range(k + 1)}
    axes = range(dimension)
    return jnp.stack([jnp.stack([lower[max(k, i), min(k, i)] for i in axes]) for k in axes])


def _particles(position: jax.Array, field: Field) -> Particles:
    return Particles(position=spaces.unstack(position), numbers=[x.of_particles() for x in parameters(field.u)])


def _distance(delta: spaces.Components, stretched: spaces.Components, is_pair: jax.Array) -> jax.Array:
    # An empty slot gets a harmless distance. Two particles in one place keep their distance of 0.
    return jnp.sqrt(jnp.where(is_pair, spaces.dot(delta, stretched), 1))


def _of_distance(u: PyTree, own: Particles, partner: Particles) -> Callable[[jax.Array], jax.Array]:
    """Return the potential as a function of the distances of a tile."""
    numbers = [x.of_pairs(a, b) for x, a, b in zip(parameters(u), own.numbers, partner.numbers, strict=True)]

    def one(distance: jax.Array, *numbers: jax.Array) -> jax.Array:
        return evaluate(with_numbers(u, list(numbers)), distance)

    return lambda distances: elementwise(one, distances, *numbers)
