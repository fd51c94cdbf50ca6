"""The command line."""

import subprocess
import sys

import pytest

import treedyn
from treedyn import cli
from treedyn.demo import _sandcastle as demo


def test_info_prints_versions_and_devices(capsys):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert f"treedyn {treedyn.__version__}" in printed
    assert "jax " in printed and "devices: " in printed and "64 bit" in printed


def test_program_is_installed():
    result = subprocess.run([sys.executable, "-m", "treedyn.cli", "--help"], capture_output=True, text=True, check=True)
    assert "demo" in result.stdout and "info" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["demo"], ["demo", "cathedral"], ["demo", "sandcastle", "--grains", "7"]])
def test_incomplete_or_misspelt_commands_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: treedyn" in capsys.readouterr().err


def test_file_that_is_not_a_picture_is_refused_with_its_name(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("not a picture")
    assert cli.main(["demo", "sandcastle", "--image", str(tmp_path / "notes.txt"), "--out", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("treedyn: image:") and "notes.txt" in message and "PNG" in message


def test_missing_extra_is_refused_with_the_command_to_install_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert cli.main(["demo", "sandcastle", "--out", str(tmp_path)]) == 1
    assert 'pip install "treedyn[demo]"' in capsys.readouterr().err


def test_options_of_the_sandcastle_reach_it(monkeypatch):
    seen = {}
    monkeypatch.setattr(demo, "sandcastle", lambda image, out, **options: seen.update(options, image=image, out=out))
    assert cli.main(["demo", "sandcastle", "--image", "a.png", "--out", "b", "--full", "--seed", "3"]) == 0
    assert seen == {"image": "a.png", "out": "b", "full": True, "seed": 3, "progress": sys.stderr.isatty()}


@pytest.mark.slow
def test_sandcastle_of_any_picture_runs_from_end_to_end(tmp_path, capsys, monkeypatch):
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (60, 60), "white")
    ImageDraw.Draw(picture).ellipse((8, 8, 52, 52), fill=(200, 90, 40))
    picture.save(tmp_path / "sun.png")
    for name in ("SETTLE", "SHOT", "SIEGE"):
        stage = getattr(demo, name)
        monkeypatch.setattr(demo, name, type(stage)(**{**vars(stage), "steps": 60, "frames": 3}))
    assert cli.main(["demo", "sandcastle", "--image", str(tmp_path / "sun.png"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}.gif" in printed for name in ("settle", "shot", "siege"))
    assert len(list((tmp_path / "out").iterdir())) == 9
