"""Put frames side by side, write labels below them, and save them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from treedyn import _check as check
from treedyn._extras import require
from treedyn.view._canvas import PAPER, Color, Picture, check_color

INK: Color = (70, 66, 78)


def write_picture(path: str | os.PathLike[str], picture: Picture, *, colors: int | None = None) -> Path:
    """Write a picture to a file.

    Args:
        path: file name; the suffix, as in `.png`, gives the format.
        picture: `uint8[height, width, 3]`.
        colors: number of colors to reduce it to, at most 256, which makes a PNG several times smaller.

    Returns:
        The path.

    Raises:
        ValueError: Pillow has no format for the suffix, or an argument is not as described.
    """
    pil = require("PIL.Image", "demo")
    path = check.new_file("path", path)
    if path.suffix.lower() not in pil.registered_extensions():
        raise ValueError(f"path: expected a name that ends in .png or another format of Pillow, got {str(path)!r}")
    image = pil.fromarray(check_picture("picture", picture))
    if colors is not None:
        check.integer("colors", colors, 2, 257)
        image = image.quantize(colors, method=pil.Quantize.MEDIANCUT, kmeans=1, dither=pil.Dither.NONE)
    image.save(path, optimize=True)
    return path


def check_picture(name: str, picture: object) -> Picture:
    """Return a picture, `uint8[height, width, 3]`."""
    given: np.ndarray = picture if isinstance(picture, np.ndarray) else np.zeros(0)
    if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8 or 0 in given.shape:
        raise ValueError(f"{name}: expected uint8 pictures [height, width, 3], got {check.brief(picture)}")
    return given


def side_by_side(
    pictures: Sequence[Picture], labels: Sequence[str] = (), *, gap: int = 16, background: Color = PAPER
) -> Picture:
    """Put pictures of equal height side by side, each with a label below it.

    Args:
        pictures: `uint8[height, width, 3]` each.
        labels: one for each picture, or none.
        gap: pixels between them.
        background: the color between and below them.

    Returns:
        One picture, `uint8[height, width, 3]`.

    Raises:
        ValueError: the pictures have different heights, or the number of labels differs from that of the pictures.

    Example:
        >>> import numpy as np
        >>> black = np.zeros((40, 60, 3), np.uint8)
        >>> side_by_side([black, black], gap=10).shape
        (40, 130, 3)
    """
    check.instance("pictures", pictures, Sequence, "a sequence of pictures")
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels: expected a list of words, one for each picture, got {labels!r}")
    check.integer("gap", gap, 0, 2**15)
    check_color("background", background)
    heights = {check_picture("pictures", picture).shape[0] for picture in pictures}
    if len(heights) != 1:
        raise ValueError(f"pictures: expected one or more of one height, got heights {sorted(heights)}")
    if labels and len(labels) != len(pictures):
        raise ValueError(f"labels: expected {len(pictures)}, one for each picture, or none; got {len(labels)}")
    height = heights.pop()
    strip = max(round(0.075 * height), 24) if labels else 0
    width = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    out = np.full((height + strip, width, 3), background, np.uint8)
    left, middles = 0, []
    for picture in pictures:
        out[:height, left : left + picture.shape[1]] = picture
        middles.append(left + picture.shape[1] / 2)
        left += picture.shape[1] + gap
    if not labels:
        return out
    image = require("PIL.Image", "demo").fromarray(out)
    draw = require("PIL.ImageDraw", "demo").Draw(image)
    font = require("PIL.ImageFont", "demo").load_default(0.46 * strip)
    for middle, label in zip(middles, labels, strict=True):
        draw.text((middle, height + strip / 2), label, fill=INK, font=font, anchor="mm")
    return np.asarray(image)
