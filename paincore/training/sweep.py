"""Many trainings at once, on the workers of `paincore.cluster`.

A run is written whole or not at all and named by what decides its numbers, so a sweep that was
stopped, by Ctrl-C, a kill or a full disk, goes on where it stood when it is asked for again. The
order in which runs finish decides nothing.
"""

import os
import traceback
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import torch
from dask.distributed import Client, get_worker
from rich.progress import Progress

from paincore import PaincoreError, cluster
from paincore.cluster import GPU, ClusterError
from paincore.files import FileError, writing
from paincore.folds.designs import Fold
from paincore.registration.frame_store import FrameStore
from paincore.training import samples as sampling
from paincore.training.configuration import Configuration
from paincore.training.runs import Run, RunError, open_run, runs_folder
from paincore.training.samples import CLIP_LENGTH, Task, TrainingError
from paincore.training.train import best_device, build_model, train_task


class Failure(NamedTuple):
    """A training that failed, with the error's message and its traceback as text."""

    configuration: Configuration
    fold: int
    seed: int
    message: str
    traceback: str


def failure_of(task: Task, fault: Exception) -> Failure:
    """The failure that an error of a training is."""
    text = "".join(traceback.format_exception(fault))
    return Failure(task.configuration, task.fold.number, task.seed, str(fault), text)


class TrainingJob(NamedTuple):
    """A training as it goes to a worker; `rests_on` is what it rests on here, as it must there."""

    task: Task
    rests_on: dict
    results: Path
    deterministic: bool

    @property
    def name(self) -> str:
        """For errors, and as the name of Dask's task."""
        return f"{self.task.title} ({self.task.key})"

    @property
    def cost(self) -> float:
        """About how long it takes beside others: samples, trained blocks, SAM's second gradient."""
        one = self.task.configuration
        samples = len(self.task.fold.train) * CLIP_LENGTH[one.model] / one.clip_stride
        return samples * (one.unfrozen_layers + 1) * (1 + one.sam)


def train_on_worker(job: TrainingJob) -> tuple[str, Failure | None]:
    """What a worker does for `Sweep.train`: the job's name, and the failure if it failed.

    Raises ClusterError if the worker would train something else, FileError if its disk takes
    nothing more.
    """
    for name, here in job.rests_on.items():
        if (there := job.task.rests_on[name]) != here:
            wrong = f"Worker {get_worker().address}: {name} is {there} there, {here} here"
            raise ClusterError(f"{wrong}. Start all anew with the same environment and files.")
    try:
        train_task(job.task, job.results, False, job.deterministic)
    except FileError:  # no other run could be written either
        raise
    except Exception as fault:  # reported with its configuration; the other runs go on
        return job.name, failure_of(job.task, fault)
    return job.name, None


def check(store: FrameStore, configurations: list[Configuration], folds: list[Fold]) -> None:
    """Raise TrainingError if one of these cannot be trained on one of `folds`.

    Found without training: a backbone, the size of images, folds and samples that do not fit.
    """

    def order(task: Task) -> None:
        sampling.training_order(task, sampling.fold_samples(task))

    sampled = {(one.model, one.clip_stride): one for one in configurations}.values()
    asked = [*product([build_model], configurations, folds[:1]), *product([order], sampled, folds)]
    for ask, one, fold in asked:
        task = Task(store, one, fold, 0, torch.device("cpu"))
        try:
            ask(task)
        except PaincoreError as fault:
            raise TrainingError(f"Nothing was trained. {task.title}: {fault}") from fault


