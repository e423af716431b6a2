"""Train one configuration on one fold and test it, as the paper does (sections 3.3 and 4).

On a CPU a run uses one thread, whatever the machine has, so that a fold alone equals the same fold
in a sweep to the bit. What is trained on and tested on is checked for leaks before every training.
"""

import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from paincore.folds.designs import Fold
from paincore.manifest import ROOT
from paincore.profiles import check_device
from paincore.registration.frame_store import FrameStore
from paincore.statistics import scores as metrics
from paincore.training import samples as sampling
from paincore.training import vit
from paincore.training.backbones import backbone_digest, load_encoder
from paincore.training.configuration import ADAM, BATCH_SIZE, SAM_RHO, Configuration
from paincore.training.feed import Batch, Feed, images_at, keep_states
from paincore.training.gpu import arithmetic, computing, graphed_steps
from paincore.training.runs import Run, open_run, runs_folder, write_run
from paincore.training.samples import CLIP_LENGTH, FoldSamples, Task, TrainingError, TrainingOrder
from paincore.training.vit import PainTransformer

TEST_BATCH = {"cpu": 32, "cuda": 256}  # fixed, since a batch's size moves the last bits
CHECKED = 16  # steps between looks at the loss, since each look waits for a GPU


def train_fold(
    store: FrameStore,
    configuration: Configuration,
    fold: Fold,
    seed: int = 0,
    results: str | Path | None = None,
    device: str | None = None,
    show_progress: bool = True,
    deterministic: bool = False,
) -> Run:
    """Train one configuration on one fold and test it; a finished run is opened instead.

    `device` None means the GPU where there is one; `deterministic` asks a GPU for algorithms that
    give the same bits each time. Raises LeakageError, TrainingError (a fold that does not fit the
    store, a loss that is not finite), BackboneError, RunError and FileError, each with what to do.
    """
    task = Task(store, configuration, fold, seed, best_device(device))
    results = Path(results or ROOT / "results")
    return train_task(task, results, show_progress, deterministic)


def train_task(task: Task, results: Path, show_progress: bool, deterministic: bool) -> Run:
    """`train_fold` of a task."""
    folder = runs_folder(results) / task.key
    if folder.exists():
        return open_run(folder)
    with computing(task.device, deterministic):
        return _train(task, folder, results / "cache", show_progress)


def _train(task: Task, folder: Path, cache: Path, show_progress: bool) -> Run:
    clock = [time.time()]
    samples, model = sampling.fold_samples(task), build_model(task)
    feed = feed_of(task, model, samples, cache)
    before = _trained(model)
    clock.append(time.time())
    order = sampling.training_order(task, samples)
    history = optimise(task, feed, samples, order, show_progress)
    clock.append(time.time())
    tested = task.store.frames.iloc[samples.rows[samples.test, -1]]
    prevalence = float(samples.pain[samples.train].mean())
    probability = pain_probabilities(task, feed, samples.test)
    predictions = predictions_table(tested, task.fold, probability, prevalence)
    clock.append(time.time())
    after = _trained(model)
    scores = metrics.score(predictions["pain"], predictions["probability"]) | {
        "train_samples": len(samples.train),
        "mixed": int((order.weight < 1).sum()),
        "mixed_left_out": order.left_out,
        "steps": len(history),
        "weight_change": _change(before, after),
    }
    run = Run(folder, task.configuration, task.rests_on, scores, _environment(task, clock))
    return write_run(run, predictions, history, after)


def build_model(task: Task) -> PainTransformer:
    """The model of a task before its training, frozen as configured, on the task's device.

    Raises BackboneError, and TrainingError if the store's images are too small for it.
    """
    model = _frozen_model(task.configuration, task.seed, task.torch_generator("model"))
    side, least = task.store.images.shape[1], model.image_size
    if side < least:
        raise TrainingError(
            f"{task.store.folder} holds images of {side} px, {task.configuration.backbone} takes "
            f"{least}. Register the corpus at that size."
        )
    return model.to(task.device)


def _frozen_model(config: Configuration, seed: int, generator: torch.Generator) -> PainTransformer:
    encoder = load_encoder(config.backbone, seed)
    model = PainTransformer(encoder, CLIP_LENGTH[config.model], generator)
    vit.freeze(model, config.unfrozen_layers, config.rules.freezing)
    return model


def feed_of(task: Task, model: PainTransformer, samples: FoldSamples, cache: Path) -> Feed:
    """What feeds a model with the samples of a fold; kept states are for a CPU alone.

    A GPU computes frozen states sooner than a disk is read.
    """
    images, depth = images_at(task.store, model.image_size, cache), vit.frozen_depth(model)
    feed = Feed(model, images, samples.rows, depth, task.configuration.precision)
    if task.device.type == "cpu":
        feed.kept = keep_states(feed, task.store, task.rests_on["backbone"], cache)
    return feed


