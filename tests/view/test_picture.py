"""Frames side by side, and single pictures. Wrong arguments are refused in `tests/contracts`."""

import numpy as np
import pytest
from PIL import Image

from treedyn import view

RED, BLUE = (np.full((40, 60, 3), color, np.uint8) for color in ((200, 0, 0), (0, 0, 200)))


def test_pictures_are_side_by_side_with_a_gap():
    both = view.side_by_side([RED, BLUE], gap=10, background=(1, 2, 3))
    assert both.shape == (40, 130, 3)
    assert np.array_equal(both[:, :60], RED) and np.array_equal(both[:, 70:], BLUE)
    assert np.all(both[:, 60:70] == (1, 2, 3))


def test_labels_are_below_the_middle_of_their_picture():
    both = view.side_by_side([RED, BLUE], ["start", "end"], gap=0)
    assert np.array_equal(both[:40], np.concatenate([RED, BLUE], axis=1))
    dark = np.nonzero((both[40:] < 150).all(-1).any(0))[0]
    left, right = dark[dark < 60], dark[dark >= 60]
    assert (left.min() + left.max()) / 2 == pytest.approx(30, abs=2)
    assert (right.min() + right.max()) / 2 == pytest.approx(90, abs=2)


def test_picture_is_written_unchanged(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    with Image.open(view.write_picture(tmp_path / "a.png", picture)) as image:
        assert np.array_equal(np.asarray(image), picture)


def test_fewer_colors_make_a_smaller_file(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    small = view.write_picture(tmp_path / "a.png", picture, colors=16).stat().st_size
    assert small < view.write_picture(tmp_path / "b.png", picture).stat().st_size / 3
