"""What a target needs besides the position: neighbor lists, minibatches, a projectile."""

from treedyn._member import member as member
from treedyn.environment._environment import advance as advance
from treedyn.environment._environment import advancing as advancing
from treedyn.environment._environment import allocate as allocate
from treedyn.environment._environment import at as at
from treedyn.environment._environment import check as check
from treedyn.environment._environment import enlarged as enlarged
from treedyn.environment._environment import moves as moves
from treedyn.environment._environment import plain as plain
from treedyn.environment._environment import rebuild as rebuild
from treedyn.environment._environment import refresh as refresh
from treedyn.environment._environment import refreshable as refreshable
from treedyn.environment._environment import status as status
from treedyn.environment._environment import tuned as tuned
from treedyn.environment._environment import update as update
from treedyn.environment._environment import valid as valid
from treedyn.environment._environment import with_advancing as with_advancing
from treedyn.environment._parts import Advancing as Advancing
from treedyn.environment._parts import Pace as Pace
from treedyn.environment._parts import Refreshable as Refreshable
from treedyn.environment._parts import Timed as Timed
