r"""Line searches by the Armijo condition and by the strong Wolfe conditions.

With $\varphi(a) = E(\mathrm{shift}(x, a d))$, a length satisfies the Armijo condition where
$\varphi(a) \le \varphi(0) + c_1 a \varphi'(0)$, and the strong Wolfe conditions where also
$|\varphi'(a)| \le c_2 |\varphi'(0)|$. Near a minimum, energies differ by less than their rounding while forces are
still accurate. There the first condition is replaced by $\varphi'(a) \le (2 c_1 - 1) \varphi'(0)$, following Hager and
Zhang.

The search keeps two ends: at the lower one the energy is low enough and falls, at the upper one it is too high or
rises. A length in between replaces one of the ends: the minimum of the cubic through both, or the midpoint if the upper
end is not finite.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from treedyn import _check as check
from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct, static
from treedyn.minimize._length import Descent, Length, Line

_GROW = 4.0  # largest growth of a trial length while there is no upper end
_EDGE = 0.1  # part of the interval next to its ends that is not tried
_ROUNDING = 100  # uncertainty of an energy that is a long sum, in units of its last bit


class Armijo(Length):
    """The first length that lowers the energy by a fraction of the slope's prediction.

    Attributes:
        max_step: largest change of any element in one step, positive; infinite for no limit.
        decrease: that fraction, in (0, 1/2).
        most: largest number of evaluations of a search.
    """

    searches: ClassVar[bool] = True
    max_step: Float[jax.Array, ""] | float = float("inf")
    decrease: Float[jax.Array, ""] | float = 1e-4
    most: int = static(default=20)

    def __post_init__(self) -> None:
        """Check the numbers."""
        check.number("max_step", self.max_step, positive=True, finite=False)
        check.number("decrease", self.decrease, positive=True, finite=False)
        _below("decrease", self.decrease, 0.5)
        check.integer("most", self.most, 1)

    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the first state that is low enough."""
        return search(line, self.max_step, self.decrease, None, self.most)


