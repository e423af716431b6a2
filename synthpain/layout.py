"""The text of label files as UNBC-McMaster has them: numbers in scientific notation."""

from collections.abc import Mapping

import numpy as np

LID_AUS = (43, 45)
"""Action units that are present or not, without an intensity: closed lids and blinks."""


def pspi(aus: Mapping[str, np.ndarray]) -> np.ndarray:
    """PSPI of coded action units `au4` to `au43`, arrays of one shape (Prkachin & Solomon 2008).

    The generator's own: a reader that computes it differently would disagree with the label files.
    """
    eyes = np.maximum(aus["au6"], aus["au7"])
    nose = np.maximum(aus["au9"], aus["au10"])
    return aus["au4"] + eyes + nose + aus["au43"]


def write_number(value: float) -> str:
    """The text of a PSPI or sequence label file."""
    return _row(value)


def write_facs(aus: Mapping[int, float]) -> str:
    """The text of a FACS file: a row "AU intensity 0 0" for each AU above 0, in order of number.

    Lids (AU43, AU45) are written without an intensity, as 0.
    """
    coded = {au: 0.0 if au in LID_AUS else aus[au] for au in sorted(aus) if aus[au] > 0}
    return "".join(_row(au, intensity, 0, 0) for au, intensity in coded.items())


def write_landmarks(points: np.ndarray) -> str:
    """The text of a landmarks file, from (66, 2) pixels."""
    return "".join(_row(x, y) for x, y in points)


def _row(*values: float) -> str:
    return "".join(f"   {value:.7e}" for value in values) + "\n"
