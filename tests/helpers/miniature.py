"""A corpus of 12 frames in UNBC's layout, its texts written out as the data set has them.

Nothing of paincore writes it, so that the reader is held against the format and not against itself.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SEQUENCE = "ll042t1aaaff"
FRAMES = {SEQUENCE: 5, "ll042t2aiunaff": 4, "tv095t2aeunaff": 3}
FOLDERS = {"ll042": "042-ll042", "tv095": "095-tv095"}

PSPI = {2: 4, 3: 6}
"""PSPI of the frames of `SEQUENCE`; 0 in all others."""

FACS = {2: {4: 2, 6: 1, 7: 2}, 3: {4: 1, 7: 3, 9: 1, 25: 2, 43: 0}}
"""Intensities of action units in the frames of `SEQUENCE`; none in all others."""

RATINGS = {"VAS": 3.5, "SEN": 7, "AFF": 4, "OPR": 2}


@dataclass
class Miniature:
    """The corpus under `root`, and where one of its files lies."""

    root: Path

    def picture(self, frame: int, sequence: str = SEQUENCE) -> Path:
        return self._file("Images", sequence, f"{frame:03d}.png")

    def pspi(self, frame: int, sequence: str = SEQUENCE) -> Path:
        return self._file("Frame_Labels/PSPI", sequence, f"{frame:03d}_facs.txt")

    def facs(self, frame: int, sequence: str = SEQUENCE) -> Path:
        return self._file("Frame_Labels/FACS", sequence, f"{frame:03d}_facs.txt")

    def landmarks(self, frame: int, sequence: str = SEQUENCE) -> Path:
        return self._file("AAM_landmarks", sequence, f"{frame:03d}_aam.txt")

    def rating(self, name: str, sequence: str = SEQUENCE) -> Path:
        return self.root / "Sequence_Labels" / name / FOLDERS[sequence[:5]] / f"{sequence}.txt"

    def _file(self, tree: str, sequence: str, end: str) -> Path:
        return self.root / tree / FOLDERS[sequence[:5]] / sequence / f"{sequence}{end}"


def write_miniature(root: Path) -> Miniature:
    """Write the corpus: subjects ll042 and tv095, three sequences, pain in frames 2 and 3."""
    corpus = Miniature(root)
    picture = cv2.imencode(".png", np.full((24, 32, 3), 128, np.uint8))[1].tobytes()
    for sequence, frames in FRAMES.items():
        for name, rating in RATINGS.items():
            _write(corpus.rating(name, sequence), [(rating,)])
        for frame in range(1, frames + 1):
            pspi, facs = (PSPI, FACS) if sequence == SEQUENCE else ({}, {})
            _write(corpus.pspi(frame, sequence), [(pspi.get(frame, 0),)])
            units = facs.get(frame, {})
            _write(corpus.facs(frame, sequence), [(au, level, 0, 0) for au, level in units.items()])
            _write(corpus.landmarks(frame, sequence), [(x, x + 0.5) for x in range(66)])
            path = corpus.picture(frame, sequence)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
    return corpus


def _write(path: Path, rows: list[tuple[float, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ("".join(f"   {value:.7e}" for value in row) + "\n" for row in rows)
    path.write_text("".join(lines))
