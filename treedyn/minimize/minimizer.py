"""Minimizers: a rule turns forces into displacements; one dynamics applies any rule in any space."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax

from treedyn import space as space_of
from treedyn import target as target_of
from treedyn import tree
from treedyn.dynamics.dynamics import Dynamics, check_state
from treedyn.space import EUCLIDEAN, as_space
from treedyn.state import State
from treedyn.struct import Struct
from treedyn.tree import PyTree


class Rule(Struct):
    """Turn the force at one position into the displacement to the next.

    Attributes:
        name: key of the rule's memory in `state.memory`.
    """

    name: ClassVar[str] = "rule"

    def init(self, part: PyTree) -> Any:
        """Return what the rule has to remember; `part` is the moving part of the position."""
        raise NotImplementedError

    def update(self, force: PyTree, memory: Any, context: "Context") -> tuple[PyTree, Any]:
        """Return the displacement, a tree like `force`, and the memory."""
        raise NotImplementedError


class Context(Struct):
    """Hold what a rule may look at besides the force.

    Attributes:
        part: moving part of the position.
        step: step counter.
        energy: energy at the position, or `None`.
        energy_at: function of a moving part; for line searches.
    """

    part: PyTree
    step: jax.Array
    energy: jax.Array | None = None
    energy_at: Callable[[PyTree], jax.Array] | None = None


class Minimizer(Dynamics):
    """Move downhill by a rule, through the same `init` and `step` as every dynamics."""

    rule: Rule

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the state in which to start.

        Args:
            key: random key; kept, so that states of all methods look the same.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
        """
        state = self.begin(key, position, env)
        return state.replace(memory={self.rule.name: self.rule.init(tree.moving(state.boxed))})

    def step(self, state: State, env: PyTree = None) -> State:
        """Return the state one step further down."""
        check_state(state, (self.rule.name,))
        part = tree.moving(state.boxed)

        def energy_at(part: PyTree) -> jax.Array:
            target = target_of.resolve(self.target, state.boxed, env)
            value = target(tree.merge(part, state.boxed), env).energy
            if value is None:
                raise ValueError("target: this minimizer compares energies, but the target is a force")
            return value

        context = Context(part=part, step=state.step, energy=state.energy, energy_at=energy_at)
        way, memory = self.rule.update(state.force, state.memory[self.rule.name], context)
        moved = tree.merge(space_of.shift(self.space, part, way), state.boxed)
        state = state.replace(boxed=moved, step=state.step + 1, memory={self.rule.name: memory})
        return self.evaluate(state, env)


def minimizer(target: Callable[..., Any], rule: Rule, *, space: PyTree = EUCLIDEAN) -> Minimizer:
    """Build a minimizer from a rule.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        rule: how forces become displacements.
        space: a space, or a prefix tree of spaces.

    Returns:
        A dynamics with `init` and `step`.
    """
    function = target_of.observing("target", target, "position")
    return Minimizer(target=function, rule=check_rule(rule), space=as_space(space))


def check_rule(rule: Any) -> Rule:
    """Return `rule`.

    Raises:
        ValueError: it is no rule.
    """
    if not isinstance(rule, Rule):
        raise ValueError(
            f"rule: expected a rule like td.fire_rule(dt=0.1), got {rule!r}; an optax transformation goes through "
            "td.from_optax"
        )
    return rule
