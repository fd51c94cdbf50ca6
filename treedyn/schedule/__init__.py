"""Numbers given as a constant, a schedule, or a prefix tree of both.

`dt`, `kT`, `gamma`, `mass` and similar arguments are all numbers in this sense. A schedule is a function of the step
counter, as in Optax. A callable PyTree is not taken for a schedule, because it may be a tree of numbers in the form of
a module, such as one mass for every weight; `Schedule(function=...)` makes it a schedule with its parameters as leaves.
"""

from treedyn.schedule._schedule import Schedule as Schedule
from treedyn.schedule._schedule import at as at
from treedyn.schedule._schedule import is_schedule as is_schedule
from treedyn.schedule._schedule import numbers as numbers
from treedyn.schedule._schedule import of_leaves as of_leaves
from treedyn.schedule._schedule import one as one
