"""The sandcastle: its picture, its projectile, and short versions of its stages."""

import dataclasses
import runpy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import treedyn as td
from treedyn import particles as tp
from treedyn.demo import _sandcastle as demo
from treedyn.demo._castle import CASTLE, draw_castle
from treedyn.view._image import load_pixels


def few_steps(stage, steps=40, frames=4):
    return dataclasses.replace(stage, steps=steps, frames=frames)


@pytest.fixture(scope="module")
def sand():
    return demo.pour(CASTLE, 150, spacing=1.15, shake=0.04)


def test_castle_in_the_package_is_the_one_that_the_code_draws():
    with Image.open(CASTLE) as image:
        shipped = np.asarray(image.convert("RGBA"), int)
    drawn = np.asarray(draw_castle(), int)
    seen = shipped[..., 3] > 0
    assert shipped.shape == drawn.shape
    assert np.abs(shipped - drawn)[seen].mean() < 1


def test_castle_has_many_colors_warm_and_cool():
    pixels = load_pixels(CASTLE)
    red, green, blue = pixels[pixels[..., 3] > 200][:, :3].T.astype(int)
    assert 0.3 < len(red) / pixels[..., 0].size < 0.7
    assert np.mean(red > blue + 40) > 0.5
    assert np.mean(blue > red + 40) > 0.08
    assert np.mean((green > red + 40) & (blue > red + 40)) > 0.03


def test_grains_lie_in_the_middle_of_their_box(sand):
    low, high = np.asarray(sand.position).min(0), np.asarray(sand.position).max(0)
    assert np.all(low > 0.05 * np.asarray(sand.box)) and np.all(high < 0.95 * np.asarray(sand.box))
    assert np.allclose((low + high) / 2, np.asarray(sand.box) / 2, atol=0.05 * np.max(sand.box))


def test_narrow_picture_gets_a_box_with_room_for_the_ball():
    sand = demo.pour(Image.linear_gradient("L").resize((4, 300)), 500, spacing=1.1)
    assert float(jnp.min(sand.box)) == pytest.approx(demo.LEAST)
    assert 2.8 * demo.SIEGE.radius < demo.LEAST
    assert demo.LEAST > 2 * (demo.CUTOFF + 1.0)


def test_projectile_moves_and_wraps_around_the_box():
    space = tp.periodic(10.0)
    ball = demo.Projectile(position=jnp.array([9.9, 5.0]), velocity=jnp.array([2.0, -1.0]), dt=0.1, space=space)
    moved = td.environment.advance({"shot": ball}, None)["shot"]
    assert np.allclose(moved.position, [0.1, 4.9])


@pytest.mark.slow
def test_castle_settles_and_loses_energy(sand):
    outcome = demo.play(few_steps(demo.SETTLE, 100), sand)
    assert outcome.after < outcome.before
    assert int(outcome.run.state.status) == 0
    assert outcome.run.records[0].shape == (4, len(sand.position), 2)


@pytest.mark.slow
def test_projectile_keeps_its_course_and_pushes_the_sand(sand):
    stage = few_steps(demo.SHOT, 400)
    outcome = demo.play(stage, sand)
    path = np.diff(np.unwrap(outcome.shot, axis=0, period=np.asarray(sand.box)), axis=0)
    step = stage.steps / stage.frames * stage.dt * stage.speed
    assert np.allclose(path, [step, 0.07 * step], rtol=1e-4)
    assert outcome.after > outcome.before
    gap = tp.periodic(sand.box).distance(outcome.run.state.position, jnp.asarray(outcome.shot[-1])[None])
    assert float(jnp.min(gap)) > 0.5 * stage.radius


@pytest.mark.slow
def test_stage_is_the_same_with_and_without_lists(sand):
    stage = few_steps(dataclasses.replace(demo.SHOT, radius=2.0), 60)
    pairs = demo.play(stage, sand)
    lists = demo.play(dataclasses.replace(stage, lists=True), sand)
    assert np.allclose(pairs.run.records[0], lists.run.records[0], atol=1e-9)


@pytest.mark.slow
def test_films_and_pictures_are_written_and_listed(sand, tmp_path):
    outcome = demo.play(few_steps(demo.SHOT), sand)
    outcome = demo.show(outcome, tmp_path / "out", width=120)
    assert sorted(path.name for path in outcome.files) == ["shot.gif", "shot.mp4", "shot.png"]
    assert all(path.stat().st_size > 500 for path in outcome.files)
    with Image.open(tmp_path / "out" / "shot.gif") as film:
        assert film.n_frames == 3  # every other of start and 4 records
    printed = demo.table([outcome])
    assert f"{len(sand.position)}" in printed and "all pairs" in printed and "shot.gif" in printed


@pytest.mark.slow
def test_example_makes_a_film(tmp_path, capsys):
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "sandcastle.py"))
    example["main"](film=tmp_path / "film.gif", count=100, steps=50)
    assert (tmp_path / "film.gif").stat().st_size > 1_000
    assert "50 steps" in capsys.readouterr().out
