import json
import math

import pandas as pd
import pytest
import torch

from paincore.configuration import configure
from paincore.runs import (
    CONFIG,
    ENVIRONMENT,
    HISTORY,
    METRICS,
    PREDICTIONS,
    WEIGHTS,
    RunError,
    open_run,
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
    (tmp_path / "run" / name).write_text('{"version": 1, "con')
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
    with pytest.raises(RunError, match="written by version 99 of runs, this is version 1"):
        open_run(tmp_path / "run")


def test_the_run_that_was_there_first_stands_and_no_scrap_is_left(tmp_path):
    write(tmp_path / "run", environment={"process": 1})
    assert write(tmp_path / "run", environment={"process": 2}).environment == {"process": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_weights_are_added_to_a_run_that_has_none(tmp_path):
    write(tmp_path / "run")
    run = write(tmp_path / "run", weights={"head.bias": torch.zeros(2)})
    assert run.weights.exists()


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
