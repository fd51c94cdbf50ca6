"""What a run is known by, the same in every process: numbers by their bits, functions by what they compute."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.tree_util import keystr, tree_flatten_with_path

from treedyn import environment, tree
from treedyn._state import State
from treedyn.driver import _reduction as reduction
from treedyn.driver._host import Host
from treedyn.driver._output import Output
from treedyn.store._archive import plain_array, structs
from treedyn.tree import PyTree

_FOR_PEOPLE = {"name", "fmt"}  # of a function, and what `jax.debug.print` says


def inputs(host: Host) -> dict[str, dict[str, str]]:
    """Say what makes a run another run: all numbers that it is given, and the shapes of what it keeps."""
    # what is drawn or computed from them differs in the last bits from machine to machine
    given = host.state.replace(momentum=None, force=None, energy=None, aux=None)
    watched = host.memory is not None or host.reduce is not None
    return {
        "start": describe(given),
        "dynamics": describe(host.dynamics),
        "env": describe(environment.plain(host.env)),
        "every": {"": str(host.every)} if watched else {},
        "record": {} if host.memory is None else describe(host.memory.shapes),
        "reduce": describe(host.reduce),
        "sums": describe(jax.eval_shape(lambda: host.sums)),
    }


def computations(host: Host, outputs: dict[str, Output]) -> dict[str, str]:
    """Say what a run makes of its inputs: another version or machine is not another run.

    Args:
        host: what drives the run, before its first step.
        outputs: its outputs, by their names.
    """
    state, env, dynamics = host.state, host.env, tree.traceable(host.dynamics)

    def step(dynamics: PyTree, state: State, env: PyTree) -> State:
        return tree.unbox(dynamics).step(state, tree.unbox(env))

    def observed(function: Callable[..., Any]) -> str:
        return computation(lambda s, e: tree.box(host.dynamics.observe(function, s, e)), state, env)

    return {
        "dynamics": computation(step, dynamics, state, env),
        "the lists in env": _digest(describe(environment.refreshable(env)).values()),
        "the momenta of the start": _digest(describe(state.momentum).values()),
        "reduce": computation(
            lambda sums, s, e: reduction.update(host.dynamics, host.reduce, sums, s, e, jnp.asarray(True)),
            host.sums,
            state,
            env,
        ),
        "until": "" if host.until is None else observed(host.until),
        "record": "" if host.memory is None else observed(host.memory.record),
        **{f"the record of {name}": observed(output.record) for name, output in outputs.items()},
    }


def describe(value: PyTree) -> dict[str, str]:
    """Return a few words for every leaf and every struct of a tree, by its path; functions are not looked at."""
    value = tree.unbox(value)
    words = {path: f"{type(struct).__qualname__} {statics or ''}".strip() for path, struct, statics in structs(value)}
    return words | {keystr(path): _words(leaf) for path, leaf in tree_flatten_with_path(value)[0]}


def computation(function: Callable[..., Any], *arguments: PyTree) -> str:
    """Return a fingerprint of what a function computes: its operations, and all numbers in them.

    Names and comments do not count, and neither do the values of the arguments, of which the shapes matter. What is
    called back on the host is not looked at.
    """
    return _digest(_operations(jax.make_jaxpr(function)(*arguments)))


def _operations(jaxpr: ClosedJaxpr | Jaxpr) -> Iterator[str]:
    """Say in words what is computed, in order; variables are known by their numbers."""
    if isinstance(jaxpr, ClosedJaxpr):
        yield from map(_words, jaxpr.consts)
        jaxpr = jaxpr.jaxpr
    numbers: dict[Any, int] = {}

    def place(x: Any) -> str:
        return _words(x.val) if isinstance(x, Literal) else f"{numbers.setdefault(x, len(numbers))}: {x.aval}"

    yield from map(place, (*jaxpr.constvars, *jaxpr.invars))
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        yield from map(place, (*equation.invars, *equation.outvars))
        for name in sorted(set(equation.params) - _FOR_PEOPLE):
            yield name
            yield from _parameter(equation.params[name])
    yield from map(place, jaxpr.outvars)


def _parameter(value: Any) -> Iterator[str]:
    """Say in words what an operation is told; of functions, whose derivatives or callbacks they are, only that."""
    if isinstance(value, ClosedJaxpr | Jaxpr):
        yield from _operations(value)
    elif isinstance(value, tuple | list):
        yield str(len(value))
        for inner in value:
            yield from _parameter(inner)
    elif isinstance(value, set | frozenset):
        yield from sorted(map(repr, value))  # in an order that is not that of this process
    elif tree.is_array(value):
        yield _words(value)
    else:
        text = repr(value)
        yield type(value).__qualname__ if callable(value) or " at 0x" in text else text


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()[:16]


def _words(leaf: Any) -> str:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return f"{leaf.dtype}{list(leaf.shape)}"
    if not tree.is_array(leaf) or type(leaf) in (float, complex):
        return repr(leaf) if isinstance(leaf, int | float | complex | str) else type(leaf).__qualname__
    array = plain_array(leaf)
    bits = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"{leaf.dtype}{list(array.shape)} {bits}" if array.ndim else f"{array.item()!r} ({leaf.dtype})"


__all__ = ["computation", "computations", "describe", "inputs"]
