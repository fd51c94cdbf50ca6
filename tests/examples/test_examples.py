"""The examples run, and what they claim is so."""

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.mark.slow
def test_symplectic_planets_keep_their_energy_and_runge_kutta_loses_it():
    pytest.importorskip("diffrax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not ours: what diffrax warns of
        errors = load("gravity")["main"](years=30, file="")
    verlet, tsit = errors["nve (velocity Verlet)"], errors["Runge-Kutta (Tsit5)"]
    half = len(verlet) // 2
    assert np.max(verlet[half:]) < 1.2 * np.max(verlet[:half])
    assert np.max(tsit[half:]) > 1.8 * np.max(tsit[:half])
    assert np.max(verlet) < 0.1 * np.max(tsit)


@pytest.mark.slow
def test_atoms_and_weights_in_one_tree_do_what_they_do_apart():
    mean = load("any_tree")["main"](steps=4000)
    # the potential energy of the liquid fluctuates by some 8, of the posterior by some 4, correlated over 100s of steps
    assert abs(mean["both"] - mean["atoms"] - mean["weights"]) < 12
    assert mean["atoms"] < -200 < 0 < mean["weights"]
