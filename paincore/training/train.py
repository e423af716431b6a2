"""Train one configuration on one fold and test it, as the paper does (sections 3.3 and 4).

On a CPU a run uses one thread, whatever the machine has, so that a fold alone equals the same fold
in a sweep to the bit. What is trained on and tested on is checked for leaks before every training.
"""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file

from paincore import __version__
from paincore.data.frames import KEYS
from paincore.folds.designs import Fold
from paincore.manifest import ROOT
from paincore.profiles import check_device
from paincore.registration.store import FrameStore
from paincore.statistics import scores as metrics
from paincore.training import backbones as encoders
from paincore.training import samples as sampling
from paincore.training import vit
from paincore.training.configuration import EPOCHS, MIXUP_SHARE, Configuration
from paincore.training.feed import Feed, autocast, keep_states, pictures_at
from paincore.training.optimisation import optimise
from paincore.training.runs import HISTORY, PREDICTIONS, Run, open_run, runs_folder, write_run
from paincore.training.task import Samples, Task, TrainingError, select
from paincore.training.vit import PainTransformer

TEST_BATCH = {"cpu": 32, "cuda": 256}  # fixed, since a batch's size moves the last bits


def train_fold(
    store: FrameStore,
    configuration: Configuration,
    fold: Fold,
    seed: int = 0,
    results: str | Path | None = None,
    device: str | None = None,
    keep_weights: bool = False,
    show_progress: bool = True,
) -> Run:
    """Train one configuration on one fold and test it; a finished run is opened instead.

    `device` None means the GPU where there is one; `keep_weights` stores the trained tensors too.
    Raises LeakageError, TrainingError (a fold that does not fit the store, a loss that is not
    finite), BackboneError, ModelError and RunError, each with what to do. Used by chapter 04.
    """
    task = Task(store, configuration, fold, seed, best_device(device))
    folder = runs_folder(results) / task.key
    if folder.exists():
        run = open_run(folder)
        if run.weights or not keep_weights:
            return run
    cache = Path(results or ROOT / "results") / "cache"
    with _one_thread(task.device):
        return _train(task, folder, cache, keep_weights, show_progress)


def _train(task: Task, folder: Path, cache: Path, keep_weights: bool, show_progress: bool) -> Run:
    clock = [time.time()]
    samples = select(task)
    model, feed = _model(task, samples, cache)
    before = _trained(model)
    clock.append(time.time())
    draws = _draws(task, samples)
    history = optimise(task, model, feed, samples, draws, show_progress)
    clock.append(time.time())
    predictions = _predictions(task, samples, probabilities(task, model, feed, samples.test))
    clock.append(time.time())
    scores = metrics.score(predictions["pain"], predictions["probability"]) | {
        "train_samples": len(samples.train),
        "train_pain_share": float(samples.pain[samples.train].mean()),
        "samples_left_out": samples.left_out,
        "mixed": int((draws.weight < 1).sum()),
        "mixed_left_out": draws.left_out,
        "steps": len(history),
        "weight_change": _change(before, _trained(model)),
    }
    return write_run(
        folder,
        task.configuration,
        task.rests_on,
        scores,
        _environment(task, clock, len(draws.first)),
        {PREDICTIONS: predictions, HISTORY: history},
        _trained(model) if keep_weights else None,
    )


def _model(task: Task, samples: Samples, cache: Path) -> tuple[PainTransformer, Feed]:
    """The model, frozen as configured, and what feeds it with the fold's samples."""
    config, store = task.configuration, task.store
    encoder = encoders.load_encoder(config.backbone, task.seed)
    model = PainTransformer(encoder, samples.rows.shape[1], task.torch_generator("model"))
    vit.freeze(model, config.unfrozen_layers, config.rules.freezing)
    model.to(task.device)
    if task.device.type == "cuda":
        model.cls = torch.compile(model.cls)
    if store.images.shape[1] < model.image_size:
        raise TrainingError(
            f"{store.folder} holds pictures of {store.images.shape[1]} px, {config.backbone} takes "
            f"{model.image_size}. Register the corpus at that size."
        )
    pictures = pictures_at(store, model.image_size, cache)
    feed = Feed(model, pictures, samples.rows, vit.frozen_depth(model), config.precision)
    feed.kept = keep_states(feed, store, task.backbone, config.precision, task.device, cache)
    return model, feed


def _draws(task: Task, samples: Samples) -> sampling.Draws:
    """The training's samples in their order; they count in `samples.train`."""
    config = task.configuration
    draws = np.concatenate(
        [
            sampling.balanced_draws(samples.labels, task.generator(f"draws {epoch}"))
            for epoch in range(EPOCHS)
        ]
    )
    if config.mixup_alpha is None:
        return sampling.Draws.unmixed(draws)
    subjects = task.store.frames["subject"].to_numpy()[samples.rows[samples.train, -1]]
    rng, rows = task.generator("mixup"), config.rules.mixup_rows
    return sampling.mix(draws, samples.labels, subjects, config.mixup_alpha, rng, rows, MIXUP_SHARE)


