import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from dask.distributed import Client

from paincore.cluster import DASK, ClusterError
from paincore.data.facs import AUS
from paincore.files import FileError
from paincore.folds.designs import Fold
from paincore.registration.frame_store import open_store
from paincore.training import sweep
from paincore.training.configuration import configure
from paincore.training.runs import CONFIG_FILE
from paincore.training.samples import Task, TrainingError
from paincore.training.sweep import Sweep, TrainingJob, gpus_here, train_on_worker
from tests.helpers.trainable import QUICK, fold_of, write_store_with_a_signal
from tests.helpers.workers import ROOT, calling, processes, scheduler_and_workers

PLAIN = configure(**QUICK)
BOTH = [PLAIN, configure(**QUICK, sam=True)]
NOBODY = "tcp://127.0.0.1:9"  # no scheduler


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("sweep") / "store", subjects=6)


@pytest.fixture(scope="module")
def folds(store):
    return [fold_of(store, number) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler with two workers, for all that does them no harm."""
    with scheduler_and_workers(tmp_path_factory.mktemp("log"), 2, "--no-nanny") as (found, _):
        yield found


@pytest.fixture(scope="module")
def swept(store, folds):
    """Sweeps into a folder: what its runs say, in a form that == compares to the bit; failures."""

    def train(results, address=None, configurations=BOTH, **how):
        with Sweep(results, "cpu", address, workers=1) as one:
            runs, failures = one.train(store, configurations, folds, **how)
        said = [
            (one.title, run.folder.name, run.metrics, run.predictions.to_dict("list"))
            for one, members in runs.items()
            for run in members
        ]
        return said, failures

    return train


@pytest.fixture(scope="module")
def reference(swept, tmp_path_factory):
    """What an uninterrupted sweep of one local worker gives."""
    return swept(tmp_path_factory.mktemp("reference"))


def test_a_killed_worker_s_run_is_done_again(swept, reference, tmp_path):
    """A worker without a nanny dies in the middle of its first run; nobody starts it again."""
    with scheduler_and_workers(tmp_path, 2, "--no-nanny") as (address, workers):
        killer = threading.Thread(target=kill_at_work, args=(address, workers))
        killer.start()
        assert swept(tmp_path, address) == reference
        killer.join()
        assert [worker.poll() is None for worker in workers].count(False) == 1


def kill_at_work(address: str, workers: list[subprocess.Popen]) -> None:
    """SIGKILL the first worker that has a run."""
    with Client(address, set_as_default=False) as client:
        while True:
            for worker, tasks in client.processing().items():
                if tasks:
                    pid = client.run(os.getpid, workers=[worker])[worker]
                    assert pid in [process.pid for process in workers]
                    os.kill(pid, signal.SIGKILL)
                    return
            time.sleep(0.01)


def dies_on_sam(job: TrainingJob) -> tuple:
    """A worker that one configuration kills, as lack of memory would."""
    if job.task.configuration.sam and job.task.fold.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_on_worker(job)


def test_a_run_that_kills_worker_after_worker_is_a_failure_and_the_others_go_on(
    swept, reference, tmp_path, monkeypatch
):
    monkeypatch.setattr(sweep, "train_on_worker", dies_on_sam)
    monkeypatch.setitem(DASK, "distributed.scheduler.allowed-failures", 1)
    said, (failure,) = swept(tmp_path)
    assert (failure.configuration, failure.fold) == (BOTH[1], 2)
    assert "balanced fold 2" in failure.message and "worker after worker" in failure.message
    assert "KilledWorker" in failure.traceback
    assert said == [*reference[0][:4], reference[0][5]]


def test_a_failed_run_is_reported_with_its_traceback_and_stops_no_other(
    swept, store, folds, address, tmp_path, capsys
):
    bad = configure(**QUICK | {"learning_rate": 1e38})
    said, failures = swept(tmp_path, address, [bad, PLAIN])
    assert [(failure.configuration, failure.fold) for failure in failures] == [
        (bad, number) for number in (1, 2, 3)
    ]
    assert all("the loss is" in failure.message for failure in failures)
    assert all("in optimise" in failure.traceback for failure in failures)
    assert [title for title, *_ in said] == [PLAIN.title] * 3
    assert capsys.readouterr().out.count("Failed: ViT 2 layers, 1e38") == 3
    with pytest.raises(TrainingError, match="the loss is"), Sweep(tmp_path, "cpu", address) as one:
        one.train_all(store, [PLAIN, bad], folds[:1])


def test_a_damaged_run_is_a_failure_and_stays_as_it_is(swept, address, tmp_path):
    (_, second, _), _ = swept(tmp_path, address, [PLAIN])
    damaged = tmp_path / "runs" / second[1] / CONFIG_FILE
    damaged.write_text("{")
    (tmp_path / "runs" / "notes.txt").write_text("foreign")
    said, (failure,) = swept(tmp_path, address, [PLAIN])
    assert [run[3]["fold"][0] for run in said] == [1, 3]
    assert failure.fold == 2 and "is damaged" in failure.message
    assert damaged.read_text() == "{"
    assert (tmp_path / "runs" / "notes.txt").exists()


def test_a_worker_with_another_engine_stops_the_sweep_and_is_named(swept, tmp_path):
    shutil.copytree(ROOT / "paincore", tmp_path / "other" / "paincore")
    with (tmp_path / "other" / "paincore" / "files.py").open("a") as file:
        file.write("ENGINE_VERSION = -1\n")
    with scheduler_and_workers(tmp_path, 1, "--no-nanny", cwd=tmp_path / "other") as (address, _):
        said = r"Worker tcp://127\.0\.0\.1:\d+: engine is -1 there"
        with pytest.raises(ClusterError, match=said):
            swept(tmp_path / "results", address)
    assert not list((tmp_path / "results" / "runs").glob("*"))


def test_gpus_are_named_as_the_environment_names_them(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert gpus_here(torch.device("cuda")) == ["GPU-a", "GPU-b"]
    assert gpus_here(torch.device("cuda:1")) == ["GPU-b"]
    with pytest.raises(ClusterError, match="this machine has 2"):
        gpus_here(torch.device("cuda:2"))


def sweep_into(results: str, store: str, address: str) -> None:
    """The reference's sweep."""
    opened = open_store(Path(store))
    try:
        with Sweep(results, "cpu", address or None, workers=1) as one:
            print("began", flush=True)
            one.train(opened, BOTH, [fold_of(opened, number) for number in (1, 2, 3)])
    except KeyboardInterrupt:
        sys.exit("stopped")
    print("ended", flush=True)


def swept_elsewhere(tmp_path, store, count=1, address=""):
    """The reference's sweep in processes of their own."""
    command = calling(sweep_into, tmp_path / "results", store.folder, address)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return processes(*[command] * count, **pipes)


def runs_in(results: Path) -> int:
    return len(list((results / "runs").glob("[!.]*")))


def wait_for_runs(results: Path, count: int, process: subprocess.Popen) -> None:
    while runs_in(results) < count and process.poll() is None:
        time.sleep(0.01)


def test_killed_and_resumed_the_runs_are_the_same_to_the_bit(
    swept, store, reference, address, tmp_path
):
    results = tmp_path / "results"
    with swept_elsewhere(tmp_path, store) as (process,):
        wait_for_runs(results, 2, process)
        os.killpg(process.pid, signal.SIGKILL)
    assert 2 <= runs_in(results) < 6
    assert swept(results, address) == reference


heard = pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="Ctrl-C is ignored here, as by what a shell runs in its background",
)


