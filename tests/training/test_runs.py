import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch

from paincore.training.configuration import configure
from paincore.training.runs import CONFIG_FILE, Run, RunError, open_run, read_runs, write_run
from tests.helpers.trainable import TABLES, simulate
from tests.helpers.workers import calling, processes

WITH_WEIGHTS = {"head.bias": torch.zeros(2)}


def write(folder, metrics=None, weights=None, environment=None):
    metrics = metrics or {"f1": math.nan, "frames": 2}
    run = Run(folder, configure(), {"seed": 0}, metrics, environment or {})
    return write_run(run, *TABLES, weights)


def test_a_run_reads_as_it_was_written_and_its_json_is_json(tmp_path):
    write(tmp_path / "run", weights=WITH_WEIGHTS)
    run = open_run(tmp_path / "run")
    assert run.configuration == configure()
    assert run.rests_on == {"seed": 0}
    assert math.isnan(run.metrics["f1"])
    assert run.metrics["frames"] == 2
    pd.testing.assert_frame_equal(run.predictions, TABLES[0])
    pd.testing.assert_frame_equal(run.history, TABLES[1])
    assert run.weights == tmp_path / "run" / "weights.safetensors"
    text = (tmp_path / "run" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["f1"] is None


JSON = ["config.json", "metrics.json", "environment.json"]


@pytest.mark.parametrize("name", [*JSON, "predictions.parquet", "history.parquet"])
def test_a_run_that_is_not_whole_is_named(tmp_path, name):
    file = write(tmp_path / "run").folder / name
    file.write_text('{"version": 2, "con')
    for change in (lambda: None, file.unlink):
        change()
        with pytest.raises(RunError, match=r"run is damaged"):
            run = open_run(tmp_path / "run")
            assert run.predictions is run.history


def test_the_run_that_was_there_first_stands_unless_the_new_one_has_weights(tmp_path):
    write(tmp_path / "run", {"f1": 0.25}, environment={"process": 1})
    assert write(tmp_path / "run", environment={"process": 2}).environment == {"process": 1}
    run = write(tmp_path / "run", {"f1": 0.75}, WITH_WEIGHTS, {"process": 3})
    assert run.weights.exists()
    assert (run.metrics, run.environment) == ({"f1": 0.75}, {"process": 3})
    again = write(tmp_path / "run", {"f1": 0.5}, WITH_WEIGHTS, {"process": 4})
    assert again.environment == {"process": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("last", [1, 2])
def test_a_replacement_that_is_cut_short_leaves_a_whole_run_or_none(tmp_path, last, monkeypatch):
    write(tmp_path / "run", environment={"process": 1})
    rename, renamed = Path.rename, []

    def cut_short(path, target):
        renamed.append(target)
        if len(renamed) == last:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", cut_short)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "run", None, WITH_WEIGHTS, {"process": 2})
    monkeypatch.undo()
    if last == 1:
        assert open_run(tmp_path / "run").environment == {"process": 1}
    assert write(tmp_path / "run", None, WITH_WEIGHTS, {"process": 3}).environment["process"] == 3


def test_who_reads_a_run_while_several_replace_it_finds_one(tmp_path):
    for number in range(20):
        folder = tmp_path / f"{number}"
        write(folder)
        with ThreadPoolExecutor(3) as pool:
            writing = [pool.submit(write, folder, {"f1": 0.5}, WITH_WEIGHTS) for _ in range(3)]
            while not all(writer.done() for writer in writing):
                open_run(folder)
        assert open_run(folder).weights
    assert not list(tmp_path.glob(".*"))


def test_all_runs_are_read_and_what_is_none_has_a_sentence_and_stays(tmp_path):
    assert read_runs(tmp_path) == ([], [])
    written = simulate(tmp_path, 4)
    assert [run.folder.name for run in read_runs(tmp_path)[0]] == sorted(written)
    folder = tmp_path / "runs"
    damaged, older, gone, _ = written
    (folder / damaged / CONFIG_FILE).write_text("{")
    config = json.loads((folder / older / CONFIG_FILE).read_text())
    (folder / older / CONFIG_FILE).write_text(json.dumps(config | {"version": 0}))
    shutil.rmtree(folder / gone)
    (folder / ".0123456789abcdef-killed").mkdir()
    (folder / "notes.txt").touch()
    before = sorted(folder.rglob("*"))
    runs, left_out = read_runs(tmp_path)
    assert (len(runs), len(left_out)) == (1, 4)
    said = [
        f"{damaged} is damaged",
        f"{older} is of version 0",
        "-killed is half-written",
        "no run",
    ]
    for part in said:
        assert sum(part in sentence for sentence in left_out) == 1, part
    assert sorted(folder.rglob("*")) == before


def write_and_read(results: str, first: str) -> None:
    for number in range(30):
        simulate(Path(results), 1, first=int(first) + number)
        assert len(read_runs(Path(results))[0]) > number


def test_two_processes_may_write_and_read_runs_at_once(tmp_path):
    with processes(*(calling(write_and_read, tmp_path, first) for first in (0, 30))) as started:
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    runs, left_out = read_runs(tmp_path)
    assert (len(runs), left_out) == (60, [])
    assert {path.name for path in tmp_path.iterdir()} == {"runs", ".runs.lock"}
