"""The command line: `python -m benchmarks CASE` and `python -m benchmarks compare`."""

import argparse
import sys

from benchmarks import compare
from benchmarks.result import Result, overview
from benchmarks.work import CASES, PEER_CASES, Work, default_atoms, default_steps


def main() -> int:
    """Do what the command line says; return 1 where something failed."""
    options = _parser().parse_args()
    case = options.with_case if options.case == "compare" else options.case
    atoms = options.atoms or default_atoms(case)
    work = Work(
        case=case,
        atoms=atoms,
        steps=options.steps or default_steps(case, atoms),
        dtype=options.dtype,
        truncation=options.truncation,
        skin=options.skin,
        tolerance=options.tolerance,
        rounds=options.rounds,
        warm=options.warm,
    )
    if options.case == "compare":
        return compare.main(work, options.only, options.json)
    results = _measure(work)
    print("\n".join(result.json() for result in results) if options.json else overview(results))
    return 0 if all(result.status == "ok" for result in results) else 1


def _measure(work: Work) -> list[Result]:
    from benchmarks.cases import find

    try:
        found = find(work.case)(work)
    except (RuntimeError, ValueError) as error:
        status = f"{type(error).__name__}: {error}"
        return [Result(work.case, work.atoms, work.steps, work.dtype, status=status)]
    return found if isinstance(found, list) else [found]


def _parser() -> argparse.ArgumentParser:
    cases = "\n".join(f"  {name.ljust(12)} {what}" for name, what in CASES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure treedyn, or compare it with other programs on the same work.",
        epilog=f"cases:\n{cases}\n  {'compare'.ljust(12)} other programs, in turn, on the work of --case",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("case", choices=[*CASES, "compare"], metavar="CASE", help="one of the cases below")
    parser.add_argument("--atoms", type=_positive, help="how many atoms; rounded to what the system allows")
    parser.add_argument("--steps", type=_positive, help="steps in a round; by default a second or two of them")
    parser.add_argument("--dtype", choices=["float32", "float64"], default=Work.dtype)
    parser.add_argument("--rounds", type=_positive, default=Work.rounds, help="figures are medians over rounds")
    parser.add_argument("--warm", type=_positive, default=Work.warm, help="steps before the first round, to melt")
    parser.add_argument("--truncation", choices=["cut", "force-shifted"], default=Work.truncation)
    parser.add_argument("--skin", type=float, help="of treedyn's lists, instead of its default")
    parser.add_argument("--tolerance", type=float, default=Work.tolerance, help="part of the pairs they may miss")
    parser.add_argument("--case", dest="with_case", choices=PEER_CASES, default="lj", help="what compare compares")
    parser.add_argument("--only", type=lambda text: text.split(","), help="programs for compare: treedyn,lammps,...")
    parser.add_argument("--json", action="store_true", help="one line of JSON for a result")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
