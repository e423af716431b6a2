"""The frame store: all frames of a corpus, registered, as one array on disk beside their table.

A store is a folder with `images.npy` (uint8, N x S x S x 3, RGB, memory-mapped), `frames.parquet`
(row i is image i: the frames table with what registration found) and `meta.json`. A frame without a
usable face keeps its row, with a black image and the reason in `state`. Training and analysis read
stores and never open an image of the corpus. What they need to read one is all that stands here.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.data.frames import with_derived
from paincore.files import digest_of

IMAGES, TABLE, META = "images.npy", "frames.parquet", "meta.json"


class StoreError(PaincoreError):
    """A folder that is not a whole frame store."""


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
        """See `store_fingerprint`."""
        return self.meta["fingerprint"]

    @property
    def usable(self) -> np.ndarray:
        """Which frames hold a face, bool (N,)."""
        return (self.frames["state"] == "ok").to_numpy()

    @property
    def faces(self) -> pd.DataFrame:
        """The rows of `frames` that hold a face. Raises StoreError if none does."""
        if not self.usable.any():
            first = self.frames["problem"].iloc[0]
            raise StoreError(f"{self.folder} holds no face; {first}. See `paincore register`.")
        return self.frames[self.usable]


def open_store(folder: str | Path, threshold: float = 0) -> FrameStore:
    """Open a whole store for reading, a frame being pain if PSPI > `threshold`.

    Raises StoreError naming what is missing or does not fit.
    """
    folder = Path(folder)
    try:
        meta = json.loads((folder / META).read_text("utf-8"))
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        frames = pd.read_parquet(folder / TABLE)
    except (OSError, EOFError, ValueError) as fault:
        raise StoreError(
            f"{folder} is not a whole frame store ({fault}). Delete it, if it is there, and "
            "register again with `paincore register`."
        ) from fault
    if "pspi" in frames:  # images may be registered without labels
        frames = with_derived(frames, threshold)
    return FrameStore(folder, images, frames, meta, threshold)


def write_store(folder: Path, frames: pd.DataFrame, meta: dict) -> None:
    """Add the table and `meta`, with the pixels' SHA-256, to a folder whose images are all in."""
    frames.to_parquet(folder / TABLE)
    meta = meta | {"pixels_sha256": digest_of(folder / IMAGES).hexdigest()}
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", "utf-8")
