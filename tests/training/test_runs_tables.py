from dataclasses import replace

import pandas as pd
import pytest

from paincore.training import runs_tables
from paincore.training.runs import RunError
from tests.helpers.trainable import simulate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    (found,) = simulate(tmp_path_factory.mktemp("results"), 1, first=2).values()
    return found


def table(run, *changes: dict) -> pd.DataFrame:
    """The table of runs that differ from `run` by settings, by what they rest on, or by scores."""
    runs = []
    for change in changes:
        parts = {}
        for part in ("metrics", "rests_on", "environment"):
            known = getattr(run, part)
            parts[part] = known | {name: change[name] for name in change.keys() & known.keys()}
        settings = {name: change[name] for name in change if name in ("mixup_alpha", "sam")}
        configuration = run.configuration.model_copy(update=settings)
        runs.append(replace(run, configuration=configuration, **parts))
    return runs_tables.runs_table(runs)


def test_seeds_are_averaged_within_a_fold_before_mean_and_deviation_are_taken(run):
    runs = table(
        run,
        {"fold": 1, "seed": 0, "f1": 0.2},
        {"fold": 1, "seed": 1, "f1": 0.6},
        {"fold": 2, "seed": 0, "f1": 0.6, "auc": float("nan")},
        {"fold": 2, "seed": 1, "f1": 0.6, "auc": float("nan")},
    )
    (row,) = runs_tables.each_configuration(runs).to_dict("records")
    assert (row["folds"], row["runs"]) == (2, 4)
    assert row["F1"] == "0.50 ± 0.14"  # of 0.4 and 0.6
    assert row["AUC"] == "0.75 ± -"


CHANGES = [{"mixup_alpha": 0.8}, {"design": "published"}, {"store": "beef"}, {"engine": 8}]


@pytest.mark.parametrize("change", [*CHANGES, {"backbone": "f00d"}, {"corpus": "f00d"}])
def test_what_differs_in_more_than_fold_and_seed_is_another_line(run, change):
    assert len(runs_tables.each_configuration(table(run, {}, {"fold": 2}, change))) == 2


def test_what_differs_is_a_column_and_what_does_not_is_said_once(run):
    runs = table(run, {}, {"store": "beefbeefbeef"})
    for shown in (runs_tables.each_configuration(runs), runs_tables.each_run(runs)):
        assert list(shown["store"]) == ["f00df00d", "beefbeef"]
        assert not {"backbone", "design", "engine", "device"} & set(shown)
    assert runs_tables.what_all_share(runs).startswith(
        "backbone movement c0ffee, precision fp32, clip_stride 1, "
    )


def test_the_latest_engine_is_the_one_of_the_run_that_started_last(run):
    later = table(run, {}, {"torch": "2.0.2", "started": 2e9}, {})
    assert list(runs_tables.latest_engine(later)["torch"]) == ["2.0.2"]
    assert runs_tables.latest_engine(runs_tables.runs_table([])).empty


def test_what_is_exported_is_of_all_folds_and_names_nobody(run, tmp_path):
    rows = [{"fold": fold, "f1": fold / 10} for fold in range(1, 6)]
    out = runs_tables.write_results(table(run, *rows), tmp_path / "results.csv")
    assert out.read_text().startswith("# paincore")
    found = pd.read_csv(out, comment="#")
    assert found["F1"].tolist() == ["0.30 ± 0.16"]
    assert set(found) == {"configuration", "folds", "runs", "F1", "AUC"}
    with pytest.raises(RunError, match="fewer than 3 finished folds"):
        runs_tables.write_results(table(run, *rows[:2]), tmp_path / "few.csv")
    with pytest.raises(RunError, match="no finished run"):
        runs_tables.write_results(runs_tables.runs_table([]), tmp_path / "none.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv"]
