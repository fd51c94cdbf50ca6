"""Cases with right values, and how the law that a sampler ends in is read off its certificate."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from treedyn import diffusion as df

KEY = jax.random.key(5)

# Gaussian data of deviation 0.5, EDM levels with a final 0, start N(0, 80^2): the deviation at the end
EDM_DATA = df.gaussian(std=0.5)
EDM_LEVELS = (8, 18, 40, 80)
EDM = {
    "euler": (0.332789083, 0.423031436, 0.464850774, 0.482320420),
    "heun": (0.696993799, 0.527624637, 0.504876865, 0.501145314),
    "midpoint": (0.606219289, 0.515801044, 0.502818102, 0.500660035),
    "dpmpp_2s": (0.443394532, 0.487567457, 0.497425888, 0.499344412),
    "dpmpp_2m": (0.575294574, 0.531140074, 0.505192425, 0.501180044),
    "unipc": (0.593567979, 0.524184205, 0.501876000, 0.500208316),
    "adams_bashforth": (0.370506963, 0.477146616, 0.498037158, 0.499828089),
    "ancestral": (0.267841504, 0.367845599, 0.432175155, 0.464103409),
    "dpmpp_2m_sde": (0.533947934, 0.565631600, 0.513812074, 0.503189705),
    "churned": (0.822005762, 0.564049890, 0.520267518, 0.509566692),
    "dpmpp_3m_as_shipped": (0.838365374, 0.489793644, 0.500589854, 0.500223022),
    "dpmpp_3m_corrected": (0.916919281, 0.466422158, 0.498770151, 0.499849415),
}

# data N(0.3, 0.25), variance-preserving, start N(0, 1): (mean, deviation) at the end, for eta 0, 0.5 and 1
VP_DATA = df.gaussian(mean=0.3, std=0.5)
ETAS = (0.0, 0.5, 1.0)
DDIM = {
    ("leading", 10): ((0.298154898, 0.374128494), (0.299088391, 0.367083358), (0.299979728, 0.333263113)),
    ("leading", 50): ((0.298910992, 0.472439113), (0.299684816, 0.466651470), (0.299995572, 0.444122858)),
    ("linspace", 10): ((0.299310824, 0.361611723), (0.299683443, 0.355078586), (0.299996973, 0.322835081)),
    ("linspace", 50): ((0.299100603, 0.471915108), (0.299749391, 0.466058932), (0.299996973, 0.443193231)),
    ("trailing", 10): ((0.299294923, 0.369954809), (0.299690211, 0.363584281), (0.299996973, 0.333475062)),
    ("trailing", 50): ((0.299101579, 0.471402673), (0.299750318, 0.465769582), (0.299996973, 0.444100082)),
}

# the mixture of one dimension, and where its flow takes points from sigma = 80
MIXTURE = df.mixture([0.3, 0.7], mean=[-2.0, 1.0], std=[0.5, 0.25])
QUANTILES = {
    -80.0: -1.9649162483,
    -32.0: 0.6176013044,
    0.0: 0.8579882423,
    40.0: 1.0368320394,
    120.0: 1.3265919451,
}


@jax.jit
def begin(sampler: df.Sampler, key, position) -> td.State:
    """Return the state before the first step; compiled, because single operations are compiled one by one."""
    return sampler.init(key, position)


@partial(jax.jit, static_argnames="steps")
def run(sampler: df.Sampler, key, position, steps: int) -> td.State:
    """Return the state after some steps from a position."""
    return td.trajectory(sampler, sampler.init(key, position), steps=steps).state


def law(sampler: df.Sampler, std: float, mean: float = 0.0, steps: int | None = None) -> tuple[float, float]:
    """Return mean and deviation after all steps from a normal start: of one number, by the certificate of the run.

    Two starts, 0 and 1, tell how the start carries over.
    """
    start = begin(sampler, KEY, jnp.array([0.0, 1.0]))
    exact = td.certify(sampler, start, steps=sampler.steps if steps is None else steps)
    zero, one = np.asarray(exact.position_mean)
    slope = one - zero
    return float(zero + slope * mean), float(np.hypot(slope * std, exact.position_covariance[0, 0] ** 0.5))


def end(sampler: df.Sampler, position, key=KEY, steps: int | None = None):
    """Return the last position of a run from a position."""
    return run(sampler, key, position, sampler.steps if steps is None else steps).position
