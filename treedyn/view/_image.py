"""Turn a picture into grains: positions and colors."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Float, UInt8

from treedyn import _check as check
from treedyn._extras import require

if TYPE_CHECKING:
    from PIL.Image import Image

# Larger pictures are reduced to this many pixels along the longer side: enough for 100,000 grains.
LONGEST_SIDE = 1024


class Grains(NamedTuple):
    """The grains of a picture; lengths are in units of the distance between neighbors.

    Attributes:
        position: positions, x to the right and y upwards.
        color: red, green and blue, 0 to 255.
        size: width and height of the whole picture.
    """

    position: Float[np.ndarray, "grains 2"]
    color: UInt8[np.ndarray, "grains 3"]
    size: tuple[float, float]


def grains(image: "str | os.PathLike[str] | Image", count: int) -> Grains:
    """Cover the subject of a picture with about `count` grains on a hexagonal lattice.

    The subject is the opaque part. In a picture without transparency it is everything except the one color of most of
    the border. Without such a color, as in a photograph, it is the whole picture. Each grain takes the color of its
    pixel.

    Args:
        image: a file or a PIL image, in any mode: color, gray, palette, with or without alpha.
        count: number of grains to aim at, at least 1; it is met to about one percent.

    Returns:
        The grains.

    Raises:
        ValueError: the file is not a picture, or every pixel is transparent.

    Example:
        >>> from PIL import Image
        >>> picture = Image.new("RGB", (90, 60), "white")
        >>> picture.paste((200, 30, 30), (20, 10, 70, 50))
        >>> sand = grains(picture, 400)
        >>> 380 < len(sand.position) < 420
        True
        >>> print(sand.color[0])
        [200  30  30]
    """
    check.integer("count", count, 1, 2**24)
    pixels = load_pixels(image)
    mask = subject(pixels)
    height, width = mask.shape
    spacing = np.sqrt(2 / np.sqrt(3) * mask.sum() / count)
    spacing *= np.sqrt(max(len(_lattice(mask, spacing)[0]), 1) / count)
    # the number of points on the subject jumps with the spacing: take the best of many
    tries = [spacing * factor for factor in np.linspace(0.97, 1.03, 41)]
    spacing = min(tries, key=lambda spacing: abs(len(_lattice(mask, spacing)[0]) - count))
    row, column = _lattice(mask, spacing)
    position = np.stack([column, height - row], axis=-1) / spacing
    color = pixels[row.astype(int), column.astype(int), :3]
    return Grains(position, color, (width / spacing, height / spacing))


def _lattice(mask: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column, in pixels, of the points of a hexagonal lattice that are on the mask."""
    height, width = mask.shape
    step = spacing * np.sqrt(3) / 2
    lines = np.arange(height / 2 % step, height, step)
    row, column = np.meshgrid(lines, np.arange(-spacing, width + spacing, spacing), indexing="ij")
    column = column + width / 2 % spacing + spacing / 2 * (np.arange(len(lines)) % 2)[:, None]
    row, column = row.ravel(), column.ravel()
    inside = (column >= 0) & (column < width)
    row, column = row[inside], column[inside]
    on = mask[row.astype(int), column.astype(int)]
    return row[on], column[on]


def load_pixels(image: "str | os.PathLike[str] | Image") -> np.ndarray:
    """Return a picture, upright and of moderate size, as red, green, blue and alpha, `uint8[height, width, 4]`."""
    pil, operations = require("PIL.Image", "demo"), require("PIL.ImageOps", "demo")
    if isinstance(image, str | os.PathLike):
        image = _read(Path(image))
    check.instance("image", image, pil.Image, "a picture: the path of a file, or a PIL image")
    upright = operations.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):  # grays that PIL would clip: stretch them to their range
        gray = np.asarray(upright, np.float64)
        low, high = float(gray.min()), float(gray.max())
        upright = pil.fromarray(np.round((gray - low) / (high - low or 1.0) * 255).astype(np.uint8))
    upright = upright.convert("RGBA")
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), resample=pil.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(upright)


def _read(path: Path) -> Any:
    pil = require("PIL.Image", "demo")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise ValueError(f"image: {str(path)!r} is {found}. Pass the path of a PNG or JPEG file.")
    try:
        with pil.open(path) as opened:
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            opened.load()
            return opened.copy()
    except pil.DecompressionBombError as error:
        raise ValueError(f"image: {str(path)!r} is too large ({error}). Pass a smaller copy.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"image: {str(path)!r} is not a readable picture ({error}). Pass a PNG or JPEG.") from error


def subject(pixels: np.ndarray, tolerance: float = 24.0) -> np.ndarray:
    """Return where the subject of a picture is, `bool[height, width]`.

    A pixel belongs to the background if its color differs from that of the border by at most `tolerance`.
    """
    opaque = pixels[..., 3] >= 128
    if not opaque.any():
        raise ValueError("image: every pixel is transparent. Pass a picture with visible pixels.")
    if not opaque.all():
        return opaque
    color = pixels[..., :3].astype(np.float64)
    border = np.concatenate([color[0], color[-1], color[1:-1, 0], color[1:-1, -1]])
    plain = np.median(border, axis=0)
    if np.mean(np.abs(border - plain).max(-1) <= tolerance) < 0.6:
        return np.ones_like(opaque)
    # only patches that touch the border: a white sail on a white page is not background
    patches: Any = scipy.ndimage.label(np.abs(color - plain).max(-1) <= tolerance)[0]  # type: ignore[index]
    edge = np.concatenate([patches[0], patches[-1], patches[:, 0], patches[:, -1]])
    mask = ~np.isin(patches, np.unique(edge[edge > 0]))
    return mask if mask.any() else np.ones_like(mask)
