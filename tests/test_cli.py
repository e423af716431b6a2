import shutil
import sys
from functools import partial
from unittest.mock import Mock

import cv2
import numpy as np
import pandas as pd
import pytest

from paincore import cli
from paincore.ablations.search import Ablation
from paincore.manifest import load_manifest
from paincore.training.sweep import Failure
from tests.helpers.trainable import simulate


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line; its exit status, standard output and standard error."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["paincore", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def words_of(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_data_lists_every_data_set_and_asset_of_the_manifest(run):
    status, out, _ = run("data")
    manifest = load_manifest()
    assert status == 0
    assert all(name in out for name in [*manifest.datasets, *manifest.assets])


def test_verify_shows_what_differs_from_the_expected_counts_and_fails(run, miniature, tmp_path):
    miniature.picture(2).write_bytes(b"")
    miniature.facs(3).write_text("x")
    (miniature.root / "Images/notes.txt").touch()
    arguments = ("--data-root", miniature.root, "--results", tmp_path)
    status, out, _ = run("data", "verify", "unbc", *arguments, "--all")
    assert status == 1
    words = words_of(out)
    assert ["frames", "48398", "12", "True"] in words
    assert ["frames", "of", "tv095", "809", "3", "True"] in words
    assert ["frames", "with", "PSPI", "0", "40029", "10", "False"] in words
    for name in (miniature.picture(2).name, miniature.facs(3).name, "Images/notes.txt"):
        assert name in out


def test_verify_passes_a_corpus_as_it_was_made_and_no_other(
    run, drawn_corpus, tmp_path, monkeypatch
):
    entry = drawn_corpus.dataset
    two = entry.model_copy(update={"expected": entry.expected.model_copy(update={"subjects": 2})})
    monkeypatch.setitem(load_manifest().datasets, "synthetic", two)
    root = shutil.copytree(drawn_corpus.root, tmp_path / "corpus")
    arguments = ("data", "verify", "synthetic", "--data-root", root, "--results", tmp_path / "r")
    status, out, _ = run(*arguments)
    assert status == 0 and "1 of 1 counts as expected" in out
    image = root / drawn_corpus.frames["image"][drawn_corpus.frames["state"] == "ok"].iloc[0]
    cv2.imwrite(str(image), np.zeros((30, 40, 3), np.uint8))
    status, out, _ = run(*arguments)
    assert status == 1 and "are not those that were made" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fetch", "landmark"), "no asset 'landmark'"),
        (("fetch", "landmarker", "--file", "nowhere"), "nowhere is not a file"),
        (("data", "verify", "unbc"), "give the corpus folder as data_root"),
        (("data", "verify", "unbc", "--data-root", "nowhere"), "nowhere: no such folder"),
        (("data", "verify", "unbk"), "no data set 'unbk'"),
        (("book", "--profile", "demos"), "'demos'"),
        (("book", "--device", "gpu"), "unknown device 'gpu'; there are cpu, cuda"),
    ],
)
def test_an_error_of_the_user_is_one_line_on_standard_error(run, arguments, sentence):
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ") and err.count("\n") == 1
    assert sentence in err


def test_register_prints_how_many_frames_are_in_each_state(run, miniature, tmp_path):
    miniature.picture(2).write_bytes(b"")
    status, out, _ = run(
        "register",
        *("--dataset", "unbc", "--data-root", miniature.root, "--results", tmp_path),
        *("--backend", "landmarks", "--size", "32", "--workers", "1"),
    )
    assert status == 0
    counted = {line[0]: line for line in words_of(out) if line}
    assert "11" in counted["bad_landmarks"] and "1" in counted["truncated"]
    (store,) = (tmp_path / "stores").glob("unbc-landmarks-*")
    assert f"The store: {store}" in out


def test_runs_lists_configurations_or_each_run_and_what_is_no_run(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run("runs", "--results", tmp_path)[:2] == (0, "0 of 0 runs\n")
    keys = set(simulate(tmp_path, 20)) | set(simulate(tmp_path, 5, first=20, model="vivit"))
    (tmp_path / "runs" / "notes.txt").touch()
    status, out, err = run("runs", "--results", tmp_path)
    assert (status, err) == (0, "")
    assert "25 of 25 runs" in out
    assert f"left out: {tmp_path / 'runs' / 'notes.txt'} is no run" in out
    _, out, _ = run("runs", "--results", tmp_path, "--each")
    assert keys == {line[0] for line in words_of(out) if line and line[0] in keys}


def test_runs_of_another_engine_are_counted_and_listed_when_asked_for(run, tmp_path, monkeypatch):
    simulate(tmp_path, 4)
    monkeypatch.setattr("paincore.training.runs_tables.latest_engine", lambda table: table[:1])
    _, out, _ = run("runs", "--results", tmp_path)
    assert "1 of 4 runs" in out and "3 are of another engine or torch" in out
    _, out, _ = run("runs", "--results", tmp_path, "--all")
    assert "4 of 4 runs" in out


@pytest.fixture
def sweep(run, drawn_store, drawn_corpus, monkeypatch):
    """Run `paincore sweep` on a corpus so small that its folds are made up."""
    monkeypatch.setattr("paincore.study.make_folds", lambda frames, design, usable: [design])
    results = drawn_corpus.root.parent / "results"
    where = ("--dataset", "synthetic", "--data-root", drawn_corpus.root, "--results", results)
    options = (*where, "--design", "published", "--profile", "smoke", "--device", "cpu")
    return partial(run, "sweep", *options)


def test_ctrl_c_in_a_sweep_says_that_what_is_trained_is_kept(sweep, monkeypatch):
    interrupted = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("paincore.ablations.search.ablate", interrupted)
    status, out, err = sweep()
    assert (status, err) == (130, "")
    assert "Stopped. What is trained is kept" in out


def test_a_sweep_with_a_failed_run_ends_with_status_1_and_names_it(sweep, monkeypatch):
    asked = []

    def search(study, path, model):
        (start,) = study.starts(model)
        asked.append((study.folds, start.model, path, study.seeds))
        failed = Failure(start, 2, 0, "the loss is nan", "Traceback\nTrainingError: nan")
        return {"vivit": Ablation("vivit", failures=[failed])}

    monkeypatch.setattr("paincore.ablations.search.ablate", search)
    monkeypatch.setattr("paincore.ablations.tables.trials_table", lambda _: pd.DataFrame())
    status, out, _ = sweep("--model", "vivit", "--path", "paper", "--seeds", "3")
    assert asked == [(["published"], "vivit", "paper", 3)]
    assert status == 1
    assert "the loss is nan" in out
