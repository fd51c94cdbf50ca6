"""Write frames to a film: GIF with Pillow alone, MP4 with the ffmpeg that imageio-ffmpeg brings.

A GIF has 256 colors. One palette is chosen for the whole film and every color always goes to the same entry, without
dithering, so nothing flickers; pixels that did not change since the frame before are written as transparent, which is
what keeps the file small.
"""

import contextlib
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from treedyn import _check as check
from treedyn._extras import require
from treedyn.view._picture import check_picture

FORMATS = (".gif", ".mp4")


def write_film(path: str | Path, frames: Iterable[np.ndarray], *, fps: float = 25.0, hold: float = 1.0) -> Path:
    """Write a film in the format that the name of the file asks for.

    Args:
        path: where to; ends in `.gif` or `.mp4`.
        frames: pictures of one size, `uint8[height, width, 3]`.
        fps: frames per second.
        hold: how long the last frame stands before the film starts again, in seconds.

    Returns:
        The path.

    Raises:
        ValueError: the name asks for another format, or there is no frame.
        ImportError: a package is missing; the message names it.
    """
    path = check.new_file("path", path)
    if path.suffix not in FORMATS:
        raise ValueError(f"path: expected a name that ends in {' or '.join(FORMATS)}, got {str(path)!r}")
    return (write_gif if path.suffix == ".gif" else write_mp4)(path, frames, fps=fps, hold=hold)


def write_gif(
    path: str | Path, frames: Iterable[np.ndarray], *, fps: float = 25.0, hold: float = 1.0, colors: int = 255
) -> Path:
    """Write an animated GIF that repeats.

    Args:
        path: where to.
        frames: pictures of one size, `uint8[height, width, 3]`.
        fps: frames per second; a GIF counts in hundredths of a second, so 25, 20 and 12.5 are exact.
        hold: how long the last frame stands, in seconds.
        colors: how many colors to use, at most 255. Fewer make a smaller file.

    Returns:
        The path.

    Raises:
        ValueError: there is no frame, or a number is out of range.
    """
    path, pictures = check.new_file("path", path), _pictures(frames)
    check_pace(fps, hold)
    check.integer("colors", colors, 2, 256)  # a GIF has room for one more, which is transparency
    image = require("PIL.Image", "demo")
    palette = choose_palette(pictures, colors)
    indexed = [image.fromarray(frame) for frame in map_colors(pictures, palette)]
    for frame in indexed:
        frame.putpalette(palette.tobytes())
    durations = [round(100 / fps) * 10] * len(indexed)
    durations[-1] += round(1000 * hold)
    # `optimize` is what makes Pillow write unchanged pixels as transparent, with the one entry that is left for it
    indexed[0].save(
        path, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0, disposal=1, optimize=True
    )
    return path


def choose_palette(pictures: Sequence[np.ndarray], colors: int) -> np.ndarray:
    """Choose one palette for all frames, from at most eight of them.

    Args:
        pictures: `uint8[height, width, 3]` each.
        colors: how many.

    Returns:
        `uint8[at most colors, 3]`.
    """
    image = require("PIL.Image", "demo")
    chosen = [pictures[k] for k in np.unique(np.linspace(0, len(pictures) - 1, 8).astype(int))]
    stride = max(int(np.sqrt(len(chosen) * chosen[0].size / 3e6)), 1)
    sample = np.concatenate([picture[::stride, ::stride].reshape(-1, 3) for picture in chosen])
    # every color counts by the root of how often it occurs: a red flag of a few pixels keeps its red
    unique, counts = np.unique(sample >> 2, axis=0, return_counts=True)
    weighted = np.repeat((unique << 2) + 2, np.ceil(np.sqrt(counts)).astype(int), axis=0)
    reduced = image.fromarray(weighted[None]).quantize(colors - 1, method=image.Quantize.MEDIANCUT, kmeans=2)
    found = np.asarray(reduced.getpalette(), np.uint8).reshape(-1, 3)[np.unique(np.asarray(reduced))]
    # the most frequent color is the background, and has to be exact
    plain, times = np.unique(sample, axis=0, return_counts=True)
    return np.concatenate([plain[[np.argmax(times)]], found])


def map_colors(pictures: Sequence[np.ndarray], palette: np.ndarray) -> list[np.ndarray]:
    """Return the index of the nearest color of the palette for every pixel.

    Args:
        pictures: `uint8[height, width, 3]` each.
        palette: `uint8[colors, 3]`.

    Returns:
        `uint8[height, width]` each.
    """
    grid = np.arange(64) * 4 + 2
    cube = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest: np.ndarray = np.asarray(KDTree(palette.astype(float)).query(cube)[1], np.uint8)
    exact = np.asarray(palette[0] >> 2, np.int64)
    nearest[(exact[0] << 12) | (exact[1] << 6) | exact[2]] = 0
    out = []
    for picture in pictures:
        cell = (picture >> 2).astype(np.int32)
        out.append(nearest[(cell[..., 0] << 12) | (cell[..., 1] << 6) | cell[..., 2]])
    return out


def write_mp4(path: str | Path, frames: Iterable[np.ndarray], *, fps: float = 25.0, hold: float = 1.0) -> Path:
    """Write an MP4 (H.264, yuv420p, which every browser and player shows).

    Args:
        path: where to.
        frames: pictures of one size, `uint8[height, width, 3]`.
        fps: frames per second.
        hold: how long the last frame stands, in seconds.

    Returns:
        The path.

    Raises:
        ValueError: there is no frame.
        ImportError: imageio-ffmpeg is missing.
        OSError: ffmpeg failed; the message is its own.
    """
    path, pictures = check.new_file("path", path), _pictures(frames)
    check_pace(fps, hold)
    program = require("imageio_ffmpeg", "demo").get_ffmpeg_exe()
    height, width = (side - side % 2 for side in pictures[0].shape[:2])  # H.264 wants even sides
    command = [
        program, "-y", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-",
        "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "veryfast", "-movflags", "+faststart",
        str(path),
    ]  # fmt: skip
    still = [pictures[-1]] * round(hold * fps)
    # called here and not through imageio_ffmpeg.write_frames, which forks with a hook that JAX warns about
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    # where ffmpeg gives up, the pipe breaks, and its own words say why
    with contextlib.suppress(BrokenPipeError):
        for picture in [*pictures, *still]:
            process.stdin.write(np.ascontiguousarray(picture[:height, :width]).data)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    with process.stderr as words:
        message = words.read().decode(errors="replace").strip()
    process.wait()
    if process.returncode:
        raise OSError(f"ffmpeg could not write {str(path)!r}: {message}")
    return path


def check_pace(fps: Any, hold: Any) -> None:
    """Refuse what cannot be the pace of a film.

    Raises:
        ValueError: a number is out of range.
    """
    check.array("fps", fps, "frames per second", (0,), positive=True)
    check.array("hold", hold, "seconds", (0,), nonnegative=True)


def _pictures(frames: Iterable[np.ndarray]) -> list[np.ndarray]:
    pictures = list(check.instance("frames", frames, Iterable, "pictures, one after the other"))
    if not pictures:
        raise ValueError("frames: expected at least one picture, got none")
    for picture in pictures:
        if check_picture("frames", picture).shape != pictures[0].shape:
            raise ValueError(
                f"frames: expected uint8 pictures [height, width, 3] of one size, got {picture.dtype}"
                f"{list(picture.shape)} beside {pictures[0].dtype}{list(pictures[0].shape)}"
            )
    return pictures
