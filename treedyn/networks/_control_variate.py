r"""Less noise in the forces of minibatches, by the force at a fixed position.

$$ \hat F'(\theta) = \hat F(\theta) - \hat F(\theta^*) + F(\theta^*) $$

The first two are of the same minibatch, and their noise cancels near $\theta^*$. The last is of all data.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax

from treedyn import _target as target_of
from treedyn import tree
from treedyn._target import Evaluation, Target
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class ControlVariate(Target):
    """A target whose forces have the noise of another one's only away from a fixed position.

    Attributes:
        anchor: the fixed position, boxed.
        energy: the energy of all data there.
        force: the force of all data there.
    """

    conservative: ClassVar[bool] = True
    anchor: PyTree
    energy: jax.Array
    force: PyTree

    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:
        """Return energy, force and aux at a (boxed) position."""
        target = target_of.resolve(self.function, position, env)
        here, there = target(position, env), target(self.anchor, env)
        assert here.energy is not None and there.energy is not None  # `control_variate` refuses forces
        gap = tree.subtract(self.force, there.force)
        way = tree.subtract(tree.moving(position), tree.moving(self.anchor))
        energy = here.energy - there.energy + self.energy - tree.vdot(gap, way).astype(here.energy.dtype)
        return here.replace(energy=energy, force=tree.add(here.force, gap))


def control_variate(target: Callable[..., Any], position: PyTree, env: PyTree) -> Target:
    r"""Reduce the noise of minibatches by the force at a fixed position.

    $$ \hat F'(\theta) = \hat F(\theta) - \hat F(\theta^*) + F(\theta^*) $$

    A force takes two evaluations of a minibatch. The bias of the samples falls with their distance from the position.

    Args:
        target: a target that returns an energy, such as `networks.posterior(...)`.
        position: the fixed position $\theta^*$: the mode, or the end of a training.
        env: environment with all data, at which the force there is evaluated.

    Returns:
        A target for the environment with minibatches.

    Raises:
        ValueError: the target returns a force.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> noise, prior = networks.likelihood.gaussian(1.0), networks.prior.gaussian()
        >>> target = networks.posterior(lambda w, x: w * x, noise, prior)
        >>> data = jnp.ones(4), jnp.array([0.0, 1.0, 2.0, 3.0])
        >>> env = networks.batches(jax.random.key(0), data, size=2)
        >>> better = networks.control_variate(target, jnp.array(1.2), data)
        >>> print(f"{networks.gradient_noise(better, jnp.array(1.2), env):.3f}")
        0.000

    Reference:
        Baker, Fearnhead, Fox, Nemeth, Stat. Comput. 29, 599 (2019), doi:10.1007/s11222-018-9826-2.
    """
    boxed = tree.box(position, "position")
    all_data = target_of.evaluate(target, boxed, env, EUCLIDEAN)
    if all_data.energy is None:
        raise ValueError("target: expected an energy, got a force. Use td.from_energy.")
    return ControlVariate(function=target, has_aux=False, anchor=boxed, energy=all_data.energy, force=all_data.force)
