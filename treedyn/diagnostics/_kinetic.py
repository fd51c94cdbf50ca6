"""Momenta, kinetic energy and temperature of a state."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import schedule, tree
from treedyn._state import State
from treedyn._target import from_energy
from treedyn.dynamics._nve import nve
from treedyn.operators._operator import kinetic
from treedyn.operators._remove_drift import remove_drift
from treedyn.space import EUCLIDEAN, is_space
from treedyn.tree import PyTree


def kinetic_energy(state: State) -> Float[Array, ""]:
    """Return the kinetic energy in units of energy, sum p M^-1 p / 2; with masses, sum p^2/2m."""
    _require_momentum(state)
    return kinetic(state)


def degrees_of_freedom(state: State) -> Float[Array, ""]:
    """Return the number of degrees of freedom: elements that can move, minus constraints."""
    _require_momentum(state)
    return tree.total(state.dof)


def temperature(state: State) -> Float[Array, ""]:
    """Return the kinetic temperature kT = 2K/N_f in units of energy, for N_f degrees of freedom.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> state = td.nve(jnp.sum, dt=0.1).init(jax.random.key(0), jnp.zeros(10_000), kT=2.0)
        >>> bool(abs(td.temperature(state) - 2.0) < 0.2)
        True
    """
    return 2 * kinetic_energy(state) / degrees_of_freedom(state)


def thermal_momentum(
    key: jax.Array, position: PyTree, kT: PyTree, *, mass: PyTree = 1.0, space: PyTree = None, exact: bool = False
) -> PyTree:
    r"""Draw momenta of the Maxwell-Boltzmann distribution, $p = \sqrt{m kT}\,\xi$.

    Args:
        key: random key.
        position: the position of the momenta.
        kT: temperature in units of energy, zero or positive; a number or prefix tree.
        mass: masses, positive, or metrics; a number or prefix tree.
        space: a space or a prefix tree of spaces. Momenta on a manifold are tangent, and leaves in
            translation-invariant spaces have no center-of-mass motion.
        exact: scale the momenta to 2K = N_f kT, to rounding; needs one kT.

    Returns:
        A tree like the moving part of the position.

    Raises:
        ValueError: `kT` or `mass` is out of range, or a tree does not fit the position.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> p = td.thermal_momentum(jax.random.key(0), jnp.zeros((10, 3)), kT=2.0, exact=True)
        >>> round(float(jnp.sum(p**2)), 4)
        60.0
    """
    kT = schedule.numbers("kT", kT, nonnegative=True)
    resting = nve(from_energy(_nothing), 1.0, mass=mass, space=EUCLIDEAN if space is None else space)
    state = resting.init(key, position, kT=kT)
    spaces = jax.tree.leaves(resting.space, is_leaf=is_space)
    if any(s.translation_invariant for s in spaces):
        center = remove_drift(space)
        state = center.constrain(state.replace(dof=center.count(state)))
    if check.flag("exact", exact):
        if not jax.tree_util.all_leaves([kT]) or jnp.ndim(kT):
            raise ValueError(f"kT: exact=True scales all momenta together and needs one kT, got {kT!r}")
        twice = 2 * kinetic(state)
        factor = jnp.sqrt(tree.cast(kT, twice) * degrees_of_freedom(state) / twice)
        return tree.scale(factor, state.momentum)
    return state.momentum


def _nothing(position: PyTree) -> jax.Array:
    """Return the energy of a free system; it depends on every leaf, so that gradients have the dtype of the leaf."""
    return tree.total(jax.tree.map(lambda x: 0 * x, tree.moving(tree.box(position))))


def _require_momentum(state: State) -> None:
    check.instance("state", state, State, "what dynamics.init(key, position, env) returns")
    if state.momentum is None:
        raise ValueError(
            "state has no momentum: minimizers and overdamped dynamics have no kinetic energy. Pass the state of a "
            "dynamics with momenta, such as td.langevin(...)."
        )
