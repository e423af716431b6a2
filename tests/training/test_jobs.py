import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from paincore.data.facs import AUS
from paincore.folds.designs import Fold
from paincore.registration.store import open_store
from paincore.training import jobs
from paincore.training.configuration import configure
from paincore.training.jobs import Job, in_order, rests_alike_on, train_on_worker, unlike
from paincore.training.runs import RunError, open_run, runs_folder
from paincore.training.sweep import Sweep, check
from paincore.training.task import Task, TrainingError
from tests.helpers.trainable import fold_of, write_store_with_a_signal

QUICK = {"backbone": "random", "unfrozen_layers": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("jobs") / "store", subjects=6)


@pytest.fixture(scope="module")
def folds(store):
    return [fold_of(store, number) for number in (1, 2, 3)]


def test_a_disk_that_is_full_stops_the_sweep(store, folds, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs, "train_fold", full)
    job = job_of(store, folds[0], tmp_path)
    with pytest.raises(RunError, match="No space left on device"):
        train_on_worker(job)


def job_of(opened, fold, results, **changes) -> Job:
    alike, one = rests_alike_on(opened), configure(**QUICK)
    return replace(
        Job(opened.folder, alike, one, fold, 0, results, "cpu", keep_weights=False), **changes
    )


def test_a_worker_trains_on_the_threshold_of_the_store_that_was_opened(folds, store, tmp_path):
    """PSPI 2 where the other store has no pain and 5 where it has: all is pain at threshold 0."""
    folder = shutil.copytree(store.folder, tmp_path / "store")
    pspi = store.frames["pain"].map({True: 5.0, False: 2.0}).astype(float)
    aus = {f"au{au}": 0.0 for au in AUS}
    store.frames.assign(pspi=pspi, **aus).to_parquet(folder / "frames.parquet")
    stricter = open_store(folder, threshold=2)
    assert open_store(folder).frames["pain"].all()
    job = job_of(stricter, folds[0], tmp_path, threshold=stricter.threshold)
    assert train_on_worker(job) is None
    task = Task(stricter, job.configuration, folds[0], 0, torch.device("cpu"))
    run = open_run(runs_folder(tmp_path) / task.key)
    expected = store.frames["pain"].to_numpy(bool)[folds[0].test]
    np.testing.assert_array_equal(run.predictions["pain"], expected)


@pytest.mark.parametrize("name", ["engine", "torch", "transformers", "the store"])
def test_a_worker_on_which_runs_rest_otherwise_says_on_what(store, folds, tmp_path, name):
    alike = rests_alike_on(store)
    job = job_of(store, folds[0], tmp_path, alike=alike | {name: "another"})
    assert unlike(job) == f"{name} is {alike[name]} there, another here"
    assert unlike(job_of(store, folds[0], tmp_path)) == ""


def test_a_worker_without_the_store_or_a_gpu_says_so(store, folds, tmp_path, monkeypatch):
    job = job_of(store, folds[0], tmp_path, store=tmp_path / "nowhere", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    without_store, without_gpu = unlike(job).split("; ")
    assert "nowhere is not a whole frame store" in without_store
    assert without_gpu == "it has no GPU that torch can use"


def test_the_longest_go_first_after_one_of_each_kind(store, folds, tmp_path):
    def job(fold, **settings):
        return job_of(store, folds[fold], tmp_path, configuration=configure(**QUICK | settings))

    vivit = {"model": "vivit", "unfrozen_layers": 12}
    named = {
        "short": job(0),
        "short again": job(1, learning_rate=1e-2),
        "long": job(0, **vivit),
        "long again": job(1, **vivit),
        "sam": job(1, **vivit, sam=True),
    }
    assert in_order(named) == ["sam", "short", "long", "long again", "short again"]


def test_everything_that_cannot_run_is_stated_before_anything_is_trained(store, folds, tmp_path):
    small = type(store)(store.folder, store.images[:, ::2, ::2], store.frames, store.meta)
    configurations = [
        configure(**QUICK),
        configure(**QUICK | {"backbone": "nowhere"}),
        configure(**QUICK | {"unfrozen_layers": 13}),
    ]
    empty = Fold("balanced", 9, folds[0].train, folds[0].test[:0])
    strange = Fold("balanced", 8, folds[0].train, np.array([10**6]))
    with pytest.raises(TrainingError) as caught, Sweep(tmp_path, "cpu") as swept:
        swept.train(small, configurations, [*folds, empty, strange])
    said = str(caught.value).splitlines()
    assert said[0].startswith("Nothing was trained")
    expected = [
        "pictures of 24 px, random takes 48",
        "nowhere is no folder",
        "unfrozen_layers is 13; this encoder has 12",
        "fold 9 of balanced has nothing to test on",
        "fold 8 of balanced names frames",
    ]
    assert len(said) == 1 + len(expected)
    for sentence, part in zip(said[1:], expected, strict=True):
        assert part in sentence
    assert list(tmp_path.iterdir()) == []


def test_a_fold_without_pain_in_training_is_stated(store, folds):
    painless = np.flatnonzero(~store.frames["pain"].to_numpy(bool))
    train = np.intersect1d(folds[0].train, painless)
    with pytest.raises(TrainingError, match=r"vit, fold 1 of balanced: .*a class is empty"):
        check(store, [configure(**QUICK)], [Fold("balanced", 1, train, folds[0].test)])
