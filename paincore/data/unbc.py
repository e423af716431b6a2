"""The UNBC-McMaster layout on disk, read into the frames table.

    Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png
    Frame_Labels/PSPI/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt    one number
    Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt    rows "AU intensity x y"
    AAM_landmarks/042-ll042/ll042t1aaaff/ll042t1aaaff001_aam.txt         66 rows "x y", pixels
    Sequence_Labels/{VAS,SEN,AFF,OPR}/042-ll042/ll042t1aaaff.txt         one number

Each of these is a tree, named "image", "pspi", "facs", "landmarks", "vas" and so on. Top folders
may be doubled (`Images/Images`) and in any case, and `AAM_landmarks` in any spelling that begins
with "AAM". Landmarks and sequence labels may be absent. Only the folders of subjects and sequences
must be named as above: they say who is seen. Nothing here writes, and no image is decoded: it is
hashed, and its beginning and end are looked at; a black image is found later, when it is decoded.
Source: Lucey et al., "Painful data: the UNBC-McMaster shoulder pain expression archive database",
FG 2011.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.data.facs import AUS, LID_AUS, PSPI_MAXIMUM
from paincore.data.frames import KEYS, SEQUENCE_LABELS, with_derived
from paincore.data.schema import FRAMES

SUBJECT_FOLDER = r"\d{3}-[a-z]{2}\d{3}"
SEQUENCE_FOLDER = r"[A-Za-z0-9_-]+"
FRAME_FILE = rf"({SUBJECT_FOLDER})/({SEQUENCE_FOLDER})/\2((?!000)\d{{3}}|[1-9]\d{{3,4}})"
SEQUENCE_FILE = rf"({SUBJECT_FOLDER})/({SEQUENCE_FOLDER})()\.txt"
SUFFIX = {"image": ".png", "pspi": "_facs.txt", "facs": "_facs.txt", "landmarks": "_aam.txt"}
LANDMARKS = 66
MISSING = {"image": "missing_image", "pspi": "missing_label", "facs": "missing_label"}
PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
HASHED = ("image", "landmarks")
"""Trees whose files' bytes are hashed: the table holds what the others say, not these."""


class CorpusError(PaincoreError):
    """A corpus folder that cannot be used as it is."""


