"""From a picture to grains. Wrong arguments are refused in `tests/contracts`."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from treedyn import view
from treedyn.demo._castle import CASTLE
from treedyn.view._image import LONGEST_SIDE, load_pixels, subject


def noise(width=60, height=40, mode="RGB", seed=0):
    """Return a picture without a plain background."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def disc_on(background, color=(200, 40, 40), size=80):
    y, x = np.mgrid[:size, :size]
    inside = np.hypot(x - size / 2, y - size / 2) < size / 3
    return Image.fromarray(np.where(inside[..., None], color, background).astype(np.uint8)), inside


@pytest.mark.parametrize("count", [100, 1_600, 16_384])
def test_number_of_grains_is_met_within_two_percent(count):
    assert abs(len(view.grains(CASTLE, count).position) - count) < 0.02 * count


@pytest.mark.parametrize(("image", "inside"), [(CASTLE, 0.5), (noise(), 0.8)])
def test_grains_are_one_unit_apart_and_have_six_neighbors_inside(image, inside):
    position = view.grains(image, 900).position
    nearest = cKDTree(position).query(position, k=2)[0][:, 1]
    assert np.min(nearest) > 1 - 1e-9
    assert np.median(nearest) == pytest.approx(1)
    around = cKDTree(position).query_ball_point(position, 1.01, return_length=True) - 1
    assert np.mean(around == 6) > inside


def test_grains_have_the_color_of_their_pixel():
    image = noise()
    grains = view.grains(image, 500)
    scale = image.width / grains.size[0]
    column, row = grains.position[:, 0] * scale, image.height - grains.position[:, 1] * scale
    expected = np.asarray(image)[np.floor(row + 1e-9).astype(int), np.floor(column + 1e-9).astype(int)]
    assert np.array_equal(grains.color, expected)


def test_upper_half_of_the_picture_is_at_large_y():
    image = Image.new("RGB", (40, 40), "red")
    image.paste((0, 0, 255), (0, 20, 40, 40))
    image.paste((0, 255, 0), (0, 0, 5, 40))  # the border has no main color
    grains = view.grains(image, 400)
    red, blue = (np.all(grains.color == color, axis=1) for color in ((255, 0, 0), (0, 0, 255)))
    assert grains.position[red, 1].min() > grains.position[blue, 1].max()


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (90, 160, 200), "transparent"])
def test_background_gets_no_grains(background):
    image, inside = disc_on((0, 0, 0) if background == "transparent" else background)
    if background == "transparent":
        image.putalpha(Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)))
    else:  # a spot of that color inside the subject is not background
        image.paste(background, (36, 36, 44, 44))
    assert np.array_equal(subject(load_pixels(image)), inside)


@pytest.mark.parametrize("image", [noise(), Image.new("RGB", (30, 20), "white")])
def test_without_a_background_every_pixel_is_subject(image):
    assert subject(load_pixels(image)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode_of_picture_makes_grains(mode):
    image = noise().convert("L").convert(mode) if mode in ("1", "LA", "I", "F") else noise(mode=mode)
    assert len(view.grains(image, 200).position) == pytest.approx(200, rel=0.05)


def test_16_bit_gray_is_stretched_and_not_clipped():
    ramp = np.linspace(1000, 60_000, 64, dtype=np.uint16)[None].repeat(48, 0)
    gray = load_pixels(Image.fromarray(ramp))[..., 0]
    assert gray[0, 0] == 0 and gray[0, -1] == 255
    assert len(np.unique(gray)) == 64


def test_palette_with_a_transparent_entry_keeps_its_hole(tmp_path):
    image, inside = disc_on((1, 2, 3))
    reduced = image.quantize(8)
    reduced.info["transparency"] = reduced.getpixel((0, 0))
    reduced.save(tmp_path / "hole.png", transparency=reduced.getpixel((0, 0)))
    assert np.array_equal(subject(load_pixels(tmp_path / "hole.png")), inside)


def test_exif_rotation_is_followed(tmp_path):
    image = noise(60, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    upright = image.transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(load_pixels(tmp_path / "turned.png"), load_pixels(upright))


def test_large_picture_is_reduced_in_proportion(tmp_path):
    Image.new("RGB", (5_000, 2_500), (10, 20, 30)).save(tmp_path / "large.jpg")
    assert load_pixels(tmp_path / "large.jpg").shape == (LONGEST_SIDE // 2, LONGEST_SIDE, 4)


def test_too_large_picture_is_an_error_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    Image.new("L", (100, 100)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"huge.png.* is too large .* Pass a smaller copy"):
        load_pixels(tmp_path / "huge.png")


PNG = io.BytesIO()
noise(300, 300).save(PNG, "PNG")


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken", PNG.getvalue()[: PNG.tell() // 2]]
)
def test_file_that_is_not_a_whole_picture_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "notes.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"notes\.png' is not a readable picture"):
        view.grains(tmp_path / "notes.png", 100)


def test_transparent_picture_is_an_error():
    with pytest.raises(ValueError, match="every pixel is transparent"):
        view.grains(Image.new("RGBA", (20, 20)), 10)
