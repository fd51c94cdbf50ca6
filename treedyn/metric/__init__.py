"""Kinetic metrics: mass as velocity, kinetic energy, thermal momenta and degrees of freedom."""

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
