"""Draw particles as round grains with soft edges, lit from the upper left, with a shadow.

A frame is a sum of stamps: each grain adds its coverage, and its color times its coverage, to its pixels. Sums need no
order, so a frame is a few `bincount`s; 16,000 grains take about 30 ms. Everything wraps around the box.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.ndimage
from jaxtyping import ArrayLike, Real, UInt8

from treedyn import _check as check

Color: TypeAlias = tuple[int, int, int]
Picture: TypeAlias = UInt8[np.ndarray, "height width 3"]

PAPER: Color = (250, 247, 240)
STEEL: Color = (52, 58, 84)


class Ball(NamedTuple):
    """A large ball that moves among the grains.

    Attributes:
        position: its center in every frame.
        radius: its radius, in units of the box.
        color: red, green and blue, 0 to 255.
    """

    position: Real[np.ndarray, "frames 2"]
    radius: float
    color: Color = STEEL


class Look(NamedTuple):
    """Size and style of a frame.

    Attributes:
        width: pixels from the left to the right side of the box; the height follows from the box.
        background: red, green and blue, 0 to 255.
        relief: how much brighter a grain is on the lit side; 0 draws flat discs.
        shadow: darkness of the shadow of the grains; 0 draws none.
    """

    width: int = 720
    background: Color = PAPER
    relief: float = 0.22
    shadow: float = 0.22


def render(
    position: Real[ArrayLike, "particles 2"],
    color: Color | Real[ArrayLike, "*particles 3"],
    *,
    box: Real[ArrayLike, "..."],
    radius: Real[ArrayLike, "..."],
    balls: Sequence[Ball] = (),
    frame: int = 0,
    look: Look | None = None,
) -> Picture:
    """Draw one frame.

    Args:
        position: positions of the particles, x to the right and y upwards.
        color: red, green and blue, 0 to 255, of every particle, `[N, 3]`, or of all, `[3]`.
        box: sides of the periodic box, a number or `[2]`, in units of the positions.
        radius: radius of every particle, `[N]`, or of all, in units of the positions.
        balls: balls that are drawn above the grains.
        frame: index into the positions of the balls.
        look: size and style.

    Returns:
        The picture, `uint8[height, width, 3]`.

    Raises:
        ValueError: the shapes do not fit, or a number is out of range or not finite.

    Example:
        >>> import numpy as np
        >>> flat = Look(width=40, relief=0.0)
        >>> picture = render(np.array([[1.0, 1.0]]), (200, 30, 30), box=2.0, radius=0.5, look=flat)
        >>> print(picture.shape, picture[20, 20])
        (40, 40, 3) [200  30  30]
    """
    look = _check_look(look)
    sides = check.array("box", box, "one side or two, [2]", (0, 1), positive=True)
    if np.shape(sides) not in ((), (2,)):
        raise ValueError(f"box: expected one side or two, [2], got shape {np.shape(sides)}. Pass a number or [2].")
    sides = np.broadcast_to(np.asarray(sides, np.float64), (2,))
    scale = look.width / sides[0]
    shape = (max(round(scale * sides[1]), 1), look.width)
    center, radii, colors = _check_grains(position, color, radius, sides, scale)
    light, coverage = _stamps(center, radii, colors, shape, look.relief)
    opacity = np.minimum(coverage, 1)
    ground = 1 - opacity
    if look.shadow:
        ground *= 1 - look.shadow * _shadow(opacity, float(radii.mean()) if len(radii) else 1.0)
    # colors of overlapping grains are averaged
    share = opacity / np.maximum(coverage, 1e-6)
    tones = zip(look.background, light, strict=True)
    picture = np.stack([tone * ground + part * share for tone, part in tones], axis=-1)
    for ball in _check_balls(balls):
        if not 0 < 2.8 * ball.radius < sides.min():
            raise ValueError(f"balls: a radius of {ball.radius} does not fit into the box {sides}. Use a smaller one.")
        path = np.asarray(ball.position, np.float64)
        middle = path[check.integer("frame", frame, 0, len(path))]
        _draw_ball(picture, np.array([middle[0], sides[1] - middle[1]]) * scale, ball.radius * scale, ball.color)
    np.clip(picture, 0, 255, out=picture)
    return (picture + np.float32(0.5)).astype(np.uint8)


def frames(
    positions: Real[ArrayLike, "frames particles 2"],
    color: Color | Real[ArrayLike, "*particles 3"],
    *,
    box: Real[ArrayLike, "..."],
    radius: Real[ArrayLike, "..."],
    balls: Sequence[Ball] = (),
    look: Look | None = None,
) -> Iterator[Picture]:
    """Draw frame after frame.

    Args:
        positions: positions of the particles in every frame.
        color: red, green and blue, 0 to 255, of every particle, `[N, 3]`, or of all, `[3]`.
        box: sides of the periodic box, a number or `[2]`, in units of the positions.
        radius: radius of every particle, `[N]`, or of all, in units of the positions.
        balls: balls that are drawn above the grains, with one position per frame.
        look: size and style.

    Returns:
        An iterator over pictures, `uint8[height, width, 3]`.

    Raises:
        ValueError: the shapes do not fit, or a number is out of range or not finite.
    """
    paths = np.asarray(check.array("positions", positions, "positions [frames, N, 2]", (3,)))
    for ball in _check_balls(balls):
        if len(ball.position) != len(paths):
            raise ValueError(f"balls: expected one position for each of {len(paths)} frames, got {len(ball.position)}")
    return (
        render(position, color, box=box, radius=radius, balls=balls, frame=frame, look=look)
        for frame, position in enumerate(paths)
    )


def check_color(name: str, color: object) -> None:
    """Raise a ValueError unless the argument is one color."""
    wanted = "red, green and blue, each from 0 to 255"
    if np.shape(parts := check.array(name, color, wanted, (1,), nonnegative=True)) != (3,) or np.max(parts) > 255:
        raise ValueError(f"{name}: expected {wanted}, got {color!r}")


def _check_look(look: Look | None) -> Look:
    look = check.instance("look", Look() if look is None else look, Look, "a Look, such as view.Look(width=720)")
    check.integer("look.width", look.width, 1, 2**15)
    for name in ("relief", "shadow"):
        check.array(f"look.{name}", getattr(look, name), "one number", (0,), nonnegative=True)
    check_color("look.background", look.background)
    return look


def _check_balls(balls: Sequence[Ball]) -> Sequence[Ball]:
    if isinstance(balls, Ball) or not isinstance(balls, Sequence):
        raise ValueError(f"balls: expected a sequence of view.Ball, got {balls!r}. Put a single ball into a list.")
    for k, ball in enumerate(balls):
        check.instance(f"balls[{k}]", ball, Ball, "a view.Ball(position, radius)")
        path = check.array(f"balls[{k}].position", ball.position, "positions [frames, 2]", (2,))
        if np.shape(path)[1] != 2 or not len(path):
            raise ValueError(f"balls[{k}].position: expected positions [frames, 2], got shape {np.shape(path)}")
        check.array(f"balls[{k}].radius", ball.radius, "one number", (0,), positive=True)
        check_color(f"balls[{k}].color", ball.color)
    return balls


def _check_grains(
    position: object, color: object, radius: object, sides: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centers in pixels, y downwards, and radius and color of every particle."""
    wanted = "points [N, 2]; select two coordinates of others"
    points = np.asarray(check.array("position", position, wanted, (2,)), np.float64)
    if points.shape[1] != 2:
        raise ValueError(f"position: expected {wanted}, got shape {list(points.shape)}")
    tones = np.asarray(check.array("color", color, "red, green and blue, [3] or [N, 3]", (1, 2), nonnegative=True))
    sizes = np.asarray(check.array("radius", radius, "one number or one for each, [N]", (0, 1), positive=True))
    count = len(points)
    if tones.shape not in ((3,), (count, 3)):
        raise ValueError(f"color: expected [3] or [{count}, 3], got {list(tones.shape)}")
    if tones.size and np.max(tones) > 255:
        raise ValueError(f"color: expected numbers from 0 to 255, got {np.max(tones)}")
    if sizes.shape not in ((), (count,)):
        raise ValueError(f"radius: expected a number or [{count}], got {list(sizes.shape)}")
    center = np.stack([points[:, 0], sides[1] - points[:, 1]], axis=-1) * scale
    radii = np.broadcast_to(sizes.astype(np.float32) * np.float32(scale), count)
    return center, radii, np.broadcast_to(tones.astype(np.float32), (count, 3))