@heard
def test_ctrl_c_ends_with_one_word_and_what_is_done_is_kept(
    swept, store, reference, address, tmp_path
):
    results = tmp_path / "results"
    with swept_elsewhere(tmp_path, store) as (process,):
        wait_for_runs(results, 1, process)
        stop(process)
    assert 1 <= runs_in(results) < 6
    assert not list((results / "runs").glob(".*"))
    assert swept(results, address) == reference


@heard
@pytest.mark.parametrize("seconds", [0.3, 2])
def test_ctrl_c_while_workers_start_ends_with_one_word(store, tmp_path, seconds):
    with swept_elsewhere(tmp_path, store) as (process,):
        assert process.stdout.readline() == "began\n"
        time.sleep(seconds)
        stop(process)


def stop(process: subprocess.Popen) -> None:
    """Ctrl-C, as a terminal sends it, to workers too; nothing is left, nor said but one word."""
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    lines = [line for line in said.splitlines() if not line.startswith(("Training ", "began"))]
    assert lines == ["stopped"]
    with suppress(ProcessLookupError):
        while True:  # until no process of the group is left; for ever, if one stays
            os.killpg(process.pid, 0)
            time.sleep(0.05)


def test_two_processes_may_write_one_folder(swept, store, reference, address, tmp_path):
    results = tmp_path / "results"
    with swept_elsewhere(tmp_path, store, 2, address) as both:
        for process in both:
            said, _ = process.communicate(timeout=300)
            assert said.rstrip().endswith("ended"), said
    assert runs_in(results) == 6
    assert not list((results / "runs").glob(".*"))
    assert swept(results, NOBODY) == reference


