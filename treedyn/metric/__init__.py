r"""Kinetic metrics: the `Metric` contract, the diagonal metric that `mass=` stands for, and trees of metrics.

A metric acts on one leaf. It defines the velocity of a momentum, $v = M^{-1} p$, its kinetic energy,
$K = \frac12 p \cdot M^{-1} p$, its thermal distribution, $p \sim N(0, kT M)$, and the number of directions in which
the leaf can move. Metrics compose by prefix tree: `mass={"a": 2.0, "b": my_metric}`.

The functions of this module act on a whole tree: `metric` has a metric for every leaf, such as `state.metric`, and
`position`, `momentum`, `noise` and `kT` are the moving part of the position and trees like it.
"""

from treedyn.metric._low_rank import LowRank as LowRank
from treedyn.metric._metric import Diagonal as Diagonal
from treedyn.metric._metric import Metric as Metric
from treedyn.metric._metric import PointMass as PointMass
from treedyn.metric._metric import check as check
from treedyn.metric._metric import degrees as degrees
from treedyn.metric._metric import is_metric as is_metric
from treedyn.metric._metric import kinetic as kinetic
from treedyn.metric._metric import masses as masses
from treedyn.metric._metric import numbers as numbers
from treedyn.metric._metric import of_leaves as of_leaves
from treedyn.metric._metric import thermal as thermal
from treedyn.metric._metric import twice_kinetic as twice_kinetic
from treedyn.metric._metric import velocity as velocity
