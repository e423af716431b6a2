import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from paincore.training.configuration import configure
from paincore.training.runs import CONFIG_FILE, Run, RunError, open_run, read_runs, write_run
from tests.helpers.trainable import TABLES, simulate
from tests.helpers.workers import calling, processes

WEIGHTS = {"head.bias": torch.zeros(2)}


def write(folder, metrics=None, environment=None):
    metrics = metrics or {"f1": math.nan, "frames": 2}
    run = Run(folder, configure(), {"seed": 0}, metrics, environment or {})
    return write_run(run, *TABLES, WEIGHTS)


def test_a_run_reads_as_it_was_written_and_its_json_is_json(tmp_path):
    write(tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.configuration == configure()
    assert run.rests_on == {"seed": 0}
    assert math.isnan(run.metrics["f1"])
    assert run.metrics["frames"] == 2
    pd.testing.assert_frame_equal(run.predictions, TABLES[0])
    pd.testing.assert_frame_equal(run.history, TABLES[1])
    assert load_file(run.weights)["head.bias"].tolist() == [0, 0]
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


def test_the_run_that_was_there_first_stands_and_nothing_is_left_beside_it(tmp_path, monkeypatch):
    write(tmp_path / "run", environment={"process": 1})
    assert write(tmp_path / "run", environment={"process": 2}).environment == {"process": 1}
    with monkeypatch.context() as patch:  # who was faster came after this one had looked
        patch.setattr(Path, "exists", lambda path: False)
        assert write(tmp_path / "run", environment={"process": 3}).environment == {"process": 1}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: write(tmp_path / "new", {"f1": n}), range(4)))
    assert len({run.metrics["f1"] for run in found}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "run"]


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
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
