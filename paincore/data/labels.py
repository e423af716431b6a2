"""Single label files of the UNBC layout: numbers apart by blanks, in scientific notation.

The readers take a file's bytes, the writers give its text. What a file may not hold raises a
ValueError with the line and the value, to which the caller adds the file's name.
"""

import math

import numpy as np

from paincore.data.facs import LID_AUS, PSPI_MAXIMUM

LANDMARKS = 66


def read_number(content: bytes) -> float:
    """The one finite number of a PSPI or sequence label file. Raises ValueError. Chapter 01."""
    words = content.split()
    if len(words) != 1:
        raise ValueError(f"{len(words)} values instead of one")
    return _number(words[0])


def read_pspi(content: bytes) -> float:
    """The PSPI of one frame, 0 to 16. Raises ValueError. Chapter 01."""
    value = read_number(content)
    if not 0 <= value <= PSPI_MAXIMUM:
        raise ValueError(f"PSPI {value:g} is outside 0 to {PSPI_MAXIMUM}")
    return value


def read_facs(content: bytes) -> dict[int, float]:
    """The intensities, 0 to 5, of the AUs coded in one frame, from rows "AU intensity x y".

    An empty file codes none. AU43 and AU45 have no intensity: named, they are 1. Of an AU named
    twice the stronger counts. Raises ValueError. Chapter 01.
    """
    aus = {}
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 4:
            raise ValueError(f"line {number} has {len(words)} values instead of four")
        au, intensity, _, _ = map(_number, words)
        if au != int(au) or not 1 <= au <= 98:
            raise ValueError(f"line {number}: {au:g} is not the number of an action unit")
        if not 0 <= intensity <= 5:
            raise ValueError(f"line {number}: intensity {intensity:g} is outside 0 to 5")
        intensity = 1.0 if au in LID_AUS else intensity
        aus[int(au)] = max(intensity, aus.get(int(au), 0.0))
    return aus


def read_landmarks(content: bytes) -> np.ndarray:
    """The facial landmarks of one frame, float64 (66, 2): x and y in pixels.

    Raises ValueError. Used in chapter 01.
    """
    rows = [line.split() for line in content.splitlines() if line.strip()]
    if len(rows) != LANDMARKS or any(len(row) != 2 for row in rows):
        raise ValueError(f"not {LANDMARKS} rows of x and y")
    return np.array([[_number(word) for word in row] for row in rows])


def _number(word: bytes) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{word[:40].decode('ascii', 'replace')!r} is not a number")
    return value
