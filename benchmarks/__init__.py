"""Measure speed, memory and compile time: `python -m benchmarks CASE`, and `python -m benchmarks compare`."""
