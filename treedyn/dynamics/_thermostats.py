"""Constant temperature: by friction and noise, collisions, rescaling, or a chain of thermostats."""

from collections.abc import Callable
from typing import Any, Literal

from treedyn import _check as check
from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.operators import Operator
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def langevin(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    gamma: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    splitting: str = "BAOAB",
    remove_drift: bool = False,
) -> Splitting:
    r"""Sample exp(-U/kT) by underdamped Langevin dynamics.

    $dx = \frac{p}{m} dt$, $dp = F(x)\,dt - \gamma p\,dt + \sqrt{2\gamma m kT}\,dW$, split into A (drift), B (kick) and
    O (Ornstein-Uhlenbeck), each solved exactly. On a harmonic target B A O A B samples positions without error at any
    stable step, and BAOA positions and momenta both.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step, positive: a number, schedule or prefix tree.
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        gamma: friction, 1/time: a number, schedule or prefix tree.
        mass: mass, positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.
        splitting: order of the operators as letters A, B and O, e.g. "BAOAB", "BAOA", "OBABO"; a letter that occurs
            n times acts for dt/n each time. For other operators use `compose`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one kT, gamma and dt.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.5, kT=1.0, gamma=1.0)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(1000))
        >>> state = td.trajectory(dynamics, state, steps=100).state
        >>> bool(abs(jnp.mean(state.position**2) - 1) < 0.15)
        True

    Reference:
        Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34 (2013), doi:10.1093/amrx/abs010; BAOA: Kieninger,
        Keller, J. Chem. Theory Comput. 18, 5792 (2022), doi:10.1021/acs.jctc.2c00585.
    """
    if not isinstance(splitting, str) or set(splitting) != set("ABO"):
        raise ValueError(
            f'splitting: expected the letters A, B and O, each at least once, got {splitting!r}. Pass e.g. "BAOAB".'
        )
    A, B, O = operators.drift(space), operators.kick(), operators.ornstein_uhlenbeck(kT, gamma)  # noqa: E741
    # noise moves the center of mass, so it is held right after every O
    hold = operators.hold_center(remove_drift, space, kT=kT, gamma=gamma, dt=dt)
    parts = {"A": (A,), "B": (B,), "O": (O, *hold)}
    return compose(target, [part for letter in splitting for part in parts[letter]], dt, mass=mass, space=space)


def brownian(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    gamma: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    method: Literal["leimkuhler_matthews", "euler_maruyama"] = "leimkuhler_matthews",
) -> Splitting:
    r"""Sample exp(-U/kT) by overdamped Langevin dynamics.

    $dx = \frac{F}{m\gamma}\,dt + \sqrt{\frac{2kT}{m\gamma}}\,dW$. Euler-Maruyama draws new noise every step and has a
    bias of first order in dt. Leimkuhler-Matthews averages the noise of two successive steps, costs the same, and has a
    bias of second order (none on a harmonic target).

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step, positive: a number, schedule or prefix tree.
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        gamma: friction, 1/time, positive: a number, schedule or prefix tree; the mobility is 1/(m gamma).
        mass: mass, positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.
        method: "leimkuhler_matthews" or "euler_maruyama".

    Returns:
        A dynamics. Its states have no momentum.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.brownian(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34 (2013), doi:10.1093/amrx/abs010.
    """
    averaged = check.choice("method", method, ("leimkuhler_matthews", "euler_maruyama")) == "leimkuhler_matthews"
    step = operators.overdamped(kT, gamma, space, averaged=averaged)
    return compose(target, (step,), dt, mass=mass, space=space)


def andersen(
    target: Callable[..., Any], dt: PyTree, kT: PyTree, rate: PyTree, *, mass: PyTree = 1.0, space: PyTree = EUCLIDEAN
) -> Splitting:
    """Sample the canonical ensemble by random collisions, which draw new momenta of single points: B A B, collide.

    A point is a particle where the space says so, else a single element of a leaf. Collisions move the center of mass,
    and holding it would bias the momenta, so there is no `remove_drift`.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step, positive: a number, schedule or prefix tree.
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        rate: collisions of one point per time: a number, schedule or prefix tree.
        mass: mass, positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.andersen(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, rate=1.0)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Andersen, J. Chem. Phys. 72, 2384 (1980), doi:10.1063/1.439486.
    """
    A, B, C = operators.drift(space), operators.kick(), operators.collide(kT, rate, space)
    return compose(target, (B, A, B, C), dt, mass=mass, space=space)


