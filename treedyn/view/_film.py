"""Write frames to a film: GIF with Pillow, MP4 with the ffmpeg of imageio-ffmpeg.

A GIF has 256 colors. The whole film shares one palette, and a color always maps to the same entry, without dithering,
so nothing flickers. Unchanged pixels are written as transparent, which keeps the file small.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from treedyn import _check as check
from treedyn._extras import require
from treedyn.view._canvas import Picture
from treedyn.view._picture import check_picture


def write_film(
    path: str | os.PathLike[str], frames: Iterable[Picture], *, fps: float = 25.0, hold: float = 1.0
) -> Path:
    """Write a film in the format given by the suffix of its name.

    Args:
        path: file name, ending in `.gif` or `.mp4`.
        frames: pictures of one size, `uint8[height, width, 3]`.
        fps: frames per second.
        hold: time for which the last frame is shown, in seconds.

    Returns:
        The path.

    Raises:
        ValueError: the suffix is another one, or there is no frame.
        ImportError: a package is missing; the message names it.
    """
    path = check.new_file("path", path)
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"path: expected a name that ends in .gif or .mp4, got {str(path)!r}. Change the suffix.")
    return (write_gif if path.suffix == ".gif" else write_mp4)(path, frames, fps=fps, hold=hold)


def write_gif(
    path: str | os.PathLike[str],
    frames: Iterable[Picture],
    *,
    fps: float = 25.0,
    hold: float = 1.0,
    colors: int = 255,
) -> Path:
    """Write an animated GIF that repeats.

    Args:
        path: file name.
        frames: pictures of one size, `uint8[height, width, 3]`.
        fps: frames per second. A GIF counts in hundredths of a second, so 25, 20 and 12.5 are exact.
        hold: time for which the last frame is shown, in seconds.
        colors: number of colors, at most 255. Fewer colors make a smaller file.

    Returns:
        The path.

    Raises:
        ValueError: there is no frame, or a number is out of range.
    """
    path, pictures = _check_film(path, frames, fps, hold)
    check.integer("colors", colors, 2, 256)  # one of the 256 entries is left for transparency
    image = require("PIL.Image", "demo")
    palette = choose_palette(pictures, colors)
    indexed = [image.fromarray(frame) for frame in map_colors(pictures, palette)]
    for frame in indexed:
        frame.putpalette(palette.tobytes())
    durations = [round(100 / fps) * 10] * len(indexed)
    durations[-1] += round(1000 * hold)
    # with `optimize`, Pillow writes unchanged pixels as transparent
    indexed[0].save(
        path, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0, disposal=1, optimize=True
    )
    return path


def choose_palette(pictures: Sequence[np.ndarray], colors: int) -> np.ndarray:
    """Return one palette for all frames, `uint8[at most colors, 3]`, from at most eight of them."""
    image = require("PIL.Image", "demo")
    chosen = [pictures[k] for k in np.unique(np.linspace(0, len(pictures) - 1, 8).astype(int))]
    stride = max(int(np.sqrt(len(chosen) * chosen[0].size / 3e6)), 1)
    sample = np.concatenate([picture[::stride, ::stride].reshape(-1, 3) for picture in chosen])
    # weighted by the root of the frequency, so that a red flag of a few pixels stays red
    unique, counts = np.unique(sample >> 2, axis=0, return_counts=True)
    weighted = np.repeat((unique << 2) + 2, np.ceil(np.sqrt(counts)).astype(int), axis=0)
    reduced = image.fromarray(weighted[None]).quantize(colors - 1, method=image.Quantize.MEDIANCUT, kmeans=2)
    found = np.asarray(reduced.getpalette(), np.uint8).reshape(-1, 3)[np.unique(np.asarray(reduced))]
    # the most frequent color is the background, which has to be exact
    plain, times = np.unique(sample, axis=0, return_counts=True)
    return np.concatenate([plain[[np.argmax(times)]], found])


def map_colors(pictures: Sequence[np.ndarray], palette: np.ndarray) -> list[np.ndarray]:
    """Return the index of the nearest color of the palette for every pixel, `uint8[height, width]` each."""
    grid = np.arange(64) * 4 + 2
    cube = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest: np.ndarray = np.asarray(KDTree(palette.astype(float)).query(cube)[1], np.uint8)

    def cells(picture: np.ndarray) -> np.ndarray:
        cell = (picture >> 2).astype(np.int32)
        return (cell[..., 0] << 12) | (cell[..., 1] << 6) | cell[..., 2]

    nearest[cells(palette[0])] = 0
    return [nearest[cells(picture)] for picture in pictures]


def write_mp4(path: str | os.PathLike[str], frames: Iterable[Picture], *, fps: float = 25.0, hold: float = 1.0) -> Path:
    """Write an MP4 (H.264, yuv420p), which every browser and player shows.

    Args:
        path: file name.
        frames: pictures of one size, `uint8[height, width, 3]`.
        fps: frames per second.
        hold: time for which the last frame is shown, in seconds.

    Returns:
        The path.

    Raises:
        ValueError: there is no frame.
        ImportError: imageio-ffmpeg is missing.
        OSError: ffmpeg failed; the message is its own.
    """
    path, pictures = _check_film(path, frames, fps, hold)
    program = require("imageio_ffmpeg", "demo").get_ffmpeg_exe()
    height, width = (side - side % 2 for side in pictures[0].shape[:2])  # H.264 needs even sides
    command = [
        program, "-y", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-",
        "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "veryfast", "-movflags", "+faststart",
        str(path),
    ]  # fmt: skip
    still = [pictures[-1]] * round(hold * fps)
    # not imageio_ffmpeg.write_frames, whose fork makes JAX warn
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    # a broken pipe means that ffmpeg failed; its own message says why
    with contextlib.suppress(BrokenPipeError), process.stdin:
        for picture in [*pictures, *still]:
            process.stdin.write(np.ascontiguousarray(picture[:height, :width]).data)
    with process.stderr as words:
        message = words.read().decode(errors="replace").strip()
    process.wait()
    if process.returncode:
        raise OSError(f"ffmpeg could not write {str(path)!r}: {message}")
    return path


def _check_film(path: object, frames: object, fps: object, hold: object) -> tuple[Path, list[Picture]]:
    found, pictures = check.new_file("path", path), list(check.instance("frames", frames, Iterable, "pictures"))
    if not pictures:
        raise ValueError("frames: expected at least one picture, got none")
    for picture in pictures:
        if check_picture("frames", picture).shape != pictures[0].shape:
            shapes = f"{list(picture.shape)} after {list(pictures[0].shape)}"
            raise ValueError(f"frames: expected uint8 pictures of one size, got shapes {shapes}")
    check.array("fps", fps, "frames per second", (0,), positive=True)
    check.array("hold", hold, "seconds", (0,), nonnegative=True)
    return found, pictures
