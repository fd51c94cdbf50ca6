"""Arithmetic and structure of PyTrees, leaf by leaf.

Every algorithm uses two views of the PyTree of a user:

- In the *boxed* tree, arrays are leaves. Whatever JAX cannot trace (functions, strings, Python integers and booleans)
  is in a `Static` node, so the tree passes through `jit`, `scan` and `vmap`.
- The *moving* part has the real floating-point leaves, and `None` for everything else.

Momenta, forces, masses and noise have the structure of the moving part.
"""

from treedyn.tree._arithmetic import add as add
from treedyn.tree._arithmetic import axpy as axpy
from treedyn.tree._arithmetic import cast as cast
from treedyn.tree._arithmetic import divide as divide
from treedyn.tree._arithmetic import dtype as dtype
from treedyn.tree._arithmetic import finite as finite
from treedyn.tree._arithmetic import max_abs as max_abs
from treedyn.tree._arithmetic import norm as norm
from treedyn.tree._arithmetic import scale as scale
from treedyn.tree._arithmetic import size as size
from treedyn.tree._arithmetic import subtract as subtract
from treedyn.tree._arithmetic import total as total
from treedyn.tree._arithmetic import vdot as vdot
from treedyn.tree._arithmetic import where as where
from treedyn.tree._arithmetic import widest as widest
from treedyn.tree._arithmetic import zeros_like as zeros_like
from treedyn.tree._prefix import align as align
from treedyn.tree._prefix import broadcast as broadcast
from treedyn.tree._prefix import prefix_map as prefix_map
from treedyn.tree._structure import PyTree as PyTree
from treedyn.tree._structure import Static as Static
from treedyn.tree._structure import box as box
from treedyn.tree._structure import boxed as boxed
from treedyn.tree._structure import describe as describe
from treedyn.tree._structure import is_array as is_array
from treedyn.tree._structure import is_moving as is_moving
from treedyn.tree._structure import known as known
from treedyn.tree._structure import made_up as made_up
from treedyn.tree._structure import merge as merge
from treedyn.tree._structure import moving as moving
from treedyn.tree._structure import paths as paths
from treedyn.tree._structure import strong as strong
from treedyn.tree._structure import traceable as traceable
from treedyn.tree._structure import unbox as unbox
