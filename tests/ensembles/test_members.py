"""A member of an ensemble is as if it were alone: steps, noise, lists, and what is recorded and reduced of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.driver.environments import Projectile, energy, near_list, start_position
from tests.helpers import KEY, METHODS, TREES, VARIANTS, assert_close, assert_same_bits, by_method, make, mostly_slow
from treedyn import environment
from treedyn import particles as tp

MEMBERS = 5


def pick(tree, k):
    return jax.tree.map(lambda x: x[k], tree)


def harmonic(x):
    return jnp.sum(x**2) / 2


def where(state):
    return state.position


# members of line searches are in `tests/minimize/test_search.py`
@pytest.mark.slow
@by_method("langevin_baoab", among=[m for m in METHODS if m not in VARIANTS])
def test_a_member_of_every_method_is_the_method_alone(method):
    position = TREES["zero_d_leaf"](jnp.float64)
    starts = jax.tree.map(lambda x: jnp.stack([x * (1 + 0.1 * k) for k in range(MEMBERS)]), position)
    many = td.ensemble(make(method), MEMBERS)
    state = many.init(KEY, td.per_member(starts))
    out = td.run(many, state, steps=10, every=2, record=where)
    for k in (0, 3):
        alone = td.run(many.member(k), pick(state, k), steps=10, every=2, record=where)
        assert_close(pick(out.state, k), alone.state)
        assert_close(jax.tree.map(lambda x, k=k: x[:, k], out.records), alone.records)


@pytest.mark.slow
def test_numbers_that_differ_are_those_of_the_members_and_the_rest_is_held_once():
    class Spring(td.Struct):
        stiffness: float
        data: jax.Array

        def __call__(self, x):
            return self.stiffness * jnp.sum((x - self.data) ** 2) / 2

    data = jnp.arange(3.0)
    members = [
        td.langevin(Spring(stiffness=k, data=data), dt=0.1, kT=kT, gamma=1.0) for k, kT in ((1.0, 0.5), (2.0, 2.0))
    ]
    many = td.ensemble(members)
    found = jax.tree.leaves(many.inner, is_leaf=lambda x: isinstance(x, td.PerMember))
    assert sum(isinstance(x, td.PerMember) for x in found) == 2 and any(x is data for x in found)
    state = many.init(KEY, jnp.zeros(3))
    end = td.run(many, state, steps=20).state
    for k, dynamics in enumerate(members):
        assert_close(pick(end, k), td.run(dynamics, pick(state, k), steps=20).state)


@pytest.mark.slow
def test_noise_and_path_of_a_member_do_not_depend_on_how_many_there_are():
    def path(members, chunk=None):
        many = td.ensemble(td.langevin(harmonic, 0.1, 1.0, 1.0), members)
        return td.run(many, many.init(KEY, jnp.ones(3)), steps=30, chunk=chunk, record=lambda s: s.position).records

    few = path(3)
    for other in (path(1), path(16, chunk=7)):
        n = min(3, other.shape[1])
        assert_same_bits(other[:, :n], few[:, :n])


@pytest.mark.slow
def test_the_environment_is_shared_or_per_member():
    def pull(x, env):
        return jnp.sum((x - env["centre"] * env["scale"]) ** 2) / 2

    many = td.ensemble(td.nve(pull, 0.1), 3)
    env = {"centre": jnp.ones(2), "scale": td.per_member(jnp.array([1.0, 2.0, 3.0]))}
    state = many.init(KEY, jnp.zeros(2), env)
    out = td.run(many, state, env, steps=10, record=lambda s, env: env["scale"] * s.position)
    for k in range(3):
        own = environment.member(env, k)
        assert own["scale"] == k + 1
        alone = td.run(many.member(k), pick(state, k), own, steps=10, record=lambda s, env: env["scale"] * s.position)
        assert_close(out.records[:, k], alone.records)
    pure = td.trajectory(many, state, env, steps=10)
    assert_close(pure.state, out.state)


def test_what_moves_on_moves_once_for_all_or_once_for_each():
    class Counter(td.Advancing):
        count: jax.Array

        def advance(self, state):
            return self.replace(count=self.count + jnp.ones_like(self.count))

    class Ramp(td.Timed):
        slope: jax.Array

        def at(self, time):
            return self.slope * time

    env = {
        "all": Counter(count=jnp.asarray(0.0)),
        "each": td.per_member(Counter(count=jnp.arange(3.0))),
        "timed": td.per_member(Ramp(slope=jnp.arange(3.0))),
    }

    def push(x, env):
        return -(env["all"].count + 10 * env["each"].count + env["timed"]) + 0 * x

    many = td.ensemble(td.nve(td.from_force(push), 0.1), 3)
    state = many.init(KEY, 0.0, env)
    look = lambda s, env: (env["all"].count, env["each"].count, env["timed"])  # noqa: E731
    out = td.run(many, state, env, steps=4, record=look)
    np.testing.assert_array_equal(out.records[0], [[1] * 3, [2] * 3, [3] * 3, [4] * 3])
    np.testing.assert_array_equal(out.records[1][-1], [4, 5, 6])
    np.testing.assert_allclose(out.records[2][-1], [0, 0.4, 0.8], rtol=1e-14)
    np.testing.assert_allclose(out.state.force, -(4 + 10 * np.array([4, 5, 6]) + np.array([0, 0.4, 0.8])))
    assert out.env["all"].count == 4


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_lists_of_members_are_rebuilt_grown_and_used_together():
    x = start_position()
    starts = jnp.stack([x, 0.9 * x, 1.1 * x])
    lists = td.stack([near_list(one, capacity=24) for one in starts])
    env = {"near": lists, "shot": Projectile(position=jnp.array([-4.0, 0.3]), velocity=jnp.array([0.1, 0.0]))}
    many = td.ensemble(td.langevin(energy, dt=0.05, kT=0.3, gamma=1.0), 3)
    state = many.init(KEY, td.per_member(starts), env)
    out = td.run(many, state, env, steps=60, every=4, record=lambda s: s.position)
    assert out.rebuilds > 2 and out.allocations > 0 and not np.any(out.state.status)
    for k in range(3):
        alone = td.run(many.member(k), pick(state, k), environment.member(env, k), steps=60)
        np.testing.assert_allclose(out.state.position[k], alone.state.position, rtol=1e-11, atol=1e-11)
    cut = td.run(many, state, env, steps=60, every=4, chunk=7, record=lambda s: s.position)
    assert_same_bits((cut.state, cut.records), (out.state, out.records))


@pytest.mark.slow
def test_boxes_of_their_own_with_neighbor_lists_of_their_own():
    crystals = [tp.fcc(3, density=density) for density in (0.7, 0.8, 0.9)]
    pair = tp.smooth(tp.lennard_jones(), onset=1.5, cutoff=1.9)
    starts = td.stack([c.position for c in crystals])
    many = td.ensemble(
        [
            td.langevin(tp.pair_energy(pair, c.space), dt=5e-3, kT=kT, gamma=1.0, space=c.space)
            for c, kT in zip(crystals, (0.5, 1.0, 2.0), strict=True)
        ]
    )
    spaces = td.stack([c.space for c in crystals]).values
    lists = tp.neighbor_list(crystals[0].space, 1.9, skin=0.3, headroom=1.0).allocate_members(starts.values, spaces)
    env = td.per_member(lists)
    state = many.init(KEY, starts, env)
    out = td.run(many, state, env, steps=300, every=50, record=td.temperature, reduce=td.stream.mean(td.temperature))
    assert out.rebuilds > 3 and out.records.shape == (6, 3) and out.failure is None
    early = td.run(many, state, env, steps=30).state
    for k, crystal in enumerate(crystals):
        all_pairs = tp.pair_energy(pair, crystal.space)(out.state.position[k])
        np.testing.assert_allclose(out.state.energy[k], all_pairs, rtol=1e-10)
        own = environment.member(env, k)
        alone = td.run(many.member(k), pick(state, k), own, steps=30).state
        np.testing.assert_allclose(early.position[k], alone.position, rtol=0, atol=1e-9)


# --- what is said of members ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_reducers_see_every_member_and_are_merged_where_that_is_asked_for():
    many = td.ensemble(td.langevin(harmonic, 0.2, 1.0, 1.0), 6)
    x = lambda s: s.position[0]  # noqa: E731
    variance = td.stream.variance(x)
    reduce = {
        "each": variance,
        "all": td.stream.pooled(variance),
        "joint": td.stream.mean(td.jointly(lambda s: jnp.max(s.position))),
    }
    out = td.run(many, many.init(KEY, jnp.ones(2)), steps=50, record=lambda s: s.position, reduce=reduce)
    series = np.asarray(out.records)[:, :, 0]
    np.testing.assert_allclose(out.reduced["each"].variance, np.var(series, axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(out.reduced["all"].variance, np.var(series, ddof=1), rtol=1e-12)
    assert out.reduced["all"].count == 300
    np.testing.assert_allclose(out.reduced["joint"], np.mean(np.max(np.asarray(out.records), axis=(1, 2))), rtol=1e-12)
    with pytest.raises(ValueError, match="Autocorrelation cannot be merged"):
        td.stream.pooled(td.stream.autocorrelation(x, lags=4))
    one = td.langevin(harmonic, 0.2, 1.0, 1.0)
    single = td.run(one, one.init(KEY, jnp.ones(2)), steps=50, reduce={"a": variance, "b": td.stream.pooled(variance)})
    assert_same_bits(single.reduced["a"], single.reduced["b"])


@pytest.mark.slow
def test_members_stop_where_their_condition_holds_and_all_stop_where_it_holds_for_all():
    many = td.ensemble(td.langevin(harmonic, 0.1, 1.0, 1.0), 32)
    starts = td.per_member(jnp.linspace(0.5, 8, 32)[:, None] * jnp.ones((32, 2)))
    state = many.init(KEY, starts)

    def near(state):
        return jnp.sum(state.position**2) < 0.5

    square = td.stream.variance(lambda s: s.position)
    options = {"every": 3, "record": lambda s: s.position, "reduce": {"each": square, "all": td.stream.pooled(square)}}
    out = td.run(many, state, steps=2000, until=near, **options)
    taken = np.asarray(out.state.step)
    assert out.finished.all() and out.steps == max(taken) < 2000 and len(set(taken)) > 10
    for k in (0, 7, 31):
        alone = td.run(many.member(k), pick(state, k), steps=2000, until=near, **options)
        assert alone.finished is True and alone.steps == taken[k]
        assert_close(pick(out.state, k), alone.state)
        assert_close(pick(out.reduced["each"], k), alone.reduced["each"])
        assert_close(out.records[: len(alone.records), k], alone.records)
    # how it is cut decides when members are left out, and changes nothing
    cut = td.run(many, state, steps=2000, until=near, chunk=5, **options)
    assert_same_bits((cut.state, cut.records, cut.reduced), (out.state, out.records, out.reduced))
    together = td.run(many, state, steps=2000, until=td.jointly(lambda s: jnp.mean(s.position**2) < 1.0))
    assert together.finished.all() and np.all(together.state.step == together.steps)


@pytest.mark.slow
def test_members_that_are_done_are_not_computed_any_more():
    calls = []

    def watched(x):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(x**2) / 2

    many = td.ensemble(td.gradient_descent(watched, 0.1), 8)
    starts = td.per_member(jnp.array([1e-3] * 7 + [1e8])[:, None])
    state = many.init(KEY, starts)
    calls.clear()
    out = td.run(many, state, steps=400, until=td.converged(force=1e-2), chunk=10)
    jax.effects_barrier()
    assert out.steps > 200
    # eight in the first chunk, then one alone: never eight all the time
    assert len(calls) < 8 * 10 + 2 * out.steps + 50


@pytest.mark.slow
def test_what_members_conserve_is_read_off_all_at_once():
    baths = [td.nose_hoover(harmonic, 0.05, kT, tau=1.0) for kT in (0.5, 1.0, 2.0)]
    many = td.ensemble(baths)
    state = many.init(KEY, jnp.ones(4))
    out = td.run(many, state, steps=100, every=100, record=td.jointly(many.conserved))
    np.testing.assert_allclose(out.records[0], many.conserved(state), atol=0.01)
    for k, bath in enumerate(baths):
        np.testing.assert_allclose(many.conserved(state)[k], bath.conserved(pick(state, k)), rtol=1e-13)
    minimizers = td.ensemble(td.fire(harmonic, 0.1), 2)
    with pytest.raises(ValueError, match="conserved: a Minimizer conserves nothing"):
        minimizers.conserved(minimizers.init(KEY, jnp.ones(2)))


@pytest.mark.slow
def test_an_optimizer_trains_many_networks_at_once():
    x = jnp.linspace(-1, 1, 20)
    loss = lambda w: jnp.mean((jnp.tanh(x[:, None] * w["a"][None] + w["b"][None]) @ w["c"] - jnp.sin(3 * x)) ** 2)  # noqa: E731
    many = td.ensemble(td.from_optax(loss, optax.adam(1e-2)), 4)
    keys = jax.random.split(KEY, 4)
    starts = jax.vmap(lambda k: {"a": jax.random.normal(k, (8,)), "b": jnp.zeros(8), "c": jnp.zeros(8)})(keys)
    out = td.run(many, many.init(KEY, td.per_member(starts)), steps=500)
    assert np.all(np.asarray(out.state.energy) < 0.05) and len(np.unique(out.state.energy)) == 4


# --- wrong use --------------------------------------------------------------------------------------------------------


class Spring(td.Struct):
    stiffness: object

    def __call__(self, x):
        return jnp.sum(self.stiffness * x**2) / 2


def spring(stiffness=1.0):
    return td.nve(Spring(stiffness=stiffness), 0.1)


def wrong_calls():
    """Return calls by what is said of them; wrong values of single arguments are in `tests/contracts/refusals`."""
    langevin, one = td.langevin(harmonic, 0.1, 1.0), td.nve(harmonic, 0.1)
    many, singles = td.ensemble(langevin, 3), td.ensemble(one, 3)
    state, alone = (functools.partial(dynamics.init, KEY, jnp.ones(2)) for dynamics in (many, one))
    marked, x = td.per_member(jnp.ones((3, 2))), jnp.ones(2)
    pairs = td.ensemble(td.nve(energy, 0.1), 2)
    joint = td.stream.mean(td.jointly(lambda s: jnp.mean(s.position)))

    def weighted(x, env):
        return jnp.sum(env * x**2)

    return {
        "members: expected a number": lambda: td.ensemble(langevin),
        "members: expected 1": lambda: td.ensemble([langevin], 2),
        "members: expected 5": lambda: td.ensemble(spring(td.per_member(jnp.ones(5))), 3),
        "dynamics: expected members that differ in numbers only": lambda: td.ensemble([langevin, one]),
        "Define each function once, not in a loop": lambda: td.ensemble([td.nve(lambda x: x, 0.1) for _ in range(2)]),
        "dynamics: expected that of one member": lambda: td.ensemble(many, 2),
        "values: expected a tree without PerMember nodes": lambda: td.per_member({"a": marked}),
        "k: expected an integer": lambda: environment.member({"a": marked}, 3),
        "k: expected an integer below 3": lambda: many.member(3),
        "env: a part of it differs from member": lambda: td.nve(weighted, 0.1).init(KEY, x, marked),
        "env: a part of it differs from": lambda: td.run(one, alone(), marked, steps=1),
        "env: expected one Near per member": lambda: pairs.init(KEY, start_position(), near_list(start_position())),
        "env: expected values for 3 members": lambda: td.run(many, state(), td.per_member(jnp.ones(2)), steps=1),
        "position: a part of it differs": lambda: one.init(KEY, marked),
        "NaN or infinite elements out of 6": lambda: many.init(KEY, td.per_member(jnp.full((3, 2), jnp.nan))),
        "kT: expected .*nonnegative|kT": lambda: many.init(KEY, x, kT=td.per_member(jnp.array([1.0, -1, 1]))),
        "momentum: expected finite": lambda: many.init(KEY, x, momentum=jnp.full(2, jnp.nan)),
        "momentum: a Minimizer starts without": lambda: td.ensemble(td.lbfgs(harmonic), 3).init(KEY, x, momentum=x),
        r"expected the states of 3 members.*td\.jointly": lambda: td.run(
            singles, singles.init(KEY, x), steps=1, record=singles.conserved
        ),
        "state: expected the states of 3 members": lambda: many.reverse(alone()),
        "state: expected the states of 3 members, got": lambda: td.run(many, alone(), steps=1),
        "state: expected the states of 3 members.*adopt": lambda: many.step(alone()),
        "state: expected the state of one system": lambda: td.run(langevin, state(), steps=1),
        r"space: expected a td\.Space for position, got 3.*td\.as_space": lambda: one.replace(space=3).init(KEY, x),
        "expected that of one system, got those of 3": lambda: many.inner.step(state()),
        "expected that of one member, or those of 3": lambda: many.adopt(jax.tree.map(lambda x: x[:2], state())),
        "reducer: it sees all members at once": lambda: td.stream.pooled(joint),
    }


@pytest.mark.parametrize("match", list(wrong_calls()))
def test_what_does_not_fit_members_is_refused_by_name(match):
    with pytest.raises(ValueError, match=f"(?s){match}"):
        wrong_calls()[match]()


def test_a_partial_of_a_joint_function_is_joint():
    many = td.ensemble(spring(), 3)
    joint = functools.partial(td.jointly(lambda s, e: jnp.mean(s.position)))
    out = td.run(many, many.init(KEY, jnp.ones(2)), steps=2, record=joint)
    assert out.records.shape == (2,)


def test_a_step_of_ones_own_is_checked():
    class Broken(td.Targeted):
        kind: str = td.static()

        def init(self, key, position, env=None):
            return self.begin(key, position, env)

        def draw(self, state):
            return None

        def apply(self, state, env, noise):
            return {"none": None, "info": state.replace(info=jnp.ones(3))}[self.kind]

    for kind, match in (("none", "got a NoneType"), ("info", "got another info; let init set")):
        dynamics = Broken(target=harmonic, space=td.euclidean(), kind=kind)
        state = dynamics.init(KEY, jnp.ones(2))
        for call in (dynamics.step, lambda state, d=dynamics: td.run(d, state, steps=2)):
            with pytest.raises(ValueError, match=rf"Broken\.apply: expected a state .*{match}"):
                call(state)
    with pytest.raises(TypeError, match=r"Own\.step: a step is apply"):

        class Own(td.Dynamics):
            def step(self, state, env=None):
                return state

    class Lazy(td.Targeted):
        pass

    with pytest.raises(TypeError, match=r"abstract class Lazy with.* apply, draw, init"):
        Lazy(target=harmonic, space=td.euclidean())


@pytest.mark.slow
def test_members_with_functions_in_their_positions_have_lists_that_grow():
    box = tp.periodic(jnp.full(2, 6.0))
    x = jnp.stack(jnp.meshgrid(*[1.0 + 1.2 * jnp.arange(4.0)] * 2), axis=-1).reshape(-1, 2)
    position = {"act": jnp.tanh, "x": x}
    pair = tp.pair_energy(tp.soft_sphere(), box, cutoff=1.0)
    lists = tp.neighbor_list(box, 1.0, skin=0.4, select=lambda position: position["x"])
    batch = {"act": jnp.tanh, "x": jnp.broadcast_to(x, (4, *x.shape))}
    env = td.per_member(lists.allocate_members(batch))
    many = td.ensemble(td.langevin(lambda p, env: pair(p["x"], env) + jnp.sum(p["act"](p["x"])), 0.02, 1.0), 4)
    state = many.init(KEY, position, env)
    out = td.run(many, state, env, steps=60, record=lambda s: s.position["x"], every=20)
    assert out.rebuilds > 0 and out.state.position["act"] is jnp.tanh
    alone = td.run(many.member(2), pick(state, 2), environment.member(env, 2), steps=60)
    assert_close(pick(out.state, 2), alone.state)


@pytest.mark.parametrize("extra", mostly_slow([True, 3, "word", jnp.tanh], "word"))
def test_what_is_no_array_may_stand_in_what_members_have_of_their_own(extra):
    class Named(td.Struct):
        also: object
        stiffness: jax.Array

        def __call__(self, x):
            return jnp.sum(self.stiffness * x**2) / 2

    marked = td.stack([Named(also=extra, stiffness=jnp.asarray(k)) for k in (1.0, 2.0, 3.0, 4.0)])
    assert marked.members == 4
    many = td.ensemble(td.nve(Holder(inside=marked), 0.1), 4)
    state = many.init(KEY, jnp.ones(2))
    out = td.run(many, state, steps=150, until=lambda s: s.slot > 0)
    one = td.run(many.member(0), pick(state, 0), steps=150).state
    assert_close(pick(out.state, 0), one)
    np.testing.assert_array_equal(out.state.step, [150, 1, 1, 1])


class Holder(td.Struct):
    inside: object

    def __call__(self, x):
        return self.inside(x)
