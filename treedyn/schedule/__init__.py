"""Numbers that may depend on the step: constants, schedules and prefix trees of them."""

from treedyn.schedule._schedule import Schedule as Schedule
from treedyn.schedule._schedule import at as at
from treedyn.schedule._schedule import is_schedule as is_schedule
from treedyn.schedule._schedule import numbers as numbers
from treedyn.schedule._schedule import of_leaves as of_leaves
