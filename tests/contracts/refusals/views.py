"""What pictures and films refuse: positions, colors, names of files."""

from typing import Any

import numpy as np
from PIL import Image

from tests.contracts.refusals.kinds import NAN, THING, arg, file, garbage, row
from treedyn import view

PICTURE = np.zeros((16, 20, 3), np.uint8)


def drawn(**arguments: Any) -> Any:
    return list(view.frames(**arguments))


COLOR = {"two": (1, 2), "many": (300, 0, 0), "minus": (-1, 0, 0), "text": "red", "none": None, "nan": (NAN, 0, 0)}
PICTURES = {
    **{"none": None, "thing": THING, "text": "one", "empty": [], "floats": [PICTURE / 255], "flat": [PICTURE[..., 0]]},
    **{"sizes": [PICTURE, PICTURE[:8]], "numbers": [1, 2], "alpha": [np.zeros((4, 4, 4), np.uint8)]},
}
BALL = view.Ball(np.ones((1, 2)), 0.1)
BALLS = {
    **{"none": None, "ball": BALL, "things": [THING], "large": [BALL._replace(radius=9.0)], "text": "ball"},
    **{"color": [BALL._replace(color=(1, 2))], "nowhere": [BALL._replace(position=np.ones((0, 2)))]},
    **{"nan": [BALL._replace(radius=NAN)], "flat": [BALL._replace(position=np.ones(2))]},
}
LOOK = {"none_wide": view.Look(width=0), "half": view.Look(width=7.5), "nan": view.Look(relief=NAN), "number": 1.0}
LOOK |= {"text": "dark", "paper": view.Look(background=(1, 2)), "shadow": view.Look(shadow=-1.0)}
SCENE = {
    "color": arg((1, 2, 3), "", more=COLOR | {"rows": np.ones((5, 3))}),
    "box": arg(2.0, "number positive finite constant", more={"three": np.ones(3), "tree": {"a": 1.0}}),
    "radius": arg(0.2, "number positive finite constant", more={"five": np.ones(5), "tree": {"a": 1.0}}),
    "balls": arg((), "", more=BALLS),
    "look": arg(view.Look(width=16), "", more=LOOK),
}
FPS, HOLD = arg(25.0, "number positive finite one constant"), arg(0.0, "number nonnegative finite one constant")

ROWS = [
    row(
        view.render,
        position=arg(np.ones((4, 2)), "points known_points", "integers empty", {"space": np.ones((4, 3))}),
        **SCENE,
    ),
    row(
        view.render,
        called="view.render(frame)",
        position=arg(np.ones((4, 2)), ""),
        color=arg((1, 2, 3), ""),
        box=arg(2.0, ""),
        radius=arg(0.2, ""),
        balls=arg([BALL], ""),
        frame=arg(0, "natural", more={"beyond": 1}),
    ),
    row(
        view.frames,
        positions=arg(np.ones((1, 4, 2)), "points", "cube tree", {"nans": np.full((1, 4, 2), NAN)}),
        balls=SCENE["balls"]._replace(but=frozenset({"large"})),
        color=arg((1, 2, 3), ""),
        box=arg(2.0, ""),
        radius=arg(0.2, ""),
    ),
    row(drawn, called="list(view.frames)", positions=arg(np.ones((1, 4, 2)), ""), **SCENE),
    row(
        view.write_film,
        path=arg(file(".gif"), "path to_write", more={"ending": file(".avi")}),
        frames=arg([PICTURE], "", more=PICTURES),
        fps=FPS,
        hold=HOLD,
    ),
    row(
        view.write_gif,
        path=arg(file(".gif"), "path to_write"),
        frames=arg([PICTURE], "", more=PICTURES),
        fps=FPS,
        hold=HOLD,
        colors=arg(16, "natural counting", more={"one": 1, "many": 256}),
    ),
    row(
        view.write_mp4,
        path=arg(file(".mp4"), "path to_write"),
        frames=arg([PICTURE], "", more=PICTURES),
        fps=FPS,
        hold=HOLD,
    ),
    row(
        view.grains,
        image=arg(
            Image.new("RGB", (8, 6), "white"), "path to_read", more={"garbage": garbage(".png"), "array": PICTURE}
        ),
        count=arg(9, "natural counting"),
    ),
    row(
        view.side_by_side,
        pictures=arg([PICTURE], "", more=PICTURES),
        labels=arg((), "", more={"two": ["a", "b"], "text": "a", "number": 1.0, "things": [THING]}),
        gap=arg(1, "natural"),
        background=arg((1, 2, 3), "", more=COLOR),
    ),
    row(
        view.write_picture,
        path=arg(file(".png"), "path to_write", more={"ending": file(".doc"), "none_at_all": file("")}),
        picture=arg(
            PICTURE, "", more={"none": None, "text": "one", "floats": PICTURE / 255, "flat": PICTURE[0], "thing": THING}
        ),
        colors=arg(None, "natural counting", "none", {"one": 1, "many": 257}),
    ),
]
