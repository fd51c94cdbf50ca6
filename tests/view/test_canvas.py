"""From positions to frames. Wrong arguments are refused in `tests/contracts`."""

import time

import numpy as np
import pytest

from treedyn import view

FLAT = view.Look(width=100, background=(0, 0, 0), relief=0.0, shadow=0.0)
WHITE = (255, 255, 255)


def draw(position, radius=0.5, box=10.0, look=FLAT, color=WHITE, **options):
    return view.render(np.asarray(position, float), color, box=box, radius=radius, look=look, **options)


def crowd(count):
    random = np.random.default_rng(0)
    return random.uniform(0, 10, (count, 2)), random.integers(0, 256, (count, 3))


@pytest.mark.parametrize("center", [(5.0, 5.0), (5.03, 4.91), (0.02, 9.97)])
@pytest.mark.parametrize("radius", [0.15, 0.5, 2.0])
def test_grain_covers_the_area_of_its_disc(center, radius):
    area = draw([center], radius)[..., 0].sum() / 255 / 100
    assert area == pytest.approx(np.pi * radius**2, rel=0.05)


def test_grain_is_at_its_position_with_y_upwards():
    picture = draw([[2.0, 9.0]])[..., 0].astype(float)
    rows, columns = np.indices(picture.shape)
    assert (columns * picture).sum() / picture.sum() + 0.5 == pytest.approx(20, abs=0.05)
    assert (rows * picture).sum() / picture.sum() + 0.5 == pytest.approx(10, abs=0.05)


def test_everything_wraps_around_the_box():
    position, color = crowd(50)
    look = view.Look(width=100)
    here = draw(position, look=look, color=color)
    for shift in ([10.0, 0.0], [0.0, -10.0], [30.0, 20.0]):
        assert np.array_equal(draw(position + shift, look=look, color=color), here)


def test_motion_by_whole_pixels_moves_the_picture():
    position, color = crowd(50)
    look = view.Look(width=100)
    moved = draw(position + np.array([0.7, -1.1]), look=look, color=color).astype(int)
    rolled = np.roll(draw(position, look=look, color=color), (11, 7), axis=(0, 1))
    assert np.abs(moved - rolled).max() <= 1  # a coordinate may round to the other side


def test_order_of_the_grains_does_not_matter():
    position, color = crowd(200)
    order = np.random.default_rng(2).permutation(200)
    difference = draw(position, color=color).astype(int) - draw(position[order], color=color[order])
    assert np.abs(difference).max() <= 1


def test_overlapping_grains_average_their_colors():
    picture = draw([[5.0, 5.0], [5.0, 5.0]], color=np.array([[200, 0, 0], [0, 100, 0]]))
    assert picture[50, 50].tolist() == [100, 50, 0]


def test_height_follows_from_the_box_and_an_empty_box_is_background():
    assert draw([[1.0, 1.0]], box=np.array([10.0, 4.0])).shape == (40, 100, 3)
    assert np.all(draw(np.zeros((0, 2)), color=np.zeros((0, 3)), look=view.Look(width=30)) == view.Look().background)


def test_ball_is_round_and_wraps_around_the_box():
    def covered(center):
        ball = view.Ball(np.array([center]), 2.0, color=(90, 90, 90))
        return draw(np.zeros((0, 2)), color=np.zeros((0, 3)), balls=[ball])[..., 0] > 5

    y, x = np.mgrid[:100, :100] + 0.5
    distance = np.hypot(x - 50, y - 50)
    middle = covered([5.0, 5.0])
    assert middle[distance < 20].all() and not middle[distance > 20.5].any()
    assert np.array_equal(covered([0.0, 0.0]), np.roll(middle, (50, 50), axis=(0, 1)))


def test_every_frame_draws_the_ball_at_its_own_position():
    positions = np.zeros((3, 0, 2))
    ball = view.Ball(np.array([[2.0, 5.0], [5.0, 5.0], [8.0, 5.0]]), 1.0, color=(90, 90, 90))
    pictures = list(view.frames(positions, np.zeros((0, 3)), box=10.0, radius=0.5, balls=[ball], look=FLAT))
    assert [int(np.argmax(picture[50, :, 0] > 20)) for picture in pictures] == [10, 40, 70]


def test_sixteen_thousand_grains_take_less_than_130_ms_a_frame():
    # 150 frames in 20 s, in CPU time, which does not depend on other processes
    position, color = crowd(16_000)
    positions = 20 * np.stack([position] * 5)
    began = time.process_time()
    assert len(list(view.frames(positions, color, box=200.0, radius=0.52, look=view.Look(width=720)))) == 5
    assert (time.process_time() - began) / 5 < 0.13


def test_ball_with_a_wrong_number_of_positions_is_an_error():
    with pytest.raises(ValueError, match="balls: expected one position for each of 2 frames, got 3"):
        list(view.frames(np.zeros((2, 1, 2)), WHITE, box=1.0, radius=0.1, balls=[view.Ball(np.zeros((3, 2)), 0.1)]))
