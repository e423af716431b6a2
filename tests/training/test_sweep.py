import os
import pickle
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dask.distributed import Client

from paincore.cluster import DASK, ClusterError
from paincore.data.facs import AUS
from paincore.files import FileError
from paincore.folds.designs import Fold
from paincore.registration.store import open_store
from paincore.training import sweep
from paincore.training.configuration import configure
from paincore.training.runs import CONFIG_FILE
from paincore.training.samples import Task, TrainingError
from paincore.training.sweep import Sweep, TrainingJob, gpus_here, mismatch, train_on_worker
from paincore.training.train import train_fold
from tests.helpers.trainable import QUICK, fold_of, write_store_with_a_signal
from tests.helpers.workers import ROOT, processes, scheduler_and_workers


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("sweep") / "store", subjects=6)


@pytest.fixture(scope="module")
def folds(store):
    return [fold_of(store, number) for number in (1, 2, 3)]


def numbers(runs) -> list:
    """All that runs say of their fold, in a form that == compares to the bit."""
    return [
        (one.title, run.folder.name, run.metrics, run.predictions.to_dict("list"))
        for one, members in runs.items()
        for run in members
    ]


@pytest.fixture(scope="module")
def configurations():
    return [configure(**QUICK), configure(**QUICK, sam=True)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler with two workers, for all that does them no harm."""
    with scheduler_and_workers(tmp_path_factory.mktemp("log"), 2, "--no-nanny") as (found, _):
        yield found


@pytest.fixture(scope="module")
def reference(store, folds, configurations, tmp_path_factory):
    """What an uninterrupted sweep of one local worker gives."""
    with Sweep(tmp_path_factory.mktemp("reference"), "cpu", workers=1) as one:
        runs, failures = one.train(store, configurations, folds)
    assert failures == []
    return numbers(runs)


def test_a_killed_worker_s_run_is_done_again(store, folds, configurations, reference, tmp_path):
    """A worker without a nanny dies in the middle of its first run; nobody starts it again."""
    with (
        scheduler_and_workers(tmp_path, 2, "--no-nanny") as (address, workers),
        Sweep(tmp_path, "cpu", address) as swept,
    ):
        killer = threading.Thread(target=kill_at_work, args=(address, workers))
        killer.start()
        runs, failures = swept.train(store, configurations, folds)
        killer.join()
        assert [worker.poll() is None for worker in workers].count(False) == 1
    assert failures == []
    assert numbers(runs) == reference


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
    store, folds, configurations, reference, tmp_path, monkeypatch
):
    monkeypatch.setattr(sweep, "train_on_worker", dies_on_sam)
    monkeypatch.setitem(DASK, "distributed.scheduler.allowed-failures", 1)
    with Sweep(tmp_path, "cpu", workers=1) as swept:
        runs, (failure,) = swept.train(store, configurations, folds)
    assert (failure.configuration, failure.fold) == (configurations[1], 2)
    assert "balanced fold 2" in failure.message
    assert "worker after worker died on it" in failure.message
    assert "KilledWorker" in failure.traceback
    assert numbers(runs) == [run for run in reference if run[0] == "ViT 2 layers, 1e-3"] + [
        run for run in reference if "SAM" in run[0] and run[3]["fold"][0] != 2
    ]


def test_a_failed_run_is_reported_with_its_traceback_and_stops_no_other(
    store, folds, address, tmp_path, capsys
):
    good, bad = configure(**QUICK), configure(**QUICK | {"learning_rate": 1e38})
    with Sweep(tmp_path, "cpu", address) as swept:
        runs, failures = swept.train(store, [bad, good], folds[:2])
    assert [(failure.configuration, failure.fold) for failure in failures] == [(bad, 1), (bad, 2)]
    assert all("the loss is" in failure.message for failure in failures)
    assert all("in optimise" in failure.traceback for failure in failures)
    assert [len(runs[one]) for one in (bad, good)] == [0, 2]
    assert capsys.readouterr().out.count("Failed: ViT 2 layers, 1e38") == 2
    with pytest.raises(TrainingError, match="the loss is"), Sweep(tmp_path, "cpu", address) as one:
        one.train_all(store, [good, bad], folds[:1])


def test_what_is_there_is_opened_and_needs_no_worker(store, folds, reference, address, tmp_path):
    with Sweep(tmp_path, "cpu", address) as swept:
        swept.train(store, [configure(**QUICK)], folds)
    with Sweep(tmp_path, "cpu", scheduler="tcp://127.0.0.1:9") as again:
        runs, failures = again.train(store, [configure(**QUICK)], folds)
    assert failures == []
    assert numbers(runs) == reference[:3]


def test_small_models_are_kept_and_what_was_trained_without_is_trained_again(
    store, folds, address, tmp_path
):
    small, other = (configure(**QUICK | {"backbone": name}) for name in ("movement", "random"))
    before = train_fold(store, small, folds[0], results=tmp_path, device="cpu")
    assert before.weights is None
    with Sweep(tmp_path, "cpu", address) as swept:
        runs, _ = swept.train(store, [small, other], folds[:2])
        assert all(run.weights for run in runs[small])
        assert not any(run.weights for run in runs[other])
        named, _ = swept.train(store, [other], folds[:1], keep_weights=True)
    assert named[other][0].weights
    assert runs[small][0].predictions.equals(before.predictions)


def test_a_damaged_run_is_a_failure_and_stays_as_it_is(store, folds, address, tmp_path):
    with Sweep(tmp_path, "cpu", address) as swept:
        runs, _ = swept.train(store, [configure(**QUICK)], folds)
        damaged = runs[configure(**QUICK)][1].folder / CONFIG_FILE
        damaged.write_text("{")
        (tmp_path / "runs" / "notes.txt").write_text("foreign")
        (tmp_path / "runs" / ".0123456789abcdef-x").mkdir()
        runs, (failure,) = swept.train(store, [configure(**QUICK)], folds)
    assert [run.rests_on["fold"] for run in runs[configure(**QUICK)]] == [1, 3]
    assert failure.fold == 2
    assert "is damaged" in failure.message
    assert damaged.read_text() == "{"
    assert {"notes.txt", ".0123456789abcdef-x"} < {
        one.name for one in (tmp_path / "runs").iterdir()
    }


def test_a_worker_with_another_engine_stops_the_sweep_and_is_named(store, folds, tmp_path):
    shutil.copytree(ROOT / "paincore", tmp_path / "other" / "paincore")
    with (tmp_path / "other" / "paincore" / "files.py").open("a") as file:
        file.write("ENGINE_VERSION = -1\n")
    with (
        scheduler_and_workers(tmp_path, 1, "--no-nanny", cwd=tmp_path / "other") as (address, _),
        Sweep(tmp_path / "results", "cpu", address) as swept,
    ):
        said = r"Worker tcp://127\.0\.0\.1:\d+ cannot take part: engine is -1 there"
        with pytest.raises(ClusterError, match=said):
            swept.train(store, [configure(**QUICK)], folds)
    assert list((tmp_path / "results" / "runs").iterdir()) == []


def test_gpus_are_named_as_the_environment_names_them(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert gpus_here(torch.device("cuda")) == ["GPU-a", "GPU-b"]
    assert gpus_here(torch.device("cuda:1")) == ["GPU-b"]
    with pytest.raises(ClusterError, match="this machine has 2"):
        gpus_here(torch.device("cuda:2"))


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.helpers.trainable import fold_of
from paincore.training.configuration import configure
from paincore.registration.store import open_store
from paincore.training.sweep import Sweep

if __name__ == "__main__":
    store = open_store({store!r})
    quick = dict(backbone="random", unfrozen_layers=2, learning_rate=1e-3)
    configurations = [configure(**quick), configure(**quick, sam=True)]
    try:
        with Sweep({results!r}, "cpu", {address!r}, workers=1) as sweep:
            print("began", flush=True)
            sweep.train(store, configurations, [fold_of(store, number) for number in (1, 2, 3)])
    except KeyboardInterrupt:
        sys.exit("stopped")
    print("ended", flush=True)
"""


@contextmanager
def swept_elsewhere(tmp_path, store, results, count=1, address=None):
    """The reference's sweep in processes of their own."""
    script = tmp_path / "sweep_elsewhere.py"
    settings = {"root": str(ROOT), "store": str(store.folder), "results": str(results)}
    script.write_text(SCRIPT.format(**settings, address=address))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    with processes(*[[script]] * count, **pipes) as started:
        yield started


def runs_in(results: Path) -> int:
    return len([path for path in (results / "runs").glob("*") if path.name[0] != "."])


def test_killed_and_resumed_the_runs_are_the_same_to_the_bit(
    store, folds, configurations, reference, address, tmp_path
):
    results = tmp_path / "results"
    with swept_elsewhere(tmp_path, store, results) as (process,):
        while runs_in(results) < 2 and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert 2 <= runs_in(results) < 6
    with Sweep(results, "cpu", address) as swept:
        runs, failures = swept.train(store, configurations, folds)
    assert failures == []
    assert numbers(runs) == reference


heard = pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="Ctrl-C is ignored here, as by what a shell runs in its background",
)


