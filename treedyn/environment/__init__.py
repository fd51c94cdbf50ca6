"""The environment of a target: neighbor lists, minibatches, a projectile.

The environment `env` is any PyTree. Most of it is plain data. Three kinds of nodes are updated by the library, at any
place in the tree:

- a `Refreshable` is valid for some positions only (a neighbor list). It has `valid`, `rebuild` under jit, and
  `allocate` on the host for when it runs out of space;
- a `Timed` is a function of time: the target sees `at(time)` in its place, at the time of every force;
- an `Advancing` moves once per step.

The environment passed to `step` is that of the *end* of the step, where the last force of the step is computed. So
`advance` comes before the step:

    env = environment.advance(env, state)             # from the time of `state` to one step later
    state = dynamics.step(state, env)
    env = environment.update(env, state)              # valid for one more step

A node that contains other nodes updates them itself. In an ensemble, values that differ between members are in
`PerMember` nodes. An `Advancing` node that is shared is advanced once, with the states of all members.
"""

from treedyn._member import member as member
from treedyn.environment._environment import advance as advance
from treedyn.environment._environment import advancing as advancing
from treedyn.environment._environment import allocate as allocate
from treedyn.environment._environment import at as at
from treedyn.environment._environment import beginning as beginning
from treedyn.environment._environment import check as check
from treedyn.environment._environment import enlarged as enlarged
from treedyn.environment._environment import moves as moves
from treedyn.environment._environment import plain as plain
from treedyn.environment._environment import rebuild as rebuild
from treedyn.environment._environment import refresh as refresh
from treedyn.environment._environment import refreshable as refreshable
from treedyn.environment._environment import status as status
from treedyn.environment._environment import trusted as trusted
from treedyn.environment._environment import tuned as tuned
from treedyn.environment._environment import update as update
from treedyn.environment._environment import valid as valid
from treedyn.environment._environment import with_advancing as with_advancing
from treedyn.environment._parts import Advancing as Advancing
from treedyn.environment._parts import Pace as Pace
from treedyn.environment._parts import Refreshable as Refreshable
from treedyn.environment._parts import Timed as Timed
