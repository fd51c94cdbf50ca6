"""Reduce a stream of states as it passes, without storing it."""

from treedyn.stream._autocorrelation import autocorrelation as autocorrelation
from treedyn.stream._average import Average as Average
from treedyn.stream._blocking import blocking as blocking
from treedyn.stream._count import Count as Count
from treedyn.stream._extremes import extremes as extremes
from treedyn.stream._histogram import histogram as histogram
from treedyn.stream._moments import covariance as covariance
from treedyn.stream._moments import mean as mean
from treedyn.stream._moments import variance as variance
from treedyn.stream._quantiles import quantiles as quantiles
from treedyn.stream._r_hat import r_hat as r_hat
from treedyn.stream._reducer import Reducer as Reducer
from treedyn.stream._reducer import init as init
from treedyn.stream._reducer import merge as merge
from treedyn.stream._reducer import pool as pool
from treedyn.stream._reducer import pooled as pooled
from treedyn.stream._reducer import result as result
from treedyn.stream._reducer import sum_dtype as sum_dtype
from treedyn.stream._reducer import update as update
