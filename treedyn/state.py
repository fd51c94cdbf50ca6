"""The state of every dynamics: one struct with standard names."""

from typing import Any, Self

import jax

from treedyn import tree
from treedyn.struct import Struct
from treedyn.tree import PyTree


class State(Struct):
    """Hold everything that changes from step to step.

    What does not change (dt, kT, the target) lives in the dynamics. Fields that a method has no use for are `None`.

    Attributes:
        boxed: the position with everything that is no array held in the tree structure, so that it passes through
            `jit`; read `position` instead.
        momentum: conjugate momenta, in the structure of the moving part of the position.
        force: force at `position`.
        energy: potential energy at `position`; `None` for targets that are forces.
        aux: what else the target returned at `position`.
        mass: mass of every leaf, shaped to broadcast.
        dof: degrees of freedom of every leaf, one number each.
        key: the random key given at `init`; it never changes, noise is a function of it and `step`.
        step: how many steps were taken, int32.
        status: the status word (see `Status`); bits are only ever set.
        memory: what the operators of the method have to remember, by name.
    """

    boxed: PyTree
    force: PyTree
    energy: jax.Array | None
    aux: PyTree
    key: Any
    step: jax.Array
    status: jax.Array
    momentum: PyTree = None
    mass: PyTree = None
    dof: PyTree = None
    memory: dict[str, Any]

    @property
    def position(self) -> PyTree:
        """Return the position as the user knows it: the same tree, functions and integers included."""
        return tree.unbox(self.boxed)

    def replace(self, **changes: Any) -> Self:
        """Return a copy in which the named fields, or `position`, are replaced.

        Forces and energy are not evaluated anew: `init` does that.
        """
        if "position" in changes:
            changes["boxed"] = tree.box(changes.pop("position"))
        return super().replace(**changes)
