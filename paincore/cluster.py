"""Workers for everything that runs in parallel: Dask's, here, at a scheduler or in a batch system.

A scheduler is None (processes on this machine), an address such as "tcp://10.0.0.5:8786" of a
running `dask scheduler`, or the name of a batch system that `dask-jobqueue` knows ("slurm", "pbs",
"lsf", "sge"), set up as its documentation says. A task runs in one thread, so a result does not
depend on how many workers there are. Workers elsewhere need the same environment and the same
files under the same paths. A task that needs a GPU goes to workers that announce one, as Dask's
resource `GPU`, and has it to itself.

Importing what a worker needs takes seconds of a core, so workers of this machine are forked from
one process that has imported it, on Linux, and the chapters of a book, each a
process of its own, share theirs (`shared_workers`).
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import forkserver
from typing import NamedTuple
from uuid import uuid4

import dask
from dask.distributed import (
    Client,
    Future,
    KilledWorker,
    LocalCluster,
    Nanny,
    Scheduler,
    SpecCluster,
    Worker,
    WorkerPlugin,
    as_completed,
    wait,
)
from distributed.utils import get_mp_context

from paincore import PaincoreError

BATCH_SYSTEMS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
}
AHEAD = 256  # tasks that are with the scheduler at a time, whatever there is to do
PATIENCE = 30  # seconds for a scheduler to answer, and for it to have a worker
LOST = "The Dask scheduler was lost, and its tasks with it. Start it and run again."
BEAT = 0.5  # seconds between two looks at which workers there are
GPU = "GPU"  # the resource that workers announce
SHARED = "DASK_SCHEDULER_ADDRESS"  # Dask's own variable for a scheduler that is already there
# What workers have imported from their first moment on; a name, since some of it imports this.
PRELOADED = [
    "distributed",
    "paincore.training.jobs",
    "paincore.registration.store",
    "paincore.training.baselines",
]
SETTINGS = {
    # Windows cannot fork; macOS can, but not safely once its own libraries are loaded.
    "distributed.worker.multiprocessing-method": (
        "forkserver" if sys.platform == "linux" else "spawn"
    ),
    "distributed.scheduler.allowed-failures": 3,  # a task that kills workers is given up then
    "distributed.worker.memory.terminate": False,
    # Dask's watching of itself takes 6 % of two cores; nobody here looks at its dashboard.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    # With Dask's own 64 KB each picture's memory is handed back and got anew: 2 ms a frame.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 256 * 2**20,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
    # Memory in pages of 2 MB, where Linux has them: networks run 4 % faster.
    "distributed.nanny.pre-spawn-environ.GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class ClusterError(PaincoreError):
    """No workers, or a task that they cannot do."""


class Quiet(WorkerPlugin):
    """Local workers leave Ctrl-C and every report to the process that started them.

    A terminal sends Ctrl-C to them too, and Dask logs a traceback for each task that it ends.
    """

    def setup(self, worker: Worker) -> None:
        """Called by Dask in the worker's main thread, at each of its starts."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.disable(logging.ERROR)


@contextmanager
def connect(
    scheduler: str | None = None, workers: int | None = None, gpus: Sequence[str] | None = None
) -> Iterator[Client]:
    """A Dask client with workers, closed on leaving.

    `workers` is the number of local processes or of batch jobs; None means one for each core here,
    or those that are shared with other chapters, and one job. At an address, the workers are those
    that are there. Local workers see one of `gpus` each, named as in CUDA_VISIBLE_DEVICES; None
    means that no GPU is needed. Raises ClusterError where the scheduler does not answer, the batch
    system is not set up, or there are fewer GPUs than workers.
    """
    if scheduler is None and workers is None and gpus is None:
        scheduler = os.environ.get(SHARED)
    with dask.config.set(SETTINGS), _ended_quietly() as opened:
        with _interrupts_later():
            if scheduler is None:
                here = opened.enter_context(_local(workers, gpus))
                client = opened.enter_context(Client(here))
                client.register_plugin(Quiet())
            elif scheduler in BATCH_SYSTEMS:
                jobs = opened.enter_context(_batch_system(scheduler))
                client = opened.enter_context(Client(jobs))
                jobs.scale(jobs=workers or 1)
            else:
                client = None
        yield client or opened.enter_context(_client_at(scheduler))


