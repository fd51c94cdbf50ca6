"""Measure speed, memory and compile time: `python -m benchmarks CASE`, and `python -m benchmarks compare`."""

import os

# NumPy's threads wait for work with their cores busy, which JAX needs: SciPy and ASE are faster with one
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
