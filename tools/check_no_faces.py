"""Refuse files that could hold a face, or what was computed from one, before they are committed.

`python tools/check_no_faces.py FILES`, as pre-commit calls it. A restricted corpus may be on this
machine, and a crop or a figure of it looks like any other picture. So no picture, film, array,
table or executed notebook is let in at all, but for those in `ALLOWED`, which hold no real person.
"""

import re
import sys
from pathlib import Path

ALLOWED = (
    "paincore/training/weights/general/model.safetensors",
    "paincore/training/weights/movement/model.safetensors",
    "synthpain/head.npz",
    "tests/registration/fixtures/resfcn.npz",
)
BEGINNINGS = {
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture",
    b"BM": "a bitmap", b"II*\0": "a TIFF picture", b"MM\0*": "a TIFF picture",
    b"RIFF": "a WebP picture or a film", b"\x1a\x45\xdf\xa3": "a film", b"PK\x03\x04": "an archive",
    b"\x1f\x8b": "an archive", b"\x93NUMPY": "an array", b"PAR1": "a table", b"\x89HDF": "an array",
    b"%PDF": "a PDF",
}  # fmt: skip
ENDINGS = {".safetensors": "weights", ".pt": "weights", ".pth": "weights", ".npy": "an array"}
INSIDE = (
    (re.compile(rb"data:(image|video)/[\w.+-]+;base64,"), "holds a picture as text"),
    (re.compile(rb'"image/(png|jpeg|svg\+xml)"\s*:'), "holds a picture in an output"),
    (re.compile(rb'"application/vnd\.jupyter\.widget-state\+json"\s*:'), "holds widget states"),
)
TEXT = {".ipynb", ".html", ".svg", ".json", ".md"}


def fault(path: Path) -> str:
    """Why a file is refused, in a few words; empty if it is not."""
    content = path.read_bytes()
    for beginning, what in BEGINNINGS.items():
        if content.startswith(beginning):
            return f"is {what}"
    if content[4:8] == b"ftyp":
        return "is a film"
    if path.suffix in ENDINGS:
        return f"is {ENDINGS[path.suffix]}"
    if path.suffix in TEXT:
        return next((what for pattern, what in INSIDE if pattern.search(content)), "")
    return ""


def main(files: list[str]) -> int:
    """Print a line for each file that is refused; 1 if there is one."""
    wrong = [(name, fault(Path(name))) for name in files if name not in ALLOWED]
    for name, why in wrong:
        if why:
            print(f"{name} {why}: it may show a person who must not be shown. Leave it out; if it "
                  f"is drawn and free, add it to ALLOWED in {Path(__file__).name}.")  # fmt: skip
    return int(any(why for _, why in wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
