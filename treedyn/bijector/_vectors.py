"""Constraints of vectors and matrices: order, a fixed sum, a correlation."""

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn.bijector._bijector import Bijector, like


class Ordered(Bijector):
    """Vectors along the last axis whose elements increase."""

    def forward(self, x: jax.Array) -> jax.Array:
        return jnp.cumsum(jnp.concatenate([x[..., :1], jnp.exp(x[..., 1:])], axis=-1), axis=-1)

    def inverse(self, y: jax.Array) -> jax.Array:
        return jnp.concatenate([y[..., :1], jnp.log(jnp.diff(y, axis=-1))], axis=-1)

    def log_jacobian(self, x: jax.Array) -> jax.Array:
        return x.at[..., 0].set(0)

    def contains(self, y: jax.Array) -> jax.Array:
        return jnp.all(jnp.diff(y, axis=-1) > 0)


class Simplex(Bijector):
    """Vectors of K positive numbers along the last axis with sum 1, from K - 1 free coordinates.

    Every number takes a part of what those before it leave of 1.
    """

    def _logits(self, x: jax.Array) -> jax.Array:
        # at x = 0 all numbers are equal
        left = np.arange(x.shape[-1], 0, -1)
        return x - like(np.log(left), x)

    def forward(self, x: jax.Array) -> jax.Array:
        logits = self._logits(x)
        left = jnp.cumsum(jax.nn.log_sigmoid(-logits), axis=-1)
        zero = jnp.zeros_like(x[..., :1])
        log_part = jnp.concatenate([jax.nn.log_sigmoid(logits), zero], axis=-1)
        return jnp.exp(log_part + jnp.concatenate([zero, left], axis=-1))

    def inverse(self, y: jax.Array) -> jax.Array:
        # what is left is summed from the end, without differences from 1
        left = jnp.flip(jnp.cumsum(jnp.flip(y[..., 1:], -1), axis=-1), -1)
        logits = jnp.log(y[..., :-1]) - jnp.log(left)
        return logits + like(np.log(np.arange(logits.shape[-1], 0, -1)), logits)

    def log_jacobian(self, x: jax.Array) -> jax.Array:
        logits = self._logits(x)
        left = jnp.cumsum(jax.nn.log_sigmoid(-logits), axis=-1)
        before = jnp.concatenate([jnp.zeros_like(x[..., :1]), left[..., :-1]], axis=-1)
        return before + jax.nn.log_sigmoid(logits) + jax.nn.log_sigmoid(-logits)

    def contains(self, y: jax.Array) -> jax.Array:
        near = 8 * y.shape[-1] * jnp.finfo(y.dtype).eps
        return jnp.all(y > 0) & jnp.all(jnp.abs(jnp.sum(y, axis=-1) - 1) < near)


class CholeskyOfCorrelation(Bijector):
    """Lower triangular matrices L with positive diagonals and rows of length 1, from n (n - 1)/2 free coordinates.

    L L^T is a correlation matrix. The measure is that of the elements below the diagonal of L.
    """

    def forward(self, x: jax.Array) -> jax.Array:
        part = jnp.tanh(self._square(x))
        left = self._left(x)
        n = part.shape[-1]
        # below the diagonal a part of what is left, and all of it on the diagonal
        return jnp.exp(left) * (part + like(np.eye(n), part))

    def inverse(self, y: jax.Array) -> jax.Array:
        n = y.shape[-1]
        square = (y * like(np.tri(n), y)) ** 2
        # what is left of the length of a row, from the end
        left = jnp.sqrt(jnp.flip(jnp.cumsum(jnp.flip(square, -1), axis=-1), -1))
        rows, columns = np.tril_indices(n, -1)
        return jnp.arctanh(y[..., rows, columns] / left[..., rows, columns])

    def log_jacobian(self, x: jax.Array) -> jax.Array:
        n = self._size(x)
        rows, columns = np.tril_indices(n, -1)
        return 2 * _log_sech(x) + self._left(x)[..., rows, columns]

    def contains(self, y: jax.Array) -> jax.Array:
        n = y.shape[-1]
        near = 8 * n * jnp.finfo(y.dtype).eps
        lower = jnp.all(y * like(1 - np.tri(n), y) == 0)
        lengths = jnp.all(jnp.abs(jnp.sum(y**2, axis=-1) - 1) < near)
        return lower & lengths & jnp.all(jnp.diagonal(y, axis1=-2, axis2=-1) > 0)

    def _left(self, x: jax.Array) -> jax.Array:
        """Return the logarithm of the length that the elements before leave to each element of a row."""
        fall = jnp.cumsum(_log_sech(self._square(x)), axis=-1)
        return jnp.concatenate([jnp.zeros_like(fall[..., :1]), fall[..., :-1]], axis=-1)

    def _square(self, x: jax.Array) -> jax.Array:
        """Return the coordinates below the diagonal of a square matrix of zeros."""
        n = self._size(x)
        return jnp.zeros((*x.shape[:-1], n, n), x.dtype).at[..., *np.tril_indices(n, -1)].set(x)

    def _size(self, x: jax.Array) -> int:
        n = round((1 + (1 + 8 * x.shape[-1]) ** 0.5) / 2)
        if n * (n - 1) // 2 != x.shape[-1]:
            raise ValueError(
                f"bijectors: expected n (n - 1)/2 coordinates of a correlation along the last axis, got {x.shape[-1]}."
            )
        return n


def _log_sech(x: jax.Array) -> jax.Array:
    """Return log(1/cosh x), without overflow."""
    return tree.cast(np.log(2), x) - jnp.abs(x) - jnp.log1p(jnp.exp(-2 * jnp.abs(x)))


def ordered() -> Ordered:
    r"""Build the bijector $y_1 = x_1$, $y_k = y_{k-1} + e^{x_k}$ onto vectors whose elements increase.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> print(td.bijector.ordered().forward(jnp.zeros(3)))
        [0. 1. 2.]
    """
    return Ordered()


def simplex() -> Simplex:
    r"""Build the bijector onto K positive numbers with sum 1, $y_k = (1 - \sum_{j<k} y_j)/(1 + (K - k) e^{-x_k})$.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> print(td.bijector.simplex().forward(jnp.zeros(3)))
        [0.25 0.25 0.25 0.25]
    """
    return Simplex()


def cholesky_of_correlation() -> CholeskyOfCorrelation:
    r"""Build the bijector onto Cholesky factors of correlation matrices.

    $L_{ij} = \tanh(x_{ij}) \sqrt{1 - \sum_{k<j} L_{ik}^2}$ for $j < i$; the density is that of these elements.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> L = td.bijector.cholesky_of_correlation().forward(jnp.ones(3))
        >>> print(jnp.diagonal(L @ L.T).round(5))
        [1. 1. 1.]
    """
    return CholeskyOfCorrelation()
