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


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"treedyn {treedyn.__version__}\n"


@pytest.mark.parametrize("arguments", [["demo", "cathedral"], ["demo", "sandcastle", "--grains", "7"]])
def test_misspelt_commands_are_refused(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "usage: treedyn" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["demo"]])
def test_incomplete_commands_are_explained(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "show this help" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "said"), [("--image", "readable picture"), ("--out", "cannot write")])
def test_file_of_the_wrong_kind_is_refused_with_its_name(option, said, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("not a picture")
    assert cli.main(["demo", "sandcastle", option, str(tmp_path / "notes.txt")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"treedyn: {option[2:]}: ") and "notes.txt" in message and said in message


@pytest.mark.parametrize("module", ["PIL.Image", "imageio_ffmpeg"])
def test_missing_extra_is_refused_with_the_command_to_install_it(module, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["demo", "sandcastle", "--out", str(tmp_path)]) == 2
    assert 'pip install "treedyn[demo]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "status", "said"), [(KeyboardInterrupt(), 130, "stopped"), (OSError("disk full"), 2, "disk full")]
)
def test_run_that_ends_early_ends_with_one_line(fault, status, said, tmp_path, capsys, monkeypatch):
    def shoot(*args, **kwargs):
        raise fault

    monkeypatch.setattr(demo, "shoot", shoot)
    assert cli.main(["demo", "sandcastle", "--out", str(tmp_path)]) == status
    assert capsys.readouterr().err.strip() == f"treedyn: {said}"
