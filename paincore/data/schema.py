"""What the frames table has to be, checked once, when a corpus is read."""

import pandera.pandas as pa

from paincore.data.facs import PSPI_MAXIMUM
from paincore.data.frames import KEYS, SEQUENCE_LABELS, STATES

FRAMES = pa.DataFrameSchema(
    {
        "subject": pa.Column(str, pa.Check.str_matches(r"^[a-z]{2}\d{3}$")),
        "sequence": pa.Column(str),
        "frame": pa.Column("int64", pa.Check.ge(1)),
        "image": pa.Column(str, nullable=True),
        "landmarks": pa.Column(str, nullable=True),
        r"^au\d+$": pa.Column(float, pa.Check.in_range(0, 5), nullable=True, regex=True),
        "pspi": pa.Column(float, pa.Check.in_range(0, PSPI_MAXIMUM), nullable=True),
        "pspi_facs": pa.Column(float, nullable=True),
        "pspi_difference": pa.Column(float, nullable=True),
        "pain": pa.Column("boolean", nullable=True),
        **{label: pa.Column(float, nullable=True) for label in SEQUENCE_LABELS},
        "state": pa.Column(str, pa.Check.isin(STATES)),
        "problem": pa.Column(str),
    },
    strict=True,
    unique=KEYS,
)
"""Columns of the frames table, their types and bounds.

`image` and `landmarks` are paths relative to the corpus folder, null where the file is missing.
There is a column for each AU of `facs.AUS`: NaN where the FACS file is missing or bad, else 0 for
an AU that it does not name. `pspi` is the label file's value, `pspi_facs` the same from the AUs,
`pspi_difference` is `pspi` minus `pspi_facs`, and `pain` is whether `pspi` is above the threshold.
"""
