"""One division where autodiff would make three of it."""

import jax


@jax.custom_jvp
def reciprocal(x: jax.Array) -> jax.Array:
    """Return `1/x`; its derivative, -1/x^2, is made from the result and divides no second time.

    Division is the most expensive thing that a pair potential does. One that is written with `reciprocal(r)` shares a
    single one among energy, force and the direction of the force.

    Example:
        >>> import jax
        >>> from treedyn import particles as tp
        >>> print(tp.reciprocal(4.0), jax.grad(tp.reciprocal)(4.0))
        0.25 -0.0625
    """
    return 1 / x


@reciprocal.defjvp
def _reciprocal_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = reciprocal(primals[0])
    return y, -tangents[0] * (y * y)


__all__ = ["reciprocal"]
