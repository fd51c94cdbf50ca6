"""Energies of particles as terms of a sum: `a + b`, `a - b`, `2.0 * a`, with plain functions, too."""

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function
from treedyn._target import call, observing
from treedyn.space import Space
from treedyn.tree import PyTree

Term = Callable[..., jax.Array]
Points = Float[Array, "particles dimensions"]
Strain = Float[Array, "dimensions dimensions"]


class Energy(Struct):
    """An energy of particles, which can be added to other energies and multiplied by numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> repulsion = tp.pair_energy(lambda r: 1 / r, tp.free())
        >>> energy = 2.0 * repulsion + (lambda x: jnp.sum(x**2))
        >>> print(energy(jnp.array([[0.0, 0.0], [2.0, 0.0]])))
        5.0
    """

    __array_ufunc__: ClassVar[None] = None  # NumPy's numbers leave the product to `__rmul__`

    @abstractmethod
    def __call__(self, position: Points, env: PyTree = None, *, strain: Strain | None = None) -> Float[Array, ""]:
        r"""Return the energy, with every displacement r strained to $(1 + \epsilon) r$."""

    def __add__(self, other: Term) -> "Energy":
        return Sum(a=_term(self), b=_term(other))

    def __radd__(self, other: Term) -> "Energy":
        return Sum(a=_term(other), b=_term(self))

    def __mul__(self, factor: Real[ArrayLike, ""]) -> "Energy":
        return Multiple(factor=check.number("factor", factor), of=self)

    __rmul__ = __mul__

    def __neg__(self) -> "Energy":
        return self * -1.0

    def __sub__(self, other: Term) -> "Energy":
        return self + Multiple(factor=-1.0, of=_term(other))

    def __rsub__(self, other: Term) -> "Energy":
        return -self + other


class Sum(Energy):
    """The sum of two energies.

    Attributes:
        a: an energy, or a function of `position` or `(position, env)`.
        b: an energy, or a function of `position` or `(position, env)`.
    """

    a: Term = function()
    b: Term = function()

    @property
    def space(self) -> Space | None:
        """The space of the first term that has a box, or else of the first one."""
        spaces = [space for x in (self.a, self.b) if (space := getattr(x, "space", None)) is not None]
        return next((space for space in spaces if jax.tree.leaves(space)), spaces[0] if spaces else None)

    def __call__(self, position: Points, env: PyTree = None, *, strain: Strain | None = None) -> Float[Array, ""]:
        return _value(self.a, position, env, strain) + _value(self.b, position, env, strain)


class Multiple(Energy):
    """An energy times a number.

    Attributes:
        factor: the number, a leaf.
        of: an energy, or a function of `position` or `(position, env)`.
    """

    factor: Float[Array, ""] | float
    of: Term = function()

    @property
    def space(self) -> Space | None:
        """The space of the energy, if it has one."""
        return getattr(self.of, "space", None)

    def __call__(self, position: Points, env: PyTree = None, *, strain: Strain | None = None) -> Float[Array, ""]:
        value = _value(self.of, position, env, strain)
        return tree.cast(self.factor, value) * value


def takes_strain(energy: Term) -> bool:
    """Tell whether an energy can be called with the keyword `strain`."""
    named = inspect.signature(energy).parameters.values()
    return any(p.name == "strain" or p.kind is p.VAR_KEYWORD for p in named)


def _term(term: Any) -> Term:
    return observing("energy", term, "position")


def _value(term: Term, position: jax.Array, env: PyTree, strain: jax.Array | None) -> jax.Array:
    if strain is None:
        return jnp.asarray(call(term, position, env))
    if not takes_strain(term):
        raise ValueError(
            f"energy: the term {check.brief(term)} must take the keyword strain= for the stress of the sum. Use it for "
            "every displacement, as the energies of the library do."
        )
    return jnp.asarray(call(functools.partial(term, strain=strain), position, env))