def csvr(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    tau: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    groups: PyTree = None,
    remove_drift: bool = False,
) -> Splitting:
    """Sample the canonical ensemble by stochastic velocity rescaling: R B A B R.

    The thermostat of Bussi, Donadio and Parrinello. It uses one random number per step and group, so it hardly disturbs
    the motion of single particles, and kinetic energies are exactly those of the canonical ensemble.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step, positive: a number or schedule.
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        tau: coupling time, positive: a number, schedule or prefix tree.
        mass: mass, positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.
        groups: prefix tree of labels; leaves of one label share a factor. By default one for every value in `kT`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one factor for all.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.csvr(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, tau=1.0)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007), doi:10.1063/1.2408420.
    """
    hold = operators.hold_center(remove_drift, space, kT=kT, groups=groups)
    return _coupled(operators.csvr(kT, tau, groups=groups), hold, target, dt, mass, space)


def berendsen(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    tau: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    groups: PyTree = None,
    remove_drift: bool = False,
) -> Splitting:
    """Bring a system to a temperature by smooth rescaling: R B A B R. For equilibration only.

    It does *not* sample the canonical ensemble: fluctuations of the kinetic energy are too small. Measure with
    `csvr`, `nose_hoover` or `langevin`.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step, positive: a number or schedule.
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        tau: relaxation time, positive: a number, schedule or prefix tree.
        mass: mass, positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.
        groups: prefix tree of labels; leaves of one label share a factor. By default one for every value in `kT`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one factor for all.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.berendsen(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, tau=0.1)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Berendsen et al., J. Chem. Phys. 81, 3684 (1984), doi:10.1063/1.448118.
    """
    hold = operators.hold_center(remove_drift, space, kT=kT, groups=groups)
    return _coupled(operators.berendsen(kT, tau, groups=groups), hold, target, dt, mass, space)


def nose_hoover(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    tau: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    length: int = 3,
    substeps: int = 1,
    order: Literal[1, 3, 5, 7] = 3,
    groups: PyTree = None,
    remove_drift: bool = False,
) -> Splitting:
    """Sample the canonical ensemble with Nosé-Hoover chains: N B A B N.

    Time reversible; `conserved` is constant up to an error of order dt^2. A single thermostat (`length=1`) does not
    sample a harmonic oscillator; a chain of three does.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        dt: time step, positive: a number or schedule.
        kT: temperature in units of energy, positive: a number, schedule or prefix tree.
        tau: coupling time, positive, commonly some 100 dt: a number, schedule or prefix tree.
        mass: mass, positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.
        length: thermostats in a chain.
        substeps: substeps of the chain per step, for a tau of a few dt.
        order: number of Suzuki-Yoshida weights: 1, 3, 5 or 7.
        groups: prefix tree of labels; leaves of one label share a chain. By default one for every value in `kT`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one chain for all.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.nose_hoover(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, tau=1.0)
        >>> start = dynamics.init(jax.random.key(0), jnp.ones(10))
        >>> end = td.trajectory(dynamics, start, steps=200).state
        >>> bool(abs(dynamics.conserved(end) - dynamics.conserved(start)) < 0.02)
        True

    Reference:
        Martyna et al., Mol. Phys. 87, 1117 (1996), doi:10.1080/00268979600100761.
    """
    chain = operators.nose_hoover_chain(kT, tau, length=length, substeps=substeps, order=order, groups=groups)
    hold = operators.hold_center(remove_drift, space, kT=kT, groups=groups)
    return _coupled(chain, hold, target, dt, mass, space)


def _coupled(
    bath: Operator, hold: tuple[Operator, ...], target: Callable[..., Any], dt: PyTree, mass: PyTree, space: PyTree
) -> Splitting:
    """Return velocity Verlet between two half steps of a thermostat."""
    A, B = operators.drift(space), operators.kick()
    return compose(target, (bath, B, A, B, bath, *hold), dt, mass=mass, space=space)
