"""The steps of one training: batches read ahead, soft labels, Adam or SAM around it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.functional import cross_entropy

from paincore.training.configuration import ADAM, BATCH, SAM_RHO
from paincore.training.feed import Batch, Feed, autocast
from paincore.training.samples import Draws
from paincore.training.task import Samples, Task, TrainingError
from paincore.training.vit import PainTransformer

CHECKED = 16  # steps between looks at the loss, since each look waits for a GPU


def optimise(
    task: Task,
    model: PainTransformer,
    feed: Feed,
    samples: Samples,
    draws: Draws,
    show_progress: bool,
) -> pd.DataFrame:
    """Train on `draws`, which count in `samples.train`, in batches of 16, the last one smaller.

    Returns the history: step from 1 on, loss, accuracy of the step's batch. Raises TrainingError
    where the loss is not finite. The paper's section 3.3; used by `paincore.training.train`.
    """
    pain = samples.labels
    targets = draws.weight * pain[draws.first] + (1 - draws.weight) * pain[draws.second]
    targets = torch.from_numpy(targets.astype(np.float32)).to(task.device)
    step = stepper(task, model)
    losses, right = [], []
    model.train()
    with _progress(len(targets), show_progress) as advance:
        for start, batch in _read_ahead(feed, samples.train, draws, task.device):
            target = targets[start : start + BATCH]
            loss, logits = step(lambda b=batch: feed.logits(b), target)
            losses.append(loss.detach())
            right.append(((logits[:, 1] > logits[:, 0]) == (target > 0.5)).float().mean())
            if len(losses) % CHECKED == 0:
                _check_finite(losses, task)
            advance(len(target))
    _check_finite(losses, task)
    loss, accuracy = (torch.stack(column).cpu().numpy() for column in (losses, right))
    return pd.DataFrame({"step": np.arange(1, len(loss) + 1), "loss": loss, "accuracy": accuracy})


def stepper(task: Task, model: PainTransformer) -> Callable:
    """A function that makes one step of the optimiser on what trains in `model`.

    It takes a function of no arguments that gives logits (B, 2), and targets float32 (B,), the
    share of pain in each sample; it returns the loss and the logits before the step. Adam, or SAM
    around it (Foret et al. 2021), which asks for the logits twice. Used by `optimise`.
    """
    config = task.configuration
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = {**ADAM, "lr": config.learning_rate, "fused": True}
    if config.sam:
        from pytorch_optimizer import SAM  # two seconds to import: only where it is used

        optimizer = SAM(trained, torch.optim.Adam, rho=SAM_RHO, **settings)
    else:
        optimizer = torch.optim.Adam(trained, **settings)

    def step(forward: Callable, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def differentiate() -> tuple[torch.Tensor, torch.Tensor]:
            optimizer.zero_grad()
            with autocast(task.device, config.precision):
                logits = forward()
            loss = cross_entropy(logits.float(), torch.stack([1 - target, target], 1))
            loss.backward()
            return loss, logits

        loss, logits = differentiate()
        optimizer.step(*[differentiate] if config.sam else [])
        return loss, logits

    return step


def _read_ahead(
    feed: Feed, train: np.ndarray, draws: Draws, device: torch.device
) -> Iterator[tuple[int, Batch]]:
    """Each batch's first draw and what it needs, read in a thread while the one before is used."""

    def read(start: int) -> Batch:
        part = slice(start, start + BATCH)
        first, second = train[draws.first[part]], train[draws.second[part]]
        return feed.read(first, second, draws.weight[part]).to(device)

    count = len(draws.first)
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, 0)
        for start in range(0, count, BATCH):
            batch = ahead.result()
            if start + BATCH < count:
                ahead = reader.submit(read, start + BATCH)
            yield start, batch


def _check_finite(losses: list[torch.Tensor], task: Task) -> None:
    """Look at the latest losses. Raises TrainingError naming the first that is not finite."""
    first = max(len(losses) - CHECKED, 0)
    values = torch.stack(losses[first:]).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return
    step = first + bad[0] + 1
    last = f"{float(losses[step - 2]):.4g}" if step > 1 else "none"
    raise TrainingError(
        f"{task.configuration.title}, fold {task.fold.number}: the loss is {values[bad[0]]} at "
        f"step {step} with learning rate {task.configuration.learning_rate:g}; the last finite "
        f"loss was {last}. Take a lower learning rate."
    )


@contextmanager
def _progress(count: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A function that counts samples, with a bar that shows their rate."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} samples/s"),
        TimeRemainingColumn(),
    )
    started, done = time.monotonic(), 0
    with Progress(*columns, disable=not show) as progress:
        bar = progress.add_task("Training", total=count, rate=0.0)

        def advance(samples: int) -> None:
            nonlocal done
            done += samples
            progress.update(bar, advance=samples, rate=done / (time.monotonic() - started))

        yield advance
