"""Registration of a whole corpus into a frame store, in parallel and safe against a kill.

The store grows in `<name>.partial`: a reserved image array, into which workers write shards of
frames at their place, and a small table for each shard that is done. A run that finds such a folder
goes on where the last one stood; the store gets its name when the last shard is in.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import get_ident

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock
from rich.progress import Progress

from paincore.cluster import connect, run
from paincore.data.corpus import Corpus
from paincore.data.frames import STATES as FRAME_STATES
from paincore.manifest import ROOT
from paincore.profiles import DEFAULT_PROFILE, profile_named
from paincore.registration import backends
from paincore.registration.backends import TAKE_LANDMARKS, Backend, load_backend
from paincore.registration.faces import (
    EXTREME_YAW,
    STATES,
    batches,
    find_faces,
    read_picture,
)
from paincore.registration.framestore import (
    FrameStore,
    StoreError,
    open_store,
    reserve_images,
    write_images,
    write_store,
)

VERSION = 2  # raised when the same frame would become another picture
SHARD = 64  # frames that a worker takes at a time


@dataclass(frozen=True)
class Settings:
    """What a store is made with; root, where the pictures lie, and device decide no pixel."""

    root: str
    backend: str
    size: int
    device: str
    fingerprint: str


@dataclass(frozen=True)
class Shard:
    """Some frames in a row: their number among the shards, and the columns that are needed."""

    number: int
    frames: pd.DataFrame

    @property
    def name(self) -> str:
        names = [name for name in self.frames["image"] if isinstance(name, str)]
        return f"{names[0]} to {names[-1]}" if names else f"shard {self.number}"


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
    """The store of a corpus, opened; what is missing of it is made.

    It lies at <results>/stores/<dataset>-<backend>-<fingerprint>. `backend` None means the
    profile's; `size` is the side of the stored pictures. `register` has the rest. Used by chapters
    02 and on.
    """
    backend = backend or profile_named(profile).backend
    read = read_by(corpus, backend)
    key = fingerprint(read, backend, size)
    folder = Path(results or ROOT / "results") / "stores"
    out = folder / f"{corpus.dataset.name}-{backend}-{key[:12]}"
    store = register(
        corpus.frames,
        out,
        backend,
        size,
        workers,
        root=corpus.root,
        corpus_fingerprint=read,
        device=device,
        scheduler=scheduler,
    )
    return replace(store, frames=_as_now(store.frames, corpus.frames), threshold=corpus.threshold)


def register(
    frames: pd.DataFrame,
    out: str | Path,
    backend: str = "landmarker",
    size: int = 224,
    workers: int | None = None,
    *,
    root: str | Path,
    corpus_fingerprint: str,
    device: str = "cpu",
    scheduler: str | None = None,
) -> FrameStore:
    """Register all usable frames of a table into the store `out`; returns it opened.

    `frames` obeys `paincore.data.frames.FRAMES`, `root` is the folder its paths are relative to. A
    whole store of the same settings is opened at once, an unfinished one is finished. `scheduler`
    and `workers` are those of `paincore.cluster.connect`, `device` is PyTorch's for `prnet`. Raises
    StoreError where `out` holds something else or cannot be written, RegistrationError naming the
    pictures on which a backend fails, and what `load_backend` raises, which a whole store has no
    need of. The paper's section 3.2.
    """
    key = fingerprint(corpus_fingerprint, backend, size)
    settings = Settings(str(Path(root).resolve()), backend, size, device, key)
    out = Path(out).resolve()
    partial = out.with_name(f"{out.name}.partial")
    if not out.exists():
        load_backend(backend, device)  # raises here, before a worker does
    with _disk(out, len(frames), size):
        out.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(out.with_name(f".{out.name}.lock")).acquire()
    with held:
        if out.exists():
            shutil.rmtree(partial, ignore_errors=True)  # left by a kill after the last step
            return _same_store(out, settings)
        with _disk(out, len(frames), size):
            _prepare(partial, len(frames), settings)
        _register_shards(partial, frames, settings, scheduler, workers)
        with _disk(out, len(frames), size):
            _finish(partial, out, frames, settings)
    return open_store(out)


def read_by(corpus: Corpus, backend: str) -> str:
    """What a backend reads of a corpus, as a fingerprint: landmarks only if it takes them."""
    landmarks = corpus.landmarks_sha256 if backend in TAKE_LANDMARKS else ""
    return f"{corpus.fingerprint}{landmarks}"


def fingerprint(corpus_fingerprint: str, backend: str, size: int) -> str:
    """The store's fingerprint: a SHA-256 over corpus (see `read_by`), backend and its files, size
    and version."""
    parts = [VERSION, corpus_fingerprint, backend, size, backends.fingerprint(backend)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _as_now(stored: pd.DataFrame, frames: pd.DataFrame) -> pd.DataFrame:
    """A store's table, in which all but what registration found is the corpus's of today.

    Equal fingerprints do not mean equal tables: the threshold of pain, the formula of PSPI and the
    spelling of the folders may have changed.
    """
    now = frames.reset_index(drop=True).drop(columns=["state", "problem"])
    return now.join(stored[[name for name in stored if name not in now]])


def states_table(frames: pd.DataFrame) -> pd.DataFrame:
    """How many frames of a store are in each state: state, meaning, frames, first_problem.

    The last rows count what is flagged among frames with a face. Used by chapter 02 and
    `paincore register`.
    """
    meanings = FRAME_STATES | STATES | {"ok": "registered"}
    rows = [
        (state, meanings[state], len(group), group["problem"].iloc[0])
        for state, group in frames.groupby("state")
    ]
    rows.sort(key=lambda row: (row[0] != "ok", row[0]))
    found = frames[frames["state"] == "ok"]
    several = int((found["faces"] > 1).sum())
    rows.append(("ok, several faces", "the largest was taken", several, ""))
    extreme = f"turned by more than {EXTREME_YAW:.0f}°: mostly hidden"
    rows.append(("ok, extreme yaw", extreme, int(found["extreme_yaw"].sum()), ""))
    return pd.DataFrame(rows, columns=["state", "meaning", "frames", "first_problem"])


@contextmanager
def _disk(out: Path, frames: int, size: int) -> Iterator[None]:
    """Turn what the operating system refuses into a StoreError that says what to do."""
    try:
        yield
    except OSError as fault:
        raise StoreError(
            f"{out} cannot be written ({fault.strerror or fault}). Its {frames} frames take "
            f"{frames * size * size * 3 / 1e9:.2f} GB. Free some space or choose another folder, "
            "and run again: what is done is kept."
        ) from fault


def _same_store(out: Path, settings: Settings) -> FrameStore:
    """The whole store at `out`. Raises StoreError if it was made from something else."""
    store = open_store(out)
    if store.fingerprint != settings.fingerprint:
        raise StoreError(
            f"{out} holds frames of other settings ({store.meta['backend']}, {store.meta['size']} "
            "px, or another corpus). Choose another folder, or delete it."
        )
    return store


def _prepare(partial: Path, count: int, settings: Settings) -> None:
    """Begin the partial store, or check that the one that is there can be continued."""
    plan = partial / "plan.json"
    wanted = {"fingerprint": settings.fingerprint, "frames": count, "shard": SHARD}
    if plan.exists():
        if json.loads(plan.read_text("utf-8")) != wanted:
            raise StoreError(f"{partial} was begun with other settings. Delete it and start again.")
        return
    shutil.rmtree(partial, ignore_errors=True)  # killed before its plan was written
    (partial / "parts").mkdir(parents=True)
    (partial / "store").mkdir()
    reserve_images(partial / "store", count, settings.size)
    writing = partial / "plan.writing"
    writing.write_text(json.dumps(wanted), "utf-8")
    writing.replace(plan)


def _register_shards(
    partial: Path,
    frames: pd.DataFrame,
    settings: Settings,
    scheduler: str | None,
    workers: int | None,
) -> None:
    """Register the shards that are not done yet, with a progress bar in frames."""
    count = -(-len(frames) // SHARD)
    left = [number for number in range(count) if not _part(partial, number).exists()]
    if not left:
        return
    tasks = ((shard.name, (partial, shard, settings)) for shard in _shards(frames, left))
    with connect(scheduler, workers) as client, Progress() as progress:
        bar = progress.add_task("Registering", total=len(frames))
        progress.advance(bar, (count - len(left)) * SHARD)
        for done in run(client, register_shard, tasks):
            progress.advance(bar, done)


def _shards(frames: pd.DataFrame, numbers: list[int]) -> Iterator[Shard]:
    needed = frames[["image", "landmarks", "state", "problem"]]
    for number in numbers:
        yield Shard(number, needed[number * SHARD : (number + 1) * SHARD])


def register_shard(task: tuple[Path, Shard, Settings]) -> int:
    """Register a shard into the partial store, on a worker; returns its number of frames.

    Its table is written last, and marks the shard as done.
    """
    partial, shard, settings = task
    cv2.setNumThreads(1)
    backend = _loaded(settings.backend, settings.device, get_ident())
    root = Path(settings.root)
    pictures = (read_picture(root, row, backend.name) for row in shard.frames.itertuples())
    images = np.zeros((len(shard.frames), settings.size, settings.size, 3), np.uint8)
    found = []
    for batch in batches(pictures):
        for face in find_faces(batch, backend, settings.size):
            if face.view:
                images[len(found)] = face.view.image
            found.append({"state": face.state, "problem": face.problem, **face.measures})
    with _disk(partial, len(found), settings.size):
        write_images(partial / "store", shard.number * SHARD, images)
        part = _part(partial, shard.number)
        writing = part.with_suffix(f".{os.getpid()}.writing")
        pd.DataFrame(found).to_parquet(writing)
        writing.replace(part)
    return len(found)


@lru_cache
def _loaded(name: str, device: str, thread: int) -> Backend:
    """The backend, loaded once for each thread of a worker: its networks hold state."""
    return load_backend(name, device)


def _part(partial: Path, number: int) -> Path:
    return partial / "parts" / f"{number:06d}.parquet"


def _finish(partial: Path, out: Path, frames: pd.DataFrame, settings: Settings) -> None:
    """Put the tables of the shards together and give the store its name."""
    parts = sorted((partial / "parts").glob("*.parquet"))
    found = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    table = frames.reset_index(drop=True).drop(columns=["state", "problem"]).join(found)
    meta = asdict(settings) | {"states": table["state"].value_counts().to_dict()}
    del meta["root"], meta["device"]
    write_store(partial / "store", table, meta)
    (partial / "store").replace(out)
    shutil.rmtree(partial)
