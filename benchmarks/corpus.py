"""Seconds to index a corpus of UNBC's size, and frames a second to synthesise one.

`python benchmarks/corpus.py [--quick]` prints its figures as one JSON object on the last line. A
baseline runs in the same process on the same files: the loop that one would write first, over a
sample of frames, multiplied up.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from paincore.data.unbc import list_corpus, read_frames
from synthpain.corpus import synthesize
from synthpain.layout import write_facs, write_landmarks, write_number

UNBC_FRAMES = 48398
SUBJECTS = 25
FRAMES_A_SEQUENCE = 242
PICTURE = (240, 320, 3)
PAINFUL = 6  # one frame in six has AUs coded, about UNBC's share of pain


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the size")
    quick = arguments.parse_args().quick
    figures = index_figures(UNBC_FRAMES // 10 if quick else UNBC_FRAMES)
    figures |= synthesis_figures(100 if quick else 2000)
    print(json.dumps(figures))


def index_figures(frames: int) -> dict[str, float]:
    """Seconds to index that many frames from a warm file system, and the plain loop's ratio."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_tree(root, frames)
        list_corpus(root)  # warms the file system
        start = time.perf_counter()
        table, _, _ = read_frames(list_corpus(root))
        seconds = time.perf_counter() - start
        assert len(table) == frames and (table["state"] == "ok").all()
        start = time.perf_counter()
        list_corpus(root)
        listing_seconds = time.perf_counter() - start
        sample = frames // 50
        plain_seconds = read_plainly(root, sample) * frames / sample
    print(f"index: {frames} frames in {seconds:.1f} s; unchanged, {listing_seconds:.1f} s")
    print(f"baseline, Path.glob + numpy.loadtxt + cv2.imread: {plain_seconds:.0f} s")
    return {
        "index_frames": frames,
        "index_seconds": round(seconds, 2),
        "index_unchanged_seconds": round(listing_seconds, 2),
        "index_speedup_over_plain_loop": round(plain_seconds / seconds, 1),
    }


def write_tree(root: Path, frames: int) -> None:
    """A corpus of that many frames; every file is a hard link to one of a few, for speed."""
    originals = root / "originals"
    originals.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, PICTURE, np.uint8)
    cv2.imwrite(str(originals / "picture.png"), noise)
    contents = {
        "landmarks": write_landmarks(np.full((66, 2), 100.0)),
        "painless": write_number(0),
        "painful": write_number(3),
        "uncoded": "",
        "coded": write_facs({4: 1, 6: 2, 12: 3}),
    }
    for name, content in contents.items():
        (originals / name).write_text(content)
    for sequence, first in enumerate(range(0, frames, FRAMES_A_SEQUENCE)):
        number = sequence % SUBJECTS + 1
        subject = f"be{number:03d}"
        stem = f"{number:03d}-{subject}/{subject}s{sequence:03d}"
        trees = ("Images", "Frame_Labels/PSPI", "Frame_Labels/FACS", "AAM_landmarks")
        folders = [root / tree / stem for tree in trees]
        for folder in folders:
            folder.mkdir(parents=True)
        for frame in range(1, min(FRAMES_A_SEQUENCE, frames - first) + 1):
            labels = ("painful", "coded") if frame % PAINFUL == 0 else ("painless", "uncoded")
            suffixes = (".png", "_facs.txt", "_facs.txt", "_aam.txt")
            names = ("picture.png", *labels, "landmarks")
            for folder, name, suffix in zip(folders, names, suffixes, strict=True):
                os.link(originals / name, f"{folder}/{folder.name}{frame:03d}{suffix}")


def read_plainly(root: Path, frames: int) -> float:
    """Seconds that a plain loop takes to read labels and picture of that many frames."""
    pictures = list(islice((root / "Images").rglob("*.png"), frames))
    warnings.simplefilter("ignore", UserWarning)  # numpy's, of an empty file
    start = time.perf_counter()
    for picture in pictures:
        stem = picture.relative_to(root / "Images").with_suffix("")
        for tree in ("PSPI", "FACS"):
            np.loadtxt(root / "Frame_Labels" / tree / f"{stem}_facs.txt", ndmin=2)
        (root / "AAM_landmarks" / f"{stem}_aam.txt").exists()
        cv2.imread(str(picture))
    return time.perf_counter() - start


def synthesis_figures(frames: int) -> dict[str, float]:
    """Frames a second of the demo corpus, 320x240 by two workers, and against one.

    The start of the workers is counted; so few frames make it weigh more than in the demo.
    """
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for workers in (1, 2):
            start = time.perf_counter()
            synthesize(f"{folder}/{workers}", frames, workers=workers, progress=False)
            seconds[workers] = time.perf_counter() - start
    print(f"synthesis: {frames} frames in {seconds[2]:.1f} s; one worker, {seconds[1]:.1f} s")
    return {
        "synthesis_frames": frames,
        "synthesis_frames_per_second": round(frames / seconds[2], 1),
        "synthesis_speedup_of_two_workers": round(seconds[1] / seconds[2], 2),
    }


if __name__ == "__main__":
    main()
