"""A trained model together with the samples that it was tested on, and models to compare it with.

Samples are numbered as the rows of the run's predictions. A run's model is only asked about people
whom it has never seen. Functions that take `folds` take the models of one configuration's folds;
their samples then follow one another, those of the first fold first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paincore import PaincoreError
from paincore.data.frames import KEYS
from paincore.manifest import ROOT
from paincore.registration.store import FrameStore
from paincore.statistics.scores import called_pain
from paincore.training import backbones, samples
from paincore.training.feed import images_at
from paincore.training.runs import Run
from paincore.training.train import trained_model
from paincore.training.vit import PainTransformer

TRAINED, SHUFFLED = "trained", "labels shuffled within people"
PRETRAINED, RANDOM_WEIGHTS = "before fine-tuning", "random weights"
OUTCOMES = ("pain found", "pain missed", "false alarm", "no pain, none predicted")
TOGETHER = 64  # samples that a model computes at once


class ExplanationError(PaincoreError, ValueError):
    """Something that cannot be explained, or not so."""


@dataclass(frozen=True)
class Explained:
    """A run, its model (in evaluation mode, on the CPU) and its test samples.

    `rows` int64 (M, F) are the store's rows of each test sample, in the order of
    `run.predictions`; `samples` has a row for each: the predictions, and all columns of its last
    frame. `images` uint8 (N, S, S, 3) are all frames of the store at the model's size.
    """

    run: Run
    model: PainTransformer
    store: FrameStore
    rows: np.ndarray
    samples: pd.DataFrame
    images: np.ndarray

    def frames(self, numbers: np.ndarray | None = None) -> np.ndarray:
        """The frames of samples, uint8 (B, F, S, S, 3); None means all."""
        return self.images[self.rows if numbers is None else self.rows[numbers]]

    def only(self, numbers: np.ndarray) -> "Explained":
        """The same with these samples alone, numbered anew."""
        samples = self.samples.iloc[numbers].reset_index(drop=True)
        return replace(self, rows=self.rows[numbers], samples=samples)

    def some(self, at_most: int, labels: Sequence[bool] = (True,)) -> "Explained":
        """The same with `evenly_chosen` samples alone: neighbouring ones are alike."""
        return self.only(evenly_chosen(self.samples, at_most, labels))


def explain(run: Run, store: FrameStore, results: str | Path | None = None) -> Explained:
    """A run whose weights were kept, opened with the store it was trained on.

    `results` is where images at the model's size are kept. Raises TrainingError where weights are
    missing, ExplanationError for another store or one of smaller images than the model takes.
    """
    if store.fingerprint != run.rests_on["store"]:
        raise ExplanationError(
            f"{run.folder} was trained on another store than {store.folder}. Open that one."
        )
    model = trained_model(run)
    side = store.images.shape[1]
    if side < model.image_size:
        raise ExplanationError(
            f"{store.folder} holds images of {side} px, this model takes {model.image_size}. "
            "Register the corpus at that size or larger."
        )
    cache = Path(results or ROOT / "results") / "cache"
    rows, images = _rows(run, store), images_at(store, model.image_size, cache)
    last = store.frames.iloc[rows[:, -1]].reset_index(drop=True)
    added = run.predictions[["fold", "probability", "corrected"]].reset_index(drop=True)
    return Explained(run, model, store, rows, pd.concat([last, added], axis=1), images)


def _rows(run: Run, store: FrameStore) -> np.ndarray:
    """The store's rows of each test sample: those that end at the frames of the predictions."""
    config = run.configuration
    every = samples.sample_rows(store.frames, store.usable, config.model, config.clip_stride)
    ends = pd.MultiIndex.from_frame(store.frames.iloc[every[:, -1]][KEYS])
    places = ends.get_indexer(pd.MultiIndex.from_frame(run.predictions[KEYS]))
    if (places < 0).any():
        why = f"predicts frames that end no sample of {store.folder}"
        raise ExplanationError(f"{run.folder} {why}. Delete the run and train again.")
    return every[places]


def explain_all(
    runs: Iterable[Run], store: FrameStore, results: str | Path | None = None
) -> list[Explained]:
    """`explain` each run."""
    return [explain(run, store, results) for run in runs]


def untrained(explained: Explained, random: bool) -> Explained:
    """The same samples with the model before fine-tuning, or with one of random weights.

    The head of both is as at the start of a training.
    """
    seed, backbone = explained.run.rests_on["seed"], explained.run.configuration.backbone
    encoder = backbones.load_encoder(backbone, seed)
    if random:
        encoder = backbones.random_encoder(encoder.config, seed)
    generator = torch.Generator().manual_seed(seed)
    model = PainTransformer(encoder, explained.model.frames, generator)
    return replace(explained, model=model.eval())


def with_controls(
    trained: Sequence[Explained], shuffled: Sequence[Explained] = ()
) -> dict[str, list[Explained]]:
    """The models that attention is compared between, by name, a list of folds each."""
    models = {TRAINED: list(trained)} | ({SHUFFLED: list(shuffled)} if shuffled else {})
    models[PRETRAINED] = [untrained(one, random=False) for one in trained]
    models[RANDOM_WEIGHTS] = [untrained(one, random=True) for one in trained]
    return models


def evenly_chosen(
    samples: pd.DataFrame, at_most: int, labels: Sequence[bool] = (True,)
) -> np.ndarray:
    """Of each subject and label at most so many samples, evenly spaced in order.

    `samples` has a row for each test sample, in order of time, with `subject` and `pain`, of which
    `labels` are taken; of a subject's n samples of a label, the (i + 1/2) n / k-th for i below
    k = min(n, `at_most`). Sorted int64 (K,); nothing is random.
    """
    chosen = []
    table = samples.reset_index(drop=True)
    for _, own in table[table["pain"].isin(labels)].groupby(["subject", "pain"]):
        count = min(len(own), at_most)
        chosen.extend(own.index[((np.arange(count) + 0.5) * len(own) / count).astype(int)])
    return np.sort(np.array(chosen, np.int64))


def samples_of(folds: Sequence[Explained]) -> pd.DataFrame:
    """`Explained.samples` of all folds."""
    return pd.concat([one.samples for one in folds], ignore_index=True)


def outcomes(samples: pd.DataFrame) -> np.ndarray:
    """Of each sample, by its `pain` and `probability`, one of `OUTCOMES`."""
    called, pain = called_pain(samples["probability"]), samples["pain"].astype(bool)
    return np.select([pain & called, pain & ~called, ~pain & called], OUTCOMES[:3], OUTCOMES[3])


def probabilities(model: PainTransformer, frames: np.ndarray, batch: int = TOGETHER) -> np.ndarray:
    """The probability of pain, float32 (M,), of samples uint8 (M, F, S, S, 3).

    The model is put into evaluation mode and stays in it.
    """
    model.eval()
    device = next(model.parameters()).device
    found = [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(frames), batch):
            part = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch]))
            logits = model(model.pixels(part.to(device)))
            found.append(logits.float().softmax(-1)[:, 1].cpu().numpy())
    return np.concatenate(found)
