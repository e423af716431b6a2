"""Registering a corpus into a frame store (see `paincore.registration.frame_store`).

A store grows in `<name>.partial`: a reserved image array, into which workers write shards of frames
at their place, and a small table for each shard that is done. A run that finds such a folder
continues where the last one stopped; the store gets its name when the last shard is in.
"""

import functools
import hashlib
import json
import os
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import get_ident

import cv2
import numpy as np
import pandas as pd
from rich.progress import track

from paincore.cluster import connect, run
from paincore.data.corpus import Corpus
from paincore.data.frames import STATES
from paincore.data.tables import states_of_frames
from paincore.files import making, reserve_array, writing
from paincore.manifest import ROOT
from paincore.registration import backends
from paincore.registration.faces import FACE_STATES, find_faces, read_picture
from paincore.registration.frame_store import IMAGES, FrameStore, open_store, write_store

STORE_VERSION = 2  # raised when the same frame would become another image
SHARD_FRAMES, BATCH_FRAMES = 64, 32  # that a worker and a backend take at a time


def registered(
    corpus: Corpus, backend="landmarker", results=None, size=224, device="cpu", **where: object
) -> FrameStore:
    """The store of a corpus, opened; what is missing of it is registered.

    It lies at <results>/stores/<dataset>-<backend>-<fingerprint>, in the repository's own results
    by default. `backend` is a name of `backends.BACKENDS`; `size` is the side of the stored images;
    `device` is PyTorch's, for `prnet`, of which one process here has the GPU; `where` is what
    `cluster.connect` takes: scheduler and workers. Raises FileError where the folder cannot be
    written, RegistrationError naming the images on which a backend fails, and what `load_backend`
    raises, which a whole store has no need of. The paper's section 3.2.
    """
    now = corpus.frames.reset_index(drop=True).drop(columns=["state", "problem"])
    key = store_fingerprint(corpus, backend, size)
    stores = Path(results or ROOT / "results").resolve() / "stores"
    out = stores / f"{corpus.dataset.name}-{backend}-{key[:12]}"
    partial = out.with_name(f"{out.name}.partial")
    if not out.exists():
        backends.load_backend(backend, device)  # raises here, before a worker does
    with making(out) as missing:
        if missing:
            _reserve(partial, len(corpus.frames), size)
            if backend == "prnet" and device != "cpu" and not where.get("scheduler"):
                where = where | {"workers": 1}  # which has the GPU to itself
            found = _register(partial, corpus, (backend, size, device), where)
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


def write_images(folder: Path, first: int, images: np.ndarray) -> None:
    """Write images uint8 (K, S, S, 3) to their place, from number `first` on."""
    path = folder / IMAGES
    start = np.load(path, mmap_mode="r", allow_pickle=False).offset
    with path.open("r+b") as file:
        file.seek(start + first * images[0].nbytes)
        file.write(images)


def states_table(frames: pd.DataFrame) -> pd.DataFrame:
    """`states_of_frames` of a store."""
    return states_of_frames(frames, STATES | FACE_STATES | {"ok": "registered"})


def _reserve(partial: Path, count: int, size: int) -> None:
    """Begin a partial store with its disk space taken, unless one is there to be continued."""
    (partial / "parts").mkdir(parents=True, exist_ok=True)
    if not (partial / "store").exists():
        (partial / "reserving").mkdir(exist_ok=True)
        reserve_array(partial / "reserving" / IMAGES, (count, size, size, 3), np.uint8)
        (partial / "reserving").replace(partial / "store")


def _register(partial: Path, corpus: Corpus, made_by: tuple, where: dict) -> pd.DataFrame:
    """Register the shards that are not done yet, with a progress bar; what all shards found."""
    frames = corpus.frames.reset_index(drop=True)[["image", "landmarks", "state", "problem"]]
    shards = [frames[first : first + SHARD_FRAMES] for first in range(0, len(frames), SHARD_FRAMES)]
    parts = [partial / "parts" / f"{shard.index[0]:08d}-{len(shard)}.parquet" for shard in shards]
    each = zip(parts, shards, strict=True)
    left = [(f"frames from {s.index[0]}", (part, s)) for part, s in each if not part.exists()]
    register = functools.partial(register_shard, corpus.root.resolve(), made_by)
    with connect(**where) as client:
        list(track(run(client, register, left), "Registering", total=len(left)))
    return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)


def register_shard(root: Path, made_by: tuple[str, int, str], shard: tuple) -> None:
    """Register frames in a row into the partial store, on a worker.

    `made_by` are a backend's name, the images' size and PyTorch's device; `shard` is the frames'
    table that marks them as done, and what is registered, whose index is the frames' place.
    """
    cv2.setNumThreads(1)
    (part, frames), (name, size, device) = shard, made_by
    backend = _loaded(name, device, get_ident())
    images = np.zeros((len(frames), size, size, 3), np.uint8)
    found, rows = [], frames.itertuples()
    while batch := [read_picture(root, row, name) for row in islice(rows, BATCH_FRAMES)]:
        for face in find_faces(batch, backend, size):
            if face.view:
                images[len(found)] = face.view.image
            found.append({"state": face.state, "problem": face.problem, **face.measures})
    with writing(part):
        write_images(part.parents[1] / "store", frames.index[0], images)
        half = part.with_suffix(f".{os.getpid()}.half")
        pd.DataFrame(found).to_parquet(half)
        half.replace(part)


@functools.lru_cache
def _loaded(name: str, device: str, thread: int) -> backends.Backend:
    """The backend, loaded once for each thread of a worker: its networks hold state."""
    return backends.load_backend(name, device)
