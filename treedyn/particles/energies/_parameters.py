"""Parameters of a pair potential that differ from pair to pair.

A number inside a potential may be replaced by one of these nodes. The pair kernel puts the number of each pair in its
place before it calls the potential, so a potential, and every truncation around it, is still written for one pair.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function

# A number of a potential: a float, an array, or a `Parameter`, which has become a number when the potential is called.
Number = Any

# Up to this many species, choosing among columns is faster than gathering from the table (measured).
_FEW = 4

_POTENTIAL = "expected a function of one distance that returns one real number"


class Parameter(Struct):
    """Give a number to every pair of particles."""

    @abstractmethod
    def of_particles(self) -> jax.Array:
        """Return what the number of a pair is made from, one entry per particle, `[N]`."""

    @abstractmethod
    def of_pairs(self, own: jax.Array, partner: jax.Array) -> jax.Array:
        """Return the numbers of pairs, from the entries of both particles; the arrays broadcast."""

    @abstractmethod
    def maximum(self) -> jax.Array | float:
        """Return a bound that no pair exceeds: the cutoff that a neighbor list needs."""

    @abstractmethod
    def good(self) -> jax.Array:
        """Tell whether the numbers make sense, for those that were not known when this was made."""


class BySpecies(Parameter):
    """Look up the number of a pair in a table of species.

    Attributes:
        table: symmetric, `[S, S]`; a leaf.
        species: index into the table for every particle, `int[N]`.
    """

    table: jax.Array
    species: jax.Array

    def of_particles(self) -> jax.Array:
        """Return the species."""
        return jnp.asarray(self.species)

    def of_pairs(self, own: jax.Array, partner: jax.Array) -> jax.Array:
        """Return the table entries of pairs."""
        table = jnp.asarray(self.table)
        if table.shape[0] > _FEW:
            return table.ravel().at[own * table.shape[0] + partner].get(mode="clip")
        # Choosing among a few columns is cheaper than gathering from the table, and so is its transpose.
        columns = [column.at[own].get(mode="clip") for column in table.T]
        number = jnp.broadcast_to(columns[0], jnp.broadcast_shapes(own.shape, partner.shape))
        for species, column in enumerate(columns[1:], start=1):
            number = jnp.where(partner == species, column, number)
        return number

    def maximum(self) -> jax.Array | float:
        """Return the largest entry of the table."""
        return _largest(self.table)

    def good(self) -> jax.Array:
        """Tell whether every species is in the table."""
        species = jnp.asarray(self.species)
        return jnp.all((species >= 0) & (species < jnp.shape(self.table)[0]))


class ByParticle(Parameter):
    """Combine the numbers of two particles into that of the pair.

    Attributes:
        values: one number per particle, `[N]`; a leaf.
        combine: symmetric function of two numbers.
    """

    values: jax.Array
    combine: Callable[[Any, Any], Any] = function()

    def of_particles(self) -> jax.Array:
        """Return the values."""
        return jnp.asarray(self.values)

    def of_pairs(self, own: jax.Array, partner: jax.Array) -> jax.Array:
        """Return the combined numbers of pairs."""
        return elementwise(self.combine, own, partner)

    def maximum(self) -> jax.Array | float:
        """Return the largest value: a mean of two numbers does not exceed it."""
        return _largest(self.values)

    def good(self) -> jax.Array:
        """Return `True`."""
        return jnp.asarray(True)


def by_species(table: Any, species: Any) -> BySpecies:
    """Make a parameter that depends on the species of both particles.

    Args:
        table: the number of every pair of species, symmetric, `[S, S]`; in the unit of the parameter it replaces.
        species: species of every particle, integers in `[0, S)`, `[N]`.

    Returns:
        A parameter to put in the place of a number of a potential.

    Raises:
        ValueError: the table is not square or not symmetric, or a species is not in it.

    Example:
        >>> from treedyn import particles as tp
        >>> species = [0, 1, 1]
        >>> u = tp.lennard_jones(epsilon=tp.by_species([[1.0, 1.5], [1.5, 0.5]], species))
        >>> energy = tp.pair_energy(u, tp.free())
    """
    table = check.floats(check.array("table", table, "one number for every pair of species, shape [S, S]", (2,)))
    species = check.array("species", species, "one integer per particle, [N]", (1,))
    shape = np.shape(table)
    if shape[0] != shape[1]:
        raise ValueError(f"table: expected one number for every pair of species, shape [S, S], got shape {shape}")
    if not jnp.issubdtype(species.dtype, jnp.integer):
        raise ValueError(f"species: expected one integer per particle, [N], got {species.dtype}")
    if (known := tree.known(table)) is not None and not np.array_equal(known, known.T, equal_nan=True):
        raise ValueError(f"table: must be symmetric, for a pair has no first particle; got\n{known}")
    known = tree.known(species)
    if known is not None and known.size and (known.min() < 0 or known.max() >= shape[0]):
        raise ValueError(
            f"species: expected integers from 0 to {shape[0] - 1} for a table of {shape[0]} species, got "
            f"some from {known.min()} to {known.max()}"
        )
    return BySpecies(table=table, species=jnp.asarray(species, dtype=jnp.int32))


def arithmetic_mean(a: Any, b: Any) -> Any:
    """Return `(a + b) / 2`: Lorentz's rule for diameters."""
    return (a + b) / 2


