"""What the paper prints, and nothing else: the one place for its numbers.

G. Fiorentini, I. Onal Ertugrul, A. A. Salah: Fully-attentive and interpretable: vision and video
vision transformers for pain detection. A number that the paper shows only as a bar or does not
name is not here, and is never read off a figure. Shares are in per cent of frames. What only
the authors' released notebook writes out has RELEASED in its name.
"""

from math import ceil
from typing import NamedTuple

UNBC_FRAMES = 48398
"""Frames of UNBC-McMaster (section 3.1)."""

SUBJECTS = 25
"""Patients of UNBC-McMaster (section 3.1)."""

PSPI_SHARES = {"0": 82.7, "1-2": 10.9, "3-16": 6.4}
"""Per cent of frames by PSPI: two as printed (section 3.1), and what these leave of 100."""

PAIN_SHARE = 17.3
"""Per cent of frames with PSPI above 0, the paper's pain class: what 82.7 leaves of 100."""

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

START_RATE = 2e-4
"""Adam's learning rate while the layers are tried (section 4)."""

MIXUP_ALPHA = 0.8
"""The best of the three values that are tried, and the only one printed (section 4.4)."""

TRIED = {
    "layers": (2, 4, 6, 8, 10, 12),
    "rate": (2e-2, 2e-3, 2e-4, 2e-5, 2e-6),
    "sam": (None, True),
    "mixup": (None, 0.2, 0.5, MIXUP_ALPHA),
}
"""The values of each step, of both models (sections 4.1 to 4.4); we infer 0.2 and 0.5."""

CHOSEN = {
    "vit": {"unfrozen_layers": 12, "learning_rate": 2e-5},
    "vivit": {"unfrozen_layers": 6, "learning_rate": 2e-4},
}
"""The best depth and rate of each model: ViT-1 and ViViT-1 (section 4.2)."""

CHOSEN_SECOND = {"vivit": {"unfrozen_layers": 6, "learning_rate": 2e-6}}
"""The second best rate, ViViT-2 (section 4.2)."""

PRINTED_F1 = {
    ("vit", "layers"): {12: 0.47, 6: 0.45},
    ("vivit", "layers"): {6: 0.55, 12: 0.53},
    ("vit", "rate"): {2e-4: 0.47, 2e-5: 0.55, 2e-6: 0.50},
    ("vivit", "rate"): {2e-4: 0.55, 2e-6: 0.49},
    ("vit", "sam"): {None: 0.55, True: 0.50},
    ("vivit", "sam"): {None: 0.55, True: 0.40},
    ("vit", "mixup"): {None: 0.55, 0.8: 0.52},
    ("vivit", "mixup"): {None: 0.55, 0.8: 0.52},
}
"""Mean F1 over folds by model, step and value, where the text prints it (sections 4.1 to 4.4).

A configuration that two figures show is here once for each: the rate 2e-4 is the best number of
layers of section 4.1, and None, without SAM or Mixup, the best rate of section 4.2. SAM has the
value True. The other bars of Figures 3, 4, 6 and 7 have no number in the text, nor have the
folds of Figure 5.
"""


class Result(NamedTuple):
    """A row of Table 1; None where it prints a dash. Earlier works have no settings here."""

    name: str
    f1: float | None
    f1_sd: float | None
    auc: float | None
    settings: str | None = None

    def cells(self) -> dict[str, str]:
        """The row in words; what the paper does not print is marked."""
        own = self.settings is not None
        row = {
            "model": f"{self.name} ({self.settings})" if own else self.name,
            "data": "UNBC-McMaster (the paper)",
            "F1, folds": "-" if self.f1 is None else f"{self.f1:.2f} ± {self.f1_sd:.2f}",
            "AUC, folds": "-" if self.auc is None else f"{self.auc:.2f}, ± not printed",
        } | dict.fromkeys(("F1, pooled", "AUC, pooled"), "not printed")
        if not own:
            doubt = "split, subjects and ± are the cited work's own"
            return row | {"protocol": f"not comparable until verified: {doubt}"}
        protocol = f"{FOLDS} folds by people, {SUBJECTS} subjects; ± over folds"
        return row | {"registration": "PRNet", "backbone": "ViT-B/16", "protocol": protocol}


TABLE_1 = (
    Result("CDL", 0.46, 0.18, None),
    Result("PFDL", 0.47, 0.20, None),
    Result("SPTS + CAPP", None, None, 0.84),
    Result("SPTS + SAPP + CAPP", None, None, 0.85),
    Result("ViT-1", 0.55, 0.15, 0.88, "12 layers, 2e-5"),
    Result("ViViT-1", 0.55, 0.13, 0.86, "6 layers, 2e-4"),
    Result("ViViT-2", 0.49, 0.04, 0.76, "6 layers, 2e-6"),
)
"""Table 1: mean and standard deviation of F1 over folds, mean AUC. The first four are others'."""


def optimiser_steps(batch: int) -> int:
    """Optimiser steps of an epoch: four of five folds in batches (sections 3.1 and 4)."""
    return ceil(UNBC_FRAMES * (FOLDS - 1) / FOLDS / batch)
