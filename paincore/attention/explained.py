"""A trained model together with the samples that it was tested on, and models to compare it with.

Samples are numbered as the rows of the run's predictions. A run's model is only asked about people
whom it has never seen. Functions that take `folds` take the models of one configuration's folds;
their samples then follow one another, those of the first fold first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy.special import expit

from paincore import PaincoreError
from paincore.data.frames import KEYS
from paincore.registration.frame_store import FrameStore
from paincore.statistics.scores import called_pain
from paincore.training import backbones
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

    def frames(self, numbers: Sequence[int] | None = None) -> np.ndarray:
        """The frames of samples, uint8 (B, F, S, S, 3); None means all."""
        return self.images[self.rows if numbers is None else self.rows[numbers]]

    def only(self, numbers: np.ndarray) -> "Explained":
        """The same with these samples alone, numbered anew."""
        samples = self.samples.iloc[numbers].reset_index(drop=True)
        return replace(self, rows=self.rows[numbers], samples=samples)

    def some(self, at_most: int, labels: Sequence[bool] = (True,)) -> "Explained":
        """The same with at most so many samples of each subject and label, evenly spaced in time.

        `labels` are the values of `pain` that are taken. Of a subject's n samples of a label these
        are the (i + 1/2) n / k-th for i below k = min(n, `at_most`): neighbouring ones are alike,
        and nothing is random.
        """
        asked, chosen = self.samples[self.samples["pain"].isin(labels)], []
        for _, own in asked.groupby(["subject", "pain"]):
            count = min(len(own), at_most)
            chosen.extend(own.index[((np.arange(count) + 0.5) * len(own) / count).astype(int)])
        return self.only(np.sort(np.array(chosen, np.int64)))


def explain(run: Run, store: FrameStore) -> Explained:
    """A run, opened with the store it was trained on; its model is where the run was trained, if
    this machine has a GPU too.

    Raises TrainingError where weights are damaged, ExplanationError for another store.
    """
    if store.fingerprint != run.rests_on["store"]:
        raise ExplanationError(f"{run.folder} was not trained on {store.folder}. Open its store.")
    on_gpu = run.rests_on["device"] == "cuda" and torch.cuda.is_available()
    model, cache = trained_model(run), run.folder.parents[1] / "cache"
    model = model.to("cuda" if on_gpu else "cpu")
    predicted = run.predictions[[*KEYS, "fold", "probability", "corrected"]]
    samples = predicted.merge(store.frames.assign(last=range(len(store.frames))), "left", KEYS)
    rows = samples.pop("last").to_numpy()[:, None] + np.arange(1 - model.frames, 1)
    return Explained(run, model, store, rows, samples, images_at(store, model.image_size, cache))


def untrained(explained: Explained, random: bool) -> Explained:
    """The same samples with the model before fine-tuning, or with one of random weights.

    The head of both is as at the start of a training.
    """
    seed, backbone = explained.run.rests_on["seed"], explained.run.configuration.backbone
    encoder = backbones.load_encoder(backbone, seed)
    if random:
        encoder = backbones.random_encoder(encoder.config, seed)
    head = torch.Generator().manual_seed(seed)
    model = PainTransformer(encoder, explained.model.frames, head)
    return replace(explained, model=model.to(explained.model.head.weight.device).eval())


def with_controls(trained: list[Explained], shuffled=()) -> dict[str, list[Explained]]:
    """The models that attention is compared between, by name, a list of folds each."""
    models = {TRAINED: trained} | ({SHUFFLED: shuffled} if shuffled else {})
    models[PRETRAINED] = [untrained(one, random=False) for one in trained]
    models[RANDOM_WEIGHTS] = [untrained(one, random=True) for one in trained]
    return models


def samples_of(folds: Sequence[Explained]) -> pd.DataFrame:
    """`Explained.samples` of all folds."""
    return pd.concat([one.samples for one in folds], ignore_index=True)


def outcomes(samples: pd.DataFrame) -> np.ndarray:
    """Of each sample, by its `pain` and `probability`, one of `OUTCOMES`."""
    called, pain = called_pain(samples["probability"]), samples["pain"].astype(bool)
    return np.select([pain & called, pain & ~called, ~pain & called], OUTCOMES[:3], OUTCOMES[3])


def pixels_of(model: PainTransformer, frames: np.ndarray, together: int) -> Iterator[torch.Tensor]:
    """The model's images (B, 3, H, W) of samples uint8 (M, F, S, S, 3), so many at once."""
    for start in range(0, len(frames), together):
        part = torch.from_numpy(frames[start : start + together])
        yield model.pixels(part.to(model.head.weight.device))


@torch.inference_mode()
def log_odds(model: PainTransformer, frames: np.ndarray) -> np.ndarray:
    """The log-odds of pain, float32 (M,), of samples uint8 (M, F, S, S, 3).

    The model is put into evaluation mode and stays in it.
    """
    model.eval()
    logits = [np.zeros((0, 2), np.float32)]  # there may be no sample
    logits += [model(pixels).float().cpu().numpy() for pixels in pixels_of(model, frames, TOGETHER)]
    return np.diff(np.concatenate(logits))[:, 0]


def probabilities(model: PainTransformer, frames: np.ndarray) -> np.ndarray:
    """The probability of pain, float32 (M,), of samples as for `log_odds`."""
    return expit(log_odds(model, frames))
