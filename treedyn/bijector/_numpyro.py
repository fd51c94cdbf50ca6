"""Targets from NumPyro models."""

from collections.abc import Callable
from typing import Any

import jax

from treedyn import _check as check
from treedyn._extras import require
from treedyn._struct import Struct, function
from treedyn._target import EnergyTarget
from treedyn.dynamics._dynamics import check_key
from treedyn.tree import PyTree


class Potential(Struct):
    """The potential energy of a NumPyro model as a function of free coordinates.

    Attributes:
        model: the model.
        arguments: its arguments.
    """

    model: Callable[..., Any] = function()
    arguments: tuple[Any, ...]

    def __call__(self, position: PyTree) -> jax.Array:
        """Return the negative log density, with the log Jacobians of the constraints."""
        return _util().potential_energy(self.model, self.arguments, {}, position)


class NumPyroTarget(EnergyTarget):
    """The posterior of a NumPyro model in free coordinates; made by `from_numpyro`.

    Attributes:
        start: free coordinates between -2 and 2, a dict with one leaf for every latent site.
    """

    start: PyTree

    def constrain(self, position: PyTree) -> PyTree:
        """Return the values of all latent and deterministic sites for the free coordinates of one draw."""
        model, arguments = self.function.model, self.function.arguments  # type: ignore[attr-defined]
        return _util().constrain_fn(model, arguments, {}, position, return_deterministic=True)


def from_numpyro(key: jax.Array, model: Callable[..., Any], *arguments: Any) -> NumPyroTarget:
    """Build a target from a NumPyro model: its posterior, in free coordinates, at kT = 1.

    Args:
        key: random key for the start, uniform between -2 and 2 in free coordinates.
        model: a NumPyro model without discrete latent sites and without subsampling.
        *arguments: the arguments of the model, such as the data; bind keywords with `functools.partial`.

    Returns:
        A target with the position `start`. `constrain(position)` gives the sites of the model for one draw; in a run
        use `record=lambda state: target.constrain(state.position)`.

    Raises:
        ImportError: NumPyro is not installed.
        ValueError: the model has discrete latent sites, subsampled data, parameters to optimize, or no latent site.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> import numpyro, numpyro.distributions as dist
        >>> def model(y):
        ...     scale = numpyro.sample("scale", dist.HalfNormal(2.0))
        ...     numpyro.sample("y", dist.Normal(0.0, scale), obs=y)
        >>> target = td.from_numpyro(jax.random.key(0), model, jnp.array([0.3, -0.2, 0.5]))
        >>> dynamics = td.nuts(target, dt=0.3)
        >>> state = dynamics.init(jax.random.key(1), target.start)
        >>> out = td.run(dynamics, state, steps=10, record=lambda s: target.constrain(s.position)["scale"])
        >>> bool((out.records > 0).all())
        True
    """
    util, handlers = _util(), require("numpyro.handlers", "numpyro")
    uniform = require("numpyro.infer.initialization", "numpyro").init_to_uniform()
    check_key(key)
    check.function("model", model, "the arguments", len(arguments))
    with jax.numpy_dtype_promotion("standard"):  # NumPyro needs it to draw discrete sites, which are then refused
        begun = handlers.substitute(handlers.seed(model, key), substitute_fn=uniform)
        sites = handlers.trace(begun).get_trace(*arguments)
    latent = [name for name, site in sites.items() if site["type"] == "sample" and not site["is_observed"]]
    for name, site in sites.items():
        _check_site(name, site, name in latent)
    if not latent:
        raise ValueError("model: expected latent sites, got none. Leave obs out where values are unknown.")
    values = {name: sites[name]["value"] for name in latent}
    start = util.unconstrain_fn(handlers.seed(model, key), arguments, {}, values)
    return NumPyroTarget(function=Potential(model=model, arguments=arguments), start=start)


def _check_site(name: str, site: dict[str, Any], latent: bool) -> None:
    """Refuse what has no density over real numbers."""
    if latent and site["fn"].is_discrete:
        raise ValueError(f"model: the site {name!r} is discrete and cannot move. Sum over its values in the model.")
    if site["type"] == "plate" and site["args"][1] not in (None, site["args"][0]):
        raise ValueError(
            f"model: the plate {name!r} takes a subsample of its data, so the density changes from step to step. Leave "
            "subsample_size out."
        )
    if site["type"] == "param":
        raise ValueError(
            f"model: the site {name!r} is a parameter to optimize, which has no density. Use numpyro.sample."
        )


def _util() -> Any:
    return require("numpyro.infer.util", "numpyro")
