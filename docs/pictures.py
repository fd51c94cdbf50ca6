"""Make the pictures of the README and of the documentation, with `python docs/pictures.py`.

The siege of `treedyn demo sandcastle` is simulated; three of its frames stand beside each other in the README, and a
small film of it on the page about the sandcastle.
"""

from pathlib import Path

from treedyn import view
from treedyn.demo import _sandcastle as demo
from treedyn.demo._castle import CASTLE

ASSETS = Path(__file__).with_name("assets")
MOMENTS = (0, 48, 98)


def main() -> None:
    """Simulate the siege, and write its pictures."""
    outcome = demo.play(demo.SIEGE, demo.pour(CASTLE, 16_384, spacing=demo.NEIGHBORS))
    large = list(demo.draw(outcome, 520))
    view.write_picture(ASSETS / "sandcastle.png", view.side_by_side([large[k] for k in MOMENTS], gap=12), colors=256)
    film = [demo.block_mean(picture) for picture in demo.draw(outcome, 800)]
    view.write_gif(ASSETS / "siege.gif", film[::2], fps=12.5, colors=128)
    print(demo.table([outcome]))
    for path in (ASSETS / "sandcastle.png", ASSETS / "siege.gif"):
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
