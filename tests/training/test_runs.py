import json
import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch

from paincore.training.configuration import configure
from paincore.training.runs import (
    CONFIG,
    ENVIRONMENT,
    HISTORY,
    METRICS,
    PREDICTIONS,
    VERSION,
    WEIGHTS,
    RunError,
    open_run,
    read_runs,
    write_run,
)

TABLES = {
    PREDICTIONS: pd.DataFrame({"pain": [True, False], "probability": [0.75, 0.5]}),
    HISTORY: pd.DataFrame({"step": [1], "loss": [0.7]}),
}


def write(folder, metrics=None, weights=None, environment=None):
    metrics = {"f1": math.nan, "frames": 2} if metrics is None else metrics
    rests_on = {"seed": 0}
    return write_run(folder, configure(), rests_on, metrics, environment or {}, TABLES, weights)


def test_a_run_reads_as_it_was_written(tmp_path):
    weights = {"head.bias": torch.tensor([0.5, -0.5])}
    write(tmp_path / "run", weights=weights)
    run = open_run(tmp_path / "run")
    assert run.configuration == configure()
    assert run.rests_on == {"seed": 0}
    assert math.isnan(run.metrics["f1"])
    assert run.metrics["frames"] == 2
    pd.testing.assert_frame_equal(run.predictions, TABLES[PREDICTIONS])
    pd.testing.assert_frame_equal(run.history, TABLES[HISTORY])
    assert run.weights == tmp_path / "run" / WEIGHTS


def test_metrics_are_json_that_other_programs_read(tmp_path):
    write(tmp_path / "run")
    text = (tmp_path / "run" / METRICS).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["f1"] is None


