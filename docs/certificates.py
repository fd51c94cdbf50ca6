"""The table of certificates on the page about correctness, computed when the pages are built."""

from typing import Any

import jax
import jax.numpy as jnp

import treedyn as td

_STEPS = (0.5, 1.0)
_MARK = "<!-- certificates -->"


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put the table in the place of its mark."""
    del kwargs
    return markdown.replace(_MARK, _table()) if _MARK in markdown else markdown


def _methods(dt: float) -> dict[str, td.Dynamics]:
    target = td.from_energy(lambda x: x**2 / 2)
    langevin = {
        f'`td.langevin(splitting="{name}")`': td.langevin(target, dt, 1.0, splitting=name)
        for name in ("BAOAB", "BAOA", "ABOBA", "OBABO", "OABAO")
    }
    brownian = {
        f'`td.brownian(method="{name}")`': td.brownian(target, dt, 1.0, method=name)
        for name in ("leimkuhler_matthews", "euler_maruyama")
    }
    return langevin | brownian


def _table() -> str:
    """Return the stationary moments of an oscillator with m = k = kT = gamma = 1, by method and time step."""
    rows = [
        f"| method | {' | '.join(f'⟨x²⟩, h = {h} | ⟨p²⟩, h = {h}' for h in _STEPS)} |",
        "|---|" + "---|---|" * len(_STEPS),
    ]
    with jax.enable_x64(True):
        found = [{name: _moments(d) for name, d in _methods(h).items()} for h in _STEPS]
    for name in found[0]:
        rows.append(f"| {name} | {' | '.join(x for column in found for x in column[name])} |")
    return "\n".join(rows)


def _moments(dynamics: td.Dynamics) -> tuple[str, str]:
    exact = td.certify(dynamics, dynamics.init(jax.random.key(0), jnp.array(0.0)))
    momentum = exact.momentum_covariance
    return _number(exact.position_covariance[0, 0]), "" if momentum is None else _number(momentum[0, 0])


def _number(x: float) -> str:
    return "1 (exact)" if abs(x - 1) < 1e-10 else f"{x:.6f}"
