r"""The best skin of a neighbor list.

A thick skin makes lists live long and forces expensive. With the force time $f$ and the build time $b$ measured at the
skin $s_0$, where a list lived for $n_0$ steps, a step at the skin $s$ takes about

$$ t(s) = \left(\frac{r_c + s}{r_c + s_0}\right)^d \left(f + \frac{b}{n_0 s / s_0}\right), $$

because the listed pairs fill a ball, and particles move on nearly straight lines during the life of a list.
"""

import numpy as np

LEAST = 0.02  # of the cutoff: with less, a list would be rebuilt almost every step
WORTH = 5.0  # seconds that a new skin must save, because it recompiles


def best_skin(
    now: float, most: float, cutoff: float, dimension: int, force: float, build: float
) -> tuple[float, float]:
    """Return the fastest skin of at most `most`, and the seconds per step that it saves.

    `force` and `build` are the seconds per step at the skin `now`.

    Example:
        >>> skin, gain = best_skin(0.3, most=1.0, cutoff=2.5, dimension=3, force=1e-3, build=1e-4)
        >>> skin < 0.3, gain > 0
        (True, True)
    """
    low = min(LEAST * cutoff, most)
    skins = np.append(np.geomspace(low, most, 200), now)
    times = ((cutoff + skins) / (cutoff + now)) ** dimension * (force + build * now / skins)
    best = int(np.argmin(times))
    return float(skins[best]), float(times[-1] - times[best])
