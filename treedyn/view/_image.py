"""Turn a picture into grains: where they stand, and which color they have."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage

from treedyn import _check as check
from treedyn._extras import require

# A picture is worked on at no more than this many pixels on its longer side: enough for 100,000 grains.
LONGEST_SIDE = 1024


class Grains(NamedTuple):
    """Hold the grains of a picture.

    Attributes:
        position: where they stand, x to the right and y upwards, in units of the distance between neighbors, `[N, 2]`.
        color: red, green and blue, 0 to 255, `uint8[N, 3]`.
        size: width and height of the whole picture, in the same unit.
    """

    position: np.ndarray
    color: np.ndarray
    size: tuple[float, float]


def grains(image: str | Path | Any, count: int) -> Grains:
    """Cover the subject of a picture with about `count` grains on a hexagonal lattice.

    The subject is what is not transparent; in a picture without transparency, what is not of the one color that most of
    its border has; and where there is no such color, as in a photograph, the whole picture. Each grain takes the color
    of the pixel that it stands on.

    Args:
        image: a file, or a PIL image. Any mode: color, gray, palette, with or without alpha.
        count: how many grains to aim at, at least 1. The lattice meets it to about one in a hundred.

    Returns:
        The grains.

    Raises:
        ValueError: the file is no picture, or nothing on it can be seen.

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
    spacing *= np.sqrt(max(len(_standing(mask, spacing)[0]), 1) / count)
    # the number of lattice points on the subject jumps as the lattice changes: take the best of many
    tries = [spacing * factor for factor in np.linspace(0.97, 1.03, 41)]
    spacing = min(tries, key=lambda spacing: abs(len(_standing(mask, spacing)[0]) - count))
    row, column = _standing(mask, spacing)
    position = np.stack([column, height - row], axis=-1) / spacing
    color = pixels[row.astype(int), column.astype(int), :3]
    return Grains(position, color, (width / spacing, height / spacing))


def _standing(mask: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column, in pixels, of the points of a hexagonal lattice that fall on the mask."""
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


def load_pixels(image: str | Path | Any) -> np.ndarray:
    """Load a picture, upright and of moderate size.

    Args:
        image: a file, or a PIL image.

    Returns:
        Red, green, blue and alpha, `uint8[height, width, 4]`.

    Raises:
        ValueError: the file cannot be read as a picture.
    """
    pil, operations = require("PIL.Image", "demo"), require("PIL.ImageOps", "demo")
    if isinstance(image, str | Path):
        path = Path(image)
        if not path.is_file():
            raise ValueError(
                f"image: there is no file {str(path)!r}; give the path of a picture, such as a PNG or JPEG"
            )
        try:
            with pil.open(path) as opened:
                opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
                opened.load()
                image = opened.copy()
        except pil.DecompressionBombError as error:
            raise ValueError(f"image: {str(path)!r} is too large ({error}); make a smaller copy of it") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(
                f"image: {str(path)!r} is not a picture that can be read ({error}); give a PNG, JPEG, GIF or WebP file"
            ) from error
    check.instance("image", image, pil.Image, "a picture: the path of a file, or a PIL image")
    upright: Any = operations.exif_transpose(image)
    upright = _eight_bit(upright)
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), resample=pil.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(upright)


def _eight_bit(image: Any) -> Any:
    """Return an RGBA copy; the 16-bit and floating-point grays, which PIL would clip, are stretched to their range."""
    if image.mode.startswith(("I", "F")):
        gray = np.asarray(image, np.float64)
        low, high = float(gray.min()), float(gray.max())
        gray = (gray - low) / (high - low or 1.0) * 255
        image = require("PIL.Image", "demo").fromarray(np.round(gray).astype(np.uint8))
    return image.convert("RGBA")


def subject(pixels: np.ndarray, tolerance: float = 24.0) -> np.ndarray:
    """Tell the subject of a picture from its background.

    Args:
        pixels: red, green, blue, alpha, `uint8[height, width, 4]`.
        tolerance: how far, in units of 0 to 255, a color may be from that of the background and still belong to it.

    Returns:
        True where the subject is, `bool[height, width]`.

    Raises:
        ValueError: nothing can be seen: everything is transparent.
    """
    opaque = pixels[..., 3] >= 128
    if not opaque.all():
        if not opaque.any():
            raise ValueError("image: every pixel is transparent, so there is nothing to make grains of")
        return opaque
    color = pixels[..., :3].astype(np.float64)
    border = np.concatenate([color[0], color[-1], color[1:-1, 0], color[1:-1, -1]])
    plain = np.median(border, axis=0)
    if np.mean(np.abs(border - plain).max(-1) <= tolerance) < 0.6:
        return np.ones_like(opaque)
    # only what is connected to the border: a white sail on a white page is no background
    patches: Any = scipy.ndimage.label(np.abs(color - plain).max(-1) <= tolerance)[0]  # type: ignore[index]
    edge = np.concatenate([patches[0], patches[-1], patches[:, 0], patches[:, -1]])
    mask = ~np.isin(patches, np.unique(edge[edge > 0]))
    return mask if mask.any() else np.ones_like(mask)
