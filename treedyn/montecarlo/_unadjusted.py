r"""A dynamics without a Metropolis step, with a report of its energy error, by which a warm-up can tune it.

A step from one point of phase space to another creates the energy $\Delta$: the change of the total energy without the
heat of the baths. The bias of the samples falls with $\langle \Delta^2 \rangle / N (kT)^2$, for N degrees of freedom.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from treedyn import _check as check
from treedyn import metric, schedule, tree
from treedyn._state import State
from treedyn._status import Status, has
from treedyn._struct import Struct
from treedyn.dynamics._compose import Splitting
from treedyn.montecarlo._metropolis import check_energy, one_temperature
from treedyn.montecarlo._trajectories import created, gain
from treedyn.montecarlo._tunable import Integrated
from treedyn.tree import PyTree

_ERROR = 5e-4  # the mean of error^2 at which the acceptance of normally distributed errors is 0.8


class EnergyError(Struct):
    """The report of a step without a Metropolis step, in `state.info`.

    Attributes:
        error: the energy that the step created, in units of kT times the root of the number of degrees of freedom.
        acceptance: a number that falls from 1 to 0 with the error, to tune the time step by:
            0.8 on average where the mean of error^2 is 5e-4.
        refused: whether the step was not taken, because the error was above 1 or not a number.
    """

    error: Float[Array, "..."]
    acceptance: Float[Array, "..."]
    refused: Bool[Array, "..."]


class Unadjusted(Integrated):
    """A splitting that reports its energy error.

    Attributes:
        splitting: the dynamics.
    """

    splitting: Splitting

    @property
    def kT(self) -> PyTree:
        """The temperature."""
        return next(kT for op in self.splitting.operators if (kT := getattr(op, "kT", None)) is not None)

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None, *, momentum: PyTree = None) -> State:
        """Return the initial state.

        Args:
            key: random key, kept in the state; all noise of the run is a function of it.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
            momentum: initial momenta; by default they are drawn.
        """
        state = self.splitting.init(key, position, env, momentum=momentum)
        check_energy(state)
        zero = jnp.zeros((), tree.dtype(state.momentum))
        return state.replace(info=EnergyError(error=zero, acceptance=zero, refused=jnp.asarray(False)))

    def draw(self, state: State) -> PyTree:
        """Return the noise of the next step."""
        return self.splitting.draw(state)

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state one step later, or the one with reversed momenta if the step created too much energy."""
        old = self._weighed(state)
        before = old.replace(status=jnp.zeros_like(old.status))
        new, baths = self.splitting.follow(before, env, noise, self.splitting.evaluate)
        heat = sum((gain(*bath) for bath in baths), start=jnp.zeros_like(state.info.error))
        change = created(self.splitting, before, new, heat)
        error = change / (schedule.at(self.kT, state.step) * jnp.sqrt(tree.total(state.dof)).astype(change.dtype))
        refused = ~(jnp.abs(error) < 1) | has(new.status, Status.NONFINITE)
        # E exp(-c error^2) = (1 + 2 c E error^2)^(-1/2) of normally distributed errors
        scale = (0.8**-2 - 1) / (2 * _ERROR)
        info = EnergyError(error=error, acceptance=jnp.where(refused, 0, jnp.exp(-scale * error**2)), refused=refused)
        kept = self.splitting.reverse(old).replace(clock=new.clock)
        kept = kept.replace(info=info, status=state.status)
        return kept.select(~refused, new.replace(info=info, status=new.status | state.status))

    def _weighed(self, state: State) -> State:
        """Return `state` with the masses of its step, and momenta with which no leaf gains or loses kinetic energy."""
        new = self.splitting.weighed(state)

        def one(p: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
            old, now = jnp.sum(before), jnp.sum(after)
            return p * tree.cast(jnp.where(now > 0, jnp.sqrt(old / jnp.where(now > 0, now, 1)), 1), p)

        twice = (metric.twice_kinetic(x.metric, x.moving, x.momentum) for x in (state, new))
        return new.replace(momentum=jax.tree.map(one, state.momentum, *twice))

    def inspect(self, old: State, new: State) -> jax.Array:
        """Return what the operators found in the step from `old` to `new`."""
        return self.splitting.inspect(old, new)


def unadjusted(splitting: Splitting) -> Unadjusted:
    r"""Report the energy error of a dynamics without a Metropolis step, so that `td.warm_up` can tune it.

    The error is the energy that a step creates, in units of $\sqrt N kT$ for N degrees of freedom. A step with an error
    above 1 is not taken.

    Args:
        splitting: a dynamics with momenta and a temperature, such as `td.mclmc(...)` or `td.langevin(...)`.

    Returns:
        A dynamics. `state.info` has `error`, `acceptance` and `refused`.

    Raises:
        ValueError: `splitting` has no momenta or not one temperature.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> target = lambda x: jnp.sum((x / jnp.array([1.0, 10.0])) ** 2) / 2
        >>> chain = td.warm_up(td.mclmc(target, dt=0.01), steps=500)
        >>> out = td.run(chain, chain.init(jax.random.key(0), jnp.ones(2)), steps=500)
        >>> tuned = chain.tuned(out.state)  # an `Unadjusted`
        >>> print(tuned.splitting.dt > 0.1, (tuned.splitting.mass[0] / tuned.splitting.mass[1]).round())
        True 100.0

    Reference:
        Robnik, De Luca, Silverstein, Seljak, J. Mach. Learn. Res. 24, 311 (2023), arXiv:2212.08549.
    """
    check.instance("splitting", splitting, Splitting, "a dynamics such as td.mclmc(...)")
    if not splitting.inertial:
        raise ValueError("splitting: expected a dynamics with momenta, got one without. Use td.langevin or td.mala.")
    kTs = [kT for op in splitting.operators if (kT := getattr(op, "kT", None)) is not None]
    if not kTs:
        raise ValueError("splitting: expected a dynamics with a temperature, got none. Use td.langevin or td.mclmc.")
    for kT in kTs:
        one_temperature(kT)
    return Unadjusted(splitting=splitting)