@dataclass
class Listing:
    """What lies in a corpus folder, by name alone.

    `folders` maps a tree to its folder relative to `root`; `files` maps (subject folder, sequence)
    to tree to frame numbers (sequence labels: 0); `ignored` has a sentence for each entry that the
    layout does not explain; `stamp` is a SHA-256 over every file's name, size and times.
    """

    root: Path
    folders: dict[str, str]
    files: dict[tuple[str, str], dict[str, set[int]]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    stamp: str = ""


def list_corpus(root: Path) -> Listing:
    """List the files of a corpus in the UNBC layout, without opening any.

    Raises CorpusError for a missing folder, a misnamed subject or sequence folder, and a corpus
    without an image.
    """
    root = Path(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder. Give the corpus folder as data_root.")
    stamp = hashlib.sha256()
    try:
        listing = Listing(root, _tree_folders(root))
        for tree, folder in listing.folders.items():
            frame_file = FRAME_FILE + re.escape(SUFFIX.get(tree, ""))
            pattern = re.compile(frame_file if tree in SUFFIX else SEQUENCE_FILE, re.ASCII)
            for path, entry in _files(f"{root}/{folder}", SUBJECT_FOLDER, SEQUENCE_FOLDER):
                match = pattern.fullmatch(path)
                if not match or not entry.is_file():
                    listing.ignored.append(f"{f'{folder}/{path}'!a} is no file of the layout")
                    continue
                subject, sequence, frame = match.groups()
                frames = listing.files.setdefault((subject, sequence), {}).setdefault(tree, set())
                frames.add(int(frame or 0))
                status = entry.stat()
                times = status.st_mtime_ns, status.st_ctime_ns  # no program sets back the second
                stamp.update(f"{folder}/{path} {status.st_size} {times}\n".encode())
    except OSError as error:
        raise CorpusError(f"{error.filename} cannot be listed: {error.strerror}.") from error
    if not any("image" in trees for trees in listing.files.values()):
        raise CorpusError(f"{root} has no Images/042-ll042/ll042t1aaaff/ll042t1aaaff001.png, ...")
    listing.stamp = stamp.hexdigest()
    return listing


def _files(folder: str, *inner: str) -> Iterator[tuple[str, os.DirEntry]]:
    """Entries of a tree below its folders, named as in `inner`, with their paths, sorted."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if not inner or entry.name.startswith(".") or not entry.is_dir():
            yield entry.name, entry
        elif re.fullmatch(inner[0], entry.name, re.ASCII):
            for path, file in _files(entry.path, *inner[1:]):
                yield f"{entry.name}/{path}", file
        else:
            wrong = f"{entry.name!a} is not named as in 042-ll042/ll042t1aaaff"
            raise CorpusError(f"{folder}: {wrong}. Rename it, or move it out of the corpus.")


def _tree_folders(root: Path) -> dict[str, str]:
    """The folder of each tree, relative to the root; landmarks and sequence labels may lack."""
    frame_labels = _find_folder(root, "Frame_Labels")
    ratings = _find_folder(root, "Sequence_Labels")
    found = {"image": _find_folder(root, "Images"), "landmarks": _find_folder(root, "AAM[a-z_ -]*")}
    found |= {tree: _find_folder(frame_labels, tree) for tree in PARSERS}
    found |= {label: _find_folder(ratings, label) for label in SEQUENCE_LABELS}
    if lacking := [tree for tree in MISSING if found[tree] is None]:
        layout = "Give as data_root what holds Images, Frame_Labels/PSPI and Frame_Labels/FACS."
        raise CorpusError(f"{root}: no folder of {lacking[0]} files. {layout}")
    return {tree: path.relative_to(root).as_posix() for tree, path in found.items() if path}


def _find_folder(parent: Path | None, name: str) -> Path | None:
    """The folder of that name, a pattern, in any case; its double in it, if there is one."""
    folders = sorted(path for path in parent.iterdir() if path.is_dir()) if parent else []
    found = [one for one in folders if re.fullmatch(name, one.name, re.IGNORECASE | re.ASCII)]
    if len(found) > 1:
        raise CorpusError(f"{parent} holds {found[0].name} and {found[1].name}. Keep one.")
    if not found:
        return None
    double = _find_folder(found[0], name)
    others = [path for path in found[0].iterdir() if path.is_dir() and path != double]
    return double if double and not others else found[0]


def read_frames(listing: Listing) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """Read labels and check images of every frame listed: a table that obeys `FRAMES`.

    A frame with a fault keeps its row, and `state` and `problem` tell it. The second value holds a
    sentence for each sequence label that cannot be used; the label is NaN then. The third has for
    each tree of `HASHED` a SHA-256 over its files' names and bytes, wherever the corpus lies.
    """
    rows, problems = [], []
    digests = {tree: hashlib.sha256() for tree in HASHED}
    for (folder, sequence), trees in sorted(listing.files.items()):
        shared = _read_sequence(listing, folder, sequence, problems)
        last = max((max(frames) for tree, frames in trees.items() if tree in MISSING), default=0)
        if not last:
            problems.append(f"{folder}/{sequence} has neither images nor frame labels")
        for frame in range(1, last + 1):
            rows.append(shared | _read_frame(listing, folder, sequence, frame, digests))
    table = pd.DataFrame(rows).astype({"image": "str", "landmarks": "str", "pspi": float})
    table = with_derived(table).sort_values(KEYS, ignore_index=True)
    read = {tree: digest.hexdigest() for tree, digest in digests.items()}
    return FRAMES.validate(table), problems, read


def read_landmarks(root: Path, landmarks: str) -> np.ndarray:
    """The 66 landmarks of one frame, float64 (66, 2), x and y in pixels, from a path of the table.

    Raises CorpusError.
    """
    try:
        return parse_landmarks((Path(root) / landmarks).read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{Path(root) / landmarks}: {error}") from error


def _read_sequence(listing: Listing, folder: str, sequence: str, problems: list[str]) -> dict:
    """The columns that the frames of a sequence share."""
    ratings = dict.fromkeys(SEQUENCE_LABELS, np.nan)
    for label in listing.files[folder, sequence].keys() & ratings.keys():
        path = f"{listing.folders[label]}/{folder}/{sequence}.txt"
        value, state, reason = _read_file(listing.root, label, path)
        if state == "ok":
            ratings[label] = value
        else:
            problems.append(f"{path} {reason}")
    return {"subject": folder.partition("-")[2], "sequence": sequence, **ratings}


def _read_frame(listing: Listing, folder: str, sequence: str, frame: int, digests: dict) -> dict:
    """The columns that one frame has of its own; its image and landmarks enter `digests`."""
    stem = f"{folder}/{sequence}/{sequence}{frame:03d}"
    trees = listing.files[folder, sequence]
    paths, values, faults = {}, {}, []
    for tree in SUFFIX:
        path = f"{listing.folders.get(tree)}/{stem}{SUFFIX[tree]}"
        if frame in trees.get(tree, ()):
            paths[tree] = path
            values[tree], state, reason = _read_file(listing.root, tree, path)
        else:
            state, reason = MISSING.get(tree), "is missing"
        if tree in MISSING and state != "ok":  # faults of landmarks are told where they are used
            faults.append((state, f"{path} {reason}"))
        if tree in digests and tree in paths:
            digests[tree].update(f"{stem} {values[tree]}\n".encode())
    coded = values.get("facs")
    state = faults[0][0] if faults else "ok"
    return {
        "frame": frame,
        "image": paths.get("image"),
        "landmarks": paths.get("landmarks"),
        "pspi": values.get("pspi"),
        "state": state if paths.keys() & MISSING.keys() else "missing_frame",
        "problem": "; ".join(sentence for _, sentence in faults),
        **{f"au{au}": np.nan if coded is None else coded.get(au, 0.0) for au in AUS},
    }


def _read_file(root: Path, tree: str, path: str) -> tuple[float | dict | str | None, str, str]:
    """The value of one file (of `HASHED` its SHA-256), its state and the reason for it."""
    try:
        # Three times as fast as Path.open.
        with open(f"{root}/{path}", "rb", buffering=0) as file:  # noqa: PTH123
            content = file.read()
        if tree in HASHED:
            state = check_png(content) if tree == "image" else ("ok", "")
            return hashlib.sha256(content).hexdigest(), *state
        return PARSERS.get(tree, parse_number)(content), "ok", ""
    except ValueError as error:
        return None, f"bad_{tree}", f"cannot be used: {error}"
    except OSError as error:
        return None, "unreadable", f"cannot be read: {error.strerror}"


def check_png(content: bytes) -> tuple[str, str]:
    """State and problem of an image by how its file begins and ends, ("ok", "") if it is whole.

    Nothing is decoded: W3C Portable Network Graphics, sections 5.2 to 5.6.
    """
    if not content.startswith(PNG_START[: len(content)]):
        return "not_png", "does not begin like a PNG file"
    if not content.endswith(PNG_END):
        return "truncated", f"is cut short at {len(content)} bytes: it does not end as a PNG does"
    return "ok", ""


# Single label files: their bytes in. What a file may not hold raises a ValueError with the line or
# the value, to which the caller adds the file's name.


def parse_number(content: bytes) -> float:
    """The one finite number of a PSPI or sequence label file."""
    words = content.split()
    if len(words) != 1:
        raise ValueError(f"{len(words)} values instead of one")
    return _finite(words[0])


def parse_pspi(content: bytes) -> float:
    """The PSPI of one frame, 0 to 16."""
    value = parse_number(content)
    if not 0 <= value <= PSPI_MAXIMUM:
        raise ValueError(f"PSPI {value:g} is outside 0 to {PSPI_MAXIMUM}")
    return value


def parse_facs(content: bytes) -> dict[int, float]:
    """The intensities, 0 to 5, of the AUs coded in one frame, from rows "AU intensity x y".

    An empty file codes none. AU43 and AU45 have no intensity: where they are named, they are 1. Of
    an AU named twice the stronger counts.
    """
    aus = {}
    for au, intensity, _, _ in _rows(content, 4):
        if au != int(au) or not 1 <= au <= 98:
            raise ValueError(f"{au:g} is not the number of an action unit")
        if not 0 <= intensity <= 5:
            raise ValueError(f"intensity {intensity:g} of AU{au:g} is outside 0 to 5")
        intensity = 1.0 if au in LID_AUS else intensity
        aus[int(au)] = max(intensity, aus.get(int(au), 0.0))
    return aus


def parse_landmarks(content: bytes) -> np.ndarray:
    """The facial landmarks of one frame, float64 (66, 2): x and y in pixels."""
    rows = _rows(content, 2)
    if len(rows) != LANDMARKS:
        raise ValueError(f"{len(rows)} rows of x and y instead of {LANDMARKS}")
    return np.array(rows)


def _rows(content: bytes, width: int) -> list[list[float]]:
    """The numbers of each line that is not blank, `width` of them."""
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.split()
        if len(words) not in (0, width):
            raise ValueError(f"line {number} has {len(words)} values instead of {width}")
        if words:
            rows.append([_finite(word) for word in words])
    return rows


def _finite(word: bytes) -> float:
    value = float(word)
    if not np.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return value


PARSERS = {"pspi": parse_pspi, "facs": parse_facs}
