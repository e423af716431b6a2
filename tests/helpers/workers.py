"""Processes of their own, Dask's scheduler and workers among them, on loopback."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from dask.distributed import Client

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def calling(function, *arguments) -> list:
    """The command that calls a test module's function with texts."""
    name = function.__name__
    code = f"import sys; from {function.__module__} import {name}; {name}(*sys.argv[1:])"
    return ["-c", code, *arguments]


@contextmanager
def processes(*commands: list, cwd: Path = ROOT, **options):
    """Commands of this environment in process groups of their own, killed on leaving."""
    options |= {"cwd": cwd, "start_new_session": True}
    started = [
        subprocess.Popen([sys.executable, *map(str, command)], **options) for command in commands
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
    port, common = free_port(), ["--no-dashboard"]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port]
    worker = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", *options]
    commands = [scheduler + common, *[worker + common] * count]
    log = (tmp_path / "log").open("a")
    with log, processes(*commands, stderr=log, cwd=cwd) as (_, *workers):
        with Client(address, timeout=30) as client:
            client.wait_for_workers(count, timeout=60)
        yield address, workers
