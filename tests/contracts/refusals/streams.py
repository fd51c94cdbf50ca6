"""What reducers refuse: observables, bins, carries."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.contracts.refusals.kinds import INF, NAN, THING, arg, row
from treedyn import stream


def identity(x: Any) -> Any:
    return x


def observed(of: Any) -> Any:
    return stream.mean(of).init(jnp.ones(3))


def spread(of: Any) -> Any:
    return stream.variance(of).init(jnp.ones(3))


def followed(of: Any) -> Any:
    return stream.update(stream.mean(of), stream.init(stream.mean(identity), jnp.ones(3)), jnp.ones(3))


OF, FLAG = arg(identity, "function arity"), arg(False, "flag")
OBSERVED = {"strings": lambda x: np.array(["a"]), "objects": lambda x: np.array([THING])}
REDUCERS = arg(stream.mean(identity), "struct", "none", more={"tree": {"a": identity}, "class": stream.Reducer})
CARRY = stream.init(stream.mean(identity), jnp.ones(3))
CARRIES = arg(
    CARRY,
    "struct",
    more={
        "other": stream.init(stream.variance(identity), jnp.ones(3)),
        "shape": stream.init(stream.mean(identity), jnp.ones(2)),
    },
    named="carry|a|b|of",
)

ROWS = [
    *(row(make, of=OF) for make in (stream.mean, stream.variance, stream.r_hat, stream.extremes)),
    row(stream.covariance, of=OF, across=FLAG),
    row(stream.blocking, of=OF, levels=arg(4, "natural counting", more={"many": 33, "huge": 2**70})),
    row(stream.autocorrelation, of=OF, lags=arg(3, "natural counting")),
    row(
        stream.histogram,
        of=OF,
        edges=arg(
            [0.0, 1.0, 2.0],
            "struct",
            more={
                "one": [1.0],
                "falling": [1.0, 0.0],
                "same": [1.0, 1.0],
                "nan": [0.0, NAN, 1.0],
                "matrix": np.ones((2, 2)),
                "inf": [NAN, INF],
            },
        ),
        pool=FLAG,
    ),
    row(
        stream.quantiles,
        of=OF,
        q=arg(0.5, "number nonnegative", "", {"percent": 95.0, "nan": [0.5, NAN], "tree": {"a": 0.5}}),
        size=arg(256, "natural counting", more={"one": 1, "no_power": 100}),
        capacity=arg(2**20, "natural counting", more={"huge": 2**63}),
    ),
    row(
        stream.pooled,
        reducer=arg(
            stream.mean(identity),
            "struct",
            more={"unmerged": stream.autocorrelation(identity, lags=3), "class": stream.Reducer},
        ),
    ),
    row(observed, called="stream.mean(of).init", of=arg(identity, "", more=OBSERVED)),
    row(
        spread,
        called="stream.variance(of).init",
        of=arg(identity, "", more=OBSERVED | {"complex": lambda x: x.astype(complex)}),
    ),
    row(
        followed,
        called="stream.mean(of).update",
        of=arg(identity, "", more={"shape": lambda x: x[:2], "scalar": jnp.sum}),
    ),
    row(stream.init, reducers=REDUCERS, state=arg(jnp.ones(3), "")),
    row(
        stream.update,
        reducers=REDUCERS,
        carry=CARRIES,
        state=arg(jnp.ones(3), "", more={"shape": jnp.ones(2)}, named="of"),
    ),
    row(stream.result, reducers=REDUCERS, carry=CARRIES._replace(but=frozenset({"shape"}))),
    row(stream.merge, reducers=REDUCERS, a=CARRIES, b=CARRIES),
]
