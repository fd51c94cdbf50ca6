"""Dynamics for noisy forces, under the names by which they are known."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import operators, tree
from treedyn.dynamics import brownian, compose, langevin
from treedyn.dynamics._compose import Splitting
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def sgld(target: Callable[..., Any], dt: PyTree, kT: PyTree = 1.0, *, mass: PyTree = 1.0) -> Splitting:
    r"""Sample by stochastic-gradient Langevin dynamics, $\theta' = \theta + \frac{h}{m} F + \sqrt{2 h kT/m}\,\xi$.

    Noise of covariance V in the force adds $h^2 V$ to the variance of a step, so the samples are too wide unless h is
    small. `mass` is the inverse of a constant preconditioner.

    `target` and `dt` are those of `td.compose`; a step size $\epsilon$ in $\theta' = \theta + \frac{\epsilon}{2} F +
    \sqrt{\epsilon}\,\xi$ is $h = \epsilon/2$.

    Args:
        kT: temperature in units of energy; 1 for a posterior.
        mass: a number, schedule or prefix tree.

    Returns:
        A dynamics without momenta.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> noise, prior = networks.likelihood.gaussian(1.0), networks.prior.gaussian()
        >>> target = networks.posterior(lambda w, x: w * x, noise, prior)
        >>> env = networks.batches(jax.random.key(0), (jnp.ones(100), jnp.ones(100)), size=10)
        >>> sampler = networks.sgld(target, dt=1e-3)
        >>> state = sampler.init(jax.random.key(1), jnp.array(0.0), env)
        >>> out = td.run(sampler, state, env, steps=2000, record=lambda state: state.position)
        >>> print(f"{out.records[500:].mean():.1f} {out.records[500:].std():.1f}")  # 100/101 and 1/101^(1/2)
        1.0 0.1

    Reference:
        Welling, Teh, ICML 28, 681 (2011).
    """
    return brownian(target, dt, kT, mass=mass, method="euler_maruyama")


def sghmc(
    target: Callable[..., Any],
    dt: float,
    kT: float = 1.0,
    gamma: float = 1.0,
    *,
    gradient_noise: PyTree = 0.0,
    mass: PyTree = 1.0,
) -> Splitting:
    r"""Sample by stochastic-gradient HMC: Langevin dynamics whose bath is colder by the heat of the noisy forces.

    The noise of the forces, of variance V, heats each step by $h^2 V$. The bath of B A O A B has the temperature

    $$ kT' = kT - \frac{h^2 V}{m} \Big(\frac{1}{4} + \frac{1}{e^{2 \gamma h} - 1}\Big), $$

    at which free particles have the temperature kT.

    Args:
        target: a `Target`, or a function of `(position, env)`.
        dt: time step, positive.
        kT: temperature in units of energy, positive; 1 for a posterior.
        gamma: friction in units of 1/time, positive.
        gradient_noise: variance of the noise in the force: a number or prefix tree, such as
            `networks.gradient_noise(...)`.
        mass: a number or prefix tree.

    Returns:
        A dynamics.

    Raises:
        ValueError: the noise heats more than the friction can cool.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> sampler = networks.sghmc(lambda x: jnp.sum(x**2) / 2, dt=0.1, gradient_noise=2.0)
        >>> print(f"{sampler.operators[2].kT:.3f}")
        0.905

    Reference:
        Chen, Fox, Guestrin, ICML 31, 1683 (2014), arXiv:1402.4102.
    """
    h, kT, gamma = (
        check.number(name, value, positive=True) for name, value in (("dt", dt), ("kT", kT), ("gamma", gamma))
    )
    for leaf in jax.tree.leaves(gradient_noise):
        check.array("gradient_noise", leaf, "variances", nonnegative=True)
    if mass is None:
        raise ValueError("mass: expected a number, got None. Leave it out.")
    for leaf in jax.tree.leaves(mass):
        check.array("mass", leaf, "a mass", positive=True, finite=False)

    def colder(variance: Any, mass: Any) -> Any:
        bath = kT - h**2 * variance / mass * (0.25 + 1 / jnp.expm1(2 * gamma * h))
        known = tree.known(bath)
        if known is not None and known.min() < 0:
            raise ValueError(
                "gradient_noise: expected less noise than the friction can cool, got a bath of negative temperature, "
                f"{known.min():.3g}. Reduce dt, or use larger minibatches or more friction."
            )
        return bath

    # one of both may be a prefix tree of the other
    if len(jax.tree.leaves(gradient_noise)) >= len(jax.tree.leaves(mass)):
        bath = tree.prefix_map(lambda m, v: colder(v, m), mass, gradient_noise, name="mass")
    else:
        bath = tree.prefix_map(colder, gradient_noise, mass, name="gradient_noise")
    return langevin(target, h, bath, gamma, mass=mass)


def sgnht(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree = 1.0,
    gamma: PyTree = 1.0,
    tau: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    groups: PyTree = None,
) -> Splitting:
    r"""Sample by a stochastic-gradient Nosé-Hoover thermostat, whose friction adapts to noise of unknown size.

    $dp = F dt - \xi p\,dt + \sqrt{2 \gamma m kT}\,dW$, $d\xi = (p^2/m - N kT)/Q\,dt$ with $Q = N kT \tau^2$. The
    friction $\xi$ grows beyond $\gamma$ until the kinetic energy is right, so constant isotropic noise in the force has
    no effect. The steps are B A N W N A B.

    `target`, `dt` and `mass` are those of `td.compose`.

    Args:
        kT: temperature in units of energy, positive; 1 for a posterior.
        gamma: the friction without noise in the force, 1/time.
        tau: coupling time of the thermostat, positive.
        groups: prefix tree of labels; leaves with the same label share a thermostat. By default all do.

    Returns:
        A dynamics.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> sampler = networks.sgnht(lambda x: jnp.sum(x**2) / 2, dt=0.2)
        >>> state = sampler.init(jax.random.key(0), jnp.zeros(1000))
        >>> state = td.trajectory(sampler, state, steps=200).state
        >>> bool(abs(jnp.mean(state.position**2) - 1) < 0.15)
        True

    Reference:
        Ding et al., NeurIPS 27, 3203 (2014); Jones, Leimkuhler, J. Chem. Phys. 135, 084125 (2011),
        doi:10.1063/1.3626941.
    """
    A, B, W = operators.drift(EUCLIDEAN), operators.kick(), operators.white_noise(kT, gamma)
    N = operators.nose_hoover_chain(kT, tau, length=1, groups=groups)
    return compose(target, (B, A, N, W, N, A, B), dt, mass=mass)