@contextmanager
def shared_workers() -> Iterator[None]:
    """Local workers for this process and those that it starts meanwhile: `connect` finds them.

    Where Dask's variable for a scheduler is set, the workers there are the shared ones. Used by
    `paincore.book.chapters`, so that the chapters of a book do not each start their own.
    """
    if SHARED in os.environ:
        yield
        return
    with dask.config.set(SETTINGS), _ended_quietly() as opened:
        with _interrupts_later():
            here = opened.enter_context(_local(0, None))
            client = opened.enter_context(Client(here))
            client.register_plugin(Quiet())
        here.scale(os.cpu_count())  # returns at once: they start while the first chapter runs
        os.environ[SHARED] = client.scheduler.address
        try:
            yield
        finally:
            del os.environ[SHARED]


@contextmanager
def _ended_quietly() -> Iterator[ExitStack]:
    """What is opened on the stack is closed whole, without Dask's reports of how tasks ended."""
    opened = ExitStack()
    try:
        yield opened
    finally:
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            with _interrupts_later():
                opened.close()
        finally:
            logging.disable(before)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C waits for the end of the block, since Dask's start and end cannot be cut short.

    The second one does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, pressed = signal.getsignal(signal.SIGINT), []

    def later(*_: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(True)

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _start_forkserver() -> None:
    """Start the process that workers are forked from, which leaves Ctrl-C alone as they then do."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is started now inherits it
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def _local(workers: int | None, gpus: Sequence[str] | None) -> SpecCluster:
    """Processes of one thread on this machine, with a GPU each where `gpus` names some."""
    if get_mp_context().get_start_method() == "forkserver":  # asked first: Dask names its own once
        _start_forkserver()
    if gpus is None:
        count = os.cpu_count() if workers is None else workers
        return LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0")
    count = workers or len(gpus)
    if count > len(gpus):
        raise ClusterError(
            f"{count} workers for {len(gpus)} GPUs ({', '.join(gpus)}): each has one to itself. "
            f"Ask for at most {len(gpus)}."
        )
    options = {"nthreads": 1, "memory_limit": 0, "resources": {GPU: 1}}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": {"dashboard": False, "host": "127.0.0.1"}},
        workers={
            gpu: {"cls": Nanny, "options": options | {"env": {"CUDA_VISIBLE_DEVICES": gpu}}}
            for gpu in gpus[:count]
        },
    )


def _batch_system(name: str) -> SpecCluster:
    interrupt = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    # Imported here alone: it makes Ctrl-C, in whatever program imports it, an exit that looks well.
    signal.signal(signal.SIGINT, interrupt)
    try:
        return getattr(dask_jobqueue, BATCH_SYSTEMS[name])()
    except (ValueError, TypeError, OSError) as fault:
        raise ClusterError(
            f"{name} cannot be used as it is set up ({fault}). Describe its jobs in "
            f"~/.config/dask/jobqueue.yaml, under jobqueue.{name}, as dask-jobqueue documents."
        ) from fault


def _client_at(address: str) -> Client:
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as fault:
        raise ClusterError(
            f"No Dask scheduler answers at {address!r} ({fault}). Start one with `dask scheduler` "
            f"and give its address, or name a batch system ({', '.join(BATCH_SYSTEMS)})."
        ) from fault
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as fault:
        client.close()
        raise ClusterError(
            f"The Dask scheduler at {address!r} has had no worker for {PATIENCE} s. Start one: "
            f"`dask worker {address}`."
        ) from fault
    return client


def run(client: Client, function: Callable, tasks: Iterable[tuple[str, object]]) -> Iterator:
    """Results of `function` on each of `tasks`, (name, argument), in the order they finish in.

    Only a few tasks are with the scheduler at a time, so memory does not grow with their number. A
    task whose worker dies is done again elsewhere. Raises the error of a task that failed, and
    ClusterError with its name if it killed one worker after the other.
    """
    left = iter(tasks)
    call = uuid4().hex  # the same task of another call is another task

    def submit(count: int) -> list:
        return [
            client.submit(function, argument, key=f"{name} {call}", pure=False)
            for name, argument in islice(left, count)
        ]

    futures = as_completed(submit(AHEAD))
    for future in futures:
        try:
            result = future.result()
        except KilledWorker as fault:
            raise _killed(future.key.removesuffix(f" {call}"), fault) from fault
        except CancelledError as fault:
            raise ClusterError(LOST) from fault
        future.release()
        futures.update(submit(1))
        yield result


def _killed(name: str, fault: KilledWorker) -> ClusterError:
    return ClusterError(
        f"{name}: worker after worker died on it, the last at {fault.last_worker.address}. "
        "Look at the workers' log; lack of memory is the usual reason."
    )


class Beat(NamedTuple):
    """How far `run_each` is: what has finished since the last one, and what is at work.

    `finished` holds (name, result) of tasks, with a ClusterError for the result of one that killed
    worker after worker. `workers` counts those that can take a task.
    """

    finished: list[tuple[str, object]]
    running: int
    workers: int


def run_each(
    client: Client,
    function: Callable,
    tasks: Iterable[tuple[str, object]],
    resource: str | None = None,
    may_wait: bool = True,
) -> Iterator[Beat]:
    """As `run`, for long tasks: one that kills its workers is reported and the others go on.

    Every worker has one task at a time, so that none is lost with a task it only waited behind. A
    task takes one of `resource`. Raises ClusterError where workers are there, but none announces
    it, and, unless it `may_wait`, where there has been no worker for `PATIENCE` seconds.
    """
    left, call, seen, ever = iter(tasks), uuid4().hex, time.monotonic(), False
    needs = {resource: 1} if resource else None
    flying: dict[Future, str] = {}
    done: set[Future] = set()
    try:
        while True:
            slots = _slots(client, resource, anew=not ever)
            ever = ever or slots > 0
            seen = time.monotonic() if slots else seen
            if not slots and not may_wait and time.monotonic() - seen > PATIENCE:
                raise ClusterError(
                    f"There has been no worker for {PATIENCE} s. Start one and run again: what is "
                    "done is kept."
                )
            for name, argument in islice(left, max(0, max(1, slots) - len(flying))):
                key = f"{name} {call}"
                future = client.submit(function, argument, key=key, pure=False, resources=needs)
                flying[future] = name
            # Let go only when the next are on their way: what follows within 10 ms would wait.
            done.clear()
            if not flying:
                return
            done = _finished(list(flying))
            finished = [(flying.pop(one), _outcome(one)) for one in done]
            yield Beat(finished, len(flying), slots)
    except (CancelledError, OSError) as fault:
        raise ClusterError(LOST) from fault


def _slots(client: Client, resource: str | None, anew: bool) -> int:
    """How many tasks the workers can do at a time.

    `anew` means that none had the resource so far: ClusterError if there are workers without it.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if resource is None:
        return sum(worker["nthreads"] for worker in workers)
    having = [int(worker["resources"].get(resource, 0)) for worker in workers]
    if anew and having and not any(having):
        raise ClusterError(
            f"None of the {len(having)} workers of {client.scheduler.address} announces a "
            f"{resource}. Start one for each, with `dask worker {client.scheduler.address} "
            f"--nthreads 1 --resources {resource}=1`; for a batch system, add that option to "
            "worker-extra-args in jobqueue.yaml."
        )
    return sum(having)


def _finished(futures: list[Future]) -> set[Future]:
    """Those that are done, waited for no longer than a beat."""
    try:
        return wait(futures, timeout=BEAT, return_when="FIRST_COMPLETED").done
    except TimeoutError:
        return set()


def _outcome(future: Future) -> object:
    """What a task returned; a ClusterError in its place if it killed its workers.

    Raises the task's own error if it is one of paincore's, else ClusterError: it never began.
    """
    name = future.key.rpartition(" ")[0]
    try:
        return future.result()
    except KilledWorker as fault:
        error = _killed(name, fault)
        error.__cause__ = fault
        return error
    except (PaincoreError, CancelledError):
        raise
    except Exception as fault:
        raise ClusterError(
            f"{name}: a worker could not begin it ({fault!r}). Install the same paincore there as "
            "here, with all that requirements.txt names."
        ) from fault
