"""N: a chain of thermostats, deterministic and time-reversible."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import schedule, tree
from treedyn._state import State
from treedyn._struct import Struct, static
from treedyn.operators import _groups as grouping
from treedyn.operators._operator import common_time
from treedyn.tree import PyTree

# Suzuki-Yoshida weights: a symmetric product of second-order steps with these lengths has a higher order
# Yoshida, Phys. Lett. A 150, 262 (1990), doi:10.1016/0375-9601(90)90092-3
_CUBE_ROOT = 2 ** (1 / 3)
_FOURTH = 1 / (4 - 4 ** (1 / 3))
_SIXTH = (0.784513610477560, 0.235573213359357, -1.17767998417887)
SUZUKI_YOSHIDA: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    3: (1 / (2 - _CUBE_ROOT), -_CUBE_ROOT / (2 - _CUBE_ROOT), 1 / (2 - _CUBE_ROOT)),
    5: (_FOURTH, _FOURTH, 1 - 4 * _FOURTH, _FOURTH, _FOURTH),
    7: (*_SIXTH, 1 - 2 * (_SIXTH[0] + _SIXTH[1] + _SIXTH[2]), *reversed(_SIXTH)),
}


_Carry = tuple[jax.Array, jax.Array, jax.Array]  # positions and momenta of the chain, log of the scale of momenta


class Chain(Struct):
    """The thermostats of every group.

    Attributes:
        position: dimensionless.
        momentum: in units of energy x time.
    """

    position: Float[Array, "... groups length"]
    momentum: Float[Array, "... groups length"]


class NoseHooverChain(grouping.Grouped):
    """A chain of thermostats per group, each controlled by the next; the first controls the kinetic energy."""

    name: ClassVar[str] = "nose_hoover_chain"
    length: int = static(default=3)
    substeps: int = static(default=1)
    order: int = static(default=3)

    def _parameters(self, state: State, groups: grouping.Groups) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return kT `[groups, 1]`, degrees of freedom `[groups]` and thermostat masses `[groups, length]`."""
        kT = groups.numbers(self.kT, state.step, state.momentum, "kT")[:, None]
        tau = groups.numbers(self.tau, state.step, state.momentum, "tau")[:, None]
        dof = grouping.degrees(state, groups)
        links = jnp.concatenate([dof[:, None], jnp.ones((groups.size, self.length - 1), dof.dtype)], axis=1)
        return kT, dof, links * kT * tau**2

    def init(self, state: State) -> Chain:
        groups = self._groups(state)
        if (dof := tree.known(grouping.degrees(state, groups))) is not None and not np.all(dof > 0):
            raise ValueError(
                f"groups: every chain needs degrees of freedom, but the groups have {dof.tolist()}. Put leaves that "
                "cannot move (infinite mass, no elements) in one group with leaves that do."
            )
        zeros = jnp.zeros((groups.size, self.length), tree.dtype(state.momentum))
        return Chain(position=zeros, momentum=zeros)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: Chain) -> tuple[State, Chain]:
        """Return state and chain after a time h, with the momenta scaled."""
        groups = self._groups(state)
        kT, dof, Q = self._parameters(state, groups)
        time = common_time(h, "nose_hoover").astype(Q.dtype)
        kinetic = grouping.twice_kinetic(state, groups)

        def substep(_: int, carry: _Carry) -> _Carry:
            for weight in SUZUKI_YOSHIDA[self.order]:
                carry = self._sweep(weight * time / self.substeps, carry, kinetic, kT[:, 0], dof, Q)
            return carry

        # unrolled, ten substeps would take a minute to compile
        carry = (memory.position, memory.momentum, jnp.zeros_like(kinetic))
        carry = substep(0, carry) if self.substeps == 1 else jax.lax.fori_loop(0, self.substeps, substep, carry)
        xi, p, log_scale = carry
        return grouping.rescale(state, jnp.exp(log_scale), groups), Chain(position=xi, momentum=p)

    def _sweep(
        self, delta: jax.Array, carry: _Carry, kinetic: jax.Array, kT: jax.Array, dof: jax.Array, Q: jax.Array
    ) -> _Carry:
        """Advance the chain by `delta`, from its end to the particles and back; all arrays are `[groups, ...]`."""
        xi, p, log_scale = carry
        last = self.length - 1
        links = [p[:, k] for k in range(self.length)]

        def pull(k: int, log_scale: jax.Array) -> jax.Array:
            if k == 0:
                return kinetic * jnp.exp(2 * log_scale) - dof * kT
            return links[k - 1] ** 2 / Q[:, k - 1] - kT

        def move(k: int, log_scale: jax.Array) -> jax.Array:
            if k == last:
                return links[k] + delta / 2 * pull(k, log_scale)
            friction = jnp.exp(-delta / 4 * links[k + 1] / Q[:, k + 1])
            return (links[k] * friction + delta / 2 * pull(k, log_scale)) * friction

        for k in range(last, -1, -1):
            links[k] = move(k, log_scale)
        log_scale = log_scale - delta * links[0] / Q[:, 0]
        xi = xi + delta * jnp.stack(links, axis=1) / Q
        for k in range(self.length):
            links[k] = move(k, log_scale)
        return xi, jnp.stack(links, axis=1), log_scale

    def reverse(self, memory: Chain) -> Chain:
        """Return the chains with their momenta reversed."""
        return memory.replace(momentum=-memory.momentum)

    def energy(self, state: State, memory: Chain) -> jax.Array:
        """Return the energy of the chains, sum p_k^2/2Q_k + kT (dof xi_1 + xi_2 + ...)."""
        groups = self._groups(state)
        kT, dof, Q = self._parameters(state, groups)
        potential = kT[:, 0] * (dof * memory.position[:, 0] + jnp.sum(memory.position[:, 1:], axis=1))
        return jnp.sum(jnp.sum(memory.momentum**2 / (2 * Q), axis=1) + potential)