@heard
def test_ctrl_c_ends_with_one_word_and_what_is_done_is_kept(
    store, folds, configurations, reference, address, tmp_path
):
    results = tmp_path / "results"
    with swept_elsewhere(tmp_path, store, results) as (process,):
        while not runs_in(results) and process.poll() is None:
            time.sleep(0.01)
        stop(process)
    assert 1 <= runs_in(results) < 6
    assert not list((results / "runs").glob(".*"))
    with Sweep(results, "cpu", address) as swept:
        runs, failures = swept.train(store, configurations, folds)
    assert failures == []
    assert numbers(runs) == reference


@heard
@pytest.mark.parametrize("seconds", [0.3, 2])
def test_ctrl_c_while_workers_start_ends_with_one_word(store, tmp_path, seconds):
    with swept_elsewhere(tmp_path, store, tmp_path / "results") as (process,):
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
    wait_for_the_end_of_group(process.pid)


def wait_for_the_end_of_group(number: int) -> None:
    """Until no process of it is left; never, if one stays."""
    with suppress(ProcessLookupError):
        while True:
            os.killpg(number, 0)
            time.sleep(0.05)


def test_two_processes_may_write_one_folder(
    store, folds, configurations, reference, address, tmp_path
):
    results = tmp_path / "results"
    with swept_elsewhere(tmp_path, store, results, 2, address) as both:
        for process in both:
            said, _ = process.communicate(timeout=300)
            assert said.rstrip().endswith("ended"), said
    assert runs_in(results) == 6
    assert not list((results / "runs").glob(".*"))
    with Sweep(results, "cpu", scheduler="tcp://127.0.0.1:9") as swept:
        runs, _ = swept.train(store, configurations, folds)
    assert numbers(runs) == reference


