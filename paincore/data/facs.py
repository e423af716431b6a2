"""Pain from facial action units: the Prkachin and Solomon Pain Intensity (PSPI).

Action units (AUs) follow FACS (Ekman, Friesen & Hager 2002). An intensity is 0 (absent), 1 (A, a
trace) to 5 (E, maximum). Lids have no intensity here: AU43 (closed for more than half a second) and
AU45 (a blink) are 0 or 1.
"""

import numpy as np

AUS = (1, 2, 4, 6, 7, 9, 10, 12, 15, 20, 25, 26, 27, 43, 45, 50)
"""The AUs that every frames table has a column for."""

LID_AUS = (43, 45)
"""AUs that are present or not, without an intensity."""

PSPI_AUS = (4, 6, 7, 9, 10, 43)
"""The AUs that make PSPI."""

PSPI_MAXIMUM = 16


def pspi(au4, au6, au7, au9, au10, au43):
    """Prkachin and Solomon Pain Intensity, 0 to 16.

    Arguments are intensities (0 to 5; AU43 0 or 1), scalars or arrays that broadcast. NaN in, NaN
    out. Source: Prkachin & Solomon, Pain 2008.
    """
    return au4 + np.maximum(au6, au7) + np.maximum(au9, au10) + au43


def pspi_from_table(frames):
    """PSPI of each row of a table with the columns au4, au6, au7, au9, au10, au43, as a Series."""
    return pspi(*(frames[f"au{au}"] for au in PSPI_AUS))
