"""Settings of JAX and hypothesis under which every test runs: 64 bit, and no silent promotion of dtypes or ranks.

Each can be overridden from outside, e.g. `JAX_ENABLE_X64=0 pytest`. The examples in docstrings have to hold with the
default settings of JAX, too: `pytest treedyn` alone does not read this file.
"""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    # with asynchronous dispatch, a program on the CPU was once never finished, with all threads waiting for work
    "JAX_CPU_ENABLE_ASYNC_DISPATCH": "0",
    # XLA takes its own hints for gathers in a program that it kept for features which this machine lacks, and writes so
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# jax reads these when it is imported; they stand in the environment so that subprocesses have them, too
if "jax" in sys.modules:
    raise RuntimeError(
        "jax was imported before tests/conftest.py could set its configuration; look at pytest's plugins"
    )
for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# No deadline: the first example of a test compiles. In CI the examples are the same every time.
hypothesis.settings.register_profile("local", deadline=None, max_examples=25)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# Many tests make the same function again for every case. Each program is compiled once in a session. Every process has
# a folder of its own, because jax does not write these files atomically.
COMPILED = tempfile.mkdtemp(prefix="treedyn-compiled-")
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", COMPILED)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# Linux gives a process 65,530 mappings of memory, a compiled program takes some, and the compiler dies without them.
MAPPINGS = Path("/proc/self/maps")
MANY = 25_000


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Let go of what was compiled for the modules before, once it is much."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()
        gc.collect()
