"""The examples run, and their claims hold."""

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
        warnings.simplefilter("ignore")  # warnings of diffrax
        errors = load("gravity")["main"](years=30, file="")
    verlet, tsit = errors["nve (velocity Verlet)"], errors["Runge-Kutta (Tsit5)"]
    half = len(verlet) // 2
    assert np.max(verlet[half:]) < 1.2 * np.max(verlet[:half])
    assert np.max(tsit[half:]) > 1.8 * np.max(tsit[:half])
    assert np.max(verlet) < 0.1 * np.max(tsit)


@pytest.mark.slow
def test_atoms_and_weights_in_one_tree_behave_as_in_separate_runs():
    mean = load("any_tree")["main"](steps=4000)
    # the energies fluctuate by about 8 (liquid) and 4 (posterior), with correlations over hundreds of steps
    assert abs(mean["both"] - mean["atoms"] - mean["weights"]) < 12
    assert mean["atoms"] < -200 < 0 < mean["weights"]


@pytest.mark.slow
def test_the_bands_of_all_samplers_are_wide_where_there_are_no_data():
    example = load("band")
    bands = example["main"](scale=0.1, file="")
    grid, exact = np.asarray(example["grid"]), bands.pop("last layer, exact")
    for name, (_, sd) in bands.items():
        known, unknown = sd[np.abs(grid - 1) < 0.3].max(), sd[np.abs(grid) > 3].min()
        assert unknown > 2 * known, name
    np.testing.assert_allclose(bands["last layer alone"][1], exact[1], rtol=0.3)
