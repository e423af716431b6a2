"""What a model is fed: images at its size, and hidden states below its lowest trained block.

Neither changes while a model trains, so each is computed once, in store order and in blocks of one
size, and kept under `<results>/cache/` for all runs that use it. States that would not fit into
that folder are computed batch by batch instead.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from paincore.files import cached_array, engine, key_of
from paincore.registration.frame_store import FrameStore
from paincore.training.vit import PainTransformer

STATES_AT_ONCE = 64  # samples whose hidden states are computed together
CACHE_LIMIT = 20 * 2**30  # bytes that the folder may hold

# numpy has no bfloat16: such states are kept as their 16 bits.
KEPT_AS = {"fp32": np.dtype(np.float32), "bf16": np.dtype(np.uint16)}


def images_at(store: FrameStore, size: int, folder: Path) -> np.ndarray:
    """The store's images at `size` pixels, uint8 (N, size, size, 3), shrunk by area.

    The store's own array where the size is its own. Raises FileError where the disk has no room.
    """
    if size == store.images.shape[1]:
        return store.images

    def shrink(out: np.ndarray) -> None:
        cv2.setNumThreads(1)
        for number, image in enumerate(store.images):
            out[number] = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)

    path = folder / f"images-{key_of(store=store.fingerprint, size=size)}.npy"
    shape = (len(store.images), size, size, 3)
    return cached_array(path, shape, np.uint8, shrink, CACHE_LIMIT)


class Batch(NamedTuple):
    """What is read for some samples: kept states, and images of those whose states are not kept.

    `kept` (B, T, D) or None; `live` int64 (L,), places in the batch; `images` (L, F, S, S, 3), and
    where Mixup blends some of them `others` (L, F, S, S, 3), else None, and `weight` (L,), the
    proportion of the first.
    """

    kept: torch.Tensor | None
    live: torch.Tensor
    images: torch.Tensor
    others: torch.Tensor | None
    weight: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on `device`; memory is pinned first where a copy then runs aside."""
        if device.type == "cpu":
            return self
        moved = (
            None if part is None else part.pin_memory().to(device, non_blocking=True)
            for part in self
        )
        return Batch(*moved)


@dataclass
class Feed:
    """Samples of a store as hidden states of a model at `depth`; `rows` int64 (M, F), their frames.

    `depth` None means that the embeddings train: then every state is computed anew and carries
    gradients. `kept` (M, T, D) holds the states from the cache, or is None. In "bf16" frozen states
    are rounded to it whether kept or not, so that a cache changes no number.
    """

    model: PainTransformer
    images: np.ndarray
    rows: np.ndarray
    depth: int | None
    precision: str
    kept: np.ndarray | None = None

    def read(
        self, first: np.ndarray, second: np.ndarray | None = None, weight: np.ndarray | None = None
    ) -> Batch:
        """What samples `first` need, blended with samples `second` where `weight` is below 1."""
        if weight is None:
            second, weight = first, np.ones(len(first), np.float32)
        live = np.arange(len(first)) if self.kept is None else np.flatnonzero(weight < 1)
        kept = None if self.kept is None else _as_tensor(self.kept[first])
        images = self._frames(first[live])
        others = self._frames(second[live]) if (weight < 1).any() else None
        return Batch(kept, torch.from_numpy(live), images, others, torch.from_numpy(weight[live]))

    def _frames(self, samples: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.images[self.rows[samples]])

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Hidden states, float32 (B, T, D), of a batch that is on the model's device."""
        kept = None if batch.kept is None else batch.kept.float()
        if not len(batch.live):
            return kept
        gradients = torch.set_grad_enabled(self.depth is None and torch.is_grad_enabled())
        with gradients, self._precision(batch):
            pixels = self.model.pixels(batch.images)
            if batch.others is not None:
                weight = batch.weight[:, None, None, None]
                pixels = weight * pixels + (1 - weight) * self.model.pixels(batch.others)
            live = self.model.below(pixels, self.depth or 0)
            rounded = self.precision == "bf16" and self.depth
            live = live.to(torch.bfloat16 if rounded else torch.float32).float()
        return live if kept is None else kept.index_copy(0, batch.live, live)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits (B, 2) of a batch that is on the model's device."""
        with self._precision(batch):
            return self.model.above(self.hidden(batch), self.depth or 0)

    def _precision(self, batch: Batch) -> torch.autocast:
        bf16 = self.precision == "bf16"
        return torch.autocast(batch.live.device.type, torch.bfloat16, enabled=bf16)


def keep_states(feed: Feed, store: FrameStore, backbone: str, folder: Path) -> np.ndarray | None:
    """Hidden states of all samples of `feed`, computed or opened; None where they are not kept.

    That is at depth 0, where the embeddings are as quick to compute as to read, where nothing is
    frozen, and where the states are larger than the folder may be. `backbone` is the weights'
    digest. float32 (M, T, D), or the bits of bfloat16 as uint16. Raises FileError where the disk
    has no room for them.
    """
    if not feed.depth:
        return None
    dtype = KEPT_AS[feed.precision]
    shape = (len(feed.rows), *feed.model.encoder.embeddings.position_embeddings.shape[1:])
    if math.prod(shape) * dtype.itemsize > CACHE_LIMIT:
        return None
    key = key_of(
        store=store.fingerprint,
        samples=hashlib.sha256(feed.rows.tobytes()).hexdigest(),
        frames=feed.model.frames,
        backbone=backbone,
        depth=feed.depth,
        precision=feed.precision,
        device="cpu",
        **engine(),
    )

    def compute(out: np.ndarray) -> None:
        for start in range(0, len(out), STATES_AT_ONCE):
            numbers = np.arange(start, min(start + STATES_AT_ONCE, len(out)))
            with torch.inference_mode():
                states = feed.hidden(feed.read(numbers))
            if feed.precision == "bf16":
                states = states.to(torch.bfloat16).view(torch.uint16)
            out[numbers] = states.numpy()

    return cached_array(folder / f"hidden-{key}.npy", shape, dtype, compute, CACHE_LIMIT)


def _as_tensor(states: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(states)
    return tensor.view(torch.bfloat16) if states.dtype == np.uint16 else tensor
