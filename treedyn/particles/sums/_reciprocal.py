"""A reciprocal whose derivative needs no division."""

import jax
from jaxtyping import Array, Float


@jax.custom_jvp
def reciprocal(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `1/x` with a derivative, -1/x^2, that is computed from the result without another division.

    Division is the most expensive operation of a pair potential. A potential that uses `reciprocal(r)` shares one
    division among energy, force and the direction of the force.

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
