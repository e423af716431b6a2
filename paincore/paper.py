"""What the paper prints, and nothing else: the one place for its numbers.

G. Fiorentini, I. Onal Ertugrul, A. A. Salah: Fully-attentive and interpretable: vision and video
vision transformers for pain detection. A number that the paper shows only as a bar or does not
name is not here, and is never read off a figure. Shares are per cent of frames. What only the
authors' released notebook writes out has RELEASED in its name.
"""

FRAMES = 48398
"""Frames of UNBC-McMaster (section 3.1)."""

SUBJECTS = 25
"""Patients of UNBC-McMaster (section 3.1)."""

PSPI_SHARES = {"0": 82.7, "1-2": 10.9}
"""Per cent of frames by PSPI, as printed (section 3.1)."""

PSPI_MAXIMUM = 16
"""Highest PSPI: three intensities of up to 5 and the closing of the eyes (section 1)."""

FOLDS = 5
"""Folds, each of as many patients as there are folds (section 3.1)."""

RELEASED_FOLDS = (
    ("bn080", "mg101", "aa048", "jh043", "jh123"),
    ("dn124", "vw121", "fn059", "dr052", "ll042"),
    ("jk103", "jl047", "ch092", "jy115", "bg096"),
    ("bm049", "kz120", "th108", "tv095", "ib109"),
    ("nm106", "mg066", "hs107", "gf097", "ak064"),
)
"""The patients that each fold tests on. The paper tells how they were found, not who they are."""

RELEASED_FOLD_FRAMES = (8054, 7729, 10390, 9940, 12285)
"""Frames of UNBC-McMaster in each of these folds."""

CLIP_FRAMES = 4
"""Subsequent frames in one 2x2 grid of the video transformer (section 3.1)."""


def pspi_shares() -> dict[str, float]:
    """Per cent of frames with PSPI 0, 1-2 and 3-16.

    The first two are printed in section 3.1; the third is what they leave of 100. Used by
    chapter 01.
    """
    rest = 100 - sum(PSPI_SHARES.values())
    return {**PSPI_SHARES, "3-16": round(rest, 1)}


def pain_share() -> float:
    """Per cent of frames with PSPI above 0, the paper's pain class (section 3.1). Chapter 01."""
    return round(100 - PSPI_SHARES["0"], 1)
