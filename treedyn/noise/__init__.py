"""Noise as a pure function of key, step, leaf path and element."""

from treedyn.noise._noise import at_path as at_path
from treedyn.noise._noise import at_step as at_step
from treedyn.noise._noise import draw as draw
from treedyn.noise._noise import normal as normal
from treedyn.noise._noise import of_step as of_step
from treedyn.noise._noise import uniform as uniform
