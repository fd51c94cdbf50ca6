"""Damaged files are read or refused by name: no hang, no crash, no large allocation, no other numbers."""

import subprocess
import sys

import pytest

from tests.programs import ROOT

SUFFIXES = ["xyz", "gsd", "h5md", "hdf5", "h5", "npz", "folder", "zarr", "csv", "jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_read_or_refused_by_name(suffix):
    command = [sys.executable, "-m", "tests.store.damage", f"t.{suffix}", "0", "150"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
