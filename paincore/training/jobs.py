"""One training of a sweep as a worker gets it, and what a worker does with it."""

import errno
import gc
import os
import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import torch
from dask.distributed import get_worker

from paincore import PaincoreError
from paincore.cluster import ClusterError
from paincore.files import engine
from paincore.folds.designs import Fold
from paincore.registration.store import FrameStore, open_store
from paincore.training.configuration import Configuration
from paincore.training.runs import RunError, runs_folder
from paincore.training.samples import CLIP
from paincore.training.train import train_fold

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""What a disk says that takes nothing more: no other run could be written either."""


@dataclass(frozen=True)
class Job:
    """One training as it goes to a worker, which opens the store by itself.

    `alike` is what must be the same there as here, see `rests_alike_on`.
    """

    store: Path
    alike: dict[str, str]
    configuration: Configuration
    fold: Fold
    seed: int
    results: Path
    device: str
    keep_weights: bool
    threshold: float = 0  # the store's

    @property
    def title(self) -> str:
        """For progress displays and errors."""
        seed = f", seed {self.seed}" if self.seed else ""
        fold = f"{self.fold.design} fold {self.fold.number}"
        return f"{self.configuration.title}, {fold}{seed}"

    @property
    def kind(self) -> tuple:
        """What trainings share whose frozen states are the same file."""
        one = self.configuration
        return one.model, one.backbone, one.unfrozen_layers, one.precision, one.clip_stride

    @property
    def cost(self) -> float:
        """About how long it takes beside others: samples, trained blocks, SAM's second gradient."""
        one = self.configuration
        samples = len(self.fold.train) * CLIP[one.model] / one.clip_stride
        return samples * (one.unfrozen_layers + 1) * (2 if one.sam else 1)


class Failure(NamedTuple):
    """A training that failed, with the error's message and its traceback as text."""

    configuration: Configuration
    fold: int
    seed: int
    message: str
    traceback: str


def in_order(jobs: dict[str, Job]) -> list[str]:
    """Keys of the jobs, the longest training first, so that workers end together.

    One of each kind goes before all others: it computes the frozen states that the others of its
    kind would else have to wait for.
    """
    longest = sorted(jobs, key=lambda key: -jobs[key].cost)
    firsts = {jobs[key].kind: key for key in reversed(longest)}
    return sorted(longest, key=lambda key: firsts[jobs[key].kind] != key)


def as_failure(job: Job, result: object) -> Failure | None:
    """The failure that a job has returned, or that an error in its place amounts to."""
    if isinstance(result, PaincoreError):
        text = "".join(traceback.format_exception(result))
        return Failure(job.configuration, job.fold.number, job.seed, str(result), text)
    return result


def rests_alike_on(store: FrameStore) -> dict[str, str]:
    """What must be the same on all workers for a sweep's numbers to be those of one machine."""
    return {name: str(value) for name, value in engine().items()} | {"the store": store.fingerprint}


def unlike(job: Job) -> str:
    """Why the worker that this is called on cannot do the job as it was asked for; empty if it can.

    Called when a sweep begins and before each training: workers may join later.
    """
    try:
        here = rests_alike_on(_opened(job.store, job.threshold))
        reasons = [
            f"{name} is {here[name]} there, {wanted} here"
            for name, wanted in job.alike.items()
            if here[name] != wanted
        ]
    except PaincoreError as fault:
        reasons = [str(fault)]
    if job.device != "cpu" and not torch.cuda.is_available():
        reasons.append("it has no GPU that torch can use")
    return "; ".join(reasons)


def refusal(address: str, why: str) -> ClusterError:
    """The error that stops a sweep for a worker."""
    return ClusterError(
        f"Worker {address} cannot take part: {why}. Give all workers the same paincore, "
        "environment and files as here, and start them anew."
    )


def train_on_worker(job: Job) -> Failure | None:
    """What a worker does for `Sweep.train`: the failure, if the training failed.

    Raises ClusterError if the worker cannot take part, RunError if its disk takes nothing more.
    """
    if why := unlike(job):
        raise refusal(get_worker().address, why)
    _settle()
    try:
        train_fold(
            _opened(job.store, job.threshold),
            job.configuration,
            job.fold,
            job.seed,
            job.results,
            job.device,
            job.keep_weights,
            show_progress=False,
        )
    except Exception as fault:  # reported with its configuration; the other runs go on
        reason = fault if isinstance(fault, OSError) else fault.__cause__
        if isinstance(reason, OSError) and reason.errno in DISK:
            raise _disk_error(job.results, reason) from fault
        text = "".join(traceback.format_exception(fault))
        return Failure(job.configuration, job.fold.number, job.seed, str(fault), text)
    return None


@lru_cache
def _settle() -> None:
    """Take what is imported out of Python's garbage collection, once a worker.

    It stays until the end, and looking through it takes a quarter of a second each time.
    """
    gc.collect()
    gc.freeze()


@lru_cache(maxsize=4)
def _opened(folder: Path, threshold: float) -> FrameStore:
    return open_store(folder, threshold)


def check_disk(results: Path) -> None:
    """Raise RunError unless runs and caches can be written in the folder."""
    for folder in (runs_folder(results), results / "cache"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            raise _disk_error(folder, fault) from fault


def _disk_error(folder: Path, fault: OSError) -> RunError:
    return RunError(
        f"{folder} cannot be written ({fault.strerror or fault}). Free the disk or name another "
        "results folder; what is done is kept."
    )
