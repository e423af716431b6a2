"""Workers for everything that runs in parallel: Dask's, on this machine or at a scheduler.

A scheduler is None (processes on this machine) or the address of one that runs, such as
"tcp://10.0.0.5:8786". A task runs in one thread, so a result does not depend on how many workers
there are. Workers elsewhere need the same environment and the same files under the same paths. A
task that needs a GPU goes to workers that announce one, as Dask's resource `GPU`, and has it to
itself.

Importing what a worker needs takes seconds of a core, so workers of this machine are forked from
one process that has imported it, on Linux, and the chapters of a book, each a process of its own,
use the same ones (`shared_workers`).
"""

import gc
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import forkserver
from uuid import uuid4

import dask
from dask.distributed import Client, Future, KilledWorker, LocalCluster, Worker, WorkerPlugin, wait
from distributed.utils import get_mp_context

from paincore import PaincoreError

PATIENCE = 30  # seconds for a scheduler to answer, and for it to have a worker
BEAT = 0.5  # seconds between two looks at which workers there are
GPU = "GPU"  # the resource that workers announce
SHARED = "DASK_SCHEDULER_ADDRESS"  # Dask's own variable for a scheduler that is already there
# What workers have imported from their first moment on; names, since some of it imports this.
PRELOADED = ["distributed", "paincore.training.sweep", "paincore.registration.store"]
# Windows cannot fork; macOS can, but not safely once its own libraries are loaded.
START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
DASK = {
    "distributed.worker.multiprocessing-method": START_METHOD,
    "distributed.scheduler.allowed-failures": 3,  # a task that kills workers is given up then
    # Dask's watching of itself takes 6 % of two cores.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    # With Dask's own 64 KB each image's memory is handed back and got anew: 2 ms a frame.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 256 * 2**20,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
    # Memory in pages of 2 MB, where Linux has them: networks run 4 % faster.
    "distributed.nanny.pre-spawn-environ.GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Dask's settings."""


class ClusterError(PaincoreError):
    """No workers, or a task that they cannot do; `task` is its name if it killed its workers."""

    task: str | None = None


class LocalWorker(WorkerPlugin):
    """What a worker of this machine does first: it leaves Ctrl-C and reports to who started it.

    A terminal sends Ctrl-C to workers too, and Dask logs a traceback for each task that it ends.
    Worker n sees the n-th of `gpus` alone.
    """

    def __init__(self, gpus: Sequence[str] | None):
        self.gpus = gpus

    def setup(self, worker: Worker) -> None:
        """Called by Dask in the worker's main thread, at each of its starts."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.disable(logging.ERROR)
        gc.freeze()  # what is imported stays: looking through it takes a quarter of a second
        if self.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[int(worker.name)]


@contextmanager
def connect(scheduler: str | None = None, workers=None, gpus=None) -> Iterator[Client]:
    """A Dask client with workers, closed on leaving.

    `workers` is the number of local processes; None means one for each core here, or those of
    `shared_workers`. At an address, the workers are those that are there. Local workers see one of
    `gpus` each, named as in CUDA_VISIBLE_DEVICES; None means that no GPU is needed. Raises
    ClusterError where the scheduler does not answer, or there are fewer GPUs than workers.
    """
    if scheduler is None and workers is None and gpus is None:
        scheduler = os.environ.get(SHARED)
    opened = ExitStack()
    with dask.config.set(DASK):
        try:
            if scheduler is not None:
                client = opened.enter_context(_client_at(scheduler))
            else:
                with _undisturbed():
                    cluster = opened.enter_context(_local_cluster(workers, gpus))
                    client = opened.enter_context(Client(cluster))
                    client.register_plugin(LocalWorker(gpus))
            yield client
        finally:
            with _undisturbed():
                opened.close()


@contextmanager
def shared_workers() -> Iterator[None]:
    """Local workers for this process and those that it starts meanwhile: `connect` finds them.

    Where Dask's variable for a scheduler is set, the workers there are used.
    """
    if SHARED in os.environ:
        yield
        return
    with connect(workers=os.cpu_count()) as client:
        os.environ[SHARED] = client.scheduler.address
        try:
            yield
        finally:
            del os.environ[SHARED]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """For Dask's start and end, which cannot be cut short: nothing is logged, Ctrl-C comes later.

    To be called in the main thread.
    """
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _local_cluster(workers: int | None, gpus: Sequence[str] | None) -> LocalCluster:
    """Processes of one thread on this machine, with a GPU each where `gpus` names some."""
    if gpus is not None and (workers or 0) > len(gpus):
        raise ClusterError(f"{workers} workers for {len(gpus)} GPUs: each has one to itself.")
    if START_METHOD == "forkserver":
        get_mp_context()  # Dask names modules of its own here, once
        multiprocessing.set_forkserver_preload(PRELOADED)
        # What is started now leaves Ctrl-C alone, and so do the workers that it forks.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        forkserver.ensure_running()
        signal.signal(signal.SIGINT, before)
    count = workers or len(gpus or ()) or os.cpu_count()
    each = {"threads_per_worker": 1, "memory_limit": 0, "resources": {GPU: 1} if gpus else None}
    return LocalCluster(n_workers=count, dashboard_address=":0", **each)


def _client_at(address: str) -> Client:
    try:
        return Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as fault:
        start = "Start one with `dask scheduler`, and `dask worker` with its address."
        raise ClusterError(f"No scheduler answers at {address!r} ({fault}). {start}") from fault


def run(
    client: Client, function: Callable, tasks: Iterable[tuple], resource=None, keep_going=False
) -> Iterator:
    """Results of `function` on each of `tasks`, (name, argument), in the order they finish in.

    Every worker has one task at a time, so that one that dies takes no other task with it; its task
    is done again elsewhere. A task takes one of `resource`. Raises ClusterError naming a task that
    killed one worker after the other (where `keep_going`, the error is its result) or failed
    otherwise, unless the error is one of paincore's; and where no worker, or none that announces
    the resource, has been there for `PATIENCE` seconds, or the scheduler is lost.
    """
    left, seen, flying = iter(tasks), time.monotonic(), {}
    needs = {resource: 1} if resource else None
    while True:
        try:
            slots = _slots(client, resource)
            for name, argument in islice(left, max(0, max(1, slots) - len(flying))):
                key = f"{name} {uuid4().hex}"  # the same task of another call is another task
                flying[client.submit(function, argument, key=key, resources=needs)] = name
            if not flying:
                return
            try:
                done = wait(list(flying), timeout=BEAT, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            results = [_result(flying.pop(one), one, keep_going) for one in done]
        except (CancelledError, OSError) as fault:
            raise ClusterError("The Dask scheduler was lost. Start it and run again.") from fault
        yield from results
        seen = time.monotonic() if slots else seen
        if time.monotonic() - seen > PATIENCE:
            start = f"dask worker {client.scheduler.address} --nthreads 1"
            start += f" --resources {resource}=1" if resource else ""
            raise ClusterError(f"no worker for {PATIENCE} s. Start one and run again: {start}")


def _slots(client: Client, resource: str | None) -> int:
    """How many tasks the workers can do at a time."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if resource is None:
        return sum(worker["nthreads"] for worker in workers)
    return sum(int(worker["resources"].get(resource, 0)) for worker in workers)


def _result(name: str, future: Future, keep_going: bool) -> object:
    """What a task returned, or the error that it is where it killed its workers."""
    try:
        return future.result()
    except KilledWorker as fault:
        why = "worker after worker died on it, for lack of memory most often. See the workers' log."
        error = ClusterError(f"{name}: {why}")
        error.task, error.__cause__ = name, fault
        if keep_going:
            return error
        raise error from fault
    except (PaincoreError, CancelledError):
        raise
    except Exception as fault:
        raise ClusterError(f"{name} failed on its worker: {fault!r}") from fault
