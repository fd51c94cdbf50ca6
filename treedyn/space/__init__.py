"""The `Space` contract, the Euclidean default, and trees of spaces.

A space acts on one leaf: `shift(position, displacement)` moves it, and `displacement(a, b)` is the vector from `b` to
`a`. Both are differentiable, and the numbers of a space (a box) are leaves. Spaces compose by prefix tree:
`{"atoms": periodic(box), "weights": euclidean()}`.

A space is flat if moving by `a` and then by `b` is moving by `a + b`; a vector then means the same everywhere. A
`Manifold` is not flat. It also defines how vectors are transported, which vectors are tangent, and how many degrees of
freedom there are.

The functions of this module act on a whole tree, with every leaf in its own space. Their first argument is a space or a
prefix tree of spaces; the others are the moving part of a position and trees like it.
"""

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
