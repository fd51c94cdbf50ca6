"""What the functions for networks refuse."""

import jax.numpy as jnp
import numpy as np

from tests.contracts.refusals.kinds import NAN, arg, row
from tests.contracts.refusals.methods import DT, FLAG, GROUPS, ONE, POSITIVE, RATE, TARGET
from tests.helpers import KEY
from treedyn import networks
from treedyn.networks import likelihood, prior

DATA = (jnp.ones(4), jnp.ones(4))
APPLY = arg(lambda w, x: w * x, "function", more={"arity": lambda w: w})
SCALE = arg(1.0, "number positive constant")
OWN = arg(likelihood.gaussian(1.0), "struct")
PRIOR = arg(prior.gaussian(), "struct", more={"tree": {"w": 1.0}, "likelihood": likelihood.poisson()})
PART = arg(lambda env: env, "function")
POSITION = jnp.array(1.0)
BATCHES = networks.batches(KEY, DATA, size=2)
TARGET_OF_DATA = networks.posterior(lambda w, x: w * x, likelihood.gaussian(1.0), prior.gaussian())
CHANCES = arg(np.full((3, 2), 0.5), "", more={"vector": np.ones(3), "text": "a", "none": None})
LABELS = arg(
    np.array([0, 1, 1]), "", more={"short": np.array([0]), "floats": np.ones(3), "one_hot": np.ones((3, 2), int)}
)
PAIR = {"one": jnp.ones(3), "triple": (1, 2, 3), "none": None}
RATES = arg(0.1, "number positive one constant")

ROWS = [
    row(prior.gaussian, scale=SCALE),
    row(prior.laplace, scale=SCALE),
    row(prior.student_t, freedom=ONE, scale=SCALE),
    row(prior.log_density, priors=arg(prior.gaussian(), "struct", named="prior"), position=arg(jnp.ones(2), "")),
    row(prior.given, of=arg(lambda position: prior.gaussian(), "function")),
    row(likelihood.gaussian, sd=arg(1.0, "number positive constant", "none")),
    row(
        likelihood.from_function,
        density=arg(lambda f, y: f * y, "function", more={"arity": lambda f: f}),
        expected=arg(lambda f: f, "function"),
    ),
    row(
        networks.posterior,
        apply=APPLY,
        likelihood=OWN,
        prior=PRIOR,
        data_size=arg(5, "natural counting", "none"),
        select=PART,
    ),
    row(
        networks.batches,
        key=arg(KEY, "key"),
        data=arg(DATA, "", more={"lengths": (jnp.ones(4), jnp.ones(3)), "nan": jnp.array([1.0, NAN]), "empty": ()}),
        size=arg(2, "natural counting", more={"many": 5}),
        rows=arg("epochs", "", more={"other": "random", "none": None, "number": 1}),
        per_step=arg(1, "natural counting"),
        members=arg(3, "natural counting", "none"),
    ),
    row(
        networks.gradient_noise,
        target=arg(TARGET_OF_DATA, "function"),
        position=arg(POSITION, ""),
        env=arg(BATCHES, "", more={"none": None, "data": DATA, "two": (BATCHES, BATCHES)}),
        matrix=FLAG,
        at_once=arg(2, "natural counting"),
    ),
    row(
        networks.control_variate, target=arg(TARGET_OF_DATA, "function"), position=arg(POSITION, ""), env=arg(DATA, "")
    ),
    row(
        networks.laplace,
        target=arg(TARGET_OF_DATA, "", more={"function": lambda w, env: w, "none": None, "energy": TARGET}),
        position=arg(POSITION, ""),
        env=arg(DATA, "", more={"none": None}),
        at_once=arg(2, "natural counting"),
    ),
    row(networks.sgld, target=TARGET, dt=DT, kT=arg(1.0, "number nonnegative"), mass=POSITIVE),
    row(
        networks.sghmc,
        target=TARGET,
        dt=arg(0.1, "number positive one constant finite"),
        kT=ONE,
        gamma=ONE,
        gradient_noise=arg(0.1, "number nonnegative constant finite", more={"much": 1e6}),
        mass=POSITIVE,
    ),
    row(networks.sgnht, target=TARGET, dt=DT, kT=POSITIVE, gamma=RATE, tau=POSITIVE, mass=POSITIVE, groups=GROUPS),
    row(networks.cyclical, largest=ONE, cycle=arg(3, "natural counting")),
    row(
        networks.cold,
        value=ONE,
        cycle=arg(3, "natural counting"),
        part=arg(0.5, "number positive one constant", more={"one": 1.0}),
    ),
    row(
        networks.from_sgd,
        learning_rate=RATES,
        momentum=arg(0.5, "number positive one constant", more={"one": 1.0}),
        data_size=arg(5, "natural counting"),
        weight_decay=arg(0.1, "number nonnegative one constant"),
    ),
    row(
        networks.to_sgd,
        dt=RATES,
        gamma=RATES,
        data_size=arg(5, "natural counting"),
        prior_scale=arg(1.0, "number positive one constant"),
    ),
    row(
        networks.predict,
        apply=APPLY,
        likelihood=OWN,
        data=arg(DATA, "", more=PAIR),
        parameters=arg(lambda position: position, "function"),
    ),
    row(networks.calibration, probabilities=CHANCES, labels=LABELS, bins=arg(5, "natural counting")),
    row(networks.accuracy, probabilities=CHANCES, labels=LABELS),
    row(networks.log_score, density=arg(np.ones(3), "", more={"matrix": np.ones((2, 2)), "text": "a"})),
    row(networks.entropy, probabilities=arg(np.ones((3, 2)) / 2, "", more={"text": "a", "none": None})),
]
