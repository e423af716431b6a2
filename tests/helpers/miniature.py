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

FACS = {
    2: """\
   4.0000000e+00   2.0000000e+00   0.0000000e+00   0.0000000e+00
   6.0000000e+00   1.0000000e+00   0.0000000e+00   0.0000000e+00
   7.0000000e+00   2.0000000e+00   0.0000000e+00   0.0000000e+00
""",
    3: """\
   4.0000000e+00   1.0000000e+00   0.0000000e+00   0.0000000e+00
   7.0000000e+00   3.0000000e+00   0.0000000e+00   0.0000000e+00
   9.0000000e+00   1.0000000e+00   0.0000000e+00   0.0000000e+00
   2.5000000e+01   2.0000000e+00   0.0000000e+00   0.0000000e+00
   4.3000000e+01   0.0000000e+00   0.0000000e+00   0.0000000e+00
""",
}
"""FACS files of the frames of `SEQUENCE`; empty in all others."""

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
            _write(corpus.rating(name, sequence), f"   {rating:.7e}\n")
        for frame in range(1, frames + 1):
            pspi = PSPI.get(frame, 0) if sequence == SEQUENCE else 0
            facs = FACS.get(frame, "") if sequence == SEQUENCE else ""
            _write(corpus.pspi(frame, sequence), f"   {pspi:.7e}\n")
            _write(corpus.facs(frame, sequence), facs)
            rows = (f"   {x:.7e}   {x + 0.5:.7e}\n" for x in range(66))
            _write(corpus.landmarks(frame, sequence), "".join(rows))
            _write(corpus.picture(frame, sequence), picture)
    return corpus


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