def geometric_mean(a: Any, b: Any) -> Any:
    """Return `sqrt(a b)`: Berthelot's rule for energies."""
    return jnp.sqrt(a * b)


def by_particle(values: Any, combine: Callable[[Any, Any], Any] = arithmetic_mean) -> ByParticle:
    """Make a parameter that every pair computes from the numbers of its two particles.

    Args:
        values: one number per particle, `[N]`; in the unit of the parameter it replaces.
        combine: function of two numbers that returns that of the pair: `tp.arithmetic_mean` (Lorentz),
            `tp.geometric_mean` (Berthelot), or any symmetric function. Where the parameter is a range (a cutoff, the
            diameter of a soft sphere) it must be a mean: never more than the larger of the two.

    Returns:
        A parameter to put in the place of a number of a potential.

    Raises:
        ValueError: the values are not `[N]`, or `combine` is seen to be asymmetric.

    Example:
        >>> from treedyn import particles as tp
        >>> diameter = tp.by_particle([1.0, 1.4, 1.2], tp.arithmetic_mean)
        >>> energy = tp.pair_energy(tp.soft_sphere(sigma=diameter), tp.periodic(8.0))
    """
    values = check.floats(check.array("values", values, "one number per particle, shape [N]", (1,)))
    check.function("combine", combine, "two numbers, e.g. tp.arithmetic_mean", 2)
    if tree.known(values) is not None and values.shape[0] > 1:
        with jax.ensure_compile_time_eval():
            other = jnp.roll(values, 1)
            one, two = (np.asarray(elementwise(combine, *pair)) for pair in ((values, other), (other, values)))
        if one.dtype.kind != "f" or one.shape != values.shape:
            raise ValueError(f"combine: expected a function that returns one number, got one that returns {one.dtype}")
        if not np.allclose(one, two, rtol=1e-4, atol=0, equal_nan=True):
            raise ValueError("combine: must be symmetric, f(a, b) = f(b, a), for a pair has no first particle")
    return ByParticle(values=values, combine=combine)


def potential(u: Any) -> Callable[[Any], Any]:
    """Return a potential; an error where it cannot be called."""
    return check.function("u", u, "one distance, or a potential like tp.lennard_jones()")


def evaluate(u: Any, distance: jax.Array) -> jax.Array:
    """Return the energy of one pair from a boxed potential; an error where that is not one real number."""
    energy = tree.unbox(u)(distance)
    is_array = isinstance(energy, jax.Array | np.ndarray | np.generic)
    if jnp.shape(energy) if is_array else not isinstance(energy, float):
        raise ValueError(f"u: {_POTENTIAL}, got one that returns {check.brief(energy)}")
    if is_array and not jnp.issubdtype(energy.dtype, jnp.floating):
        raise ValueError(f"u: {_POTENTIAL}, got one that returns {energy.dtype}")
    return jnp.asarray(energy).astype(distance.dtype)


def is_parameter(x: Any) -> bool:
    """Tell whether `x` is a node that stands for one number per pair."""
    return isinstance(x, Parameter)


def parameters(u: Any) -> list[Parameter]:
    """Return the pair parameters in a potential, in tree order."""
    return [x for x in jax.tree.leaves(u, is_leaf=is_parameter) if is_parameter(x)]


def with_numbers(u: Any, numbers: list[Any]) -> Any:
    """Return the potential of one pair: its pair parameters replaced, in tree order, by `numbers`."""
    replacement = iter(numbers)
    return jax.tree.map(lambda x: next(replacement) if is_parameter(x) else x, u, is_leaf=is_parameter)


def elementwise(f: Callable[..., Any], *arrays: Any) -> Any:
    """Map a function of numbers over arrays that broadcast against each other."""
    shape = np.broadcast_shapes(*(jnp.shape(x) for x in arrays))
    for _ in shape:
        f = jax.vmap(f)
    return f(*(jnp.broadcast_to(x, shape) for x in arrays))


def parameter(name: str, value: Any, *, positive: bool = False, finite: bool = True) -> Any:
    """Check a number that a user put into a potential.

    Args:
        name: what it is called.
        value: a real number, a 0-d or larger array (for `vmap`, or one number per bond), or a pair parameter.
        positive: whether it must be larger than 0.
        finite: whether it must be finite.

    Returns:
        The same, integers as floats.

    Raises:
        ValueError: it is no number, or not positive where it must be.
    """
    if is_parameter(value):
        known = [tree.known(leaf) for leaf in jax.tree.leaves(value) if jnp.issubdtype(_dtype(leaf), jnp.floating)]
    else:
        wanted = "a number, tp.by_species(...) or tp.by_particle(...)"
        value = check.floats(check.array(name, value, wanted, finite=finite))
        known = [tree.known(value)]
    if positive and not all(np.all(x > 0) for x in known if x is not None):
        raise ValueError(f"{name}: must be positive, got {value}")
    return value


def _largest(x: jax.Array) -> jax.Array | float:
    known = tree.known(x)
    return jnp.max(x) if known is None else float(np.max(known))


def _dtype(x: Any) -> Any:
    return x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
