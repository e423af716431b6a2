"""The frames table: one row a frame, sorted by subject, sequence and frame.

Every chapter reads this table and none changes it. A frame that cannot be used keeps its row: its
`state` says why in a word from `STATES`, its `problem` in a sentence that names the file.
"""

import pandas as pd

from paincore.data.facs import pspi_from_table

KEYS = ["subject", "sequence", "frame"]
"""The columns that name a frame."""

STATES = {
    "ok": "image and labels are here and well formed",
    "missing_frame": "neither image nor label: a gap in the numbering",
    "missing_image": "labels without an image",
    "not_png": "the image is not a PNG file",
    "truncated": "the image's file does not end where a PNG file ends",
    "missing_label": "an image without its PSPI or its FACS file",
    "bad_pspi": "the PSPI file does not hold one number from 0 to 16",
    "bad_facs": "the FACS file does not hold rows of AU, intensity, x and y",
    "unreadable": "the operating system refuses to read a file",
}
"""What `state` may be, and what it means."""

SEQUENCE_LABELS = ("vas", "sen", "aff", "opr")
"""Ratings of a whole sequence: the patient's (VAS, sensory, affective) and an observer's (OPR)."""


def with_derived(frames: pd.DataFrame, threshold: float = 0) -> pd.DataFrame:
    """A copy of the table with what follows from PSPI and AUs: pspi_facs, pspi_difference, pain.

    `pain` is PSPI > threshold (0 in the paper, section 3.1), null where the PSPI label is missing
    or bad. A cached table goes through here when it is opened, so that it never has the values of
    an older formula or of another threshold.
    """
    pain = (frames["pspi"] > threshold).astype("boolean").mask(frames["pspi"].isna())
    facs = pspi_from_table(frames)
    return frames.assign(pspi_facs=facs, pspi_difference=frames["pspi"] - facs, pain=pain)
