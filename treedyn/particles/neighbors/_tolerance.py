r"""How far particles may spread before a neighbor list misses too many pairs.

A list that misses no pair ends when the fastest particle has moved by half the skin. This bound is pessimistic: forces
at the cutoff are weak, and two particles rarely approach each other head on. If a small fraction of the pairs may be
missed, a list lives several times as long.

Let the displacements since the list was built be normal with standard deviation $\sigma$ along every axis. The distance
of a pair then changes by a normal number with standard deviation $\sqrt 2 \sigma$. Of the pairs beyond $r_c + s$, which
are not in the list, the number that come within the cutoff, relative to all pairs within the cutoff, is

$$ f = \frac{d}{r_c} \int_s^\infty Q\!\left(\frac{x}{\sqrt 2 \sigma}\right) dx
     = \frac{d \sqrt 2 \sigma}{r_c}\, \bigl(\phi(z) - z\, Q(z)\bigr), \qquad z = \frac{s}{\sqrt 2 \sigma}, $$

for pairs that are evenly spread around the cutoff; $Q$ is the tail of the normal distribution and $\phi$ its density.
GROMACS chooses the thickness of its buffer by this estimate. Here it decides from the actual displacements when a list
has to be rebuilt.

Reference: S. Páll, B. Hess, Comput. Phys. Commun. 184, 2641 (2013), doi:10.1016/j.cpc.2013.06.003.
"""

import math

# No particle may have moved by more than this many standard deviations: in equilibrium, not one in a billion does. A
# single fast particle in a system at rest hardly changes the mean, but it ends a list.
FURTHEST = 6.5


def missed(spread: float, skin: float, cutoff: float, dimension: int) -> float:
    """Return the fraction of the pairs within the cutoff that a list misses when displacements have this `spread`.

    Example:
        >>> print(f"{missed(0.08, skin=0.3, cutoff=2.5, dimension=3):.1e}")
        1.7e-04
    """
    width = math.sqrt(2) * spread
    z = skin / width
    density, tail = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), math.erfc(z / math.sqrt(2)) / 2
    return dimension * width / cutoff * max(density - z * tail, 0.0)


def largest_spread(tolerance: float, skin: float, cutoff: float, dimension: int) -> float:
    """Return the spread at which a list misses the fraction `tolerance` of all pairs within the cutoff.

    Example:
        >>> print(f"{largest_spread(1.7e-4, skin=0.3, cutoff=2.5, dimension=3):.3f}")
        0.080
    """
    low, high = 0.0, cutoff
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if missed(middle, skin, cutoff, dimension) < tolerance else (low, middle)
    return low
