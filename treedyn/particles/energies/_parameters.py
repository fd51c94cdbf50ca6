"""Parameters of a pair potential that differ from pair to pair.

Any number in a potential may be replaced by such a parameter. The pair kernel substitutes the number of each pair
before it calls the potential, so a potential and its truncations are always written for one pair.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function

# A number of a potential: a float, an array, or a `Parameter`, which is a number when the potential is called.
Number = Any

# up to this many species, selecting among columns is faster than gathering from the table (measured)
_FEW = 4

_POTENTIAL = "expected a function of one distance that returns one real number"


class Parameter(Struct):
    """A number for every pair of particles."""

    @abstractmethod
    def of_particles(self) -> jax.Array:
        """Return the entry of every particle from which the numbers of its pairs are computed, `[N]`."""

    @abstractmethod
    def of_pairs(self, own: jax.Array, partner: jax.Array) -> jax.Array:
        """Return the numbers of pairs from the entries of both particles; the arrays broadcast."""

    @abstractmethod
    def maximum(self) -> jax.Array | float:
        """Return an upper bound of the numbers of all pairs: the cutoff that a neighbor list needs."""

    @abstractmethod
    def good(self) -> jax.Array:
        """Return whether numbers that were traced when this was made are valid."""


class BySpecies(Parameter):
    """A table with a number for every pair of species.

    Attributes:
        table: symmetric; a leaf.
        species: index into the table for every particle.
    """

    table: Float[Array, "species species"]
    species: Int[Array, "particles"]

    def of_particles(self) -> jax.Array:
        return jnp.asarray(self.species)

    def of_pairs(self, own: jax.Array, partner: jax.Array) -> jax.Array:
        table = jnp.asarray(self.table)
        if table.shape[0] > _FEW:
            return table.ravel().at[own * table.shape[0] + partner].get(mode="clip")
        columns = [column.at[own].get(mode="clip") for column in table.T]
        number = jnp.broadcast_to(columns[0], jnp.broadcast_shapes(own.shape, partner.shape))
        for species, column in enumerate(columns[1:], start=1):
            number = jnp.where(partner == species, column, number)
        return number

    def maximum(self) -> jax.Array | float:
        return _largest(self.table)

    def good(self) -> jax.Array:
        species = jnp.asarray(self.species)
        return jnp.all((species >= 0) & (species < jnp.shape(self.table)[0]))


class ByParticle(Parameter):
    """A number per particle, and a rule that combines two of them.

    Attributes:
        values: one number per particle; a leaf.
        combine: symmetric function of two numbers.
    """

    values: Float[Array, "particles"]
    combine: Callable[[Any, Any], Any] = function()

    def of_particles(self) -> jax.Array:
        return jnp.asarray(self.values)

    def of_pairs(self, own: jax.Array, partner: jax.Array) -> jax.Array:
        return elementwise(self.combine, own, partner)

    def maximum(self) -> jax.Array | float:
        if self.combine in (arithmetic_mean, geometric_mean) or len(self.values) < 2:
            return _largest(self.values)
        known = tree.known(self.values)
        if known is None:
            return self._largest_of_pairs(self.values, jnp.ones(len(self.values), bool))
        with jax.ensure_compile_time_eval():
            values, count = np.unique(known, return_counts=True)
            return float(self._largest_of_pairs(jnp.asarray(values), jnp.asarray(count == 1)))

    def _largest_of_pairs(self, values: jax.Array, single: jax.Array) -> jax.Array:
        """Return the largest number of any pair; a value that is `single` makes no pair with itself."""
        index = jnp.arange(len(values))

        def of(k: jax.Array) -> jax.Array:
            return jnp.max(jnp.where((index == k) & single[k], -jnp.inf, self.of_pairs(values[k], values)))

        return jnp.max(jax.lax.map(of, index))

    def good(self) -> jax.Array:
        return jnp.asarray(True)


def by_species(
    table: Real[ArrayLike, "species species"] | Sequence[Sequence[float]],
    species: Int[ArrayLike, "particles"] | Sequence[int],
) -> BySpecies:
    """Make a parameter of a potential that depends on the species of both particles.

    Args:
        table: the number of every pair of species, a symmetric matrix; in the unit of the parameter.
        species: species of every particle, integers from 0.

    Raises:
        ValueError: the table is not square or not symmetric, or a species is not in it.

    Example:
        >>> from treedyn import particles as tp
        >>> species = [0, 1, 1]
        >>> u = tp.lennard_jones(epsilon=tp.by_species([[1.0, 1.5], [1.5, 0.5]], species))
        >>> energy = tp.pair_energy(u, tp.free())
    """
    numbers = check.floats(check.array("table", table, "one number for every pair of species, shape [S, S]", (2,)))
    kinds = check.array("species", species, "one integer per particle, [N]", (1,))
    shape = np.shape(numbers)
    if shape[0] != shape[1]:
        raise ValueError(f"table: expected one number for every pair of species, shape [S, S], got shape {shape}.")
    if not jnp.issubdtype(kinds.dtype, jnp.integer):
        raise ValueError(f"species: expected one integer per particle, [N], got {kinds.dtype}.")
    if (known := tree.known(numbers)) is not None and not np.array_equal(known, known.T, equal_nan=True):
        raise ValueError(f"table: must be symmetric, because pairs are not ordered, got\n{known}")
    known = tree.known(kinds)
    if known is not None and known.size and (known.min() < 0 or known.max() >= shape[0]):
        raise ValueError(
            f"species: expected integers from 0 to {shape[0] - 1} for a table of {shape[0]} species, got integers from "
            f"{known.min()} to {known.max()}."
        )
    return BySpecies(table=numbers, species=jnp.asarray(kinds, dtype=jnp.int32))


def arithmetic_mean(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `(a + b) / 2`: the Lorentz rule for diameters."""
    return (a + b) / 2