def test_results_elsewhere_or_not_writable_are_an_error(
    store, folds, address, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file/runs cannot be written .Not a directory"):
        Sweep(tmp_path / "file", "cpu", address).train(store, [configure(**QUICK)], folds)
    monkeypatch.setattr(sweep, "train_on_worker", trained_elsewhere)
    with (
        pytest.raises(ClusterError, match="results must be the same folder as here"),
        Sweep(tmp_path, "cpu", address) as swept,
    ):
        swept.train(store, [configure(**QUICK)], folds[:1])


def trained_elsewhere(job: TrainingJob) -> tuple:
    return job.name, None


def job_of(opened, fold, results, **rests_on) -> TrainingJob:
    task = Task(opened, configure(**QUICK), fold, 0, torch.device("cpu"))
    job = TrainingJob(task, task.rests_on | rests_on, results, False)
    return pickle.loads(pickle.dumps(job))


def test_a_worker_trains_on_the_store_and_threshold_that_were_opened(folds, store, tmp_path):
    """PSPI 2 where the other store has no pain and 5 where it has: all is pain at threshold 0."""
    folder = shutil.copytree(store.folder, tmp_path / "store")
    pspi = store.frames["pain"].map({True: 5.0, False: 2.0}).astype(float)
    aus = {f"au{au}": 0.0 for au in AUS}
    store.frames.assign(pspi=pspi, **aus).to_parquet(folder / "frames.parquet")
    job = job_of(open_store(folder, threshold=2), folds[0], tmp_path)
    assert mismatch(job) == ""
    np.testing.assert_array_equal(job.task.store.frames["pain"], store.frames["pain"])
    assert len(pickle.dumps(job)) < 20_000


@pytest.mark.parametrize("name", ["engine", "torch", "store"])
def test_a_worker_on_which_runs_rest_otherwise_says_on_what(store, folds, tmp_path, name):
    job = job_of(store, folds[0], tmp_path, **{name: "another"})
    assert mismatch(job) == f"{name} is {job.task.rests_on[name]} there, another here"


def test_a_disk_that_is_full_stops_the_sweep(store, folds, tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(FileError, match="cannot be written"):
        train_on_worker(job_of(store, folds[0], tmp_path))


def test_everything_that_cannot_run_is_stated_before_anything_is_trained(store, folds, tmp_path):
    small = replace(store, images=store.images[:, ::2, ::2])
    changes = {}, {"backbone": "nowhere"}, {"unfrozen_layers": 13}
    painless = np.flatnonzero(~store.frames["pain"].to_numpy(bool))
    odd = [
        Fold("balanced", 9, folds[0].train, folds[0].test[:0]),
        Fold("balanced", 8, folds[0].train, np.array([10**6])),
        Fold("balanced", 7, np.intersect1d(folds[0].train, painless), folds[0].test),
    ]
    with pytest.raises(TrainingError) as caught:
        Sweep(tmp_path, "cpu").train(
            small, [configure(**QUICK | change) for change in changes], [*folds, *odd]
        )
    said = str(caught.value).splitlines()[1:]
    expected = [
        "images of 24 px, random takes 48",
        "nowhere is no folder",
        "unfrozen_layers is 13; this encoder has 12",
        "fold 9 of balanced has nothing to test on",
        "fold 8 of balanced names frames",
        "balanced fold 7: .* a class is empty",
    ]
    assert len(said) == len(expected)
    for sentence, part in zip(said, expected, strict=True):
        assert re.search(part, sentence)
    assert list(tmp_path.iterdir()) == []
