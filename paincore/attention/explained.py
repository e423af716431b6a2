"""A trained model together with the samples it was tested on: what chapter 07 looks into.

Samples are numbered as the rows of the run's predictions. Nothing here is trained on: a run's
model is only asked about people whom it has never seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paincore import PaincoreError
from paincore.data.frames import KEYS
from paincore.manifest import ROOT
from paincore.registration.store import FrameStore
from paincore.training import backbones as encoders
from paincore.training import samples as sampling
from paincore.training.feed import images_at
from paincore.training.runs import Run
from paincore.training.train import trained_model
from paincore.training.vit import PainTransformer

CONTROLS = ("random", "pretrained")
BATCH = 64  # samples that are computed together


class ExplanationError(PaincoreError, ValueError):
    """Something that cannot be explained, or not so."""


@dataclass(frozen=True)
class Explained:
    """A run, its model (in evaluation mode, on the CPU) and its test samples.

    `rows` int64 (M, F) are the store's rows of each test sample, in the order of
    `run.predictions`; `pictures` uint8 (N, S, S, 3) are all frames of the store at the model's
    size.
    """

    run: Run
    model: PainTransformer
    store: FrameStore
    rows: np.ndarray
    pictures: np.ndarray

    def frames(self, numbers: np.ndarray | None = None) -> np.ndarray:
        """The frames of samples, uint8 (B, F, S, S, 3); None means all."""
        return self.pictures[self.rows if numbers is None else self.rows[numbers]]

    def number(self, sequence: str, frame: int) -> int:
        """The sample that ends at a frame. Raises ExplanationError saying why there is none."""
        predictions = self.run.predictions
        found = (predictions["sequence"] == sequence) & (predictions["frame"] == frame)
        if found.any():
            return int(np.flatnonzero(found)[0])
        if sequence not in set(predictions["sequence"]):
            why = f"its people are {', '.join(sorted(predictions['subject'].unique()))}"
        else:
            why = (
                f"a sample needs {self.model.frames} subsequent frames with a face and a label, "
                f"and every {self.run.configuration.clip_stride}. of them was kept"
            )
        raise ExplanationError(f"{sequence}, frame {frame}, ends no test sample of this run: {why}")

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row for each test sample: the predictions, and all columns of its last frame."""
        last = self.store.frames.iloc[self.rows[:, -1]].reset_index(drop=True)
        added = self.run.predictions[["fold", "probability", "corrected"]]
        return pd.concat([last, added.reset_index(drop=True)], axis=1)


def explain(run: Run, store: FrameStore, results: str | Path | None = None) -> Explained:
    """A run whose weights were kept, opened with the store it was trained on.

    `results` is where pictures at the model's size are kept. Raises TrainingError where weights are
    missing, ExplanationError for another store or one of smaller pictures than the model takes.
    Chapter 07.
    """
    if store.fingerprint != run.rests_on["store"]:
        raise ExplanationError(
            f"{run.folder} was trained on another store than {store.folder}. Open that one."
        )
    model = trained_model(run)
    side = store.images.shape[1]
    if side < model.image_size:
        raise ExplanationError(
            f"{store.folder} holds pictures of {side} px, this model takes {model.image_size}. "
            "Register the corpus at that size or larger."
        )
    cache = Path(results or ROOT / "results") / "cache"
    pictures = images_at(store, model.image_size, cache)
    return Explained(run, model, store, _rows(run, store), pictures)


def _rows(run: Run, store: FrameStore) -> np.ndarray:
    """The store's rows of each test sample: those that end at the frames of the predictions."""
    config = run.configuration
    every = sampling.sample_rows(store.frames, store.usable, config.model, config.clip_stride)
    ends = pd.MultiIndex.from_frame(store.frames.iloc[every[:, -1]][KEYS])
    places = ends.get_indexer(pd.MultiIndex.from_frame(run.predictions[KEYS]))
    if (places < 0).any():
        frame = run.predictions.iloc[int(np.argmin(places))]
        raise ExplanationError(
            f"{run.folder} predicts {frame['sequence']}, frame {frame['frame']}, which ends no "
            f"sample of {store.folder}. Delete the run and train again."
        )
    return every[places]


def explain_all(
    runs: Iterable[Run], store: FrameStore, results: str | Path | None = None
) -> list[Explained]:
    """`explain` each run: the folds of one configuration. Chapter 07."""
    return [explain(run, store, results) for run in runs]


def control(explained: Explained, which: str) -> Explained:
    """The same samples with another model: "random" weights, or "pretrained", before fine-tuning.

    The head of both is drawn as before a training. Raises ExplanationError for another name.
    Chapter 07.
    """
    if which not in CONTROLS:
        raise ExplanationError(f"no control {which!r}; there are {', '.join(CONTROLS)}")
    run = explained.run
    seed = run.rests_on["seed"]
    encoder = encoders.load_encoder(run.configuration.backbone, seed)
    if which == "random":
        encoder = encoders.random_encoder(encoder.config, seed)
    generator = torch.Generator().manual_seed(seed)
    model = PainTransformer(encoder, explained.model.frames, generator)
    return replace(explained, model=model.eval())


def probabilities(model: PainTransformer, frames: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """The probability of pain, float32 (M,), of samples uint8 (M, F, S, S, 3). Chapter 07.

    In evaluation mode, whatever mode the model is in; it is left in evaluation mode.
    """
    model.eval()
    device = next(model.parameters()).device
    found = []
    with torch.inference_mode():
        for start in range(0, len(frames), batch):
            part = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch]))
            logits = model(model.pixels(part.to(device)))
            found.append(logits.float().softmax(-1)[:, 1].cpu())
    return torch.cat(found).numpy() if found else np.zeros(0, np.float32)
