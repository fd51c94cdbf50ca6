"""What a run is known by, the same in every process: numbers by their bits, functions by what they compute."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.tree_util import keystr, tree_flatten_with_path

from treedyn import environment, stream, tree
from treedyn.driver.archive import plain_array, structs
from treedyn.driver.host import Host
from treedyn.driver.output import Output
from treedyn.state import State
from treedyn.target import call
from treedyn.tree import PyTree


def inputs(host: Host) -> dict[str, dict[str, str]]:
    """Say what makes a run another run: all numbers that it is given, and the shapes of what it keeps."""
    given = host.state.replace(force=None, energy=None, aux=None)
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
    """Say what the functions of a run compute, and which lists it was given: a better version is not another run.

    Args:
        host: what drives the run, before its first step.
        outputs: its outputs, by their names.
    """
    state, env, dynamics = host.state, host.env, tree.traceable(host.dynamics)
    lists = json.dumps(describe(environment.refreshable(env)))

    def step(dynamics: PyTree, state: State, env: PyTree) -> State:
        return tree.unbox(dynamics).step(state, tree.unbox(env))

    def observed(function: Callable[..., Any]) -> str:
        return computation(lambda s, e: tree.box(call(function, s, e)), state, env)

    return {
        "dynamics": computation(step, dynamics, state, env),
        "the lists in env": hashlib.sha256(lists.encode()).hexdigest()[:16],
        "reduce": computation(lambda sums, s, e: stream.update(host.reduce, sums, s, e), host.sums, state, env),
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

    Names, comments and the way it is written do not count, and neither do the values of the arguments, of which the
    shapes matter. What is called back on the host is not looked at.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    digest = hashlib.sha256(_nameless(str(closed)).encode())
    for number in _constants(closed):
        digest.update(_words(number).encode())
    return digest.hexdigest()[:16]


def _constants(jaxpr: ClosedJaxpr | Jaxpr) -> Iterator[Any]:
    """Yield the numbers in a computation: as text, they are rounded, and arrays are left out."""
    if isinstance(jaxpr, ClosedJaxpr):
        yield from jaxpr.consts
        jaxpr = jaxpr.jaxpr
    for equation in jaxpr.eqns:
        yield from (place.val for place in equation.invars if isinstance(place, Literal))
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from _constants(inner)


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _words(leaf: Any) -> str:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return f"{leaf.dtype}{list(leaf.shape)}"
    if not hasattr(leaf, "dtype"):
        return repr(leaf) if isinstance(leaf, int | float | complex | str) else type(leaf).__qualname__
    array = plain_array(leaf)
    bits = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"{leaf.dtype}{list(array.shape)} {bits}" if array.ndim else f"{array.item()!r} ({leaf.dtype})"


def _nameless(text: str) -> str:
    """Return a text without the addresses of objects in it."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


__all__ = ["computation", "computations", "describe", "inputs"]