class StrongWolfe(Armijo):
    """The first length that satisfies the Armijo condition, and at which the slope is small enough.

    Attributes:
        curvature: fraction of its initial value to which the slope is reduced, in (decrease, 1): 0.9 for directions
            with a natural length, 0.4 for conjugate gradients. The other attributes are those of `Armijo`.

    Reference:
        Nocedal, Wright, Numerical Optimization, Springer (2006), doi:10.1007/978-0-387-40065-5; Hager, Zhang, SIAM J.
        Optim. 16, 170 (2005), doi:10.1137/030601880.
    """

    curvature: Float[jax.Array, ""] | float = 0.9

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        check.number("curvature", self.curvature, positive=True, finite=False)
        _below("curvature", self.curvature, 1.0)
        _below("decrease", self.decrease, self.curvature)

    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the first state that satisfies both conditions."""
        return search(line, self.max_step, self.decrease, self.curvature, self.most)


def _below(name: str, value: jax.Array | float, bound: jax.Array | float) -> None:
    small, large = tree.known(value), tree.known(bound)
    if small is not None and large is not None and not small < large:
        raise ValueError(f"{name}: expected a number below {large}, got {small}.")


class _End(Struct):
    """One end of the interval: a length, the energy there, and its slope."""

    length: jax.Array
    energy: jax.Array
    slope: jax.Array


class _Search(Struct):
    """The carry of the loop."""

    trial: jax.Array  # the length to try next
    low: _End
    high: _End  # of infinite length while there is none
    best: State  # at the lower end, or accepted
    length: jax.Array  # of `best`
    evaluations: jax.Array
    found: jax.Array  # whether a length was accepted


def search(
    line: Line, max_step: jax.Array | float, decrease: jax.Array | float, curvature: jax.Array | float | None, most: int
) -> tuple[State, Descent]:
    """Return a state along a line that satisfies the Armijo condition, or the Wolfe conditions for a `curvature`."""
    longest, start = tree.max_abs(line.way), line.start
    if start.energy is None:
        raise ValueError("target: a line search compares energies, but the target is a force. Use td.from_energy.")
    slope = line.slope(start, jnp.zeros_like(longest))
    kind = tree.widest(start.energy.dtype, slope.dtype)
    zero = _End(length=jnp.zeros((), kind), energy=start.energy.astype(kind), slope=slope.astype(kind))
    c1 = jnp.asarray(decrease).astype(kind)
    c2 = jnp.asarray(0.0 if curvature is None else curvature).astype(kind)
    noise = _ROUNDING * jnp.finfo(start.energy.dtype).eps * jnp.abs(zero.energy)
    moves = longest > 0
    bound = jnp.asarray(max_step).astype(kind)
    limited = jnp.isfinite(bound)  # the quotient of an infinite one has a gradient of NaN
    furthest = jnp.where(limited, jnp.where(limited, bound, 1) / jnp.where(moves, longest, 1).astype(kind), bound)
    furthest = jnp.where(moves, furthest, 0)

    def on(carry: _Search) -> jax.Array:
        return ~carry.found & (carry.evaluations < most) & (carry.trial > 0)

    def one(carry: _Search) -> _Search:
        a = carry.trial
        state = line.at(a.astype(longest.dtype))
        energy = jnp.asarray(state.energy).astype(kind)
        here = _End(length=a, energy=energy, slope=line.slope(state, a).astype(kind))
        finite = jnp.isfinite(here.energy) & jnp.isfinite(here.slope)
        lower = here.energy <= zero.energy + c1 * a * zero.slope
        level = (here.energy <= zero.energy + noise) & (here.slope <= (2 * c1 - 1) * zero.slope)
        low_enough = finite & (lower | level)
        end_of_line = (a >= furthest) & (here.slope <= 0)
        flat = end_of_line | (curvature is None) | (jnp.abs(here.slope) <= -c2 * zero.slope)
        found = low_enough & flat
        falls = low_enough & (here.slope < 0)
        low = tree.where(falls, here, carry.low)
        high = tree.where(falls, carry.high, here)
        return _Search(
            trial=_next(low, high, carry.low, furthest, noise),
            low=low,
            high=high,
            best=carry.best.select(found | falls, state),
            length=jnp.where(found | falls, a, carry.length),
            evaluations=carry.evaluations + 1,
            found=found,
        )

    carry = _Search(
        trial=jnp.where(zero.slope < 0, jnp.minimum(jnp.ones((), kind), furthest), 0),
        low=zero,
        high=_End(length=jnp.full((), jnp.inf, kind), energy=jnp.zeros((), kind), slope=jnp.zeros((), kind)),
        best=start,
        length=jnp.zeros((), kind),
        evaluations=jnp.int32(0),
        found=jnp.asarray(False),
    )
    end = jax.lax.while_loop(on, one, carry)
    return end.best, Descent(evaluations=end.evaluations, length=end.length.astype(longest.dtype), found=end.found)


def _next(low: _End, high: _End, before: _End, furthest: jax.Array, noise: jax.Array) -> jax.Array:
    """Return the length to try next."""
    open_ = jnp.isinf(high.length)
    # without an upper end, follow the straight line through the last two slopes
    reach = low.length - before.length
    grown = jnp.clip(_secant(before, low), low.length + reach, low.length + _GROW * reach)
    width = jnp.where(open_, 1, high.length - low.length)
    # if the energies at both ends agree to rounding, only the slopes are significant
    inside = jnp.where(jnp.abs(high.energy - low.energy) > noise, _cubic(low, high, width), _secant(low, high))
    finite = jnp.isfinite(high.energy) & jnp.isfinite(high.slope) & jnp.isfinite(inside)
    inside = jnp.where(finite, inside, low.length + width / 2)
    inside = jnp.clip(inside, low.length + _EDGE * width, high.length - _EDGE * width)
    return jnp.where(open_, jnp.minimum(grown, furthest), inside)


def _secant(first: _End, second: _End) -> jax.Array:
    """Return the zero of the straight line through both slopes; infinity if they do not rise."""
    rise = second.slope - first.slope
    zero = second.length - second.slope * (second.length - first.length) / jnp.where(rise > 0, rise, 1)
    return jnp.where(rise > 0, zero, jnp.inf)


def _cubic(low: _End, high: _End, width: jax.Array) -> jax.Array:
    """Return the minimum of the cubic with both energies and slopes."""
    d = low.slope + high.slope - 3 * (high.energy - low.energy) / width
    root = jnp.sqrt(jnp.maximum(d * d - low.slope * high.slope, 0))
    return high.length - width * (high.slope + root - d) / (high.slope - low.slope + 2 * root)
