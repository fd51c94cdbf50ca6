"""Draw the sandcastle, the picture of the demonstration.

Everything is a filled polygon on a canvas of 1000 x 1000 units, y downwards, lit from the upper left. The picture is
drawn at four times its size and averaged, so edges are smooth. Random parts are seeded: `castle.png` in the package is
the result of `draw_castle()`.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from treedyn._extras import require

Point = tuple[float, float]
Color = tuple[int, int, int]
Points = Sequence[Point]
Shading = Callable[[np.ndarray, np.ndarray], np.ndarray]

CASTLE = Path(__file__).with_name("castle.png")
UNITS = 1000

SAND, WET, DUNE, BRICK = (238, 196, 122), (214, 164, 94), (226, 180, 108), (176, 124, 66)
TEAL, BLUE, CORAL, PLUM = (38, 150, 156), (58, 112, 190), (232, 92, 78), (136, 86, 158)
NIGHT, WOOD, IRON, GOLD = (46, 56, 104), (128, 74, 44), (70, 64, 84), (250, 200, 70)


class Canvas:
    """A picture at four times its final size."""

    def __init__(self, size: int) -> None:
        self.scale = 4 * size / UNITS
        self.image = require("PIL.Image", "demo").new("RGBA", (4 * size, 4 * size))
        self.random = np.random.default_rng(7)

    def fill(
        self, points: Points, color: Color, shading: Shading | None = None, grit: float = 0.0, opacity: float = 1.0
    ) -> None:
        """Fill a polygon.

        `shading` returns the brightness, 1 for the plain color, from x and y in -1..1 across the polygon; `grit` is how
        much it varies from pixel to pixel.
        """
        image, draw = require("PIL.Image", "demo"), require("PIL.ImageDraw", "demo")
        corners = np.asarray(points) * self.scale
        low = np.floor(corners.min(0)).astype(int)
        width, height = np.ceil(corners.max(0)).astype(int) + 1 - low
        mask = image.new("L", (width, height))
        draw.Draw(mask).polygon([*map(tuple, corners - low)], fill=round(255 * opacity))
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        light = (shading(x, y) if shading else 1) + grit * self.random.normal(size=x.shape)
        paint = np.clip(np.asarray(color) * light[..., None], 0, 255).astype(np.uint8)
        self.image.paste(image.fromarray(paint).convert("RGBA"), tuple(low.tolist()), mask)


def round_wall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shade a standing cylinder that is lit from the left."""
    return 1.10 - 0.34 * np.clip(x + 0.25, 0, None) ** 1.5 - 0.16 * np.clip(-x - 0.45, 0, None)


def flat_wall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shade a wall a little darker towards its foot and its right end."""
    return 0.99 - 0.05 * x - 0.07 * y


def dome(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shade something rounded that is lit from the upper left."""
    return 1.08 - 0.16 * np.hypot(x + 0.4, y + 0.5)


