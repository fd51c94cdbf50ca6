r"""The posterior of the parameters of a network as a target.

$$ U(\theta) = -\ln p(\theta) - \frac{N}{n} \sum_{i=1}^{n} \ln p(y_i \mid f(x_i; \theta)) $$

for N data, of which the n data of the minibatch are seen. It is the energy of all data, so kT = 1 is the posterior.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function, static
from treedyn._target import Target, from_energy
from treedyn.networks import prior as prior_of
from treedyn.networks._batches import Batches
from treedyn.networks.likelihood import Likelihood
from treedyn.tree import PyTree


class NegativeLogPosterior(Struct):
    """The energy of a position and its data, with the prediction.

    Attributes:
        apply: `apply(parameters, inputs)`, returns the prediction.
        likelihood: density of the labels, given the prediction.
        prior: a prior, or a prefix tree of priors.
        data_size: number N of all data; `None` for that of the data that are seen.
        select: the part of the environment with the data.
    """

    apply: Callable[[PyTree, PyTree], PyTree] = function()
    likelihood: Likelihood
    prior: PyTree
    data_size: int | None = static(default=None)
    select: Callable[[PyTree], PyTree] = function()

    def __call__(self, position: PyTree, env: PyTree) -> tuple[jax.Array, PyTree]:
        """Return the energy and the prediction."""
        _check_collections(position)
        inputs, labels, scale = self.seen(env)
        prediction = self.apply(position, inputs)
        self.likelihood.check(prediction, labels)
        log_likelihood = jnp.sum(self.likelihood.log_density(prediction, labels))
        log_prior = prior_of.log_density(self.prior, position)
        kind = tree.widest(log_prior.dtype, log_likelihood.dtype)
        return -(log_prior.astype(kind) + scale * log_likelihood.astype(kind)), prediction

    def seen(self, env: PyTree) -> tuple[PyTree, PyTree, float]:
        """Return inputs and labels that are seen, and the number of data for each of them."""
        data = self.select(env)
        total = self.data_size
        if isinstance(data, Batches):
            total = data.total if total is None else total
            data = data.current
        if not (isinstance(data, tuple | list) and len(data) == 2):
            raise ValueError(
                f"env: expected the data as a pair (inputs, labels), or networks.batches(...) of one, got "
                f"{check.brief(data)}. Where they are in another part of env, pass select=."
            )
        inputs, labels = data
        count = next(jnp.shape(x)[0] for x in jax.tree.leaves(labels))
        return inputs, labels, 1.0 if total is None else total / count


def posterior(
    apply: Callable[[PyTree, PyTree], PyTree],
    likelihood: Likelihood,
    prior: PyTree,
    *,
    data_size: int | None = None,
    select: Callable[[PyTree], PyTree] = lambda env: env,
) -> Target:
    r"""Build the posterior of the parameters of a network, given data in the environment.

    $$ U(\theta) = -\ln p(\theta) - \frac{N}{n} \sum_{i=1}^{n} \ln p(y_i \mid f(x_i; \theta)) $$

    The energy is that of all N data, so samples at kT = 1 are those of the posterior. `state.aux` is the prediction.

    Args:
        apply: `apply(parameters, inputs)`, returns the prediction for a batch of inputs. For Flax linen,
            `model.apply`; for an Equinox module, `lambda model, x: jax.vmap(model)(x)`.
        likelihood: density of the labels, such as `likelihood.categorical()`.
        prior: a prior such as `prior.gaussian(1.0)`, or a prefix tree of them.
        data_size: number N of all data. By default it is that of `networks.batches`, or of the data in the environment.
        select: the part of the environment with the data, for an environment with other parts.

    Returns:
        A target of `(parameters, env)`. The environment is a pair `(inputs, labels)`, or `networks.batches(...)` of
        one.

    Raises:
        ValueError: an argument does not fit; when evaluated, labels are out of range, or the parameters include a
            collection that `apply` would change, such as batch statistics.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> line = lambda w, x: w["slope"] * x + w["offset"]
        >>> target = networks.posterior(line, networks.likelihood.gaussian(0.1), networks.prior.gaussian())
        >>> data = jnp.linspace(-1, 1, 50), 2 * jnp.linspace(-1, 1, 50)
        >>> chain = td.warm_up(td.nuts(target, dt=0.01), steps=200)
        >>> state = chain.init(jax.random.key(0), {"slope": jnp.array(0.0), "offset": jnp.array(0.0)}, data)
        >>> out = td.run(chain, state, data, steps=600, record=lambda s: s.position["slope"])
        >>> print(f"{out.records[200:].mean():.2f} {out.records[200:].std():.2f}")
        2.00 0.02
    """
    check.function("apply", apply, "parameters and inputs", 2)
    check.instance("likelihood", likelihood, Likelihood, "a likelihood such as likelihood.gaussian(0.1)")
    priors = jax.tree.leaves(prior, is_leaf=prior_of.is_prior)
    if not priors or not all(map(prior_of.is_prior, priors)):
        raise ValueError(f"prior: expected priors such as prior.gaussian(), got {check.brief(prior)}.")
    return from_energy(
        NegativeLogPosterior(
            apply=apply,
            likelihood=likelihood,
            prior=prior,
            data_size=None if data_size is None else check.integer("data_size", data_size, 1),
            select=check.function("select", select, "the environment"),
        ),
        has_aux=True,
    )


def _check_collections(position: Any) -> None:
    if not isinstance(position, Mapping) or "params" not in position:
        return
    others = [name for name in position if name != "params" and jax.tree.leaves(tree.moving(tree.box(position[name])))]
    if others:
        raise ValueError(
            f"position: expected parameters alone, got the collection {others[0]!r}, too, which would move like a "
            'parameter. Pass {"params": ...} as the position, and let apply add the others as constants.'
        )
