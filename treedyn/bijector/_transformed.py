"""A target of constrained parameters, as a function of free coordinates."""

from collections.abc import Callable
from typing import Any

from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function, static
from treedyn._target import EnergyTarget, Target, call, observing
from treedyn.bijector import _bijector as bijector_of
from treedyn.tree import PyTree


class Pulled(Struct):
    """An energy or log density of constrained parameters, as a function of free coordinates.

    Attributes:
        function: the function of constrained parameters.
        bijectors: the maps from free coordinates.
        has_aux: whether the function returns a pair `(value, aux)`.
        sign: 1 for an energy, -1 for a log density.
        kT: temperature in units of energy.
    """

    function: Callable[..., Any] = function()
    bijectors: PyTree
    has_aux: bool = static()
    sign: float = static()
    kT: Real[ArrayLike, ""]

    def __call__(self, position: PyTree, env: PyTree = None) -> Any:
        """Return U - kT log|J|, or log p + log|J|."""
        out = call(self.function, bijector_of.constrain(self.bijectors, position), env)
        value, aux = out if self.has_aux else (out, None)
        volume = bijector_of.log_jacobian(self.bijectors, position)
        value = value - tree.cast(self.sign * self.kT * volume, value)
        return (value, aux) if self.has_aux else value


class TransformedTarget(EnergyTarget):
    """A target of constrained parameters, as a function of free coordinates; made by `transformed`."""

    @property
    def bijectors(self) -> PyTree:
        """Return the tree of bijectors."""
        return self.function.bijectors  # type: ignore[attr-defined]

    def constrain(self, position: PyTree) -> PyTree:
        """Return the parameters for free coordinates, with any axes in front, such as draws and chains."""
        return bijector_of.constrain(self.bijectors, position)

    def unconstrain(self, position: PyTree) -> PyTree:
        """Return the free coordinates of parameters.

        Raises:
            ValueError: a known parameter does not satisfy its constraint.
        """
        return bijector_of.unconstrain(self.bijectors, position)


def transformed(
    target: Target | Callable[..., Any], bijectors: PyTree, *, kT: Real[ArrayLike, ""] = 1.0
) -> TransformedTarget:
    r"""Turn a target of constrained parameters into one of free coordinates, on which any dynamics moves.

    With $y = b(x)$, the density of $x$ has the energy $U(b(x)) - kT \ln \lvert\det \partial y/\partial x\rvert$.
    Sampling it at kT gives parameters with the density $e^{-U(y)/kT}$.

    Args:
        target: a target with an energy, or a function of `position` or `(position, env)` that returns an energy. For a
            log density, pass `td.from_log_density(function)`.
        bijectors: a bijector of `td.bijector`, or a prefix tree of them.
        kT: the temperature at which the target is sampled; 1 for a log density.

    Returns:
        A target. `unconstrain(position)` gives the position to start from, and `constrain(position)` the parameters.

    Raises:
        ValueError: the target is a force, or a leaf of `bijectors` is not a bijector.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> gamma = td.from_log_density(lambda x: 2 * jnp.log(x["rate"]) - x["rate"])
        >>> target = td.transformed(gamma, {"rate": td.bijector.positive()})
        >>> chains = td.ensemble(td.nuts(target, dt=0.5), 4)
        >>> state = chains.init(jax.random.key(0), target.unconstrain({"rate": 1.0}))
        >>> rate = td.run(chains, state, steps=1000, record=lambda s: target.constrain(s.position)["rate"]).records
        >>> bool(abs(rate.mean() - 3) < 0.3)
        True
    """
    if isinstance(target, Target) and not isinstance(target, EnergyTarget):
        raise ValueError(
            f"target: expected an energy or a log density, got a {type(target).__name__}. A force does not "
            "say how the density changes with coordinates."
        )
    known = isinstance(target, EnergyTarget)
    pulled = Pulled(
        function=target.function if known else observing("target", target, "position"),
        bijectors=bijector_of.checked(bijectors),
        has_aux=known and target.has_aux,
        sign=target.sign if known else 1.0,
        kT=check.number("kT", kT, positive=True),
    )
    return TransformedTarget(function=pulled, has_aux=pulled.has_aux, sign=pulled.sign)
