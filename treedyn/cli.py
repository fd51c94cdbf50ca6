"""The command line: `treedyn demo` and `treedyn info`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from treedyn import __version__

PACKAGES = ("jax", "jaxlib", "numpy", "pillow", "imageio-ffmpeg", "tqdm", "optax", "flax", "equinox")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with the given arguments, by default those of this process, and return the exit status."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, ImportError, OSError) as error:
        print(f"treedyn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntreedyn: stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = argparse.ArgumentParser(prog="treedyn", description="Dynamics on any PyTree.")
    top.set_defaults(run=lambda _: _help(top))
    top.add_argument("--version", action="version", version=f"treedyn {__version__}")
    commands = top.add_subparsers(title="commands")
    info = commands.add_parser("info", help="print versions and devices", description="Print versions and devices.")
    info.set_defaults(run=_info)
    demo = commands.add_parser("demo", help="run a demonstration", description="Run a demonstration.")
    demo.set_defaults(run=lambda _: _help(demo))
    demos = demo.add_subparsers(title="demonstrations")
    what = "Turn a picture into grains of sand, fire a ball at them, and write a film. This takes one to two minutes."
    sand = demos.add_parser("sandcastle", help="turn a picture into sand and fire a ball at it", description=what)
    sand.add_argument("--image", metavar="FILE", help="any picture (default: a castle)")
    sand.add_argument("--out", metavar="DIR", default="sandcastle", help="output folder (default: %(default)s)")
    sand.set_defaults(run=_sandcastle)
    return top


def _help(command: argparse.ArgumentParser) -> int:
    """Explain a command that lacks its second word."""
    command.print_help(sys.stderr)
    return 2


def _sandcastle(options: argparse.Namespace) -> int:
    from treedyn.demo._sandcastle import sandcastle

    sandcastle(options.image, options.out, progress=sys.stderr.isatty())
    return 0


def _info(options: argparse.Namespace) -> int:
    del options
    import jax

    print(f"treedyn {__version__}, Python {sys.version.split()[0]}")
    for name in PACKAGES:
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} is not installed")
    print("devices: " + ", ".join(str(device) for device in jax.devices()))
    print(f"precision: {'64' if jax.config.read('jax_enable_x64') else '32'} bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
