"""What a model is fed: pictures at its size, and hidden states below its lowest trained block.

Neither changes while a model trains, so each is computed once, in store order and in blocks of one
size, and kept under `<results>/cache/` for all runs that share it. The folder is bounded: what was
used longest ago goes first, and what would not fit alone is computed batch by batch instead. A file
is written under another name and renamed when whole; a second process waits for the first.
"""

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from filelock import FileLock

from paincore.files import FileError, engine, key_of, reserve_array
from paincore.registration.store import FrameStore
from paincore.training.vit import PainTransformer

BLOCK = 64  # samples whose hidden states are computed together
LIMIT = 20 * 2**30  # bytes that the folder may hold

# numpy has no bfloat16: such states are kept as their 16 bits.
KEPT_AS = {"fp32": np.dtype(np.float32), "bf16": np.dtype(np.uint16)}


def pictures_at(store: FrameStore, size: int, folder: Path) -> np.ndarray:
    """The store's pictures at `size` pixels, uint8 (N, size, size, 3), shrunk by area.

    The store's own array where the size is its own. Raises FileError where the disk has no room.
    """
    if size == store.images.shape[1]:
        return store.images
    key = key_of(store=store.fingerprint, size=size)

    def shrink(out: np.ndarray) -> None:
        cv2.setNumThreads(1)
        for number, image in enumerate(store.images):
            out[number] = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)

    shape = (len(store.images), size, size, 3)
    return _cached(folder / f"pictures-{key}.npy", shape, np.dtype(np.uint8), shrink)


@dataclass(frozen=True)
class Batch:
    """What is read for some samples: states from the cache, and pictures of what is computed live.

    `kept` (B, T, D) or None; `live` int64 (L,), the places in the batch of `first` (L, F, S, S, 3);
    `mixed` int64 (K,), the places in `live` of `second` (K, F, S, S, 3) and `weight` (K,), the
    share of the first.
    """

    kept: torch.Tensor | None
    live: torch.Tensor
    first: torch.Tensor
    mixed: torch.Tensor
    second: torch.Tensor
    weight: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on `device`; memory is pinned first where that lets the copy run aside."""
        pin = device.type == "cuda"
        moved = {
            name: value
            if value is None
            else (value.pin_memory() if pin else value).to(device, non_blocking=True)
            for name, value in vars(self).items()
        }
        return Batch(**moved)


class Feed:
    """Samples of a store as hidden states of a model at `depth`, int64 `samples` (M, F) of rows.

    `depth` None means that the embeddings train: then every state is live and carries gradients.
    `kept` (M, T, D) holds the states from the cache, or is None where they are computed live. In
    "bf16" frozen states are rounded to it whether kept or not, so that a cache changes no number.
    """

    def __init__(
        self,
        model: PainTransformer,
        pictures: np.ndarray,
        samples: np.ndarray,
        depth: int | None,
        precision: str,
    ):
        self.model, self.pictures, self.samples = model, pictures, samples
        self.depth, self.kept = depth, None
        self.rounded = torch.bfloat16 if precision == "bf16" and depth else torch.float32

    def read(
        self, first: np.ndarray, second: np.ndarray | None = None, weight: np.ndarray | None = None
    ) -> Batch:
        """What samples `first` need, mixed with samples `second` where `weight` is below 1."""
        count = len(first)
        mixed = np.zeros(0, np.int64) if weight is None else np.flatnonzero(weight < 1)
        live = np.arange(count) if self.kept is None else mixed
        kept = None if self.kept is None else _as_tensor(self.kept[first])
        return Batch(
            kept=kept,
            live=torch.from_numpy(live),
            first=self._pictures(first[live]),
            mixed=torch.from_numpy(np.searchsorted(live, mixed)),
            second=self._pictures(second[mixed] if len(mixed) else mixed),
            weight=torch.from_numpy(weight[mixed] if len(mixed) else np.zeros(0, np.float32)),
        )

    def _pictures(self, samples: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.pictures[self.samples[samples]])

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Hidden states, float32 (B, T, D), of a batch that is on the model's device."""
        kept = None if batch.kept is None else batch.kept.float()
        with torch.set_grad_enabled(self.depth is None and torch.is_grad_enabled()):
            if not len(batch.live):
                return kept
            pixels = self.model.pixels(batch.first)
            if len(batch.mixed):
                weight = batch.weight[:, None, None, None]
                other = self.model.pixels(batch.second)
                pixels[batch.mixed] = weight * pixels[batch.mixed] + (1 - weight) * other
            live = self.model.below(pixels, self.depth or 0).to(self.rounded).float()
            return live if kept is None else kept.index_copy(0, batch.live, live)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits (B, 2) of a batch that is on the model's device."""
        return self.model.above(self.hidden(batch), self.depth or 0)


