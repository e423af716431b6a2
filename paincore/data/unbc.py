"""The UNBC-McMaster layout on disk, read into the frames table.

    Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png
    Frame_Labels/PSPI/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt    one number
    Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt    rows "AU intensity x y"
    AAM_landmarks/042-ll042/ll042t1aaaff/ll042t1aaaff001_aam.txt         66 rows "x y", pixels
    Sequence_Labels/{VAS,SEN,AFF,OPR}/042-ll042/ll042t1aaaff.txt         one number

Folders may stand doubled (`Images/Images`) and in any case, and `AAM_landmarks` in any spelling
that begins with "AAM". Landmarks and sequence labels may be absent. Only subjects' and sequences'
folders must be named as above: they say who is seen. Nothing here writes, and no picture is
decoded: it is hashed, and of a PNG only the header and the end are looked at, so black or
undecodable pictures are found later, when they are decoded. Source: Lucey et al., "Painful data:
the UNBC-McMaster shoulder pain expression archive database", FG 2011.
"""

import hashlib
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.data import labels
from paincore.data.facs import AUS
from paincore.data.frames import FRAMES, KEYS, LIMBS, MOVEMENTS, SEQUENCE_LABELS, with_derived

SUBJECT_FOLDER = re.compile(r"\d{3}-([a-z]{2}\d{3})", re.ASCII)
SEQUENCE_FOLDER = re.compile(r"[A-Za-z0-9_-]+")
SEQUENCE_NAME = re.compile(r"t([12])a([aefi])(aff|unaff)")
SUFFIX = {
    "image": ".png",
    "pspi": "_facs.txt",
    "facs": "_facs.txt",
    "landmarks": "_aam.txt",
    **dict.fromkeys(SEQUENCE_LABELS, ".txt"),
}
READERS = {
    "pspi": labels.read_pspi,
    "facs": labels.read_facs,
    **dict.fromkeys(SEQUENCE_LABELS, labels.read_number),
}
MISSING = {"image": "missing_image", "pspi": "missing_label", "facs": "missing_label"}
PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
HASHED = ("image", "landmarks")
"""Trees whose files' bytes are hashed: the table holds what the others say, not these."""
NO_TIME = 631_152_000 * 10**9
"""1990, in nanoseconds: file systems without times give 1970 or 1980."""
PNG_SHORTEST = len(PNG_START) + 17 + len(PNG_END)  # 17: the header's 13 bytes and its checksum


class CorpusError(PaincoreError):
    """A corpus folder that cannot be used as it is."""


