"""R: all momenta are multiplied by one factor, stochastic (Bussi) or deterministic (Berendsen)."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from treedyn import schedule, tree
from treedyn._state import State
from treedyn.operators import _groups as grouping
from treedyn.operators._operator import common_time
from treedyn.tree import PyTree


class _Rescale(grouping.Grouped):
    """The common part of both rules."""

    def _ratios(self, state: State, h: PyTree) -> tuple[grouping.Groups, jax.Array, jax.Array, jax.Array, jax.Array]:
        """Return groups, h/tau, 2K, its mean dof kT, and dof; the arrays are `[groups]`."""
        groups = self._groups(state)
        kT = groups.numbers(self.kT, state.step, state.momentum, "kT")
        tau = groups.numbers(self.tau, state.step, state.momentum, "tau")
        dof = grouping.degrees(state, groups)
        time = common_time(h, self.name).astype(kT.dtype)
        return groups, time / tau, grouping.twice_kinetic(state, groups), dof * kT, dof


class StochasticRescale(_Rescale):
    """The stochastic velocity rescaling of Bussi, Donadio and Parrinello."""

    name: ClassVar[str] = "csvr"
    role: ClassVar[Literal["flow", "bath", ""]] = "bath"

    def init(self, state: State) -> jax.Array:
        return jnp.zeros(self._groups(state).size, tree.dtype(state.momentum))

    def draw(self, key: jax.Array, state: State) -> tuple[jax.Array, jax.Array]:
        """Return a normal and the sum of dof - 1 squared normals, drawn as a gamma variate, each `[groups]`."""
        groups = self._groups(state)
        dof = grouping.degrees(state, groups)
        others = dof > 1
        shape = jnp.where(others, (dof - 1) / 2, 1)

        def one(key: jax.Array, shape: jax.Array) -> tuple[jax.Array, jax.Array]:
            first, rest = jax.random.split(key)
            return jax.random.normal(first, (), dof.dtype), jax.random.gamma(rest, shape, (), dof.dtype)

        normal, gamma = jax.vmap(one)(groups.keys(key, state.momentum), shape)
        return normal, jnp.where(others, 2 * gamma, 0)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: jax.Array) -> tuple[State, jax.Array]:
        """Return the state with p multiplied by alpha, and the heat that left it."""
        normal, squares = noise
        groups, x, twice_kinetic, mean, dof = self._ratios(state, h)
        # != instead of >, so that a NaN temperature makes the momenta NaN
        moving = (twice_kinetic != 0) & (mean != 0)
        ratio = mean / (jnp.where(dof > 0, dof, 1) * jnp.where(moving, twice_kinetic, 1))
        ratio = jnp.where(moving, ratio, 0)
        keep, give = jnp.exp(-x), -jnp.expm1(-x)
        cross = jnp.sqrt(jnp.where(moving, keep * give * ratio, 1))
        square = keep + give * ratio * (normal**2 + squares) + jnp.where(moving, 2 * normal * cross, 0)
        # with this sign, a single degree of freedom is an Ornstein-Uhlenbeck process (appendix of the paper)
        sign = jnp.where(jnp.sqrt(keep) + normal * jnp.sqrt(jnp.where(moving, give * ratio, 0)) < 0, -1, 1)
        alpha = sign.astype(square.dtype) * jnp.sqrt(jnp.maximum(square, 0))
        return grouping.rescale(state, alpha, groups), memory + (1 - square) * twice_kinetic / 2

    def energy(self, state: State, memory: jax.Array) -> jax.Array:
        return jnp.sum(memory)


class Berendsen(_Rescale):
    """The rescaling of Berendsen, a deterministic relaxation of the kinetic energy to its mean."""

    name: ClassVar[str] = "berendsen"
    accounts: ClassVar[bool] = False

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state with p multiplied by lambda."""
        groups, x, twice_kinetic, mean, _ = self._ratios(state, h)
        moving = twice_kinetic > 0
        # the exact flow; the usual square-root formula is its first order in h/tau
        target = mean - (mean - twice_kinetic) * jnp.exp(-x)
        factor = jnp.sqrt(jnp.where(moving, target / jnp.where(moving, twice_kinetic, 1), 1))
        return grouping.rescale(state, factor, groups), memory


def csvr(kT: PyTree, tau: PyTree, *, groups: PyTree = None) -> StochasticRescale:
    r"""Build the operator R of stochastic velocity rescaling, which samples the canonical ensemble.

    The kinetic energy follows $dK = (\bar K - K)\,dt/\tau + 2\sqrt{K \bar K/N_f}\,dW/\sqrt\tau$, solved exactly: over a
    time h, momenta are multiplied by $\alpha$ with
    $\alpha^2 = c + (1-c)\frac{\bar K}{N_f K}\sum_i R_i^2 + 2 R_1\sqrt{c(1-c)\frac{\bar K}{N_f K}}$, $c = e^{-h/\tau}$.

    Args:
        kT: temperature in units of energy, zero or positive; a number, schedule or prefix tree.
        tau: coupling time, positive; a number, schedule or prefix tree.
        groups: prefix tree of labels (integers or strings); by default one factor for every value in `kT`.

    Reference:
        Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007), doi:10.1063/1.2408420.
    """
    return StochasticRescale(**_checked(kT, tau, groups))


def berendsen(kT: PyTree, tau: PyTree, *, groups: PyTree = None) -> Berendsen:
    r"""Build the rescaling of Berendsen, $dK/dt = (\bar K - K)/\tau$, for equilibration only.

    It approaches a temperature quickly and smoothly. It does *not* sample the canonical ensemble: the fluctuations of
    the kinetic energy are too small. Measure with `csvr`, `nose_hoover` or `langevin`.

    Args:
        kT: temperature in units of energy, zero or positive; a number, schedule or prefix tree.
        tau: relaxation time, positive; a number, schedule or prefix tree.
        groups: prefix tree of labels (integers or strings); by default one factor for every value in `kT`.

    Reference:
        Berendsen et al., J. Chem. Phys. 81, 3684 (1984), doi:10.1063/1.448118.
    """
    return Berendsen(**_checked(kT, tau, groups))


def _checked(kT: PyTree, tau: PyTree, groups: PyTree) -> dict[str, PyTree]:
    return {
        "kT": schedule.numbers("kT", kT, nonnegative=True),
        "tau": schedule.numbers("tau", tau, positive=True),
        "groups": grouping.labels(groups),
    }
