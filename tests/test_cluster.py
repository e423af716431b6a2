import operator
import os
import signal
import sys

import pytest

from paincore.cluster import SHARED, ClusterError, connect, run, shared_workers
from tests.helpers.workers import scheduler_and_workers


def half(number: int) -> float:
    return 1 / number


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def client():
    with connect(workers=1) as client:
        yield client


def test_a_task_that_fails_is_named(client):
    with pytest.raises(ClusterError, match=r"^none failed on its worker: ZeroDivisionError"):
        list(run(client, half, [("one", 1), ("none", 0)]))


def test_a_task_that_kills_every_worker_is_named_and_the_others_go_on_if_asked(client):
    with pytest.raises(ClusterError, match=r"^frames 1 to 9: worker after worker died"):
        list(run(client, die, [("frames 1 to 9", None)]))
    (error,) = run(client, die, [("frames 1 to 9", None)], keep_going=True)
    assert error.task == "frames 1 to 9"
    assert list(run(client, operator.neg, [("after it", 1)])) == [-1]


def test_without_any_worker_there_is_an_end(tmp_path, monkeypatch):
    alone = scheduler_and_workers(tmp_path, 1, "--no-nanny")
    with alone as (address, _), connect(address) as client:
        monkeypatch.setattr("paincore.cluster.PATIENCE", 1)
        with pytest.raises(ClusterError, match="no worker for 1 s"):
            list(run(client, die, [("task", None)]))


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:9", "nowhere", "slurm"])
def test_a_scheduler_that_is_not_there_is_an_error_that_says_what_to_do(scheduler, monkeypatch):
    monkeypatch.setattr("paincore.cluster.PATIENCE", 1)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ClusterError, match=f"{scheduler}.*dask scheduler"), connect(scheduler):
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_each_local_worker_has_a_gpu_of_its_own_and_one_run_at_a_time():
    with connect(gpus=["3", "5"]) as client:
        workers = client.scheduler_info()["workers"].values()
        assert sorted(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["3", "5"]
        assert [(one["resources"], one["nthreads"]) for one in workers] == [({"GPU": 1}, 1)] * 2
    with pytest.raises(ClusterError, match="3 workers for 2 GPUs"), connect(None, 3, ["3", "5"]):
        pass


def pids(client) -> set[int]:
    return set(client.run(os.getpid).values())


def imported() -> bool:
    return "torch" in sys.modules


def test_the_processes_of_a_book_use_the_same_workers_unless_they_ask_for_their_own():
    with shared_workers():
        with connect() as first:
            of_all = pids(first)
            assert first.scheduler.address == os.environ[SHARED]
            if sys.platform == "linux":  # workers are forked, with what they need imported
                assert set(first.run(imported).values()) == {True}
        with shared_workers(), connect() as second:
            assert pids(second) == of_all
        with connect(workers=1) as own:
            assert not pids(own) & of_all
    assert SHARED not in os.environ
    with pytest.raises(ProcessLookupError):
        os.kill(next(iter(of_all)), 0)