def nose_hoover_chain(
    kT: PyTree, tau: PyTree, *, length: int = 3, substeps: int = 1, order: int = 3, groups: PyTree = None
) -> NoseHooverChain:
    r"""Build the operator N, the flow of a Nosé-Hoover chain.

    $\dot p = -p\,p_{\xi_1}/Q_1$, $\dot\xi_k = p_{\xi_k}/Q_k$,
    $\dot p_{\xi_1} = \sum p^2/m - N_f kT - p_{\xi_1} p_{\xi_2}/Q_2$,
    $\dot p_{\xi_k} = p_{\xi_{k-1}}^2/Q_{k-1} - kT - p_{\xi_k} p_{\xi_{k+1}}/Q_{k+1}$, with $Q_1 = N_f kT \tau^2$ and
    $Q_k = kT \tau^2$.

    Args:
        kT: temperature in units of energy, positive; a number, schedule or prefix tree.
        tau: coupling time, about the period of the chain, positive; a number, schedule or prefix tree.
        length: number of thermostats in a chain, at least 1; one alone does not sample a harmonic oscillator.
        substeps: number of parts of a step of the chain, at least 1.
        order: number of Suzuki-Yoshida weights: 1, 3, 5 or 7.
        groups: prefix tree of labels (integers or strings); by default one chain for every value in `kT`.

    Reference:
        Martyna, Klein, Tuckerman, J. Chem. Phys. 97, 2635 (1992), doi:10.1063/1.463940; Martyna et al., Mol. Phys. 87,
        1117 (1996), doi:10.1080/00268979600100761.
    """
    return NoseHooverChain(
        kT=schedule.numbers("kT", kT, positive=True),
        tau=schedule.numbers("tau", tau, positive=True),
        groups=grouping.labels(groups),
        length=check.integer("length", length, 1),
        substeps=check.integer("substeps", substeps, 1),
        order=check.choice("order", order, SUZUKI_YOSHIDA.keys()),
    )