def geometric_mean(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `sqrt(a b)`: the Berthelot rule for energies."""
    return jnp.sqrt(a * b)


def by_particle(
    values: Real[ArrayLike, "particles"] | Sequence[float], combine: Callable[[Any, Any], Any] = arithmetic_mean
) -> ByParticle:
    """Make a parameter of a potential that is computed from the numbers of both particles.

    Args:
        values: one number per particle; in the unit of the parameter.
        combine: function of two numbers that returns the number of the pair: `tp.arithmetic_mean` (Lorentz),
            `tp.geometric_mean` (Berthelot), or any symmetric function.

    Raises:
        ValueError: the values are not `[N]`, or `combine` is not symmetric.

    Example:
        >>> from treedyn import particles as tp
        >>> diameter = tp.by_particle([1.0, 1.4, 1.2], tp.arithmetic_mean)
        >>> energy = tp.pair_energy(tp.soft_sphere(sigma=diameter), tp.periodic(8.0))
    """
    numbers = check.floats(check.array("values", values, "one number per particle, shape [N]", (1,)))
    check.function("combine", combine, "two numbers, e.g. tp.arithmetic_mean", 2)
    if tree.known(numbers) is not None and numbers.shape[0] > 1:
        with jax.ensure_compile_time_eval():
            other = jnp.roll(numbers, 1)
            one, two = (np.asarray(elementwise(combine, *pair)) for pair in ((numbers, other), (other, numbers)))
        if one.dtype.kind != "f" or one.shape != numbers.shape:
            raise ValueError(f"combine: expected a function that returns one number, got one that returns {one.dtype}.")
        if not np.allclose(one, two, rtol=1e-4, atol=0, equal_nan=True):
            raise ValueError("combine: must be symmetric, f(a, b) = f(b, a), because pairs are not ordered.")
    return ByParticle(values=numbers, combine=combine)


def potential(u: Any) -> Callable[[Any], Any]:
    """Return a potential; refuse anything that is not a function of one distance."""
    return check.function("u", u, "one distance, or a potential like tp.lennard_jones()")


def evaluate(u: Any, distance: jax.Array) -> jax.Array:
    """Return the energy of one pair from a boxed potential; refuse anything but one real number."""
    energy = tree.unbox(u)(distance)
    is_array = isinstance(energy, jax.Array | np.ndarray | np.generic)
    if jnp.shape(energy) if is_array else not isinstance(energy, float):
        raise ValueError(f"u: {_POTENTIAL}, got one that returns {check.brief(energy)}.")
    if is_array and not jnp.issubdtype(energy.dtype, jnp.floating):
        raise ValueError(f"u: {_POTENTIAL}, got one that returns {energy.dtype}.")
    return jnp.asarray(energy).astype(distance.dtype)


def is_parameter(x: Any) -> bool:
    """Return whether `x` has one number per pair."""
    return isinstance(x, Parameter)


def parameters(u: Any) -> list[Parameter]:
    """Return the pair parameters in a potential, in tree order."""
    return [x for x in jax.tree.leaves(u, is_leaf=is_parameter) if is_parameter(x)]


def with_numbers(u: Any, numbers: list[Any]) -> Any:
    """Return the potential of one pair, with its pair parameters replaced by `numbers` in tree order."""
    replacement = iter(numbers)
    return jax.tree.map(lambda x: next(replacement) if is_parameter(x) else x, u, is_leaf=is_parameter)


def elementwise(f: Callable[..., Any], *arrays: Any) -> Any:
    """Map a function of numbers over arrays that broadcast."""
    shape = np.broadcast_shapes(*(jnp.shape(x) for x in arrays))
    for _ in shape:
        f = jax.vmap(f)
    return f(*(jnp.broadcast_to(x, shape) for x in arrays))


def parameter(name: str, value: Number, *, positive: bool = False, finite: bool = True) -> Number:
    """Return a number of a potential, integers as floats; refuse what is not a number or out of range.

    Arrays are accepted for `vmap`, and for one number per bond.
    """
    if is_parameter(value):
        known = [tree.known(leaf) for leaf in jax.tree.leaves(value) if jnp.issubdtype(_dtype(leaf), jnp.floating)]
    else:
        wanted = "a number, tp.by_species(...) or tp.by_particle(...)"
        value = check.floats(check.array(name, value, wanted, finite=finite))
        known = [tree.known(value)]
    if positive and not all(np.all(x > 0) for x in known if x is not None):
        raise ValueError(f"{name}: must be positive, got {value}.")
    return value


def _largest(x: jax.Array) -> jax.Array | float:
    known = tree.known(x)
    return jnp.max(x) if known is None else float(np.max(known))


def _dtype(x: Any) -> Any:
    return x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
