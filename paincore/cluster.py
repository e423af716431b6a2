"""Workers for everything that runs in parallel: Dask's, here, at a scheduler or in a batch system.

A scheduler is None (processes on this machine), an address such as "tcp://10.0.0.5:8786" of a
running `dask scheduler`, or the name of a batch system that `dask-jobqueue` knows ("slurm", "pbs",
"lsf", "sge"), set up as its documentation says. A task runs in one thread, so a result does not
depend on how many workers there are. Workers elsewhere need the same environment and the same
files under the same paths.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from uuid import uuid4

import dask
import dask_jobqueue
from dask.distributed import Client, KilledWorker, LocalCluster, as_completed

from paincore import PaincoreError

BATCH_SYSTEMS = {
    "slurm": dask_jobqueue.SLURMCluster,
    "pbs": dask_jobqueue.PBSCluster,
    "lsf": dask_jobqueue.LSFCluster,
    "sge": dask_jobqueue.SGECluster,
}
AHEAD = 256  # tasks that are with the scheduler at a time, whatever there is to do
PATIENCE = 30  # seconds for a scheduler to answer, and for its first worker
SETTINGS = {
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


@contextmanager
def connect(scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """A Dask client with workers, closed on leaving.

    `workers` is the number of local processes or of batch jobs; None means one for each core here,
    and one job. At an address, the workers are those that are there. Raises ClusterError where the
    scheduler does not answer or the batch system is not set up.
    """
    with dask.config.set(SETTINGS):
        if scheduler is None:
            count = workers or os.cpu_count()
            with (
                LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0") as here,
                Client(here) as client,
            ):
                yield client
        elif scheduler in BATCH_SYSTEMS:
            with _batch_system(scheduler) as jobs, Client(jobs) as client:
                jobs.scale(jobs=workers or 1)
                yield client
        else:
            with _client_at(scheduler) as client:
                yield client


def _batch_system(name: str) -> dask_jobqueue.JobQueueCluster:
    try:
        return BATCH_SYSTEMS[name]()
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
            name = future.key.removesuffix(f" {call}")
            raise ClusterError(
                f"{name}: worker after worker died on it, the last at {fault.last_worker.address}. "
                "Look at the workers' log; lack of memory is the usual reason."
            ) from fault
        except CancelledError as fault:
            raise ClusterError(
                "The Dask scheduler was lost, and its tasks with it. Start it and run again."
            ) from fault
        future.release()
        futures.update(submit(1))
        yield result
