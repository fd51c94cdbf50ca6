"""The shapes in annotations are those of real calls: in 1-D, 2-D and 3-D, in both precisions, under jit and vmap.

The calls run in a process of their own, in which the import hook of jaxtyping checks every annotated function.
"""

import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from tests.shapes import require  # the hook finds the module only if it is imported


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_annotated_shapes_are_those_of_every_call(dimension):
    command = [sys.executable, "-m", "tests.particles.test_shapes", str(dimension)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["checked"]


def traced(f, *arguments):
    """Trace a function as jit does, alone and under vmap over all of its arguments, without compiling anything."""
    found = jax.jit(f).eval_shape(*arguments)
    many = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), arguments)
    jax.jit(jax.vmap(f)).eval_shape(*many)
    return found


def call_everything(tp, d, dtype):
    x = jnp.asarray(np.random.default_rng(0).uniform(0, 6, (12, d)), dtype)
    cell = 6 * np.eye(d) + np.tril(np.ones((d, d)), -1)
    boxes = [tp.free(), tp.periodic(6), tp.periodic([6.0] * d), tp.periodic(jnp.full(d, 6, dtype), axes=(True,) * d)]
    boxes += [tp.triclinic(cell), tp.triclinic(cell.tolist()), tp.triclinic(jnp.asarray(cell, dtype), fractional=True)]
    for space in boxes:
        for f in (space.shift, space.pull_back, space.displacement, space.distance):
            traced(f, x, x), traced(f, x[0], x[0]), traced(lambda a, b, f=f: f(a[:, None], b[None]), x, x)
        traced(lambda x, s: (s.cell(d), s.heights(d), s.fractional(x)), x, space)
    for space in (tp.periodic(6), boxes[-1]):
        of_energies(tp, space, x)
    for lattice in {2: [tp.hexagonal], 3: [tp.sc, tp.bcc, tp.fcc, tp.diamond, tp.hcp]}.get(d, []):
        traced(lambda n, f=lattice: (f(2, density=n).density, f((2,) * d, lattice_constant=n).space.volume(d)), x[0, 0])
        check_fields(lattice(2, density=1))
    with_lists(tp, tp.periodic(6), x)


def of_energies(tp, space, x):
    count, d = x.shape
    one, kinds = x[0, 0] / x[0, 0], np.arange(count) % 2
    epsilon, sigma = tp.by_species([[1.0, 1.5], [1.5, 0.5]], kinds), tp.by_particle(np.linspace(0.9, 1.1, count))
    u = tp.lennard_jones(epsilon, sigma)
    potentials = [tp.cut(u, 2.0), tp.shifted(u, one * 2), tp.force_shifted(u, 2), tp.smooth(tp.morse(), 1.5, 2)]
    potentials += [tp.soft_sphere(sigma=tp.by_particle([1.0] * count, tp.geometric_mean))]
    for u in potentials:
        energy = tp.pair_energy(u, space, precision=jnp.float32)
        slopes = traced(jax.value_and_grad(lambda x, s, e=energy: e(x, strain=s)), x, jnp.zeros((d, d), x.dtype))
        assert all(slope.dtype == x.dtype for slope in slopes)
    traced(lambda x: tp.pair_energy(tp.reciprocal, space, cutoff=2)(x), x)
    volume = {"volume": 216} if isinstance(space, tp.Free) else {"space": space}
    traced(lambda x, m: tp.pressure(energy, x, momentum=x, mass=m, **volume), x, x[:, 0])
    traced(lambda x, m: tp.stress(energy, x, momentum=x, mass=m, **volume), x, one)
    traced(lambda x, k: tp.bond_energy(tp.harmonic(k, one), [[0, 1], [1, 2]], space)(x), x, x[:2, 0])
    bonds = tp.bond_energy(tp.harmonic(), jnp.array([[0, 1]]), space)
    for struct in (bonds, epsilon, sigma, space):
        check_fields(struct)
    traced(lambda x, s, b: bonds.replace(bonds=b)(x, strain=s), x, jnp.zeros((d, d), x.dtype), bonds.bonds)
    traced(lambda n: tp.long_range_correction(tp.cut(tp.morse(), 2.5), n, d), one)
    reducer = tp.radial_distribution(space, 5, 2.0, volume=6.0**d, select=lambda x: x)
    traced(lambda x: reducer.result(reducer.update(reducer.init(x), x)), x)


def with_lists(tp, space, x):
    energy = tp.pair_energy(tp.cut(tp.lennard_jones(), 2.0), space)
    for env in (
        tp.neighbor_list(space, 2.0, skin=x.dtype.type(0.5)).allocate(x),
        tp.neighbor_list(space, 2, skin="auto", tolerance=1e-3).allocate(x),
    ):
        check_fields(env)
        traced(lambda env, x: (env.update(x), env.valid(x, 0.5, space), env.rebuild(x, space)), env, x)
        traced(lambda env, x: (energy(x, env), tp.virial(energy, x, env)), env, x)
        sums = traced(lambda x, env, q: tp.neighbor_sum(lambda r, a, b: b * r, x, env, quantities=q), x, env, x)
        assert sums.shape == x.shape and sums.dtype == x.dtype


def check_fields(struct):
    """Check the shapes of the fields of a struct, which the hook does not see."""
    with jaxtyping.jaxtyped("context"):
        for field in dataclasses.fields(struct):
            require(field.name, getattr(struct, field.name), field.type)


def must_fail(call, *arguments):
    try:
        call(*arguments)
    except TypeError:
        return
    raise AssertionError(f"a wrong shape was not noticed in {call}")


def main(dimension):
    with jaxtyping.install_import_hook("treedyn", "tests.shapes.check_shapes"):
        from treedyn import particles as tp
    # a shape does not depend on the dtype, so each dimension is tried with one of the two
    call_everything(tp, dimension, jnp.float32 if dimension == 2 else jnp.float64)
    x = jnp.ones((4, dimension))
    must_fail(tp.free().displacement, x, jnp.ones((4, dimension + 1)))
    must_fail(tp.pair_energy(tp.morse(), tp.free()), x[0])
    must_fail(tp.triclinic, np.ones((dimension, dimension + 1)))
    must_fail(check_fields, tp.Lattice(position=x, box=jnp.ones(dimension + 1)))
    must_fail(jax.jit(lambda x: tp.virial(tp.pair_energy(tp.morse(), tp.free()), x)), x.astype(int))
    print("checked")


if __name__ == "__main__":
    main(int(sys.argv[1]))
