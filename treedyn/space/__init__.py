"""Spaces: how a leaf moves, how far two values are apart, and how momenta travel."""

from treedyn.space._space import EUCLIDEAN as EUCLIDEAN
from treedyn.space._space import Euclidean as Euclidean
from treedyn.space._space import FunctionSpace as FunctionSpace
from treedyn.space._space import Manifold as Manifold
from treedyn.space._space import Space as Space
from treedyn.space._space import as_space as as_space
from treedyn.space._space import check_flat as check_flat
from treedyn.space._space import contains as contains
from treedyn.space._space import displacement as displacement
from treedyn.space._space import euclidean as euclidean
from treedyn.space._space import is_space as is_space
from treedyn.space._space import of_leaves as of_leaves
from treedyn.space._space import project as project
from treedyn.space._space import pull_back as pull_back
from treedyn.space._space import shift as shift
from treedyn.space._space import transport as transport
from treedyn.space._sphere import Sphere as Sphere
from treedyn.space._sphere import rotations as rotations
from treedyn.space._sphere import sphere as sphere
