import math

import pandas as pd
import pytest

from paincore.training.runs import RunError
from paincore.training.runs_tables import (
    configurations_table,
    each_table,
    latest_engine,
    selected,
    what_all_share,
    write_results,
)

ROW = {
    "key": "0" * 16,
    "model": "vit",
    "backbone": "movement",
    "unfrozen_layers": 12,
    "learning_rate": 2e-4,
    "sam": False,
    "mixup_alpha": math.nan,
    "protocol": "paper",
    "precision": "fp32",
    "clip_stride": 1,
    "shuffled_labels": False,
    "design": "balanced",
    "fold": 1,
    "seed": 0,
    "store": "f00df00df00d",
    "device": "cpu",
    "engine": 7,
    "torch": "2.0.1",
    "transformers": "5.0.0",
    "f1": 0.5,
    "auc": 0.5,
    "seconds": 3.25,
    "weights": False,
    "started": pd.Timestamp("2026-01-02 03:04:05", tz="UTC"),
}


def table(*changes: dict) -> pd.DataFrame:
    return pd.DataFrame([ROW | change for change in changes])


def test_seeds_are_averaged_within_a_fold_before_mean_and_spread_are_taken():
    runs = table(
        {"fold": 1, "seed": 0, "f1": 0.2},
        {"fold": 1, "seed": 1, "f1": 0.6},
        {"fold": 2, "seed": 0, "f1": 0.6, "auc": math.nan},
        {"fold": 2, "seed": 1, "f1": 0.6, "auc": math.nan},
    )
    (row,) = configurations_table(runs).to_dict("records")
    assert row == {
        "configuration": "ViT 12 layers, 2e-4",
        "folds": "2",
        "runs": "4",
        "F1": "0.50 ± 0.14",  # of 0.4 and 0.6
        "AUC": "0.50 ± -",
    }


@pytest.mark.parametrize(
    "change", [{"mixup_alpha": 0.8}, {"design": "published"}, {"store": "beef"}, {"engine": 8}]
)
def test_what_differs_in_more_than_fold_and_seed_is_another_line(change):
    assert len(configurations_table(table({}, {"fold": 2}, change))) == 2


def test_what_differs_is_a_column_and_what_does_not_is_said_once():
    runs = table({}, {"store": "beefbeefbeef"})
    shown = configurations_table(runs)
    assert list(shown["store"]) == ["f00df00d", "beefbeef"]
    assert not {"backbone", "design", "engine", "device", "precision", "stride"} & set(shown)
    said = (
        "backbone movement, precision fp32, stride 1, design balanced, device cpu, "
        "engine 7, torch 2.0.1, transformers 5.0.0"
    )
    assert what_all_share(runs) == said


def test_each_run_is_a_line_with_its_key():
    (row,) = each_table(table({"weights": True})).to_dict("records")
    assert row["key"] == "0" * 16
    assert (row["fold"], row["F1"], row["seconds"]) == ("1", "0.50", "3.2")
    assert (row["weights"], row["started"]) == ("kept", "2026-01-02 03:04")


def test_runs_are_selected_by_all_that_is_given():
    runs = table({}, {"sam": True}, {"sam": True, "learning_rate": 2e-5})
    assert len(selected(runs, {"sam": None})) == 3
    assert len(selected(runs, {"sam": True, "learning_rate": 2e-5})) == 1
    assert len(selected(runs, {"sam": False})) == 1


def test_the_latest_engine_is_that_of_the_run_started_last():
    later = {"torch": "2.0.2", "started": ROW["started"] + pd.Timedelta("1s")}
    assert list(latest_engine(table({}, later, {}))["torch"]) == ["2.0.2"]
    assert latest_engine(table({}).iloc[:0]).empty


def test_what_is_exported_is_of_all_folds_and_names_nobody(tmp_path):
    rows = [{"fold": fold, "f1": fold / 10, "auc": 0.6} for fold in range(1, 6)]
    out = write_results(table(*rows), tmp_path / "results.csv")
    first, *rest = out.read_text().splitlines()
    assert first.startswith("# paincore")
    found = pd.read_csv(out, comment="#")
    assert len(found) == len(rest) - 1 == 1
    assert found["F1"].tolist() == ["0.30 ± 0.16"]
    assert {"fold", "key", "subject", "probability", "started"}.isdisjoint(found.columns)
    with pytest.raises(RunError, match="2 finished folds"):
        write_results(table(*rows[:2]), tmp_path / "few.csv")
    with pytest.raises(RunError, match="no finished run"):
        write_results(table(*rows).head(0), tmp_path / "none.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv"]
