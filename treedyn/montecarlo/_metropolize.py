r"""Metropolis steps whose proposals are trajectories of a splitting.

A palindrome of flows and baths keeps detailed balance but for the energy that its flows create: going through it
backwards with the momenta reversed has the same probability times $e^{\Delta/kT}$, where

$$ \Delta = U' - U + \sum_\mathrm{flows} (K_\mathrm{after} - K_\mathrm{before}), $$

the change of the total energy without the heat of the baths. A flow that changes the volume of phase space adds what it
accounts for. So the trajectory is accepted with the probability
$\min(1, e^{-\Delta/kT})$, and a rejected one leaves the state with its momenta reversed. The momenta are redrawn before
every trajectory, fully or partially.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from treedyn import _check as check
from treedyn import noise, schedule, tree
from treedyn._state import State
from treedyn._status import Status, has
from treedyn._struct import static
from treedyn.dynamics._compose import Splitting
from treedyn.montecarlo._metropolis import metropolis, one_temperature, untried
from treedyn.montecarlo._trajectories import Trajectories, created, follow, gain
from treedyn.operators._operator import Operator
from treedyn.operators._refresh import refresh as refresh_operator
from treedyn.tree import PyTree


class Metropolized(Trajectories):
    """A dynamics that proposes the end of a trajectory, and accepts or rejects it.

    Attributes:
        splitting: the dynamics of the trajectory.
        refresh: redraws the momenta before every trajectory.
        least: the smallest number of steps of a trajectory.
        most: the largest number; the number is drawn for every trajectory.
    """

    least: int = static()
    most: int = static()

    def untried(self, kind: DTypeLike) -> PyTree:
        """Return the report of a state that has taken no step."""
        return untried(kind)

    def draw(self, state: State) -> tuple[PyTree, ...]:
        """Return a uniform number, the number of steps, and the noise of refreshment and trajectory."""
        key = noise.of_step(state)
        kind = tree.dtype(state.momentum)
        chance = jax.random.uniform(noise.at_path(key, "accept"), (), kind)
        length = jax.random.randint(noise.at_path(key, "length"), (), self.least, self.most + 1)
        fresh = self.refresh.draw(noise.at_path(key, "refresh"), state)

        def one(step: jax.Array) -> PyTree:
            own = noise.at_step(state.stream, state.step, 1)
            return self.splitting.draw(state.replace(key=own, slot=None, step=step))

        return chance, length, fresh, jax.vmap(one)(jnp.arange(self.most, dtype=jnp.int32))

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, ...]) -> State:
        """Return the end of a trajectory where it is accepted, and the reversed state where it is not."""
        chance, length, fresh, along = noise
        start = self.begin(state, fresh)

        def one(step: Any, carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            now, heat = carry
            xi = jax.tree.map(lambda x: x[step], along)
            new, baths = follow(self.splitting, now, env, xi)
            return new, sum((gain(*bath) for bath in baths), start=heat)

        zero = jnp.zeros((), tree.dtype(state.momentum))
        steps = self.most if self.least == self.most else length
        end, heat = jax.lax.fori_loop(0, steps, one, (start, zero))
        error = created(self.splitting, start, end, heat) / schedule.at(self.kT, state.step)
        # the way back leads through the same states, so a trajectory with an infinite energy on it may be rejected
        good = ~has(end.status, Status.NONFINITE) & tree.finite(end.force)
        error = jnp.where(good, error, jnp.inf)
        return metropolis(self.reverse(start).replace(status=state.status), end, error, chance, steps)


def metropolize(
    splitting: Splitting, kT: PyTree, *, steps: int | tuple[int, int] = 1, persistence: float = 0.0
) -> Metropolized:
    r"""Make the ends of trajectories of a splitting exact samples of $e^{-U/kT}$, at any step size.

    Before every trajectory the momenta are redrawn, $p \to a p + \sqrt{1 - a^2}\,p_{kT}$. The trajectory is accepted
    with probability $\min(1, e^{-\Delta/kT})$, where $\Delta$ is the change of the total energy without the heat of
    the baths. A rejection reverses the momenta.

    Args:
        splitting: a dynamics from `td.compose`: a palindrome of flows (drift, kick) and baths at the temperature kT.
        kT: temperature in units of energy, positive: one number or schedule for all leaves.
        steps: steps of a trajectory, or `(least, most)` to draw the number for every trajectory.
        persistence: the part $a$ of the momenta that is kept, in [0, 1).

    Returns:
        A dynamics. `state.info` has `acceptance`, `accepted`, `error`, `divergent` and `steps` of the last step.

    Raises:
        ValueError: the splitting is not a palindrome, or has an operator that is neither a flow nor a bath at kT.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import operators as to
        >>> A, B = to.drift(td.euclidean()), to.kick()
        >>> hmc = td.metropolize(td.compose(lambda x: jnp.sum(x**2) / 2, (A, B, A), dt=0.5), kT=1.0, steps=3)
        >>> state = hmc.step(hmc.init(jax.random.key(0), jnp.zeros(10)))
        >>> bool(state.info.accepted), int(state.info.steps)
        (True, 3)

    Reference:
        Duane et al., Phys. Lett. B 195, 216 (1987), doi:10.1016/0370-2693(87)91197-X; Horowitz, Phys. Lett. B 268, 247
        (1991), doi:10.1016/0370-2693(91)90812-5; Riou-Durand, Vogrinc, arXiv:2202.13230 (2022).
    """
    check.instance("splitting", splitting, Splitting, "a dynamics from td.compose, such as td.nve(...)")
    temperature = one_temperature(kT)
    if not splitting.inertial:
        raise ValueError("splitting: expected a dynamics with momenta. For overdamped proposals use td.mala.")
    for operator in splitting.operators:
        _check_operator(operator, temperature)
    order = splitting.sequence
    if order != order[::-1]:
        names = " ".join(splitting.names[k] for k, _ in order)
        raise ValueError(f"splitting: expected a palindrome, got {names}. Repeat it in reverse order.")
    least, most = steps if isinstance(steps, tuple) and len(steps) == 2 else (steps, steps)
    least, most = check.integer("steps", least, 1), check.integer("steps", most, 1)
    if most < least:
        raise ValueError(f"steps: expected (least, most), got {steps}. Exchange the two.")
    kept = refresh_operator(temperature, persistence)
    changing = any(map(schedule.is_schedule, jax.tree.leaves(splitting.mass, is_leaf=schedule.is_schedule)))
    if changing and tree.known(kept.persistence) != 0:
        raise ValueError("mass: expected constants where momenta are kept, got a schedule. Use persistence=0.")
    return Metropolized(splitting=splitting, refresh=kept, least=least, most=most)


def _check_operator(operator: Operator, kT: PyTree) -> None:
    name = operator.name
    if not operator.role:
        raise ValueError(
            f"splitting: {name} is neither a flow that preserves volume nor a bath in detailed balance, so its "
            "trajectories cannot be accepted or rejected. Leave it out, or set its role."
        )
    if operator.role != "bath":
        return
    own = getattr(operator, "kT", None)
    if schedule.is_schedule(own) or schedule.is_schedule(kT):
        same = getattr(own, "function", own) is getattr(kT, "function", kT)
    else:
        numbers = [x for leaf in (*jax.tree.leaves(own), kT) if (x := tree.known(leaf)) is not None]
        same = all(np.array_equal(x, numbers[0]) for x in numbers)
    if not same:
        raise ValueError(f"splitting, kT: expected the temperature {kT} in the bath {name}, too, got {own}.")
