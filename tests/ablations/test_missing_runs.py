import shutil

import pytest

from paincore.ablations import missing_runs
from paincore.ablations.search import ablate, layer_trials
from paincore.folds.designs import make_folds
from paincore.training.configuration import configure
from paincore.training.runs import METRICS_FILE, runs_folder
from paincore.training.sweep import Sweep
from paincore.training.train import train_fold
from tests.ablations.test_search import InThisProcess
from tests.helpers.trainable import write_store_with_a_signal


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small search of ViT, trained on two folds: 28 runs."""
    root = tmp_path_factory.mktemp("search")
    store = write_store_with_a_signal(root / "store", subjects=4, sequences=1)
    folds = make_folds(store.frames, "leave_one_subject_out", store.usable)[:2]
    start = configure(backbone="random")
    found = ablate(InThisProcess(root), store, folds, [start])["vit"]
    return root, store, folds, start, found


def missing(trained, results, seeds=1) -> int:
    _, store, folds, start, _ = trained
    return missing_runs.count(Sweep(results, "cpu"), store, folds, [start], "greedy", seeds)


def test_a_whole_search_misses_nothing_and_an_empty_folder_everything(trained, tmp_path):
    assert missing(trained, trained[0]) == 0
    assert missing(trained, tmp_path) == 14 * 2
    assert not list(tmp_path.iterdir())  # nothing was trained, nothing written
    assert missing(trained, trained[0], seeds=2) == 2 * 28 - 12  # the step of layers alone is seen


def test_a_missing_or_damaged_run_of_the_last_step_is_counted_alone(trained, tmp_path):
    root, *_, found = trained
    copied = tmp_path / "results"
    shutil.copytree(runs_folder(root), runs_folder(copied))
    sam = found.runs[found.step("sam")[0].configuration]
    shutil.rmtree(runs_folder(copied) / sam[0].folder.name)
    assert missing(trained, copied) == 1
    (runs_folder(copied) / sam[1].folder.name / METRICS_FILE).unlink()
    assert missing(trained, copied) == 2


def test_a_small_model_whose_weights_were_not_kept_is_missing(tmp_path):
    store = write_store_with_a_signal(tmp_path / "store", subjects=4, sequences=1)
    folds = make_folds(store.frames, "leave_one_subject_out", store.usable)[:2]
    start = configure(backbone="movement")
    (first,) = layer_trials(start)[:1]
    for fold, kept in zip(folds, (True, False), strict=True):
        train_fold(store, first.configuration, fold, results=tmp_path, device="cpu",
                   keep_weights=kept, show_progress=False)  # fmt: skip
    missing = missing_runs.count(Sweep(tmp_path, "cpu"), store, folds, [start], "greedy", 1)
    assert missing == 28 - 1


def test_a_missing_run_of_the_first_step_hides_the_next_ones(trained, tmp_path):
    root, *_, found = trained
    shutil.copytree(runs_folder(root), runs_folder(tmp_path))
    run = found.runs[found.step("layers")[0].configuration][0]
    shutil.rmtree(runs_folder(tmp_path) / run.folder.name)
    assert missing(trained, tmp_path) == 28 - 11


def test_the_command_names_what_was_given_and_quotes_it():
    assert missing_runs.command(profile="demo", seeds=None) == "paincore sweep --profile demo"
    given = missing_runs.command(data_root="my corpus", path="paper")
    assert given == "paincore sweep --data-root 'my corpus' --path paper"


def test_the_sentence_says_how_many_and_how_before_they_are_trained():
    assert "there" in missing_runs.sentence(0, profile="demo")
    said = missing_runs.sentence(140, profile="demo", design="balanced")
    assert "**Up to 140 runs of the search are missing.**" in said
    assert "\npaincore sweep --profile demo --design balanced\n" in said
