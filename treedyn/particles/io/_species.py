"""Symbols and numbers of the chemical elements."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import ArrayLike

# chemical symbols or atomic numbers, one for all or one each
Species: TypeAlias = str | Sequence[str] | ArrayLike | None

_TABLE = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts "
    "Og"
)
# X, number 0, is the usual name of a particle that is not an element
SYMBOLS = np.array(["X", *_TABLE.split()])
_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS.tolist())}


def atomic_numbers(species: Species, count: int) -> np.ndarray:
    """Return atomic numbers, `int64[count]`, from symbols or numbers, one for all or one each; `None` is X.

    Example:
        >>> atomic_numbers(["Ar", "Kr"], 2).tolist()
        [18, 36]
        >>> atomic_numbers("Ar", 2).tolist()
        [18, 18]
    """
    try:
        given = np.asarray(0 if species is None else species)
    except (TypeError, ValueError) as error:
        raise ValueError(f"species: expected chemical symbols or atomic numbers, got {species!r}") from error
    if given.dtype.kind in "UO":
        unknown = [str(x) for x in given.ravel() if str(x) not in _NUMBERS]
        if unknown:
            raise ValueError(
                f"species: expected chemical symbols or atomic numbers, got {unknown[0]!r}. Use X for what is not an "
                "element."
            )
        given = np.array([_NUMBERS[str(x)] for x in given.ravel()], np.int64).reshape(given.shape)
    if given.dtype.kind not in "iu" or np.any((given < 0) | (given >= len(SYMBOLS))):
        raise ValueError(f"species: expected chemical symbols or atomic numbers from 0 to 118, got {species!r}")
    if given.shape not in ((), (count,)):
        raise ValueError(f"species: expected one for all or one per particle [{count}], got shape {given.shape}")
    return np.broadcast_to(given.astype(np.int64), (count,)).copy()
