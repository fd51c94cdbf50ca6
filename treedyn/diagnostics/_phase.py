"""Points of the phase space of a dynamics."""

from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree


class Phase(Struct):
    """The moving part of a state: of the position, the momenta or `None`, and the memory of the operators."""

    position: PyTree
    momentum: PyTree
    memory: PyTree


def phase(state: State) -> Phase:
    """Return the point of a state in phase space."""
    return Phase(position=state.moving, momentum=state.momentum, memory=tree.moving(state.memory))


def at_phase(dynamics: Dynamics, state: State, env: PyTree, point: Phase) -> State:
    """Return `state` at another point of phase space, with the force at its new position."""
    state = state.replace(
        boxed=tree.merge(point.position, state.boxed),
        momentum=point.momentum,
        memory=tree.merge(point.memory, state.memory),
    )
    return dynamics.evaluate(state, env)
