"""Many trainings at once, on the workers of `paincore.cluster`."""

import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from dask.distributed import Client
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


class Failure(NamedTuple):
    """A training that failed, with the error's message and its traceback as text."""

    configuration: Configuration
    fold: int
    seed: int
    message: str
    traceback: str


class Sweep:
    """Where runs are trained and kept: workers, connected when first needed, a device, a folder.

    A context manager: leaving it closes the workers. `device` None is decided here, for all
    workers; `scheduler` and `workers` are those of `paincore.cluster.connect`.
    """

    def __init__(
        self,
        results: str | Path | None = None,
        device: str | None = None,
        scheduler: str | None = None,
        workers: int | None = None,
    ):
        self.results = Path(results or ROOT / "results").resolve()
        self.device, self.scheduler, self.workers = best_device(device), scheduler, workers
        self._open = ExitStack()
        self._client: Client | None = None

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *fault: object) -> None:
        self._open.close()

    def client(self) -> Client:
        """The workers, connected to at the first call."""
        if self._client is None:
            self._client = self._open.enter_context(connect(self.scheduler, self.workers))
        return self._client

    def train(
        self,
        store: FrameStore,
        configurations: Iterable[Configuration],
        folds: Sequence[Fold],
        seeds: int = 1,
        keep_weights: bool = False,
    ) -> tuple[dict[Configuration, list[Run]], list[Failure]]:
        """Runs of every configuration on every fold with seeds 0 to `seeds` - 1, and failures.

        The runs of a configuration are ordered by seed and fold, in whatever order they finish.
        What has been trained before is opened; the rest is trained. A training that fails does not
        stop the others: it is among the failures, and its configuration has a run less.
        """
        places: dict[Configuration, list[Path]] = {}
        jobs: dict[Path, Job] = {}
        for configuration in dict.fromkeys(configurations):
            for seed in range(seeds):
                for fold in folds:
                    task = Task(store, configuration, fold, seed, self.device)
                    folder = runs_folder(self.results) / task.key
                    places.setdefault(configuration, []).append(folder)
                    jobs[folder] = Job(
                        store.folder.resolve(),
                        store.fingerprint,
                        configuration,
                        fold,
                        seed,
                        self.results,
                        str(self.device),
                        keep_weights,
                    )
        failures = self._train_missing(jobs)
        runs = {
            configuration: [open_run(folder) for folder in folders if folder.exists()]
            for configuration, folders in places.items()
        }
        return runs, failures

    def _train_missing(self, jobs: dict[Path, Job]) -> list[Failure]:
        """Train the jobs whose folder holds no run yet, with a progress bar in runs."""
        left = {
            f"{job.configuration.title}, {job.fold.design} fold {job.fold.number} "
            f"({folder.name})": job
            for folder, job in jobs.items()
            if not _is_done(folder, job.keep_weights)
        }
        failures: list[Failure] = []
        if not left:
            return failures
        with Progress() as progress:
            bar = progress.add_task("Training", total=len(left))
            for failure in run(self.client(), train_on_worker, left.items()):
                failures += [failure] if failure else []
                progress.advance(bar)
        return failures


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
    """`Sweep.train` in one call: runs in the order of `configurations`, then seeds, then folds.

    Raises TrainingError for the first training that failed, when all others are done. Used by
    chapters 03 and 04.
    """
    configurations = list(configurations)
    with Sweep(results, device, scheduler, workers) as sweep:
        runs, failures = sweep.train(store, configurations, folds, seeds, keep_weights)
    if failures:
        raise TrainingError(failures[0].message)
    return [run for configuration in configurations for run in runs[configuration]]


def _is_done(folder: Path, with_weights: bool) -> bool:
    return folder.exists() and (not with_weights or open_run(folder).weights is not None)


def train_on_worker(job: Job) -> Failure | None:
    """What a worker does for `Sweep.train`: the failure, if the training failed.

    Raises TrainingError if the worker's files are others.
    """
    store = _opened(job.store)
    if store.fingerprint != job.fingerprint:
        raise TrainingError(
            f"{job.store} is another store on this worker than where the training was asked for. "
            "Give all workers the same files."
        )
    try:
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
    except Exception as fault:  # reported with its configuration; the other runs go on
        text = "".join(traceback.format_exception(fault))
        return Failure(job.configuration, job.fold.number, job.seed, str(fault), text)
    return None


@lru_cache(maxsize=4)
def _opened(folder: Path) -> FrameStore:
    return open_store(folder)
