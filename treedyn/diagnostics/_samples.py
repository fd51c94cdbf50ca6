"""What to record of a sampler: positions, energies, and the report of the step."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import metric, tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.diagnostics._convergence import real
from treedyn.tree import PyTree


class Sample(Struct):
    """A record of one step of a sampler, made by `sample`.

    Attributes:
        position: the moving part of the position, or what is made of it.
        energy: potential and kinetic energy; `None` where the target is a force.
        info: the report of the step in `state.info`, such as its acceptance; `None` without one.
        temperature: kinetic temperature of every leaf, in units of energy; `None` without momenta.
    """

    position: PyTree
    energy: Float[Array, "..."] | None
    info: PyTree
    temperature: PyTree = None


def sample(state: State) -> Sample:
    """Return what `td.summary` and `td.to_arviz` need to know of a state, as the `record` of a run.

    To record positions in other coordinates, replace them: `lambda state: td.sample(state).replace(position=...)`.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> chains = td.ensemble(td.nuts(lambda x: jnp.sum(x**2) / 2, dt=0.5), 4)
        >>> out = td.run(chains, chains.init(jax.random.key(0), jnp.zeros(3)), steps=10, record=td.sample)
        >>> out.records.position.shape
        (10, 4, 3)
    """
    check.instance("state", state, State, "what dynamics.init(key, position, env) returns")
    energy, temperature = state.energy, None
    if state.momentum is not None:
        twice = jax.tree.map(jnp.sum, metric.twice_kinetic(state.metric, state.moving, state.momentum))
        temperature = jax.tree.map(lambda two, n: two / n.astype(two.dtype), twice, state.dof)
        if energy is not None:
            energy = energy.astype(tree.dtype(twice)) + tree.total(twice) / 2
    return Sample(position=state.moving, energy=energy, info=state.info, temperature=temperature)


def e_bfmi(energy: Float[Array, "draws chains"]) -> np.ndarray:
    r"""Return how much a step changes the energy, $\langle(\Delta H)^2\rangle/\mathrm{Var}(H)$, for every chain.

    Chains below 0.3 move too slowly between the energies of the distribution, and may miss its tails.

    Args:
        energy: potential and kinetic energy, `[draws, chains]`.

    Returns:
        One number for each chain; NaN where it is not known.

    Example:
        >>> import numpy as np, treedyn as td
        >>> energy = np.random.default_rng(0).normal(size=(10_000, 2))
        >>> print(td.e_bfmi(energy).round(1))
        [2. 2.]

    Reference:
        Betancourt, arXiv:1604.00695 (2016).
    """
    x = real(energy, "energy")
    if x.ndim != 2:
        raise ValueError(
            f"energy: expected an array [draws, chains], got shape {list(x.shape)}. For one chain, use x[:, None]."
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.mean(np.diff(x, axis=0) ** 2, axis=0) / np.var(x, axis=0, ddof=1)


def divergences(info: PyTree) -> jax.Array | None:
    """Return which steps diverged, from their reports; `None` if they do not say."""
    return getattr(info, "divergent", None)
