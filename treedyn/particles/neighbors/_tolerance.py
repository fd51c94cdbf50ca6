r"""How far particles may spread before a neighbor list misses too many pairs.

A list that misses no pair ends when the fastest of all particles has moved by half the skin. Most of its time it is far
better than it has to be: forces at the cutoff are weak, and two particles hardly ever come straight towards each other.
Where a small part of the pairs may be missing, it lives several times as long.

Let displacements since the list was built be normal, with a standard deviation of $\sigma$ along every axis. The
distance of a pair then changes by a normal number of deviation $\sqrt 2 \sigma$, and of the pairs from beyond
$r_c + s$, which the list does not have, there are within the cutoff

$$ f = \frac{d}{r_c} \int_s^\infty Q\!\left(\frac{x}{\sqrt 2 \sigma}\right) dx
     = \frac{d \sqrt 2 \sigma}{r_c}\, \bigl(\phi(z) - z\, Q(z)\bigr), \qquad z = \frac{s}{\sqrt 2 \sigma}, $$

as a part of all pairs within the cutoff, where pairs are evenly spread around it; $Q$ is the tail of the normal
distribution and $\phi$ its density. This is the estimate by which GROMACS chooses the thickness of its buffer; here it
tells from the displacements themselves when a list has to go.

Reference: S. Páll, B. Hess, Comput. Phys. Commun. 184, 2641 (2013), doi:10.1016/j.cpc.2013.06.003.
"""

import math

# No particle may have moved further than this many deviations: of a billion that are in equilibrium, none has.
# Something that flies through a system at rest ends a list, though the mean hardly knows of it.
FURTHEST = 6.5


def missed(spread: float, skin: float, cutoff: float, dimension: int) -> float:
    """Return the part of the pairs within the cutoff that a list misses.

    Args:
        spread: standard deviation of the displacements along every axis.
        skin: how much further than the cutoff the list reaches.
        cutoff: largest distance at which pairs interact.
        dimension: of space.

    Example:
        >>> print(f"{missed(0.08, skin=0.3, cutoff=2.5, dimension=3):.1e}")
        1.7e-04
    """
    width = math.sqrt(2) * spread
    z = skin / width
    density, tail = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), math.erfc(z / math.sqrt(2)) / 2
    return dimension * width / cutoff * max(density - z * tail, 0.0)


def largest_spread(tolerance: float, skin: float, cutoff: float, dimension: int) -> float:
    """Return the spread at which a list misses the part `tolerance` of all pairs within the cutoff.

    The other arguments are those of `missed`.

    Example:
        >>> print(f"{largest_spread(1.7e-4, skin=0.3, cutoff=2.5, dimension=3):.3f}")
        0.080
    """
    low, high = 0.0, cutoff
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if missed(middle, skin, cutoff, dimension) < tolerance else (low, middle)
    return low


__all__ = ["FURTHEST", "largest_spread", "missed"]