def probabilities(
    task: Task, model: PainTransformer, feed: Feed, samples: np.ndarray
) -> np.ndarray:
    """Probability of pain for each of the samples of `feed` with these numbers, float32 (n,).

    Dropout is live where the protocol says so. Used by `train_fold`.
    """
    model.train(task.configuration.rules.dropout_at_test)
    size, found = TEST_BATCH[task.device.type], []
    with torch.inference_mode(), autocast(task.device, task.configuration.precision):
        for start in range(0, len(samples), size):
            batch = feed.read(samples[start : start + size]).to(task.device)
            found.append(feed.logits(batch).float().softmax(1)[:, 1].cpu())
    return torch.cat(found).numpy()


def _predictions(task: Task, samples: Samples, probability: np.ndarray) -> pd.DataFrame:
    """The table of `paincore.statistics.scores`, a row for each test sample, named by its last
    frame."""
    frames = task.store.frames.iloc[samples.rows[samples.test, -1]]
    prevalence = float(samples.pain[samples.train].mean())
    return (
        frames[KEYS]
        .assign(
            fold=task.fold.number,
            pain=samples.pain[samples.test],
            probability=probability,
            corrected=metrics.prior_corrected(probability, prevalence),
        )
        .reset_index(drop=True)
    )


def _trained(model: PainTransformer) -> dict[str, torch.Tensor]:
    """Copies of the trained tensors by name, on the CPU."""
    named = model.named_parameters()
    return {name: p.detach().cpu().clone() for name, p in named if p.requires_grad}


def _change(before: dict, after: dict) -> float:
    """How far the encoder's trained weights moved: the norm of the change over their norm."""
    names = [name for name in before if name.startswith("encoder.")]
    moved = sum(float((after[name] - before[name]).square().sum()) for name in names)
    return (moved / sum(float(before[name].square().sum()) for name in names)) ** 0.5


def trained_model(run: Run) -> PainTransformer:
    """The model of a run whose weights were kept, on the CPU in evaluation mode.

    Raises TrainingError if they were not, were trained on another backbone, are damaged, or are not
    the tensors that this configuration trains, all of them and no others.
    """
    config = run.configuration
    if run.weights is None:
        raise TrainingError(f"{run.folder} has no weights. Train it again with keep_weights=True.")
    seed = run.rests_on["seed"]
    if encoders.fingerprint(config.backbone, seed) != run.rests_on["backbone"]:
        raise TrainingError(f"{run.folder} was trained on another {config.backbone}. Train again.")
    encoder = encoders.load_encoder(config.backbone, seed)
    model = PainTransformer(encoder, sampling.CLIP[config.model], torch.Generator())
    _load_trained(model, run)
    return model.eval()


def _load_trained(model: PainTransformer, run: Run) -> None:
    """Put a run's weights in their places. Raises TrainingError unless each fits and none is left.

    All parameters of the model take gradients afterwards, as before.
    """
    vit.freeze(model, run.configuration.unfrozen_layers, run.configuration.rules.freezing)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    model.requires_grad_(True)
    try:
        found = load_file(run.weights)
    except (OSError, SafetensorError) as fault:
        raise TrainingError(f"{run.weights} is damaged ({fault}). Delete {run.folder}.") from fault
    wrong = found.keys() ^ trained.keys()
    wrong |= {name for name in found.keys() & trained if found[name].shape != trained[name].shape}
    if wrong:
        raise TrainingError(
            f"{run.weights} does not hold what {run.configuration.title} trains: {min(wrong)} "
            f"({len(wrong)} in all) is missing, too much or of another size. Delete {run.folder} "
            "and train again."
        )
    model.load_state_dict(found, strict=False)


def best_device(name: str | None) -> torch.device:
    """The device of this name; None means the GPU where there is one.

    Raises PaincoreError for another name, TrainingError for a GPU that is not there.
    """
    check_device(name)
    if name and name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(f"no GPU for device {name!r} on this machine. Use cpu.")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """One thread for PyTorch on a CPU, and after that as many as before."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _environment(task: Task, clock: list[float], draws: int) -> dict:
    """What a run was made with, and how long its parts took in seconds."""
    on_gpu = task.device.type == "cuda"
    prepare, train, test = np.diff(clock)
    return {
        "paincore": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(task.device) if on_gpu else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "process": os.getpid(),
        "started": clock[0],
        "prepare_seconds": prepare,
        "train_seconds": train,
        "test_seconds": test,
        "train_samples_per_second": draws / train,
    }
