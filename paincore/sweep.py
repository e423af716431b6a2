"""Many trainings at once, on the workers of `paincore.cluster`."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rich.progress import Progress

from paincore.cluster import connect, run
from paincore.configuration import Configuration
from paincore.folds import Fold
from paincore.framestore import FrameStore, open_store
from paincore.manifest import ROOT
from paincore.runs import Run, open_run, runs_folder
from paincore.task import Task, TrainingError
from paincore.training import best_device, train_fold


@dataclass(frozen=True)
class Job:
    """One training as it goes to a worker, which opens the store by itself."""

    store: Path
    fingerprint: str
    configuration: Configuration
    fold: Fold
    seed: int
    results: Path
    device: str
    keep_weights: bool


def train_folds(
    store: FrameStore,
    configurations: Iterable[Configuration],
    folds: Sequence[Fold],
    seeds: int = 1,
    results: str | Path | None = None,
    device: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    keep_weights: bool = False,
) -> list[Run]:
    """Runs of every configuration on every fold with seeds 0 to `seeds` - 1, in that order.

    What has been trained before is opened; the rest is trained on the workers of
    `paincore.cluster.connect`, to which `scheduler` and `workers` go. `device` None is decided
    here, for all workers. Raises what `train_fold` raises. Used by chapters 03 and 04.
    """
    target = best_device(device)
    results = Path(results or ROOT / "results").resolve()
    folders, jobs = [], {}
    for configuration in configurations:
        for seed in range(seeds):
            for fold in folds:
                task = Task(store, configuration, fold, seed, target)
                folders.append(runs_folder(results) / task.key)
                jobs[folders[-1]] = Job(
                    store.folder.resolve(),
                    store.fingerprint,
                    configuration,
                    fold,
                    seed,
                    results,
                    str(target),
                    keep_weights,
                )
    _train_missing(jobs, scheduler, workers)
    return [open_run(folder) for folder in folders]


def _train_missing(jobs: dict[Path, Job], scheduler: str | None, workers: int | None) -> None:
    """Train the jobs whose folder holds no run yet, with a progress bar in runs."""
    left = {
        f"{job.configuration.title}, {job.fold.design} fold {job.fold.number} ({folder.name})": job
        for folder, job in jobs.items()
        if not _is_done(folder, job.keep_weights)
    }
    if not left:
        return
    count = min(workers or os.cpu_count(), len(left)) if scheduler is None else workers
    with connect(scheduler, count) as client, Progress() as progress:
        bar = progress.add_task("Training", total=len(left))
        for _ in run(client, train_on_worker, left.items()):
            progress.advance(bar)


def _is_done(folder: Path, with_weights: bool) -> bool:
    return folder.exists() and (not with_weights or open_run(folder).weights is not None)


def train_on_worker(job: Job) -> None:
    """What a worker does for `train_folds`. Raises TrainingError if its files are others."""
    store = _opened(job.store)
    if store.fingerprint != job.fingerprint:
        raise TrainingError(
            f"{job.store} is another store on this worker than where the training was asked for. "
            "Give all workers the same files."
        )
    train_fold(
        store,
        job.configuration,
        job.fold,
        job.seed,
        job.results,
        job.device,
        job.keep_weights,
        show_progress=False,
    )


@lru_cache(maxsize=4)
def _opened(folder: Path) -> FrameStore:
    return open_store(folder)