@dataclass
class Listing:
    """What lies in a corpus folder, by name alone.

    `folders` maps a tree ("image", "pspi", "facs", "landmarks", "vas" ...) to its folder relative
    to `root`; `files` maps (subject folder, sequence) to tree to frame numbers (sequence labels:
    frame 0); `ignored` has a sentence for each entry that the layout does not explain; `stamp` is
    a SHA-256 over every file's name, size and times; `newest` is the latest of these, in ns.
    """

    root: Path
    folders: dict[str, str]
    files: dict[tuple[str, str], dict[str, set[int]]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    stamp: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    newest: int = 0

    @property
    def tells_changes(self) -> bool:
        """Whether the file system keeps times, so that an equal `stamp` means equal files."""
        return self.newest > NO_TIME


def list_corpus(root: Path) -> Listing:
    """List the files of a corpus in the UNBC layout, without opening any.

    Raises CorpusError for a missing folder, a misnamed subject or sequence folder, two folders for
    one subject, and a corpus without a picture. Used in chapter 01, through `open_corpus`.
    """
    root = Path(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder. Give the corpus folder as data_root.")
    try:
        listing = Listing(root, _tree_folders(root))
        for tree, folder in listing.folders.items():
            for subject in _subfolders(listing, folder, SUBJECT_FOLDER, "042-ll042"):
                _list_subject(listing, tree, f"{folder}/{subject}")
    except OSError as error:
        raise CorpusError(f"{error.filename} cannot be listed: {error.strerror}.") from error
    _check_subjects(listing)
    return listing


def _tree_folders(root: Path) -> dict[str, str]:
    """The folder of each tree, relative to the root; landmarks and sequence labels may lack."""
    frame_labels = _find_folder(root, "Frame_Labels")
    sequence_labels = _find_folder(root, "Sequence_Labels", optional=True)
    found = {
        "image": _find_folder(root, "Images"),
        "pspi": _find_folder(frame_labels, "PSPI"),
        "facs": _find_folder(frame_labels, "FACS"),
        "landmarks": _find_folder(root, "AAM", optional=True),
    }
    if sequence_labels:
        for label in SEQUENCE_LABELS:
            found[label] = _find_folder(sequence_labels, label.upper(), optional=True)
    return {tree: path.relative_to(root).as_posix() for tree, path in found.items() if path}


def _find_folder(parent: Path, name: str, optional: bool = False) -> Path | None:
    """The folder of that name in any case (for "AAM", of that beginning), or its double in it."""
    pattern = re.compile(f"{name}[a-z_ -]*" if name == "AAM" else name, re.IGNORECASE | re.ASCII)
    folders = [entry.name for entry in _entries(parent) if entry.is_dir()]
    found = [folder for folder in folders if pattern.fullmatch(folder)]
    if len(found) > 1:
        raise CorpusError(f"{parent} holds {found[0]} and {found[1]}, which are one. Keep one.")
    if found:
        inner = [entry.name for entry in _entries(parent / found[0]) if entry.is_dir()]
        double = [folder for folder in inner if pattern.fullmatch(folder)]
        if double and len(inner) > 1:
            raise CorpusError(f"{parent / found[0]} holds {' and '.join(inner)}. Keep one level.")
        return parent.joinpath(found[0], *double)
    if optional:
        return None
    raise CorpusError(
        f"{parent}: no folder {name}. Expected a corpus in the layout of UNBC-McMaster: data_root "
        "is the folder that holds Images, Frame_Labels/PSPI and Frame_Labels/FACS."
    )


def _entries(folder: Path | str) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _subfolders(listing: Listing, path: str, pattern: re.Pattern, example: str) -> list[str]:
    """Names of the subjects' or sequences' folders in one; what is none of them is ignored."""
    names = []
    for entry in _entries(listing.root / path):
        if entry.name.startswith(".") or not entry.is_dir():
            listing.ignored.append(f"{path}/{entry.name!a} is not a folder like {example}")
        elif not pattern.fullmatch(entry.name):
            raise CorpusError(
                f"{listing.root / path}: the folder {entry.name!a} is not named like {example}. "
                "Rename it or move it out of the corpus."
            )
        else:
            names.append(entry.name)
    if not names:
        listing.ignored.append(f"{path} holds no folder like {example}")
    return names


def _list_subject(listing: Listing, tree: str, path: str) -> None:
    if tree not in SEQUENCE_LABELS:
        for sequence in _subfolders(listing, path, SEQUENCE_FOLDER, "ll042t1aaaff"):
            _list_frames(listing, tree, path, sequence)
        return
    for entry in _entries(listing.root / path):
        sequence = entry.name.removesuffix(".txt")
        if sequence != entry.name and SEQUENCE_FOLDER.fullmatch(sequence) and entry.is_file():
            _stamp(listing, path, entry)
            _trees(listing, path, sequence)[tree] = {0}
        else:
            listing.ignored.append(f"{path}/{entry.name!a} is not a label file of a sequence")


def _list_frames(listing: Listing, tree: str, path: str, sequence: str) -> None:
    folder, frames = f"{path}/{sequence}", set()
    for entry in _entries(listing.root / folder):
        frame = _frame_number(entry.name, sequence, SUFFIX[tree])
        if frame and entry.is_file():
            _stamp(listing, folder, entry)
            frames.add(frame)
        else:
            listing.ignored.append(f"{folder}/{entry.name!a} is not a file of a frame")
    if frames:
        _trees(listing, path, sequence)[tree] = frames
    else:
        listing.ignored.append(f"{folder} holds no file of a frame")


def _trees(listing: Listing, path: str, sequence: str) -> dict[str, set[int]]:
    return listing.files.setdefault((path.rpartition("/")[2], sequence), {})


def _stamp(listing: Listing, folder: str, entry: os.DirEntry) -> None:
    status = entry.stat()
    times = _times(status)
    listing.stamp.update(f"{folder}/{entry.name} {status.st_size} {times}\n".encode())
    listing.newest = max(listing.newest, *times)


def _times(status: os.stat_result) -> tuple[int, int]:
    """When the content and, which no program can set back, when anything of a file changed."""
    return status.st_mtime_ns, status.st_ctime_ns


def _frame_number(name: str, sequence: str, suffix: str) -> int:
    """The number in "ll042t1aaaff001.png", of three digits or more, up to 99999; else 0."""
    digits = name[len(sequence) : -len(suffix)]
    if not (name.startswith(sequence) and name.endswith(suffix) and digits.isdecimal()):
        return 0
    return int(digits) if len(digits) <= 5 and f"{int(digits):03d}" == digits else 0


def _subject(folder: str) -> str:
    return folder.partition("-")[2]


def _check_subjects(listing: Listing) -> None:
    folders = {}
    for folder, _ in listing.files:
        other = folders.setdefault(_subject(folder), folder)
        if other != folder:
            raise CorpusError(f"{listing.root}: {other} and {folder} are one subject. Keep one.")
    for (folder, sequence), trees in listing.files.items():
        if not trees.keys() & {"image", "pspi", "facs"}:
            listing.ignored.append(f"{folder}/{sequence} has neither pictures nor frame labels")
    if not any("image" in trees for trees in listing.files.values()):
        raise CorpusError(
            f"{listing.root / listing.folders['image']}: no picture, the corpus is empty. "
            "Expected 042-ll042/ll042t1aaaff/ll042t1aaaff001.png and so on."
        )


def read_frames(listing: Listing) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """Read labels and check pictures of every frame listed: a table that obeys `FRAMES`.

    A frame with a fault keeps its row, and `state` and `problem` tell it. The second value holds a
    sentence for each sequence label that cannot be read; the label is NaN then. The third has for
    each tree of `HASHED` a SHA-256 over its files' names and bytes, wherever the corpus lies.
    """
    rows, aus, problems = [], [], []
    digests = {tree: hashlib.sha256() for tree in HASHED}
    for (folder, sequence), trees in sorted(listing.files.items()):
        numbers = set().union(*(trees.get(tree, ()) for tree in ("image", "pspi", "facs")))
        if not numbers:
            continue
        shared = _sequence_columns(folder, sequence)
        shared |= _sequence_labels(listing, folder, sequence, problems)
        for number in range(1, max(numbers) + 1):
            row, coded = _read_frame(listing, folder, sequence, number, digests)
            rows.append(shared | row)
            aus.append(coded)
    return _table(rows, aus), problems, {tree: sha.hexdigest() for tree, sha in digests.items()}


def read_landmarks(root: Path, landmarks: str) -> np.ndarray:
    """The 66 landmarks of one frame, float64 (66, 2), x and y in pixels, from a path of the table.

    Raises CorpusError. Used in chapter 01.
    """
    try:
        return labels.read_landmarks((Path(root) / landmarks).read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{Path(root) / landmarks}: {error}") from error


def check_png(content: bytes) -> tuple[str, str]:
    """State and problem of a picture from its PNG header and end chunk, ("ok", "") if it is whole.

    Nothing is decoded: W3C Portable Network Graphics, sections 5.2 to 5.6.
    """
    if not content.startswith(PNG_START[: len(content)]):
        return "not_png", "does not begin like a PNG file"
    if len(content) < PNG_SHORTEST:
        return "truncated", f"is cut short at {len(content)} bytes"
    if not content.endswith(PNG_END):
        return "truncated", "does not end with a PNG file's end chunk: it is cut short"
    return "ok", ""


def _sequence_columns(folder: str, sequence: str) -> dict:
    subject = _subject(folder)
    name = SEQUENCE_NAME.fullmatch(sequence.removeprefix(subject))
    trial, movement, limb = name.groups() if name else (0, None, None)
    return {
        "subject": subject,
        "sequence": sequence,
        "trial": int(trial),
        "movement": MOVEMENTS.get(movement, "unknown"),
        "limb": LIMBS.get(limb, "unknown"),
    }


def _sequence_labels(listing: Listing, folder: str, sequence: str, problems: list[str]) -> dict:
    values = dict.fromkeys(SEQUENCE_LABELS, math.nan)
    for label in SEQUENCE_LABELS:
        if label in listing.files[folder, sequence]:
            path = f"{listing.folders[label]}/{folder}/{sequence}.txt"
            value, state, reason = _read_file(listing.root, label, path)
            if state == "ok":
                values[label] = value
            else:
                problems.append(f"{path} {reason}")
    return values


def _read_frame(
    listing: Listing, folder: str, sequence: str, frame: int, digests: dict
) -> tuple[dict, dict | None]:
    """The columns that one frame has of its own, and its coded AUs (None if unreadable).

    Its picture and landmarks are added to `digests`.
    """
    present = {tree for tree, frames in listing.files[folder, sequence].items() if frame in frames}
    stem = f"{folder}/{sequence}/{sequence}{frame:03d}"
    values, faults = {}, []
    for tree in ("image", "pspi", "facs"):
        path = f"{listing.folders[tree]}/{stem}{SUFFIX[tree]}"
        if tree in present:
            values[tree], state, reason = _read_file(listing.root, tree, path)
        else:
            state, reason = MISSING[tree], "is missing"
        if state != "ok":
            faults.append((state, f"{path} {reason}"))
    if "landmarks" in present:  # what is wrong with them is for those to say who use them
        path = f"{listing.folders['landmarks']}/{stem}{SUFFIX['landmarks']}"
        values["landmarks"], _, _ = _read_file(listing.root, "landmarks", path)
    for tree in present & digests.keys():
        digests[tree].update(f"{stem} {values[tree]}\n".encode())
    state = faults[0][0] if faults else "ok"
    row = {
        "frame": frame,
        "image": f"{listing.folders['image']}/{stem}.png" if "image" in present else None,
        "landmarks": (
            f"{listing.folders['landmarks']}/{stem}_aam.txt" if "landmarks" in present else None
        ),
        "pspi": values.get("pspi"),
        "state": state if present - {"landmarks"} else "missing_frame",
        "problem": "; ".join(sentence for _, sentence in faults),
    }
    return row, values.get("facs")


def _read_file(root: Path, tree: str, path: str) -> tuple[float | dict | str | None, str, str]:
    """The value of one file (of `HASHED` its SHA-256), its state and the reason for it."""
    try:
        # Three times as fast as Path.open.
        with open(f"{root}/{path}", "rb", buffering=0) as file:  # noqa: PTH123
            content = file.read()
        if tree in HASHED:
            state = check_png(content) if tree == "image" else ("ok", "")
            return hashlib.sha256(content).hexdigest(), *state
        return READERS[tree](content), "ok", ""
    except ValueError as error:
        return None, f"bad_{tree}", f"cannot be used: {error}"
    except OSError as error:
        return None, "unreadable", f"cannot be read: {error.strerror}"


def _table(rows: list[dict], coded: list[dict | None]) -> pd.DataFrame:
    """The frames table from the rows and their AUs; an AU outside `AUS` gets a column if seen."""
    numbers = sorted({*AUS, *(au for aus in coded for au in aus or ())})
    intensities = np.full((len(rows), len(numbers)), math.nan)
    for row, aus in zip(intensities, coded, strict=True):
        if aus is not None:
            row[:] = [aus.get(au, 0.0) for au in numbers]
    table = pd.concat(
        [
            pd.DataFrame(rows).astype({"image": "str", "landmarks": "str", "pspi": float}),
            pd.DataFrame(intensities, columns=[f"au{au}" for au in numbers]),
        ],
        axis=1,
    )
    table = with_derived(table).sort_values(KEYS, ignore_index=True)
    return FRAMES.validate(table)
