"""Many trainings at once, on the workers of `paincore.cluster`.

A run is written whole or not at all and named by what decides its numbers, so a sweep that was
stopped, by Ctrl-C, a kill or a full disk, goes on where it stood when it is asked for again. The
order in which runs finish decides nothing.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from dask.distributed import Client
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from paincore import PaincoreError
from paincore.cluster import BATCH_SYSTEMS, GPU, ClusterError, connect, run_each
from paincore.folds.designs import Fold
from paincore.manifest import ROOT
from paincore.profiles import check_device
from paincore.registration.store import FrameStore
from paincore.training import backbones as encoders
from paincore.training import vit
from paincore.training.configuration import Configuration
from paincore.training.jobs import (
    Failure,
    Job,
    as_failure,
    check_disk,
    in_order,
    refusal,
    rests_alike_on,
    train_on_worker,
    unlike,
)
from paincore.training.runs import Run, RunError, open_run, runs_folder
from paincore.training.samples import SamplingError, balanced_draws
from paincore.training.task import Task, TrainingError, select
from paincore.training.train import best_device


def keeps_weights(configuration: Configuration) -> bool:
    """Whether a sweep keeps all its models: those that start from a demo backbone, under 1 MB each.

    Chapter 07 opens what the chapters before it trained.
    """
    return configuration.backbone in encoders.DEMO_BACKBONES


class Sweep:
    """Where runs are trained and kept: workers, connected when first needed, a device, a folder.

    A context manager: leaving it closes the workers; the next training connects anew. `device` None
    is decided here, for all workers; `scheduler` and `workers` are those of
    `paincore.cluster.connect`. On "cuda" a run has a GPU to itself: here one worker for each GPU is
    started, elsewhere workers announce theirs.
    """

    def __init__(
        self,
        results: str | Path | None = None,
        device: str | None = None,
        scheduler: str | None = None,
        workers: int | None = None,
    ):
        self.results = Path(results or ROOT / "results").resolve()
        self.device = _device(device, scheduler)
        self.scheduler, self.workers = scheduler, workers
        self._open = ExitStack()
        self._client: Client | None = None

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *fault: object) -> None:
        self._client = None  # connected to anew, should there be more to train
        self._open.close()

    def client(self) -> Client:
        """The workers, connected to at the first call."""
        if self._client is None:
            here = self.scheduler is None and self.device.type == "cuda"
            gpus = gpus_here(self.device) if here else None
            self._client = self._open.enter_context(connect(self.scheduler, self.workers, gpus))
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
        What has been trained before is opened; the rest is trained. Weights are kept where
        `keep_weights` or `keeps_weights` says so. A training that fails does not stop the others:
        it is among the failures, and its configuration has a run less. Raises TrainingError naming
        every configuration that cannot run on every fold before any is trained, RunError if the
        disk refuses, ClusterError for workers that are lost or unlike this process. Chapters 03 to
        07.
        """
        configurations = list(dict.fromkeys(configurations))
        check(store, configurations, folds)
        jobs = self._jobs(store, configurations, folds, seeds, keep_weights)
        found, broken = _open_runs(self.results, jobs)
        left = {
            key: job
            for key, job in jobs.items()
            if key not in broken
            and (key not in found or (job.keep_weights and not found[key].weights))
        }
        if left:
            broken |= self._train(left)
            again, damaged = _open_runs(self.results, left)
            found, broken = found | again, damaged | broken
        missing = [job.title for key, job in left.items() if key not in found | broken]
        if missing:
            raise ClusterError(
                f"{missing[0]} was trained, but its run is not in {self.results}. The workers' "
                "results must be the same folder as here: share the disk, or train here."
            )
        runs: dict[Configuration, list[Run]] = {one: [] for one in configurations}
        for key, job in jobs.items():
            runs[job.configuration] += [] if key in broken else [found[key]]
        return runs, [broken[key] for key in jobs if key in broken]

    def train_all(
        self,
        store: FrameStore,
        configurations: Iterable[Configuration],
        folds: Sequence[Fold],
        seeds: int = 1,
        keep_weights: bool = False,
    ) -> list[Run]:
        """`train`, where nothing may fail: runs in the order of configurations, seeds and folds.

        Raises TrainingError for the first training that failed, when all others are done. Chapters
        03, 04 and 07.
        """
        configurations = list(configurations)
        runs, failures = self.train(store, configurations, folds, seeds, keep_weights)
        if failures:
            raise TrainingError(failures[0].message)
        return [run for configuration in configurations for run in runs[configuration]]

    def _jobs(
        self,
        store: FrameStore,
        configurations: list[Configuration],
        folds: Sequence[Fold],
        seeds: int,
        keep_weights: bool,
    ) -> dict[str, Job]:
        """All trainings by the key of their run, by configuration, seed and fold."""
        alike, folder = rests_alike_on(store), store.folder.resolve()
        # A local worker sees the one GPU that is its own, whatever its number is here.
        device = self.device.type if self.scheduler is None else str(self.device)
        return {
            Task(store, configuration, fold, seed, self.device).key: Job(
                folder,
                alike,
                configuration,
                fold,
                seed,
                self.results,
                device,
                keep_weights or keeps_weights(configuration),
                store.threshold,
            )
            for configuration in configurations
            for seed in range(seeds)
            for fold in folds
        }

    def _train(self, jobs: dict[str, Job]) -> dict[str, Failure]:
        """Train the jobs, the longest first, and display how far they are; failures by key."""
        check_disk(self.results)
        client = self.client()
        _refuse_others(client, next(iter(jobs.values())))
        names = {f"{jobs[key].title} ({key})": key for key in in_order(jobs)}
        beats = run_each(
            client,
            train_on_worker,
            [(name, jobs[key]) for name, key in names.items()],
            GPU if self.device.type == "cuda" else None,
            may_wait=self.scheduler is None or self.scheduler in BATCH_SYSTEMS,
        )
        failures: dict[str, Failure] = {}
        with _Display(jobs.values()) as display:
            for beat in beats:
                for name, result in beat.finished:
                    job = jobs[names[name]]
                    failure = as_failure(job, result)
                    failures |= {names[name]: failure} if failure else {}
                    display.finish(job, failure)
                display.show(beat.running, beat.workers)
        return failures


