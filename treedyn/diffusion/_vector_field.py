"""The probability flow as a vector field in the time of its process, for solvers of other programs."""

from typing import Any

import jax

from treedyn import _check as check
from treedyn._struct import Struct
from treedyn.diffusion._denoiser import Denoiser, sum_of
from treedyn.diffusion._process import Process
from treedyn.tree import PyTree


class VectorField(Struct):
    r"""The probability flow $dx/dt = \dot\alpha D + \dot\sigma E$, as `field(t, x, env)`.

    Attributes:
        denoiser: the denoiser.
        process: the noising process.
    """

    denoiser: Denoiser
    process: Process

    def __call__(self, t: Any, x: PyTree, env: PyTree = None) -> PyTree:
        """Return the velocity of every element at a time."""
        level = self.process.at(t)
        found = self.denoiser.predict(x, level, env)
        alpha, sigma, _ = self.process.rates(level)

        return jax.tree.map(lambda d, e: sum_of(e, (alpha, d), (sigma, e)), found.denoised, found.noise)


def vector_field(denoiser: Denoiser, process: Process) -> VectorField:
    r"""Return the probability flow as a vector field in the time of its process, such as for diffrax.

    Args:
        denoiser: the denoiser.
        process: the noising process, such as `VarianceExploding()`, whose time is $\sigma$.

    Returns:
        `field(t, x, env)`, the form of a `diffrax.ODETerm`; follow it from noise to data, backwards in time.

    Raises:
        ValueError: an argument is something else.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> field = diffusion.vector_field(diffusion.gaussian(), diffusion.RectifiedFlow())
        >>> print(field(0.5, jnp.array([1.0])))
        [0.]
    """
    return VectorField(
        denoiser=check.instance("denoiser", denoiser, Denoiser, "a denoiser"),
        process=check.instance("process", process, Process, "a process such as VarianceExploding()"),
    )
