"""The command line: `treedyn demo` and `treedyn info`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("jax", "jaxlib", "numpy", "pillow", "imageio-ffmpeg", "tqdm", "optax", "flax", "equinox")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with the given arguments, by default those of this process, and return the exit status."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, ImportError) as error:
        print(f"treedyn: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = argparse.ArgumentParser(prog="treedyn", description="Dynamics on any PyTree.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="print versions and devices")
    info.set_defaults(run=_info)
    demo = commands.add_parser("demo", help="run a demonstration")
    demos = demo.add_subparsers(required=True, metavar="DEMO")
    sand = demos.add_parser("sandcastle", help="turn a picture into sand, let it settle, and shoot at it")
    sand.add_argument("--image", metavar="FILE", help="any picture (default: a castle)")
    sand.add_argument("--out", metavar="DIR", default="sandcastle", help="output folder (default: sandcastle)")
    sand.add_argument("--full", action="store_true", help="take all 30,000 steps of the last stage")
    sand.add_argument("--seed", type=int, default=0, help="seed of the random numbers")
    sand.set_defaults(run=_sandcastle)
    return top


def _sandcastle(options: argparse.Namespace) -> int:
    from treedyn.demo._sandcastle import sandcastle

    sandcastle(options.image, options.out, full=options.full, seed=options.seed, progress=sys.stderr.isatty())
    return 0


def _info(options: argparse.Namespace) -> int:
    del options
    import jax

    import treedyn

    print(f"treedyn {treedyn.__version__}, Python {sys.version.split()[0]}")
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