class _Display:
    """Runs done, at work and left, and the time that is left by the costs of those done."""

    def __init__(self, jobs: Iterable[Job]):
        costs = [job.cost for job in jobs]
        self.count, self.done = len(costs), 0
        counts = TextColumn("{task.fields[counts]}")
        # Runs are long and few: the speed is that since the start, not of the last half minute.
        self.progress = Progress(
            TextColumn("Training"),
            BarColumn(),
            counts,
            TimeRemainingColumn(),
            speed_estimate_period=float("inf"),
        )
        self.bar = self.progress.add_task("Training", total=sum(costs), counts="")

    def __enter__(self) -> "_Display":
        self.progress.start()
        self.show(0, 0)
        return self

    def __exit__(self, *fault: object) -> None:
        self.progress.stop()

    def finish(self, job: Job, failure: Failure | None) -> None:
        """Count a run; a failure is printed when it happens."""
        self.done += 1
        self.progress.advance(self.bar, job.cost)
        if failure:
            said = f"Failed: {job.title}: {failure.message}"
            self.progress.console.print(said, style="red", markup=False)

    def show(self, running: int, workers: int) -> None:
        """Print what is at work now; `workers` 0 means that none is there."""
        left = self.count - self.done - running
        counts = f"{self.done} done, {running} running, {left} left"
        waiting = "" if workers or self.done == self.count else ", waiting for a worker"
        self.progress.update(self.bar, counts=counts + waiting)


def check(
    store: FrameStore, configurations: Sequence[Configuration], folds: Sequence[Fold]
) -> None:
    """Raise TrainingError listing everything that keeps these from being trained on `folds`.

    Found without training: a backbone, a number of layers, the size of pictures, folds and samples
    that do not fit.
    """
    faults = _faults_of_models(store, configurations)
    kinds = {(one.model, one.clip_stride): one for one in configurations}
    for one in kinds.values():
        faults += filter(None, (_fault_of_fold(store, one, fold) for fold in folds))
    if faults:
        listed = "".join(f"\n- {fault}" for fault in faults)
        raise TrainingError(f"Nothing was trained, since this cannot be:{listed}")


def _faults_of_models(store: FrameStore, configurations: Sequence[Configuration]) -> list[str]:
    """Why configurations have no model; every backbone is loaded once."""
    models: dict[str, vit.PainTransformer | PaincoreError] = {}
    faults = []
    for one in configurations:
        if one.backbone not in models:
            try:
                encoder = encoders.load_encoder(one.backbone)
                models[one.backbone] = vit.PainTransformer(encoder, 1, torch.Generator())
            except PaincoreError as fault:
                models[one.backbone] = fault
        model = models[one.backbone]
        try:
            if isinstance(model, PaincoreError):
                raise model
            vit.freeze(model, one.unfrozen_layers, one.rules.freezing)
        except PaincoreError as fault:
            faults.append(f"{one.title}: {fault}")
            continue
        side = store.images.shape[1]
        if side < model.image_size:
            faults.append(
                f"{one.title}: {store.folder} holds pictures of {side} px, {one.backbone} takes "
                f"{model.image_size}. Register the corpus at that size."
            )
    return faults


def _fault_of_fold(store: FrameStore, configuration: Configuration, fold: Fold) -> str:
    """Why a fold has nothing to train or test with; empty if it has."""
    task = Task(store, configuration, fold, 0, torch.device("cpu"))
    try:
        balanced_draws(select(task).labels, task.generator("check"))
    except SamplingError as fault:
        return f"{configuration.model}, fold {fold.number} of {fold.design}: {fault}"
    except PaincoreError as fault:
        return str(fault)
    return ""


def _open_runs(results: Path, jobs: dict[str, Job]) -> tuple[dict[str, Run], dict[str, Failure]]:
    """The runs that there are already, and those that are damaged, by key."""
    folder = runs_folder(results)
    # Listed, not asked for one by one: a network's disk would answer from memory.
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    found, damaged = {}, {}
    for key, job in jobs.items():
        if key in names:
            try:
                found[key] = open_run(folder / key)
            except RunError as fault:
                damaged[key] = as_failure(job, fault)
    return found, damaged


def _device(name: str | None, scheduler: str | None) -> torch.device:
    """The device; workers elsewhere may have a GPU where this machine has none."""
    if scheduler is not None and name is not None:
        check_device(name)
        return torch.device(name)
    return best_device(name)


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


def _refuse_others(client: Client, job: Job) -> None:
    """Raise ClusterError for a worker that is there and cannot take part."""
    for address, found in client.run(unlike, job, on_error="return").items():
        if isinstance(found, OSError):  # it has died since; its successor is asked later
            continue
        if isinstance(found, Exception):
            raise refusal(address, f"it cannot be asked ({found!r})") from found
        if found:
            raise refusal(address, found)
