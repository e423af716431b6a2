"""The frame store: registered frames as one array on disk, beside their table.

A store is a folder with `images.npy` (uint8, N x S x S x 3, RGB, memory-mapped), `frames.parquet`
(row i is image i: the frames table with what registration found) and `meta.json`. A frame without
a usable face keeps its row, with a black image and the reason in `state`. Training and analysis
read stores and never open a picture of the corpus. A store appears under its name when it is whole.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.data.frames import with_derived
from paincore.files import reserve_array

IMAGES, FRAMES, META = "images.npy", "frames.parquet", "meta.json"


class StoreError(PaincoreError):
    """A folder that is not a whole frame store, or cannot become one."""


@dataclass(frozen=True)
class FrameStore:
    """An open store: images uint8 (N, S, S, 3), read as they are used; frames, N rows; meta.

    A frame is pain if PSPI > `threshold`, which is no property of the folder.
    """

    folder: Path
    images: np.ndarray
    frames: pd.DataFrame
    meta: dict
    threshold: float = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the store follows from: corpus, backend and its files, size, version."""
        return self.meta["fingerprint"]

    @property
    def usable(self) -> np.ndarray:
        """Which frames hold a face, bool (N,)."""
        return (self.frames["state"] == "ok").to_numpy()


def open_store(folder: str | Path, threshold: float = 0) -> FrameStore:
    """Open a whole store for reading, a frame being pain if PSPI > `threshold`.

    Raises StoreError naming what is missing or does not fit.
    """
    folder = Path(folder)
    missing = [name for name in (META, IMAGES, FRAMES) if not (folder / name).is_file()]
    if missing:
        raise StoreError(
            f"{folder} is not a whole frame store: {', '.join(missing)} missing. "
            "Make it with `paincore register`."
        )
    try:
        meta = json.loads((folder / META).read_text("utf-8"))
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        frames = pd.read_parquet(folder / FRAMES)
        expected = (len(frames), meta["size"], meta["size"], 3)
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
    ) as fault:  # pyarrow's are ValueErrors
        raise StoreError(f"{folder} is damaged ({fault}). Delete it and register again.") from fault
    if images.shape != expected or images.dtype != np.uint8:
        raise StoreError(
            f"{folder / IMAGES} holds {images.dtype} {images.shape}, its table and meta.json say "
            f"uint8 {expected}. Delete the folder and register again."
        )
    if "pspi" in frames:  # pictures may be registered without labels
        frames = with_derived(frames, threshold)
    return FrameStore(folder, images, frames, meta, threshold)


def write_store(folder: Path, frames: pd.DataFrame, meta: dict) -> None:
    """Add the table and `meta`, with the pixels' SHA-256, to a folder whose images are all in."""
    frames.to_parquet(folder / FRAMES)
    with (folder / IMAGES).open("rb") as file:
        meta = meta | {"pixels_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", "utf-8")


def reserve_images(folder: Path, count: int, size: int) -> None:
    """Make `images.npy` for `count` black images with its disk space taken.

    Raises OSError on a full disk, and leaves no file then.
    """
    reserve_array(folder / IMAGES, (count, size, size, 3), np.uint8)


def write_images(folder: Path, first: int, images: np.ndarray) -> None:
    """Write images uint8 (K, S, S, 3) to their place, from number `first` on."""
    path = folder / IMAGES
    start = np.load(path, mmap_mode="r", allow_pickle=False).offset
    with path.open("r+b") as file:
        file.seek(start + first * images[0].nbytes)
        file.write(images)
