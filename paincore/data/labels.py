"""Single label files of the UNBC layout: numbers between blanks, in scientific notation.

The functions take a file's bytes. What a file may not hold raises a ValueError with the line or the
value, to which the caller adds the file's name.
"""

import math

import numpy as np

from paincore.data.facs import LID_AUS, PSPI_MAXIMUM

LANDMARKS = 66


def parse_number(content: bytes) -> float:
    """The one finite number of a PSPI or sequence label file."""
    words = content.split()
    if len(words) != 1:
        raise ValueError(f"{len(words)} values instead of one")
    return _finite(words[0])


def parse_pspi(content: bytes) -> float:
    """The PSPI of one frame, 0 to 16."""
    value = parse_number(content)
    if not 0 <= value <= PSPI_MAXIMUM:
        raise ValueError(f"PSPI {value:g} is outside 0 to {PSPI_MAXIMUM}")
    return value


def parse_facs(content: bytes) -> dict[int, float]:
    """The intensities, 0 to 5, of the AUs coded in one frame, from rows "AU intensity x y".

    An empty file codes none. AU43 and AU45 have no intensity: where they are named, they are 1. Of
    an AU named twice the stronger counts.
    """
    aus = {}
    for au, intensity, _, _ in _rows(content, 4):
        if au != int(au) or not 1 <= au <= 98:
            raise ValueError(f"{au:g} is not the number of an action unit")
        if not 0 <= intensity <= 5:
            raise ValueError(f"intensity {intensity:g} of AU{au:g} is outside 0 to 5")
        intensity = 1.0 if au in LID_AUS else intensity
        aus[int(au)] = max(intensity, aus.get(int(au), 0.0))
    return aus


def parse_landmarks(content: bytes) -> np.ndarray:
    """The facial landmarks of one frame, float64 (66, 2): x and y in pixels."""
    rows = _rows(content, 2)
    if len(rows) != LANDMARKS:
        raise ValueError(f"{len(rows)} rows of x and y instead of {LANDMARKS}")
    return np.array(rows)


def _rows(content: bytes, width: int) -> list[list[float]]:
    """The numbers of each line that is not blank, `width` of them."""
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.split()
        if len(words) not in (0, width):
            raise ValueError(f"line {number} has {len(words)} values instead of {width}")
        if words:
            rows.append([_finite(word) for word in words])
    return rows


def _finite(word: bytes) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return value