def optimise(
    task: Task, feed: Feed, samples: FoldSamples, order: TrainingOrder, show_progress: bool
) -> pd.DataFrame:
    """Train in batches of 16, the last one smaller, on samples in their order.

    Returns the history: step from 1 on, loss, accuracy of the step's batch. Raises TrainingError
    where the loss is not finite. Source: section 3.3 of the paper.
    """
    pain = samples.labels
    targets = order.weight * pain[order.first] + (1 - order.weight) * pain[order.second]
    targets = torch.from_numpy(targets.astype(np.float32)).to(task.device).split(BATCH_SIZE)
    optimizer = optimizer_of(task.configuration, feed.model)
    losses, right = [], []
    feed.model.train()
    on_gpu = task.device.type == "cuda"
    graphs = graphed_steps(feed.model, feed.depth, feed.precision) if on_gpu else nullcontext()
    batches = zip(_read_ahead(feed, samples.train, order, task.device), targets, strict=True)
    with graphs:
        for batch, target in tqdm(batches, "Training", len(targets), disable=not show_progress):
            loss, logits = training_step(partial(feed.logits, batch), target, optimizer)
            losses.append(loss.detach())
            right.append(((logits[:, 1] > logits[:, 0]) == (target > 0.5)).float().mean())
            step = len(losses)
            # A loss that is not finite stays so: the weights are not finite either.
            if (step % CHECKED == 0 or step == len(targets)) and not losses[-1].isfinite():
                raise TrainingError(
                    f"{task.title}: the loss is {losses[-1]:g} at step {step}. Take a lower "
                    f"learning rate than {task.configuration.learning_rate:g}."
                )
    loss, accuracy = (torch.stack(column).cpu().numpy() for column in (losses, right))
    return pd.DataFrame({"step": np.arange(1, len(loss) + 1), "loss": loss, "accuracy": accuracy})


def optimizer_of(config: Configuration, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Adam on what trains in `model`, or SAM around it (Foret et al. 2021)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = {**ADAM, "lr": config.learning_rate, "fused": True}
    if not config.sam:
        return torch.optim.Adam(trained, **settings)
    from pytorch_optimizer import SAM  # two seconds to import: only where it is used

    return SAM(trained, torch.optim.Adam, rho=SAM_RHO, **settings)


def training_step(
    forward: Callable[[], torch.Tensor], target: torch.Tensor, optimizer: torch.optim.Optimizer
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of the optimiser; returns the loss, and the logits before the step.

    `forward` gives logits (B, 2); `target` float32 (B,) is the proportion of pain in each sample,
    which Mixup blends. SAM asks for loss and gradients a second time, at weights that it has moved.
    """

    def differentiate() -> tuple[torch.Tensor, torch.Tensor]:
        optimizer.zero_grad()
        logits = forward()
        loss = cross_entropy(logits.float(), torch.stack([1 - target, target], 1))
        loss.backward()
        return loss, logits

    loss, logits = differentiate()
    if isinstance(optimizer, torch.optim.Adam):
        optimizer.step()
    else:
        optimizer.step(differentiate)
    return loss, logits


def _read_ahead(
    feed: Feed, train: np.ndarray, order: TrainingOrder, device: torch.device
) -> Iterator[Batch]:
    """What each batch needs, read in a thread while the model trains on the one before."""

    def read(start: int) -> Batch:
        part = slice(start, start + BATCH_SIZE)
        first, second = train[order.first[part]], train[order.second[part]]
        return feed.read(first, second, order.weight[part]).to(device)

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, 0)
        for start in range(BATCH_SIZE, len(order.first), BATCH_SIZE):
            batch, ahead = ahead.result(), reader.submit(read, start)
            yield batch
        yield ahead.result()


def pain_probabilities(task: Task, feed: Feed, samples: np.ndarray) -> np.ndarray:
    """Probability of pain for each of the samples of `feed` with these numbers, float32 (n,).

    Dropout is live where the protocol says so.
    """
    feed.model.train(task.configuration.rules.dropout_at_test)
    size, found = TEST_BATCH[task.device.type], []
    with torch.inference_mode():
        for start in range(0, len(samples), size):
            batch = feed.read(samples[start : start + size]).to(task.device)
            found.append(feed.logits(batch).float().softmax(1)[:, 1].cpu())
    return torch.cat(found).numpy()


def predictions_table(
    tested: pd.DataFrame, fold: Fold, probability: np.ndarray, prevalence: float
) -> pd.DataFrame:
    """The table of `paincore.statistics.scores`: a row for each of the frames `tested`.

    `prevalence` is the proportion of pain among the training samples.
    """
    columns = {
        "fold": fold.number,
        "pain": tested["pain"].astype(bool),
        "probability": probability,
        "corrected": metrics.prior_corrected(probability, prevalence),
    }
    return tested.assign(**columns)[list(metrics.PREDICTIONS)].reset_index(drop=True)


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
    """The model of a run, on the CPU in evaluation mode.

    All its parameters take gradients. Raises TrainingError if the weights were trained on another
    backbone, are damaged, or are not the tensors that this configuration trains.
    """
    config, seed = run.configuration, run.rests_on["seed"]
    if backbone_digest(config.backbone, seed) != run.rests_on["backbone"]:
        raise TrainingError(f"{run.folder} was trained on another {config.backbone}. Train again.")
    model = _frozen_model(config, seed, torch.Generator())
    wanted = {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
    try:
        found = load_file(run.weights)
        if {name: tensor.shape for name, tensor in found.items()} != wanted:
            raise ValueError(f"not the tensors that {config.title} trains")
    except (OSError, SafetensorError, ValueError) as fault:
        raise TrainingError(f"{run.weights} is damaged ({fault}). Delete {run.folder}.") from fault
    model.load_state_dict(found, strict=False)
    return model.requires_grad_(True).eval()


def best_device(name: str | None) -> torch.device:
    """The device of this name; None means the GPU where there is one.

    Raises PaincoreError for another name, TrainingError for a GPU that is not there.
    """
    check_device(name)
    if name and name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(f"no GPU for device {name!r} on this machine. Use cpu.")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _environment(task: Task, clock: list[float]) -> dict:
    """What a run was made with, and how long its parts took in seconds."""
    on_gpu = task.device.type == "cuda"
    prepare, train, test = np.diff(clock)
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(task.device) if on_gpu else "cpu",
        "arithmetic": arithmetic(task.device, task.configuration.precision),
        "deterministic": not on_gpu or torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "corpus": task.corpus,
        "started": clock[0],
        "prepare_seconds": prepare,
        "train_seconds": train,
        "test_seconds": test,
    }