def trained_elsewhere(job: TrainingJob) -> tuple:
    return job.name, None


def test_results_elsewhere_or_not_writable_are_an_error(swept, address, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file/.* cannot be written .Not a directory"):
        swept(tmp_path / "file", NOBODY)  # found before there is a worker
    with monkeypatch.context() as patch:  # as root may write anywhere, a disk that refuses
        refused = PermissionError(13, "Permission denied")
        patch.setattr(sweep, "TemporaryFile", mock.Mock(side_effect=refused))
        with pytest.raises(FileError, match=r"cannot be written .Permission denied"):
            swept(tmp_path / "other", NOBODY)
    monkeypatch.setattr(sweep, "train_on_worker", trained_elsewhere)
    with pytest.raises(ClusterError, match="its run is not in"):
        swept(tmp_path, address)


def job_of(opened, fold, results) -> TrainingJob:
    task = Task(opened, PLAIN, fold, 0, torch.device("cpu"))
    return TrainingJob(task, task.rests_on, results, False)


def test_a_worker_trains_on_the_store_and_threshold_that_were_opened(folds, store, tmp_path):
    """PSPI 2 where the other store has no pain and 5 where it has: all is pain at threshold 0."""
    folder = shutil.copytree(store.folder, tmp_path / "store")
    pspi = store.frames["pain"].map({True: 5.0, False: 2.0}).astype(float)
    aus = {f"au{au}": 0.0 for au in AUS}
    store.frames.assign(pspi=pspi, **aus).to_parquet(folder / "frames.parquet")
    sent = pickle.dumps(job_of(open_store(folder, threshold=2), folds[0], tmp_path))
    job = pickle.loads(sent)
    assert job.task.rests_on == job.rests_on
    np.testing.assert_array_equal(job.task.store.frames["pain"], store.frames["pain"])
    assert len(sent) < 20_000


def test_what_cannot_run_is_stated_before_anything_is_trained(store, folds, tmp_path):
    train, test = folds[0].train, folds[0].test
    painless = train[~store.frames["pain"].to_numpy(bool)[train]]
    small = replace(store, images=store.images[:, ::2, ::2])
    nowhere = configure(**QUICK | {"backbone": "nowhere"})
    for opened, configuration, fold, said in (
        (small, PLAIN, folds[0], "images of 24 px, random takes 48"),
        (store, nowhere, folds[0], "nowhere is no folder"),
        (store, PLAIN, Fold("odd", 9, train, test[:0]), "fold 9 of odd has 80 samples .* and 0"),
        (store, PLAIN, Fold("odd", 8, train, np.array([10**6])), "fold 8 of odd names frames"),
        (store, PLAIN, Fold("odd", 7, painless, test), "odd fold 7: .* a class is empty"),
    ):
        with pytest.raises(TrainingError, match=f"Nothing was trained.*{said}"):
            Sweep(tmp_path, "cpu").train(opened, [PLAIN, configuration], [folds[0], fold])
    assert list(tmp_path.iterdir()) == []