def keep_states(
    feed: Feed, store: FrameStore, backbone: str, precision: str, device: torch.device, folder: Path
) -> np.ndarray | None:
    """Hidden states of all samples of `feed`, made or opened; None where they are better live.

    That is at depth 0, where the embeddings are as quick to compute as to read, where nothing is
    frozen, and where they are larger than the folder may be. `backbone` is the weights'
    fingerprint. float32 (M, T, D), or the bits of bfloat16 as uint16. Raises FileError where the
    disk has no room for them.
    """
    if not feed.depth:
        return None
    model = feed.model
    shape = (len(feed.samples), *model.encoder.embeddings.position_embeddings.shape[1:])
    if math.prod(shape) * KEPT_AS[precision].itemsize > LIMIT:
        return None
    key = key_of(
        store=store.fingerprint,
        samples=hashlib.sha256(feed.samples.tobytes()).hexdigest(),
        frames=model.frames,
        backbone=backbone,
        depth=feed.depth,
        precision=precision,
        device=device.type,
        **engine(),
    )

    def compute(out: np.ndarray) -> None:
        for start in range(0, len(out), BLOCK):
            numbers = np.arange(start, min(start + BLOCK, len(out)))
            with torch.inference_mode(), autocast(device, precision):
                states = feed.hidden(feed.read(numbers).to(device)).cpu()
            out[numbers] = _as_array(states, precision)

    return _cached(folder / f"hidden-{key}.npy", shape, KEPT_AS[precision], compute)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a model computes at "fp32" or "bf16"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _as_tensor(states: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(states)
    return tensor.view(torch.bfloat16) if states.dtype == np.uint16 else tensor


def _as_array(states: torch.Tensor, precision: str) -> np.ndarray:
    if precision == "bf16":
        return states.to(torch.bfloat16).view(torch.uint16).numpy()
    return states.numpy()


def _cached(
    path: Path, shape: tuple, dtype: np.dtype, fill: Callable[[np.ndarray], None]
) -> np.ndarray:
    """The array at `path`, opened; if it is not there, made by `fill` on an empty one.

    Raises FileError where the disk has no room for it.
    """
    size = math.prod(shape) * dtype.itemsize
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists():
                os.utime(path)
            else:
                _make_room(path.parent, size)
                _fill(path, shape, dtype, fill)
            return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as fault:
        raise FileError(
            f"{path} cannot be written ({fault.strerror or fault}). It takes {size / 1e9:.2f} GB: "
            "free the disk or name another results folder, and run again."
        ) from fault


def _fill(path: Path, shape: tuple, dtype: np.dtype, fill: Callable[[np.ndarray], None]) -> None:
    """Write the array under another name and rename it when it is whole."""
    partial = path.with_suffix(".partial")
    try:
        reserve_array(partial, shape, dtype)
        out = np.load(partial, mmap_mode="r+", allow_pickle=False)
        fill(out)
        out.flush()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    """Delete what was used longest ago until `size` bytes fit; who has it open keeps it."""
    files = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime)
    held = sum(file.stat().st_size for file in files)
    while files and held + size > LIMIT:
        held -= files[0].stat().st_size
        files.pop(0).unlink(missing_ok=True)
