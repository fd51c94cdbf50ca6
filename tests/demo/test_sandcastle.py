"""The sandcastle: its picture, its grains, the flight of the ball, and the film."""

import functools
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import KDTree

from treedyn import cli
from treedyn.demo import _sandcastle as demo
from treedyn.demo._castle import CASTLE, draw_castle

STEPS, FRAMES = 120, 12
PICTURES = {
    "castle": CASTLE,
    "photo": Image.radial_gradient("L").rotate(45).crop((90, 90, 170, 150)),
    "white": Image.new("RGB", (60, 40), "white"),
    "2 x 2": Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20),
    "dot": Image.new("RGB", (300, 300), "white").copy(),
}
PICTURES["dot"].paste((0, 0, 0), (200, 40, 230, 60))


@pytest.fixture(scope="module")
def scene():
    return demo.build(PICTURES["photo"], 150)


@pytest.fixture(scope="module")
def run(scene):
    return demo.shoot(scene, steps=STEPS, frames=FRAMES)


def test_castle_in_the_package_is_the_one_that_the_code_draws():
    with Image.open(CASTLE) as image:
        shipped = np.asarray(image.convert("RGBA"), int)
    drawn = np.asarray(draw_castle(), int)
    seen = shipped[..., 3] > 0
    assert shipped.shape == drawn.shape
    assert np.abs(shipped - drawn)[seen].mean() < 1


@pytest.mark.parametrize("name", PICTURES)
def test_sand_of_any_picture_stands_on_the_floor_beside_the_ball(name):
    scene = demo.build(PICTURES[name], 400)
    sand, ball = np.asarray(scene.position["sand"]), np.asarray(scene.position["ball"])
    assert np.allclose(sand.min(0), [0, 2 * demo.GRAIN])
    assert np.prod(scene.size) == pytest.approx(400 * np.sqrt(3) / 2, rel=0.2)
    assert KDTree(sand).query(ball)[0] > scene.radius + demo.GRAIN


@pytest.mark.parametrize("size", [(1, 1000), (700, 100)])
def test_long_and_narrow_pictures_are_refused(size):
    with pytest.raises(ValueError, match=r"^image: .* six times as long as wide, got \d+ times"):
        demo.build(Image.new("RGB", size, "red"))


@pytest.mark.slow
def test_ball_flies_along_a_parabola_and_is_stopped_by_the_sand(scene, run):
    flight, start = run.records["ball"][:3], np.asarray(scene.position["ball"])
    time = 0.02 * STEPS / FRAMES * np.arange(1, 4)[:, None]
    fall = np.array([0, 6.3 / scene.size[1] / 2])
    assert np.allclose(flight, start + demo.SPEED * np.array([1, 0.08]) * time - fall * time**2)
    speed = np.diff(run.records["ball"][:, 0])
    assert speed[-1] < 0.8 * speed[0]


@pytest.mark.slow
def test_sand_stands_until_the_ball_hits_it_and_stays_above_the_floor(scene, run):
    moved = np.abs(run.records["sand"] - np.asarray(scene.position["sand"])).max(axis=(1, 2))
    assert moved[2] < 1.0 < 2.0 < moved[-1]
    assert run.records["sand"][..., 1].min() > 0


@pytest.mark.slow
def test_ball_enters_the_film_from_the_left_and_is_seen_there_only(scene, run):
    pictures = np.stack(list(demo.draw(scene, run, width=160)))
    assert pictures.shape[0] == FRAMES + 1 and max(pictures.shape[1:3]) == 160
    dark = pictures.max(axis=-1) < 100
    edge = dark[:, :, 0].any(axis=1)
    assert not dark[0, :, :20].any() and edge[1:4].any()
    assert not dark[edge][:, :, -20:].any()


@pytest.mark.slow
def test_command_turns_a_file_into_a_picture_and_a_film(scene, run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "sandcastle", functools.partial(demo.sandcastle, count=150, steps=STEPS, frames=FRAMES))
    monkeypatch.setattr(demo, "shoot", lambda shot, **_: run if np.all(shot.color == scene.color) else None)
    PICTURES["photo"].save(tmp_path / "photo.png")
    out = tmp_path / "new" / "out"
    assert cli.main(["demo", "sandcastle", "--image", str(tmp_path / "photo.png"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "120 steps" in printed and all(str(path) in printed for path in out.iterdir())
    assert sorted(path.name for path in out.iterdir()) == ["siege.mp4", "siege.png"]


@pytest.mark.slow
def test_example_makes_a_film(tmp_path, capsys):
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "sandcastle.py"))
    example["main"](film=tmp_path / "film.gif", count=100, steps=50)
    assert (tmp_path / "film.gif").stat().st_size > 1_000
    assert "50 steps" in capsys.readouterr().out