@pytest.mark.parametrize("name", [CONFIG, METRICS, ENVIRONMENT, PREDICTIONS, HISTORY])
def test_a_run_without_one_of_its_files_does_not_open(tmp_path, name):
    write(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(RunError, match=f"run is not a whole run: {name} missing"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("name", [CONFIG, METRICS, ENVIRONMENT])
def test_a_damaged_run_is_named(tmp_path, name):
    write(tmp_path / "run")
    (tmp_path / "run" / name).write_text('{"version": 2, "con')
    with pytest.raises(RunError, match=r"run is damaged .*Delete it and train again"):
        open_run(tmp_path / "run")


def test_a_damaged_table_is_named_when_it_is_asked_for(tmp_path):
    write(tmp_path / "run")
    (tmp_path / "run" / PREDICTIONS).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"predictions\.parquet is damaged"):
        _ = open_run(tmp_path / "run").predictions


def test_a_run_of_another_version_says_so(tmp_path):
    write(tmp_path / "run")
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    (tmp_path / "run" / CONFIG).write_text(json.dumps(config | {"version": 99}))
    with pytest.raises(RunError, match="written by version 99 of runs, this is version 2"):
        open_run(tmp_path / "run")


def test_the_run_that_was_there_first_stands_and_no_scrap_is_left(tmp_path):
    write(tmp_path / "run", environment={"process": 1})
    assert write(tmp_path / "run", environment={"process": 2}).environment == {"process": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


WITH_WEIGHTS = {"head.bias": torch.zeros(2)}


def test_a_run_without_weights_is_replaced_whole_by_one_that_has_them(tmp_path):
    write(tmp_path / "run", {"f1": 0.25}, environment={"process": 1})
    run = write(tmp_path / "run", {"f1": 0.75}, WITH_WEIGHTS, {"process": 2})
    assert run.weights.exists()
    assert (run.metrics, run.environment) == ({"f1": 0.75}, {"process": 2})
    again = write(tmp_path / "run", {"f1": 0.5}, WITH_WEIGHTS, {"process": 3})
    assert again.environment == {"process": 2}
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
        writers = [
            threading.Thread(target=write, args=(folder, {"f1": float(one)}, WITH_WEIGHTS))
            for one in range(3)
        ]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            open_run(folder)
        for writer in writers:
            writer.join()
        assert open_run(folder).weights
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_cannot_be_written_is_named_and_left_as_it_was(tmp_path):
    (tmp_path / "runs").write_text("a file where the folder would be")
    with pytest.raises(RunError, match="runs/run cannot be written"):
        write(tmp_path / "runs" / "run")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(RunError, match="No space left on device"):
        write(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


ENGINE = {"engine": 7, "torch": "2.0.1", "transformers": "5.0.0"}
CLOCK = {"started": 1e9, "prepare_seconds": 1.0, "train_seconds": 2.0, "test_seconds": 0.5}
RESTS_ON = {"store": "f00d", "design": "balanced", "device": "cpu"} | ENGINE


def simulate(results, count, first=0, **settings):
    """So many runs of all kinds, written as a training writes them, and what they hold."""
    expected = {}
    for number in range(first, first + count):
        rate = (2e-2, 2e-3, 2e-4, 2e-5)[number % 4]
        mixed = {} if number % 3 else {"mixup_alpha": 0.8}
        configuration = configure(learning_rate=rate, sam=number % 7 == 0, **mixed, **settings)
        rests_on = RESTS_ON | {"fold": number % 5 + 1, "seed": number // 20}
        f1 = None if number % 11 == 0 else number / 10_000
        metrics = {
            "f1": math.nan if f1 is None else f1,
            "auc": 0.75,
            "precision": 0.5,
            "steps": number,
        }
        key = f"{number * 2654435761 % 2**64:016x}"
        folder = results / "runs" / key
        if count > 100:  # tables are not read: thousands of them would only take time
            folder.mkdir(parents=True)
            config = {"version": VERSION, "configuration": configuration.model_dump(mode="json")}
            plain = metrics | {"f1": f1}
            (folder / CONFIG).write_text(json.dumps(config | {"rests_on": rests_on}))
            (folder / METRICS).write_text(json.dumps(plain))
            (folder / ENVIRONMENT).write_text(json.dumps(CLOCK))
            for name in (PREDICTIONS, HISTORY):
                (folder / name).touch()
        else:
            write_run(folder, configuration, rests_on, metrics, CLOCK, TABLES)
        expected[key] = configuration, rests_on, metrics
    return expected


def check_table(runs, expected):
    assert set(runs["key"]) == set(expected)
    assert len(runs) == len(expected)
    for row in runs.to_dict("records"):
        configuration, rests_on, metrics = expected[row["key"]]
        settings = {name: row[name] for name in configuration.model_dump()}
        if math.isnan(settings["mixup_alpha"]):
            settings["mixup_alpha"] = None
        assert settings == configuration.model_dump()
        assert {name: row[name] for name in rests_on} == rests_on
        assert row["f1"] == pytest.approx(metrics["f1"], nan_ok=True, abs=0)
        assert (row["precision_score"], row["steps"]) == (0.5, metrics["steps"])
        assert (row["seconds"], row["weights"]) == (3.5, False)
        assert row["started"] == pd.Timestamp(1e9, unit="s", tz="UTC")


def test_a_table_of_5000_runs_holds_what_each_says_read_or_from_the_index(tmp_path):
    expected = simulate(tmp_path, 5000)
    first = read_runs(tmp_path)
    assert first.left_out == []
    check_table(first.runs, expected)
    again = read_runs(tmp_path)
    pd.testing.assert_frame_equal(first.runs, again.runs)


def test_from_the_index_no_run_is_opened(tmp_path, monkeypatch):
    simulate(tmp_path, 3)
    first = read_runs(tmp_path)
    monkeypatch.setattr("paincore.training.runs.open_run", pytest.fail)
    pd.testing.assert_frame_equal(read_runs(tmp_path).runs, first.runs)


def test_the_folders_and_not_the_index_are_believed(tmp_path):
    expected = simulate(tmp_path, 6)
    read_runs(tmp_path)
    gone, changed, *_ = expected
    shutil.rmtree(tmp_path / "runs" / gone)
    del expected[gone]
    file = tmp_path / "runs" / changed / METRICS
    before = file.stat()
    file.write_text(file.read_text().replace('"precision": 0.5', '"precision": 0.9'))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # of the same size and time
    expected |= simulate(tmp_path, 2, first=6)
    runs = read_runs(tmp_path).runs.set_index("key")
    assert runs.loc[changed, "precision_score"] == 0.9
    runs.loc[changed, "precision_score"] = 0.5
    check_table(runs.reset_index(), expected)


def test_weights_that_are_added_later_are_seen(tmp_path):
    (key,) = simulate(tmp_path, 1)
    assert not read_runs(tmp_path).runs["weights"].any()
    (tmp_path / "runs" / key / WEIGHTS).touch()
    assert read_runs(tmp_path).runs["weights"].all()


def test_what_is_no_run_has_a_sentence_and_stays(tmp_path):
    expected = simulate(tmp_path, 4)
    folder = tmp_path / "runs"
    damaged, older, incomplete, _ = expected
    (folder / damaged / CONFIG).write_text("{")
    config = json.loads((folder / older / CONFIG).read_text())
    (folder / older / CONFIG).write_text(json.dumps(config | {"version": 0}))
    config["rests_on"].pop("fold")
    (folder / incomplete / CONFIG).write_text(json.dumps(config))
    (folder / ".0123456789abcdef-killed").mkdir()
    (folder / "notes.txt").touch()
    before = sorted(folder.rglob("*"))
    for _ in range(2):
        runs, left_out = read_runs(tmp_path)
        assert len(runs) == 1
        assert len(left_out) == 5
        for part in (
            f"{damaged} is damaged",
            f"{older} was written by version 0",
            f"{incomplete} is damaged (KeyError('fold'))",
            ".0123456789abcdef-killed is half-written",
            "notes.txt is no run",
        ):
            assert sum(part in sentence for sentence in left_out) == 1, part
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"PAR1", None])
def test_a_damaged_index_is_made_anew(tmp_path, content):
    expected = simulate(tmp_path, 3)
    if content is None:
        pd.DataFrame({"other": [1]}).to_parquet(tmp_path / "runs.parquet")
    else:
        (tmp_path / "runs.parquet").write_bytes(content)
    for _ in range(2):
        check_table(read_runs(tmp_path).runs, expected)


def test_an_index_that_cannot_be_written_is_done_without(tmp_path):
    expected = simulate(tmp_path, 3)
    (tmp_path / "runs.parquet").mkdir()
    check_table(read_runs(tmp_path).runs, expected)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "runs.parquet", ".runs.lock"}


def test_no_runs_are_a_table_with_the_same_columns(tmp_path):
    none = read_runs(tmp_path).runs
    assert len(none) == 0
    assert list(tmp_path.iterdir()) == []
    simulate(tmp_path, 1)
    assert set(none) <= set(read_runs(tmp_path).runs)


READER = """
import sys
from pathlib import Path
from paincore.training.runs import read_runs
from tests.training.test_runs import simulate
results, first = Path(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + 30):
    simulate(results, 1, first=number)
    runs, left_out = read_runs(results)
    assert runs["key"].is_unique and len(runs) >= number - first + 1, left_out
"""


def test_two_processes_may_write_runs_and_index_at_once(tmp_path):
    command = [sys.executable, "-c", READER, tmp_path]
    root = Path(__file__).parents[2]
    started = [subprocess.Popen([*command, first], cwd=root) for first in ("0", "30")]
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    expected = {f"{number * 2654435761 % 2**64:016x}" for number in range(60)}
    runs, left_out = read_runs(tmp_path)
    assert set(runs["key"]) == expected
    assert left_out == []
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "runs.parquet", ".runs.lock"}
