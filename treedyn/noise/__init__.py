"""Random numbers that depend on the place in the tree, not on the order of calls.

Noise is a pure function of (key, step, operator, leaf path, element). Adding an inert leaf, changing the batch, the
chunk length or the sharding, or restarting from a checkpoint does not change any other random number.
"""

from treedyn.noise._noise import at_path as at_path
from treedyn.noise._noise import at_step as at_step
from treedyn.noise._noise import draw as draw
from treedyn.noise._noise import normal as normal
from treedyn.noise._noise import of_step as of_step
from treedyn.noise._noise import uniform as uniform
