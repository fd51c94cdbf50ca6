r"""How thick the skin of a neighbor list should be.

A thick skin makes lists live long and forces expensive. With the force time $f$ and the build time $b$ measured at the
skin $s_0$, where a list lived for $n_0$ steps, a step at the skin $s$ takes about

$$ t(s) = \left(\frac{r_c + s}{r_c + s_0}\right)^d \left(f + \frac{b}{n_0 s / s_0}\right), $$

because the pairs within reach fill a ball, and particles fly about straight for as long as a list lives.
"""

import numpy as np

LEAST = 0.02  # of the cutoff: below that, lists would be made almost every step
WORTH = 5.0  # seconds that a change has to save: it compiles anew


def time_per_step(
    skin: np.ndarray, now: float, cutoff: float, dimension: int, force: float, build: float
) -> np.ndarray:
    """Return the time of a step at each `skin`.

    Args:
        skin: skins to look at.
        now: the skin at which the times were measured.
        cutoff: largest distance at which pairs interact.
        dimension: of space.
        force: seconds per step without builds.
        build: seconds that builds take per step.
    """
    return ((cutoff + skin) / (cutoff + now)) ** dimension * (force + build * now / skin)


def best_skin(
    now: float, most: float, cutoff: float, dimension: int, force: float, build: float
) -> tuple[float, float]:
    """Return the skin at which a step takes least time, at most `most`, and what a step gains by it; in seconds.

    The other arguments are those of `time_per_step`.

    Example:
        >>> skin, gain = best_skin(0.3, most=1.0, cutoff=2.5, dimension=3, force=1e-3, build=1e-4)
        >>> skin < 0.3, gain > 0
        (True, True)
    """
    low = min(LEAST * cutoff, most)
    skins = np.append(np.geomspace(low, most, 200), now)
    times = time_per_step(skins, now, cutoff, dimension, force, build)
    best = int(np.argmin(times))
    return float(skins[best]), float(times[-1] - times[best])


__all__ = ["best_skin"]
