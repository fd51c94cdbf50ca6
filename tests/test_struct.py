"""Structs are immutable PyTrees: numbers are leaves, names are structure, functions are either."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td


class Spring(td.Struct):
    stiffness: float
    center: float = 0.0

    def __call__(self, x):
        return self.stiffness * (x - self.center) ** 2


class Model(td.Struct):
    weight: jax.Array
    energy: object = td.function()
    extra: object = td.function(default=None)
    name: str = td.static(default="model")
    parts: dict


def model(energy, **more):
    return Model(weight=jnp.arange(3.0), energy=energy, parts={"b": 1.0, "a": (2.0, None)}, **more)


def test_numbers_are_leaves_and_static_fields_are_structure():
    one = model(jnp.sum)
    assert [float(jnp.sum(x)) for x in jax.tree.leaves(one)] == [3.0, 2.0, 1.0]
    assert jax.tree.structure(one) == jax.tree.structure(model(jnp.sum))
    assert jax.tree.structure(one) != jax.tree.structure(one.replace(name="other"))


def test_a_plain_function_is_structure_and_a_callable_tree_keeps_its_leaves():
    bare, tree = model(jnp.sum), model(Spring(stiffness=4.0))
    assert len(jax.tree.leaves(tree)) == len(jax.tree.leaves(bare)) + 2
    assert jax.tree.structure(bare) != jax.tree.structure(model(jnp.max))
    assert jax.tree.structure(tree) == jax.tree.structure(model(Spring(stiffness=5.0)))
    assert jax.tree.structure(tree) != jax.tree.structure(bare)


@pytest.mark.parametrize(
    "energy", [jnp.sum, lambda x: x, Spring(stiffness=4.0), eqx.nn.MLP(2, 2, 3, 1, key=jax.random.key(0))]
)
def test_flattening_and_back_gives_the_same_fields(energy):
    before = model(energy, extra=jnp.tanh)
    leaves, structure = jax.tree.flatten(before)
    after = jax.tree.unflatten(structure, leaves)
    assert type(after) is Model and (after.name, after.extra) == ("model", jnp.tanh)
    assert jax.tree.structure(after.energy) == jax.tree.structure(before.energy)
    assert jax.tree.structure(after.parts) == jax.tree.structure(before.parts)
    np.testing.assert_array_equal(after.weight, before.weight)


def test_paths_of_leaves_are_the_names_of_fields():
    assert td.tree.paths(model(Spring(stiffness=4.0))) == [
        ".weight", ".parts['a'][0]", ".parts['b']", ".energy.stiffness", ".energy.center",
    ]  # fmt: skip


def test_structs_pass_through_jit_grad_and_vmap():
    apply = jax.jit(lambda m, x: m.energy(x) + m.parts["b"])
    assert apply(model(Spring(stiffness=4.0)), 3.0) == 37
    slope = jax.grad(lambda m: apply(m, 3.0))(model(Spring(stiffness=4.0)))
    assert (slope.energy.stiffness, slope.energy.center, slope.parts["b"]) == (9, -24, 1)
    many = jax.vmap(lambda k: Spring(stiffness=k))(jnp.arange(3.0))
    assert many.center.shape == (3,)
    np.testing.assert_array_equal(jax.vmap(lambda spring, x: spring(x))(many, jnp.ones(3)), [0, 1, 2])


def test_vmap_takes_an_axis_for_every_field():
    springs = Spring(stiffness=jnp.arange(3.0), center=1.0)
    axes = Spring(stiffness=0, center=None)
    np.testing.assert_array_equal(jax.vmap(lambda s, x: s(x), in_axes=(axes, None))(springs, 3.0), [0, 4, 8])
    both = Spring(stiffness=jnp.arange(3.0), center=jnp.zeros(3))
    np.testing.assert_array_equal(jax.vmap(lambda s: s(2.0), in_axes=0)(both), [0, 4, 8])
    wide = model(Spring(stiffness=jnp.ones(3), center=jnp.zeros(3)), extra=jnp.tanh).replace(parts={})
    np.testing.assert_array_equal(jax.vmap(lambda m: m.energy(m.weight), in_axes=0)(wide), [0, 1, 4])


def test_changing_a_leaf_does_not_retrace_and_changing_structure_does():
    traces = []

    @jax.jit
    def apply(m):
        traces.append(m.name)
        return m.energy(m.weight)

    for m in (model(jnp.sum), model(jnp.sum).replace(weight=jnp.ones(3)), model(jnp.max), model(jnp.sum, name="x")):
        apply(m)
    assert traces == ["model", "model", "x"]


def test_fields_are_keyword_only_frozen_and_known():
    with pytest.raises(TypeError, match="positional"):
        Spring(2.0)
    with pytest.raises(TypeError, match=r"missing.*stiffness"):
        Spring()
    with pytest.raises(TypeError, match="stifness"):
        Spring(stifness=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spring(stiffness=1.0).stiffness = 2.0


def test_replace_copies_and_refuses_unknown_fields():
    spring = Spring(stiffness=1.0)
    assert (spring.replace(stiffness=2.0).stiffness, spring.stiffness) == (2.0, 1.0)
    with pytest.raises(TypeError, match=r"Spring: no field 'mass'; the fields are stiffness, center"):
        spring.replace(mass=1.0)


def test_subclasses_add_fields():
    class Damped(Spring):
        friction: float = 0.5

    damped = Damped(stiffness=1.0)
    assert jax.tree.leaves(damped) == [1.0, 0.0, 0.5]
    assert isinstance(jax.tree.map(lambda x: x, damped), Damped)


def test_replacing_the_position_of_a_state_boxes_it():
    state = td.nve(lambda x: x["a"] ** 2 * x["n"], 0.1).init(jax.random.key(0), {"a": 1.0, "n": 2})
    moved = state.replace(position={"a": jnp.asarray(3.0), "n": 2})
    assert moved.position == {"a": 3.0, "n": 2}
    assert jax.tree.structure(moved) == jax.tree.structure(state)
    with pytest.raises(TypeError, match="no field 'positions'"):
        state.replace(positions=1.0)