def _stamps(
    center: np.ndarray, radius: np.ndarray, color: np.ndarray, shape: tuple[int, int], relief: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return red, green and blue times coverage, and coverage, summed over all grains; `[height, width]` each."""
    height, width = shape
    reach = int(np.ceil(radius.max() + 0.5)) if len(radius) else 0
    offset = np.arange(-reach, reach + 1)
    corner = np.floor(center).astype(np.int64)
    # from the center of the grain to the centers of the pixels around it
    away = (corner[:, :, None] + offset + 0.5 - center[:, :, None]).astype(np.float32)
    dx, dy = away[:, 0, None, :], away[:, 1, :, None]
    cover = np.clip(radius[:, None, None] + np.float32(0.5) - np.sqrt(dx * dx + dy * dy), 0, 1)
    column = (corner[:, 0, None] + offset) % width
    row = (corner[:, 1, None] + offset) % height
    pixel = row[:, :, None] * width + column[:, None, :]
    bright = cover * (1 - np.float32(relief / np.sqrt(2)) * (dx + dy) / radius[:, None, None])
    seen = cover > 0
    grain = np.broadcast_to(np.arange(len(center))[:, None, None], seen.shape)[seen]
    pixel, cover, bright = pixel[seen], cover[seen], bright[seen]

    def total(weight: np.ndarray) -> np.ndarray:
        return np.bincount(pixel, weight, height * width).reshape(shape).astype(np.float32)

    return [total(bright * color[grain, k]) for k in range(3)], total(cover)


def _shadow(coverage: np.ndarray, radius: float) -> np.ndarray:
    """Return the coverage, blurred and moved away from the light."""
    size = max(int(2.2 * radius), 3)
    soft = coverage
    for _ in range(2):
        soft = scipy.ndimage.uniform_filter(soft, size, mode="wrap")
    step = max(round(1.1 * radius), 1)
    return np.roll(soft, (step, step), axis=(0, 1))


def _draw_ball(picture: np.ndarray, center: np.ndarray, radius: float, color: Color) -> None:
    """Draw a shaded ball and its shadow onto a float picture, in place, wrapped around the edges."""
    height, width = picture.shape[:2]
    reach = int(np.ceil(1.35 * radius)) + 2
    corner = np.floor(center).astype(int)
    offset = np.arange(-reach, reach + 1)
    dx = (corner[0] + offset + 0.5 - center[0])[None, :]
    dy = (corner[1] + offset + 0.5 - center[1])[:, None]
    window = np.ix_((corner[1] + offset) % height, (corner[0] + offset) % width)
    # the shadow is shifted to the lower right and fades over a third of the radius
    fall = 0.16 * radius
    dark = np.clip((1.12 * radius - np.hypot(dx - fall, dy - fall)) / (0.30 * radius), 0, 1)
    patch = picture[window] * (1 - 0.30 * (dark * dark * (3 - 2 * dark)))[..., None]
    # a sphere lit from the upper left: Lambert's law, a highlight, a darker rim
    x, y = dx / radius, dy / radius
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, None))
    lambert = np.clip(-0.50 * x - 0.56 * y + 0.66 * z, 0, 1)
    shine = np.clip(-0.42 * x - 0.47 * y + 0.776 * z, 0, 1) ** 28
    ball = np.asarray(color) * (0.55 + 0.85 * lambert)[..., None] + 190 * shine[..., None]
    cover = np.clip(radius + 0.5 - np.hypot(dx, dy), 0, 1)[..., None]
    picture[window] = (1 - cover) * patch + cover * np.clip(ball, 0, 255)
