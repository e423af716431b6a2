"""The frame store: all frames of a corpus, registered, as one array on disk beside their table.

A store is a folder with `images.npy` (uint8, N x S x S x 3, RGB, memory-mapped), `frames.parquet`
(row i is image i: the frames table with what registration found) and `meta.json`. A frame without a
usable face keeps its row, with a black image and the reason in `state`. Training and analysis read
stores and never open an image of the corpus.

A store grows in `<name>.partial`: a reserved image array, into which workers write shards of frames
at their place, and a small table for each shard that is done. A run that finds such a folder
continues where the last one stopped; the store gets its name when the last shard is in.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import get_ident
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock
from rich.progress import track

from paincore import PaincoreError
from paincore.cluster import connect, run
from paincore.data.corpus import Corpus
from paincore.data.frames import STATES, with_derived
from paincore.files import reserve_array, writing
from paincore.manifest import ROOT
from paincore.profiles import DEFAULT_PROFILE, profile_named
from paincore.registration import backends
from paincore.registration.faces import FACE_STATES, find_faces, read_picture

STORE_VERSION = 2  # raised when the same frame would become another image
SHARD_FRAMES, BATCH_FRAMES = 64, 32  # that a worker and a backend take at a time
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


def registered(
    corpus: Corpus,
    backend: str | None = None,
    results: str | Path | None = None,
    profile: str = DEFAULT_PROFILE,
    size: int = 224,
    device: str = "cpu",
    scheduler: str | None = None,
    workers: int | None = None,
) -> FrameStore:
    """The store of a corpus, opened; what is missing of it is registered.

    It lies at <results>/stores/<dataset>-<backend>-<fingerprint>. `backend` None means the
    profile's; `size` is the side of the stored images; `device` is PyTorch's, for `prnet`;
    `scheduler` and `workers` are those of `paincore.cluster.connect`. Raises FileError where the
    folder cannot be written, RegistrationError naming the images on which a backend fails, and what
    `load_backend` raises, which a whole store has no need of. The paper's section 3.2.
    """
    backend = backend or profile_named(profile).backend
    now = corpus.frames.reset_index(drop=True).drop(columns=["state", "problem"])
    key = store_fingerprint(corpus, backend, size)
    stores = Path(results or ROOT / "results").resolve() / "stores"
    out = stores / f"{corpus.dataset.name}-{backend}-{key[:12]}"
    partial = out.with_name(f"{out.name}.partial")
    if not out.exists():
        backends.load_backend(backend, device)  # raises here, before a worker does
    with writing(out):
        stores.mkdir(parents=True, exist_ok=True)
        with FileLock(out.with_name(f".{out.name}.lock")):
            if not out.exists():
                _reserve(partial, len(corpus.frames), size)
                shards = _shards(partial, corpus, backend, size, device)
                found = _register(shards, scheduler, workers)
                meta = {"backend": backend, "size": size, "fingerprint": key}
                meta["states"] = found["state"].value_counts().to_dict()
                write_store(partial / "store", now.join(found), meta)
                (partial / "store").replace(out)
            shutil.rmtree(partial, ignore_errors=True)
    store = open_store(out, corpus.threshold)
    # Equal fingerprints do not mean equal tables: the threshold of pain, the formula of PSPI and
    # the spelling of the folders may have changed.
    found = store.frames[[name for name in store.frames if name not in now]]
    return replace(store, frames=now.join(found))


def store_fingerprint(corpus: Corpus, backend: str, size: int) -> str:
    """SHA-256 of what a store follows from: corpus, backend and its files, size and version.

    The corpus's landmarks count only for a backend that takes them.
    """
    taken = corpus.landmarks_sha256 if backend in backends.TAKE_LANDMARKS else ""
    made_by = [backend, size, backends.backend_fingerprint(backend)]
    parts = [STORE_VERSION, corpus.fingerprint + taken, *made_by]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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


def states_table(frames: pd.DataFrame) -> pd.DataFrame:
    """How many frames of a store are in each state: state, meaning, frames, first_problem."""
    meanings = STATES | FACE_STATES | {"ok": "registered"}
    counts = frames.groupby("state")["problem"].agg(frames="size", first_problem="first")
    counts = counts.sort_values("frames", ascending=False, kind="stable").reset_index()
    counts.insert(1, "meaning", counts["state"].map(meanings))
    return counts


def _reserve(partial: Path, count: int, size: int) -> None:
    """Begin a partial store with its disk space taken, unless one is there to be continued."""
    (partial / "parts").mkdir(parents=True, exist_ok=True)
    if not (partial / "store").exists():
        (partial / "reserving").mkdir(exist_ok=True)
        reserve_images(partial / "reserving", count, size)
        (partial / "reserving").replace(partial / "store")


class Shard(NamedTuple):
    """Frames in a row, from number `first` on; `made_by` are a backend's name, the images' size and
    PyTorch's device."""

    partial: Path
    first: int
    frames: pd.DataFrame
    root: Path
    made_by: tuple[str, int, str]

    @property
    def part(self) -> Path:
        """The shard's table, which marks it as done."""
        return self.partial / "parts" / f"{self.first:08d}-{len(self.frames)}.parquet"


def _shards(partial: Path, corpus: Corpus, *made_by: object) -> list[Shard]:
    """The shards of a corpus, in its order."""
    needed, root = corpus.frames[["image", "landmarks", "state", "problem"]], corpus.root.resolve()
    return [
        Shard(partial, first, needed[first : first + SHARD_FRAMES], root, made_by)
        for first in range(0, len(needed), SHARD_FRAMES)
    ]


def _register(shards: list[Shard], scheduler: str | None, workers: int | None) -> pd.DataFrame:
    """Register the shards that are not done yet, with a progress bar; what all shards found."""
    left = [(f"frames from {s.first}", s) for s in shards if not s.part.exists()]
    with connect(scheduler, workers) as client:
        list(track(run(client, register_shard, left), "Registering", total=len(left)))
    return pd.concat([pd.read_parquet(shard.part) for shard in shards], ignore_index=True)


def register_shard(shard: Shard) -> None:
    """Register a shard into the partial store, on a worker."""
    cv2.setNumThreads(1)
    name, size, device = shard.made_by
    backend = _loaded(name, device, get_ident())
    images = np.zeros((len(shard.frames), size, size, 3), np.uint8)
    found, rows = [], shard.frames.itertuples()
    while batch := [read_picture(shard.root, row, name) for row in islice(rows, BATCH_FRAMES)]:
        for face in find_faces(batch, backend, size):
            if face.view:
                images[len(found)] = face.view.image
            found.append({"state": face.state, "problem": face.problem, **face.measures})
    with writing(shard.partial):
        write_images(shard.partial / "store", shard.first, images)
        half = shard.part.with_suffix(f".{os.getpid()}.half")
        pd.DataFrame(found).to_parquet(half)
        half.replace(shard.part)


@lru_cache
def _loaded(name: str, device: str, thread: int) -> backends.Backend:
    """The backend, loaded once for each thread of a worker: its networks hold state."""
    return backends.load_backend(name, device)
