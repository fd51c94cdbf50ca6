"""From frames to files. Wrong arguments are refused in `tests/contracts`."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from treedyn import view
from treedyn.view._film import choose_palette, map_colors

FLAT = (250, 247, 240)


def moving_disc(frames=6, size=(48, 64), color=(30, 140, 150)):
    """Return frames of a soft disc that moves over a plain background."""
    y, x = np.mgrid[: size[0], : size[1]]
    pictures = []
    for k in range(frames):
        cover = np.clip(9.5 - np.hypot(x - 12 - 6 * k, y - 24), 0, 1)[..., None]
        pictures.append(np.rint((1 - cover) * FLAT + cover * color).astype(np.uint8))
    return pictures


def read_gif(path):
    with Image.open(path) as film:
        frames, durations = [], []
        for k in range(film.n_frames):
            film.seek(k)
            frames.append(np.asarray(film.convert("RGB")))
            durations.append(film.info["duration"])
        return frames, durations, film.info.get("loop")


def test_gif_reads_back_as_its_frames(tmp_path):
    pictures = moving_disc()
    frames, durations, loop = read_gif(view.write_film(tmp_path / "a.gif", pictures, fps=20, hold=0.5))
    assert durations == [50] * 5 + [550]
    assert loop == 0
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.astype(int) - picture).max() <= 16


def test_unchanged_pixels_do_not_flicker(tmp_path):
    frames, _, _ = read_gif(view.write_film(tmp_path / "a.gif", moving_disc()))
    still = np.stack([picture == FLAT for picture in moving_disc()]).all(axis=(0, 3))
    assert still.mean() > 0.4
    assert all(np.array_equal(frame[still], frames[0][still]) for frame in frames)
    assert np.array_equal(frames[0][0, 0], FLAT)


def test_rare_colors_survive_in_the_palette(tmp_path):
    random = np.random.default_rng(0)
    picture = np.clip(random.normal((220, 180, 110), 15, (100, 100, 3)), 0, 255).astype(np.uint8)
    picture[40:44, 40:44] = (240, 20, 30)
    [index] = map_colors([picture], palette := choose_palette([picture], 32))
    assert np.abs(palette[index[42, 42]].astype(int) - (240, 20, 30)).max() <= 12


def test_palette_has_at_most_the_given_number_of_colors():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert all(len(choose_palette([picture], colors)) <= colors for colors in (2, 16, 255))


def test_unchanged_pixels_take_little_space(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    other = picture.copy()
    other[0, 0] = 0
    one = view.write_gif(tmp_path / "one.gif", [picture]).stat().st_size
    many = view.write_gif(tmp_path / "many.gif", [picture, other] * 5).stat().st_size
    assert one > 50_000 and many < one + 9 * 1_000  # one color table for every frame


@pytest.mark.parametrize("size", [(48, 64), (47, 65)])
def test_mp4_has_every_frame_and_even_sides(tmp_path, size):
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path = view.write_film(tmp_path / "a.mp4", moving_disc(6, size), fps=10, hold=0.4)
    read = [program, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    result = subprocess.run(read, capture_output=True, check=True)
    even = size[0] // 2 * 2
    assert "h264" in result.stderr.decode() and "yuv420p" in result.stderr.decode()
    frames = np.frombuffer(result.stdout, np.uint8).reshape(-1, even, 64, 3)
    assert len(frames) == 6 + 4
    assert np.abs(frames[2].astype(int) - moving_disc(6, size)[2][:even, :64]).mean() < 6


def test_error_of_ffmpeg_is_passed_on(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(OSError, match=r"ffmpeg could not write .*a\.nothing"):
        view.write_mp4(tmp_path / "a.nothing", moving_disc())


@pytest.mark.parametrize(("module", "suffix"), [("PIL.Image", ".gif"), ("imageio_ffmpeg", ".mp4")])
def test_missing_extra_is_an_error_with_the_command_to_install_it(tmp_path, monkeypatch, module, suffix):
    monkeypatch.setitem(sys.modules, module, None)
    name = module.split(".")[0]
    with pytest.raises(ImportError, match=rf"{name} is not installed: pip install \"treedyn\[demo\]\""):
        view.write_film(tmp_path / f"a{suffix}", moving_disc())
