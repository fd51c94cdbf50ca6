"""Environment functions find the nodes that they update anywhere in a tree, and leave other data unchanged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, Projectile, energy, near_list, start_position
from tests.helpers import assert_same_bits
from treedyn import environment
from treedyn._status import Status

X = start_position()
FAR = X + 10


def shot():
    return Projectile(position=jnp.zeros(2), velocity=jnp.ones(2))


def at(position):
    return td.nve(lambda x: jnp.sum(x), 0.1).init(KEY, position)


def mixed(**options):
    return {
        "near": [near_list(X, **options)],
        "data": jnp.arange(3),
        "shots": (shot(), {"other": shot()}),
        "none": None,
    }


def test_plain_data_is_always_valid_and_never_changes():
    env = {"x": jnp.ones(3), "shot": shot()}
    assert not environment.refreshable(env) and not environment.refreshable(None)
    assert environment.valid(env, X) and environment.status(env) == 0 and environment.status(None) == 0
    assert_same_bits(environment.update(env, at(X)), env)
    assert environment.advance(None, None) is None


def test_nodes_are_found_anywhere_and_other_data_is_unchanged():
    env = mixed()
    assert environment.refreshable(env)
    for change, there in (
        (environment.rebuild, FAR),
        (environment.allocate, FAR),
        (environment.update, at(FAR)),
        (environment.refresh, at(FAR)),
    ):
        new = change(env, there)
        np.testing.assert_array_equal(new["near"][0].reference, FAR)
        assert_same_bits((new["data"], new["shots"], new["none"]), (env["data"], env["shots"], None))
    moved = environment.advance(env, None)
    np.testing.assert_array_equal(moved["shots"][1]["other"].position, [1, 1])
    assert_same_bits(moved["near"], env["near"])


def test_an_environment_is_valid_where_all_parts_are_valid():
    env = mixed()
    assert environment.valid(env, X) and not environment.valid(env, FAR)
    assert not environment.valid([near_list(X), near_list(FAR)], X)
    assert environment.valid([near_list(X), near_list(X)], X)


def test_update_rebuilds_beyond_the_margin():
    env = near_list(X, skin=0.4)
    for moved, rebuilt in [(0.0, False), (0.14, False), (0.16, True), (0.3, True)]:
        position = X.at[0, 0].add(moved)
        reference = jax.jit(environment.update)(env, at(position)).reference
        np.testing.assert_array_equal(reference, position if rebuilt else X)
        assert environment.valid(env, position) == (moved <= 0.2)


def test_status_words_of_all_parts_are_combined():
    full, wrong = near_list(X / 4, capacity=2), near_list(X).replace(word=jnp.uint32(int(Status.BOX)))
    assert Status(int(environment.status([full, {"b": wrong}, near_list(X)]))) == Status.OVERFLOW | Status.BOX


def test_the_status_of_the_environment_is_that_of_every_state():
    dynamics = td.nve(energy, 0.1)
    state = dynamics.init(KEY, X / 4, near_list(X / 4, capacity=2))
    assert Status(int(state.status)) == Status.OVERFLOW
    # bits are only ever set
    assert Status(int(dynamics.evaluate(state, near_list(X / 4)).status)) == Status.OVERFLOW
    assert Status(int(dynamics.evaluate(state, near_list(FAR)).status)) == Status.OVERFLOW | Status.STALE


def test_advancing_parts_can_be_extracted_and_replaced_in_order():
    env = mixed()
    nodes = environment.advancing(env)
    assert len(nodes) == 2
    changed = [node.replace(position=jnp.full(2, float(k))) for k, node in enumerate(nodes)]
    back = environment.with_advancing(env, changed)
    assert jax.tree.structure(back) == jax.tree.structure(env)
    assert (back["shots"][0].position[0], back["shots"][1]["other"].position[0]) == (0, 1)
    assert_same_bits(environment.with_advancing(env, nodes), env)


def test_an_advancing_part_sees_the_state_before_the_step():
    class Counter(td.Advancing):
        seen: jax.Array

        def advance(self, state):
            return self.replace(seen=state.step)

    dynamics = td.nve(lambda x, env: jnp.sum(x**2) * env.seen.astype(x.dtype), 0.1)
    env = Counter(seen=jnp.int32(0))
    state = dynamics.init(KEY, jnp.ones(2), env)
    for out in (td.run(dynamics, state, env, steps=5), td.trajectory(dynamics, state, env, steps=5)):
        assert out.env.seen == 4


def test_abstract_methods_of_a_list_are_required():
    class Empty(td.Refreshable):
        x: float

    with pytest.raises(TypeError, match=r"abstract class Empty with.* allocate, rebuild, valid"):
        Empty(x=1.0)


class Drive(td.Timed):
    rate: float

    def at(self, time):
        return jnp.cos(self.rate * time)


class Wrapped(td.Advancing):
    inside: object

    def advance(self, state):
        return self


class Listed(td.Refreshable):
    inside: object

    def valid(self, position, margin=1.0):
        return jnp.asarray(True)

    def rebuild(self, position):
        return self

    allocate = rebuild


@pytest.mark.parametrize("wrong", [Wrapped(inside=[td.per_member(jnp.ones(2))]), Listed(inside=Drive(rate=1.0))])
@pytest.mark.parametrize("holder", [lambda x: x, lambda x: td.PerMember(values=x)])
def test_a_part_inside_one_that_does_not_update_it_is_refused_everywhere(wrong, holder):
    dynamics = td.nve(energy, 0.1)
    state, env = dynamics.init(KEY, X, near_list(X)), {"wrapped": holder(wrong)}
    environment.check({"a": Wrapped(inside=(near_list(X), Drive(rate=1.0)))})
    many = td.ensemble(dynamics, 2)
    for wrong in (
        lambda: dynamics.init(KEY, X, env),
        lambda: td.run(dynamics, state, env, steps=1),
        lambda: td.trajectory(dynamics, state, env, steps=1),
        lambda: many.init(KEY, X, env),
    ):
        with pytest.raises(ValueError, match=r"env: a (Wrapped|Listed) holds a .*(td\.per_member|td\.Timed)"):
            wrong()


def test_an_advancing_part_keeps_its_shapes_and_dtypes():
    class Grows(td.Advancing):
        x: jax.Array

        def advance(self, state):
            return self.replace(x=jnp.zeros(state.step.shape, jnp.float32))

    with pytest.raises(ValueError, match=r"Grows\.advance must return the same tree(.|\n)*float32"):
        environment.advance(Grows(x=jnp.zeros((), jnp.float64)), at(X))
    many = td.ensemble(td.nve(lambda x, env: jnp.sum(x) * 0, 0.1), 3)
    env = Grows(x=jnp.zeros((), jnp.float32))
    with pytest.raises(ValueError, match="sees the states of all"):
        td.run(many, many.init(KEY, X, env), env, steps=1)


@pytest.mark.slow
def test_timed_parts_are_evaluated_at_the_time_of_each_member():
    many = td.ensemble(td.nve(lambda x, env: env["drive"] * jnp.sum(x), 0.1), 3)
    env = {"drive": Drive(rate=1.0), "own": td.per_member(Drive(rate=jnp.arange(3.0)))}
    start = td.per_member(jnp.arange(3.0))
    state = many.init(KEY, jnp.ones(2), env, time=start)
    joint = td.jointly(lambda s, e: {"drive": e["drive"], "own": e["own"].values})
    found = [td.run(many, state, env, steps=4, record=record).records for record in (joint, lambda s, e: e)]
    assert_same_bits(*found)
    np.testing.assert_allclose(found[0]["drive"][-1], np.cos(np.arange(3) + 0.4))


class Moving(td.Timed):
    side: float

    def at(self, time):
        return self.replace(side=self.side * (1 + time))


@pytest.mark.slow
def test_a_timed_part_that_returns_itself_is_evaluated_once():
    many = td.ensemble(td.nve(lambda x, env: jnp.sum(x), 0.1), 2)
    env = Moving(side=1.0)
    state = many.init(KEY, jnp.ones(2), env, time=0.4)
    for record in (lambda s, env: env.side, td.jointly(lambda s, env: env.side)):
        np.testing.assert_allclose(many.observe(record, state, env), 1.4)


@pytest.mark.parametrize("wrong", [np.array([object()]), np.array(["a"]), np.array(["2020-01-01"], "M8[D]")])
def test_arrays_without_numbers_are_refused(wrong):
    dynamics = td.nve(lambda x: jnp.sum(x**2), 0.1)
    with pytest.raises(ValueError, match="env: expected arrays of numbers, got"):
        dynamics.init(jax.random.key(0), jnp.ones(2), {"a": wrong})
    with pytest.raises(ValueError, match="env: expected arrays of numbers, got"):
        td.run(dynamics, dynamics.init(jax.random.key(0), jnp.ones(2)), {"a": wrong}, steps=1)