class Sweep:
    """Where runs are trained and kept: workers, connected when first needed, a device, a folder.

    A context manager: leaving it closes the workers; the next training connects anew. `device` is a
    name such as "cuda"; None is decided here, for all workers. `scheduler` and `workers` are those
    of `paincore.cluster.connect`, `deterministic` is that of `train_fold`. On "cuda" a run has a
    GPU to itself: here one worker for each GPU is started, elsewhere workers announce theirs.
    """

    def __init__(
        self,
        results: str | Path,
        device: str | None = None,
        scheduler: str | None = None,
        workers: int | None = None,
        deterministic: bool = False,
    ):
        self.results, self.deterministic = Path(results).resolve(), deterministic
        # Workers elsewhere may have a GPU where this machine has none.
        self.device = torch.device(device) if scheduler and device else best_device(device)
        self.scheduler, self.workers = scheduler, workers
        self._open = ExitStack()
        self._client: Client | None = None

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *fault: object) -> None:
        self._client = None  # connected to anew, should there be more to train
        self._open.close()

    def train(
        self, store: FrameStore, configurations: list, folds: list[Fold], seeds=1
    ) -> tuple[dict[Configuration, list[Run]], list[Failure]]:
        """Runs of every configuration on every fold with seeds 0 to `seeds` - 1, and failures.

        The runs of a configuration are ordered by seed and fold. What has been trained before is
        opened; the rest is trained. A training that fails does not stop the others: it is among
        the failures, and its configuration has one run fewer. Raises TrainingError naming what
        cannot be trained before anything is, FileError if the disk refuses, ClusterError for
        workers that are lost or that would train something else.
        """
        configurations = list(dict.fromkeys(configurations))
        check(store, configurations, folds)
        # A local worker sees the one GPU that is its own, whatever its number is here.
        device = torch.device(self.device.type) if self.scheduler is None else self.device
        jobs: dict[str, TrainingJob] = {}
        for one, seed, fold in product(configurations, range(seeds), folds):
            task = Task(store, one, fold, seed, device)
            job = TrainingJob(task, task.rests_on, self.results, self.deterministic)
            jobs[job.name] = job
        outcomes = self._finished(jobs)
        left = {name: job for name, job in jobs.items() if name not in outcomes}
        if left:
            outcomes = self._train(left) | self._finished(jobs)
        if missing := jobs.keys() - outcomes:
            wrong = f"{min(missing)} was trained, but its run is not in {self.results}"
            raise ClusterError(f"{wrong}, a folder that workers must share. Or train here.")
        runs: dict[Configuration, list[Run]] = {one: [] for one in configurations}
        for name, job in jobs.items():
            if isinstance(outcomes[name], Run):
                runs[job.task.configuration].append(outcomes[name])
        return runs, [outcomes[name] for name in jobs if isinstance(outcomes[name], Failure)]

    def train_all(self, *arguments: object, **options: object) -> list[Run]:
        """`train`, where nothing may fail: runs in the order of configurations, seeds and folds.

        Raises TrainingError for the first training that failed, when all others are done.
        """
        runs, failures = self.train(*arguments, **options)
        if failures:
            raise TrainingError(failures[0].message)
        return [run for group in runs.values() for run in group]

    def _finished(self, jobs: dict[str, TrainingJob]) -> dict[str, Run | Failure]:
        """The runs that there are; one that is damaged is a failure."""
        folder = runs_folder(self.results)
        # Listed, not asked for one by one: a network's disk would answer from memory.
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        outcomes: dict[str, Run | Failure] = {}
        for name, job in jobs.items():
            if job.task.key in there:
                try:
                    outcomes[name] = open_run(folder / job.task.key)
                except RunError as fault:
                    outcomes[name] = failure_of(job.task, fault)
        return outcomes

    def _train(self, jobs: dict[str, TrainingJob]) -> dict[str, Run | Failure]:
        """Train the jobs, the longest first, with a progress bar; the failures."""
        folder = runs_folder(self.results)
        with writing(folder):  # asked now, and not when the first training is done
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        longest_first = sorted(jobs.items(), key=lambda item: -item[1].cost)
        gpu = self.device.type == "cuda"
        if self._client is None:
            gpus = gpus_here(self.device) if gpu and self.scheduler is None else None
            workers = cluster.connect(self.scheduler, self.workers, gpus)
            self._client = self._open.enter_context(workers)
        results = cluster.run(
            self._client, train_on_worker, longest_first, GPU if gpu else None, True
        )
        failures: dict[str, Run | Failure] = {}
        # Runs are long and few: the speed is that since the start, not of the last half minute.
        with Progress(speed_estimate_period=float("inf")) as progress:
            bar = progress.add_task("Training", total=sum(job.cost for job in jobs.values()))
            for result in results:
                if isinstance(result, ClusterError):  # it killed worker after worker
                    result = result.task, failure_of(jobs[result.task].task, result)
                name, failure = result
                if failure:
                    failures[name] = failure
                    said = f"Failed: {name}: {failure.message}"
                    progress.console.print(said, style="red", markup=False)
                progress.advance(bar, jobs[name].cost)
        return failures


def gpus_here(device: torch.device) -> list[str]:
    """This machine's GPUs, as CUDA_VISIBLE_DEVICES names them; the one alone that `device` numbers.

    Raises ClusterError for a number that there is not.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
    if device.index is None:
        return names
    if device.index >= len(names):
        raise ClusterError(f"no GPU for device {device}: this machine has {len(names)}, from 0 on")
    return [names[device.index]]
