import operator
import os
import signal
import sys

import pytest

from paincore.cluster import SHARED, ClusterError, connect, run, shared_workers


def half(number: int) -> float:
    return 1 / number


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def client():
    with connect(workers=1) as client:
        yield client


def test_every_task_is_done_once_and_more_than_are_ahead(client, monkeypatch):
    monkeypatch.setattr("paincore.cluster.AHEAD", 3)
    tasks = ((f"task {n}", n) for n in range(20))
    assert sorted(run(client, operator.neg, tasks)) == sorted(-n for n in range(20))


def test_the_error_of_a_task_is_raised_here(client):
    with pytest.raises(ZeroDivisionError):
        list(run(client, half, [("one", 1), ("none", 0)]))


def test_a_task_that_kills_every_worker_is_named(client):
    with pytest.raises(ClusterError, match=r"^frames 1 to 9: worker after worker died"):
        list(run(client, die, [("frames 1 to 9", None)]))
    assert list(run(client, operator.neg, [("after it", 1)])) == [-1]


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:9", "nowhere", "slurm"])
def test_a_scheduler_that_is_not_there_is_an_error_that_says_what_to_do(scheduler, monkeypatch):
    monkeypatch.setattr("paincore.cluster.PATIENCE", 1)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ClusterError, match=r"dask scheduler|jobqueue\.yaml"), connect(scheduler):
        pass
    assert signal.getsignal(signal.SIGINT) is before


def visible_gpus() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_each_local_worker_has_a_gpu_of_its_own_and_one_run_at_a_time():
    with connect(gpus=["3", "5"]) as client:
        found = client.run(visible_gpus).values()
        workers = client.scheduler_info()["workers"].values()
        assert sorted(found) == ["3", "5"]
        assert [(one["resources"], one["nthreads"]) for one in workers] == [({"GPU": 1}, 1)] * 2
    with (
        pytest.raises(ClusterError, match=r"3 workers for 2 GPUs \(3, 5\)"),
        connect(workers=3, gpus=["3", "5"]),
    ):
        pass


def pids(client) -> set[int]:
    return set(client.run(os.getpid).values())


def test_the_processes_of_a_book_share_workers_unless_they_ask_for_their_own():
    with shared_workers():
        with connect() as first:
            first.wait_for_workers(os.cpu_count())
            shared = pids(first)
            assert first.scheduler.address == os.environ[SHARED]
        with shared_workers(), connect() as second:
            assert pids(second) == shared
        with connect(workers=1) as own:
            assert not pids(own) & shared
    assert SHARED not in os.environ
    with pytest.raises(ProcessLookupError):
        os.kill(next(iter(shared)), 0)


def imported() -> bool:
    return "torch" in sys.modules


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_workers_begin_with_what_they_need_imported(client):
    assert set(client.run(imported).values()) == {True}