def folds(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shade a cloth in the wind."""
    return 1.03 + 0.16 * np.cos(3.6 * x + 4.2)


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Return the corners of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def arch(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Return a rectangle whose upper end is a half circle."""
    radius, middle = (right - left) / 2, (left + right) / 2
    angles = np.linspace(math.pi, 2 * math.pi, 40)
    half = [(middle + radius * math.cos(a), top + radius + radius * math.sin(a)) for a in angles]
    return [*half, (right, bottom), (left, bottom)]


def ellipse(x: float, y: float, width: float, height: float) -> list[Point]:
    """Return an ellipse from its center and half axes."""
    return [(x + width * math.cos(a), y + height * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 120)]


def crenels(left: float, right: float, top: float, height: float, count: int) -> list[list[Point]]:
    """Return `count` merlons on the line from `left` to `right`, with gaps between them."""
    width = (right - left) / (count + 0.62 * (count - 1))
    starts = [left + 1.62 * width * k for k in range(count)]
    return [rectangle(start, top - height, start + width, top + 2) for start in starts]


def bricks(canvas: Canvas, left: float, top: float, right: float, bottom: float, seed: int) -> None:
    """Press a few brick-shaped marks into a wall."""
    random = np.random.default_rng(seed)
    for row, y in enumerate(np.arange(top, bottom - 14, 30)):
        for x in np.arange(left + 8 + 22 * (row % 2), right - 34, 44):
            if random.random() < 0.42:
                canvas.fill(rectangle(x, y, x + 30, y + 5), BRICK, opacity=0.55)


def between(x: np.ndarray, upper: np.ndarray, lower: np.ndarray | float) -> list[Point]:
    """Return the area between two lines."""
    below = np.broadcast_to(lower, x.shape)
    return [*zip(x, upper, strict=True), *zip(x[::-1], below[::-1], strict=True)]


def tower(canvas: Canvas, left: float, top: float, right: float, bottom: float, merlons: int, color: Color) -> None:
    """Draw a round tower with a wider, crenellated head."""
    canvas.fill(rectangle(left, top, right, bottom), color, round_wall, grit=0.03)
    bricks(canvas, left, top + 70, right, bottom, seed=int(left))
    brim = 0.09 * (right - left)
    for merlon in crenels(left - brim, right + brim, top, 34, merlons):
        canvas.fill(merlon, color, flat_wall, grit=0.03)
    canvas.fill(rectangle(left - brim, top, right + brim, top + 34), color, round_wall, grit=0.03)
    canvas.fill(rectangle(left, top + 34, right, top + 48), (140, 92, 50), opacity=0.42)


def roof(canvas: Canvas, middle: float, tip: float, base: float, half: float, color: Color) -> None:
    """Draw a pointed roof with a round lower edge and bands of tiles."""
    along = np.linspace(-1, 1, 40)
    bow = 0.16 * half * np.sqrt(1 - along**2)
    canvas.fill([(middle, tip), *zip(middle + half * along, base + bow, strict=True)], color, round_wall)
    for part in (0.2, 0.4, 0.6, 0.8):
        y = tip + (base - tip) * part + part * bow
        canvas.fill(between(middle + part * half * along, y, y + 7), (16, 24, 48), opacity=0.20)
    canvas.fill(ellipse(middle, tip, 12, 12), GOLD, dome)


def window(canvas: Canvas, middle: float, top: float, width: float, height: float) -> None:
    """Draw an arched window with a lit frame."""
    half = width / 2
    canvas.fill(arch(middle - half - 7, top - 7, middle + half + 7, top + height + 7), (252, 222, 160), opacity=0.9)
    canvas.fill(arch(middle - half, top, middle + half, top + height), NIGHT, lambda x, y: 1.05 + 0.35 * y)


def flag(canvas: Canvas, x: float, top: float, bottom: float, color: Color, length: float) -> None:
    """Draw a pole and a flag that waves in the wind."""
    canvas.fill(rectangle(x - 10, top - 8, x + 10, bottom), (112, 76, 56))
    canvas.fill(ellipse(x, top - 12, 15, 15), GOLD, dome)
    along = np.linspace(0, 1, 60)
    middle = top + 35 + along * (11 * np.sin(7.2 * along) - 9)
    for half, tone in ((31, color), (7, GOLD)):
        width = half * (1 - 0.28 * along)
        canvas.fill(between(x + 4 + length * along, middle - width, middle + width), tone, folds)


def gate(canvas: Canvas, middle: float, top: float, width: float, bottom: float) -> None:
    """Draw the gate: a frame of stones, a wooden door, and its iron."""
    half = width / 2
    canvas.fill(arch(middle - half - 20, top - 20, middle + half + 20, bottom), (250, 216, 150), flat_wall, grit=0.02)
    for k in range(9):
        angle = math.pi * (k + 0.5) / 9
        x, y = middle - (half + 10) * math.cos(angle), top + half - (half + 10) * math.sin(angle)
        canvas.fill(ellipse(x, y, 4, 4), BRICK, opacity=0.8)
    canvas.fill(arch(middle - half, top, middle + half, bottom), WOOD, lambda x, y: 0.95 - 0.25 * y)
    for k in range(1, 6):
        x = middle - half + width * k / 6
        canvas.fill(rectangle(x - 2.5, top + 12, x + 2.5, bottom), (78, 42, 26), opacity=0.8)
    for y in (top + 0.42 * (bottom - top), top + 0.76 * (bottom - top)):
        canvas.fill(rectangle(middle - half, y, middle + half, y + 9), IRON)
    canvas.fill(ellipse(middle + 20, top + 0.6 * (bottom - top), 7, 7), GOLD, dome)


def starfish(canvas: Canvas, x: float, y: float, size: float, turn: float, color: Color) -> None:
    """Draw a starfish: five soft arms with rows of dots."""
    angles = np.linspace(0, 2 * math.pi, 400)
    arm = np.abs(np.cos(2.5 * (angles - turn))) ** 1.35
    radius = size * (0.40 + 0.60 * arm)
    rim = list(zip(x + radius * np.cos(angles), y + 0.92 * radius * np.sin(angles), strict=True))
    canvas.fill([(px + 7, py + 9) for px, py in rim], (120, 70, 40), opacity=0.35)
    canvas.fill(rim, color, dome)
    for k in range(5):
        angle = turn + 2 * math.pi * k / 5
        for step in range(1, 6):
            r = size * 0.155 * step
            dot = 0.062 * size * (1.25 - 0.13 * step)
            canvas.fill(ellipse(x + r * math.cos(angle), y + 0.92 * r * math.sin(angle), dot, dot), (255, 206, 140))
    canvas.fill(ellipse(x, y, 0.075 * size, 0.075 * size), (255, 206, 140))


def ground(canvas: Canvas) -> None:
    """Draw the mound on which the castle stands, flat below."""
    x = np.linspace(40, 960, 400)
    u = (x - 500) / 460
    top = 944 - 172 * np.clip(1 - np.abs(u) ** 6, 0, None) ** 0.8 + 4 * np.sin(x / 33) * (1 - u**6)
    canvas.fill(between(x, top, 944), DUNE, flat_wall, grit=0.045)
    canvas.fill(between(x, np.maximum(top, 920), 944), WET, grit=0.03)


def draw_castle(size: int = 640) -> Any:
    """Draw the sandcastle as a PIL image of `size` x `size` pixels in mode RGBA, with a transparent background."""
    canvas = Canvas(size)
    ground(canvas)
    flag(canvas, 500, 96, 260, CORAL, 128)
    # the back: the keep and two slim towers behind the wall
    tower(canvas, 286, 372, 376, 780, 3, WET)
    tower(canvas, 624, 372, 714, 780, 3, WET)
    roof(canvas, 331, 208, 352, 66, PLUM)
    roof(canvas, 669, 208, 352, 66, BLUE)
    tower(canvas, 410, 250, 590, 780, 5, SAND)
    for place in ((500, 330, 46, 72), (452, 452, 26, 44), (548, 452, 26, 44)):
        window(canvas, *place)
    # the front: wall, gate and corner towers
    for merlon in crenels(220, 780, 560, 34, 11):
        canvas.fill(merlon, SAND, flat_wall, grit=0.03)
    canvas.fill(rectangle(220, 560, 780, 800), SAND, flat_wall, grit=0.03)
    canvas.fill(rectangle(220, 592, 780, 602), (140, 92, 50), opacity=0.35)
    bricks(canvas, 250, 620, 420, 790, seed=1)
    bricks(canvas, 590, 620, 750, 790, seed=2)
    gate(canvas, 500, 632, 116, 806)
    tower(canvas, 140, 470, 262, 812, 4, SAND)
    tower(canvas, 738, 470, 860, 812, 4, SAND)
    roof(canvas, 201, 276, 446, 88, TEAL)
    roof(canvas, 799, 276, 446, 88, CORAL)
    for middle, top, width, height in ((201, 552, 34, 60), (331, 436, 24, 42), (331, 650, 34, 54)):
        window(canvas, middle, top, width, height)
        window(canvas, UNITS - middle, top, width, height)
    # the beach: shadows at the foot of the walls, the path and two starfish
    for left, right, y in ((132, 272, 812), (730, 872, 812), (262, 738, 802)):
        canvas.fill(ellipse((left + right) / 2 + 6, y, (right - left) / 2, 9), (120, 76, 40), opacity=0.30)
    x = np.linspace(378, 622, 60)
    top = 803 + 141 * np.clip((np.abs(x - 500) - 60) / 62, 0, None) ** 0.625
    canvas.fill(between(x, top, 944), (252, 226, 168), flat_wall, grit=0.03)
    starfish(canvas, 262, 872, 64, 0.35, TEAL)
    starfish(canvas, 730, 866, 78, -1.35, CORAL)
    return canvas.image.reduce(4)


if __name__ == "__main__":
    draw_castle().save(CASTLE, optimize=True)
