"""Dask's scheduler and workers as processes of their own, on loopback."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dask.distributed import Client

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def processes(*commands: list[str], **options):
    """Commands of this environment in process groups of their own, killed on leaving."""
    started = [
        subprocess.Popen([sys.executable, *map(str, command)], start_new_session=True, **options)
        for command in commands
    ]
    try:
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def scheduler_and_workers(tmp_path, count: int = 2, *options: str, cwd: Path = ROOT):
    """Address of a real scheduler, with worker processes; the options are the workers'."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = ["-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    port = address.rpartition(":")[2]
    with ExitStack() as stack:
        quiet = {"stderr": (tmp_path / "log").open("a"), "cwd": cwd}
        stack.callback(quiet["stderr"].close)
        stack.enter_context(processes([*dask, "--host", "127.0.0.1", "--port", port], **quiet))
        worker = [*worker_command(address), *options]
        workers = stack.enter_context(processes(*[worker] * count, **quiet))
        with Client(address, timeout=30) as client:
            client.wait_for_workers(count, timeout=60)
        yield address, workers


def worker_command(address: str) -> list[str]:
    return ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
