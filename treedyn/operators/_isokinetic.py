r"""Kicks and baths on the sphere of one kinetic energy, $2K = (N - 1)\,kT$ for N degrees of freedom.

Along $dp/dt = F - (F \cdot v / 2K)\,p$ the kinetic energy is constant, and the positions of $dx/dt = v$ have the
density $e^{-U/kT}$. The kick contracts the sphere of momenta. The potential energy and kT times the logarithm of the
contraction have a constant sum.
"""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import metric, schedule, tree
from treedyn._state import State
from treedyn.operators._operator import Operator, common_time, kinetic
from treedyn.operators._ornstein_uhlenbeck import OrnsteinUhlenbeck
from treedyn.tree import PyTree

_SHARED = "All leaves share one kinetic energy."


class IsokineticKick(Operator):
    """The exact flow of dp/dt = F - (F v / 2K) p at fixed positions.

    Attributes:
        kT: temperature, one for all leaves.
    """

    name: ClassVar[str] = "isokinetic_kick"
    role: ClassVar[Literal["flow", "bath", ""]] = "flow"
    needs_force: ClassVar[bool] = True
    kT: PyTree

    def init(self, state: State) -> jax.Array:
        """Return the account of the contraction, an energy."""
        return jnp.zeros((), tree.dtype(state.momentum))

    def count(self, state: State) -> PyTree:
        """Return the degrees of freedom without one, which all leaves have in common."""
        total = tree.total(state.dof)
        if (known := tree.known(total)) is not None and known < 2:
            raise ValueError(
                f"position: expected at least 2 degrees of freedom for isokinetic motion, got {known:g}. Use td.hmc."
            )
        return jax.tree.map(lambda n: n * (1 - 1 / total).astype(n.dtype), state.dof)

    def constrain(self, state: State) -> State:
        """Return the state with its momenta scaled to 2K = (N - 1) kT."""
        return scaled(state, self.kT)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        r"""Return the state with its momenta turned to the force.

        With the directions u of the momenta and e of the force, and $\delta = h \lvert F \rvert / \lvert p \rvert$,
        both lengths by the metric,

        $$ u' = \frac{u + e\,(\sinh\delta + (e \cdot u)(\cosh\delta - 1))}{\cosh\delta + (e \cdot u) \sinh\delta}. $$
        """
        time = common_time(h, self.name)
        count, kT = tree.total(state.dof), schedule.at(self.kT, state.step)
        radius = jnp.sqrt(count * jnp.asarray(kT, count.dtype))
        force, momentum = state.force, state.momentum
        strength = jnp.sqrt(_inner(state, force, force))
        safe = jnp.where(strength > 0, strength, 1)
        along = _inner(state, force, momentum) / (safe * radius)
        delta = time.astype(radius.dtype) * strength / radius
        # numerator and denominator times 2 exp(-delta), which does not overflow
        z = jnp.exp(-delta)
        below = 1 + along + (1 - along) * z**2
        turn = ((1 - z**2) + along * (1 - z) ** 2) * radius / (safe * below)
        new = state.replace(momentum=tree.axpy(turn, force, tree.scale(2 * z / below, momentum)))
        work = count * jnp.asarray(kT, count.dtype) * (delta + jnp.log(below / 2))
        return scaled(new, self.kT), memory + work.astype(memory.dtype)

    def energy(self, state: State, memory: PyTree) -> Float[Array, ""]:
        """Return the account of the contraction."""
        return memory


class IsokineticBath(OrnsteinUhlenbeck):
    """Friction and noise on the momenta, scaled back to 2K = (N - 1) kT."""

    name: ClassVar[str] = "isokinetic_bath"
    accounts: ClassVar[bool] = True

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        state, memory = super().apply(state, h, noise, memory)
        return scaled(state, self.kT), memory


def scaled(state: State, kT: PyTree) -> State:
    """Return the state with its momenta scaled to 2K = (N - 1) kT; `state.dof` is N - 1."""
    twice, count = 2 * kinetic(state), tree.total(state.dof)
    wanted = count * jnp.asarray(schedule.at(kT, state.step), count.dtype)
    return state.replace(momentum=tree.scale(jnp.sqrt(wanted.astype(twice.dtype) / twice), state.momentum))


def _inner(state: State, a: PyTree, b: PyTree) -> jax.Array:
    """Return the inner product of two trees of momenta, a M^-1 b."""
    return tree.vdot(a, metric.velocity(state.metric, state.moving, b))


def isokinetic_kick(kT: PyTree) -> IsokineticKick:
    r"""Build the operator that kicks the momenta on the sphere $2K = (N - 1)\,kT$.

    Args:
        kT: temperature in units of energy, positive; one number or schedule for all leaves.
    """
    return IsokineticKick(kT=schedule.one("kT", kT, _SHARED))


def isokinetic_bath(kT: PyTree, gamma: PyTree) -> IsokineticBath:
    r"""Build the heat bath of `ornstein_uhlenbeck` on the sphere $2K = (N - 1)\,kT$.

    Args:
        kT: temperature in units of energy, positive; one number or schedule for all leaves.
        gamma: friction in units of 1/time, zero or positive; a number, schedule or prefix tree.
    """
    return IsokineticBath(kT=schedule.one("kT", kT, _SHARED), gamma=schedule.numbers("gamma", gamma, nonnegative=True))
