"""What `paincore runs` shows of the table of all runs: a line a configuration, or a line a run."""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from paincore import __version__
from paincore.training.configuration import Configuration
from paincore.training.runs import RESTS_ON, SETTINGS, RunError

LEAST_FOLDS = 3  # of an exported mean
ENGINE = ["engine", "torch", "transformers"]
MADE_BY = ("store", "device", *ENGINE)
SHOWN_WHERE_THEY_DIFFER = ("backbone", "precision", "stride", "design", *MADE_BY)


def selected(runs: pd.DataFrame, wanted: Mapping[str, object]) -> pd.DataFrame:
    """The runs whose columns have these values; None is any."""
    for name, value in wanted.items():
        if value is not None:
            runs = runs[runs[name] == value]
    return runs


def latest_engine(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs made with the engine, torch and transformers of the one that was started last."""
    if runs.empty:
        return runs
    return runs[(runs[ENGINE] == runs.loc[runs["started"].idxmax(), ENGINE]).all(axis=1)]


def configurations_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each configuration, design, store, device and engine: its folds, F1 and AUC.

    Seeds are averaged within a fold, then folds are: mean ± sample standard deviation. A fold in
    which a score is not defined is left out of it.
    """
    groups = [*SETTINGS, *(name for name in RESTS_ON if name not in ("fold", "seed"))]
    rows = []
    for _, group in runs.groupby(groups, dropna=False, sort=False):
        folds = group.groupby("fold")[["f1", "auc"]].mean()
        rows.append(
            _heading(group.iloc[0])
            | {
                "folds": str(len(folds)),
                "runs": str(len(group)),
                "F1": _spread(folds["f1"]),
                "AUC": _spread(folds["auc"]),
            }
        )
    return _differing(pd.DataFrame(rows))


def write_results(runs: pd.DataFrame, out: Path) -> Path:
    """What may leave the machine of a restricted corpus: scores over folds, one line each.

    A CSV of `configurations_table`, its first line, after #, what all of them share. No frame,
    label, prediction or weight is in it, and no score of one fold, which may be one person. Written
    whole. Raises RunError where there is no run, or fewer than three folds of a configuration.
    """
    if runs.empty:
        raise RunError("there is no finished run to export: train some with paincore sweep")
    table = configurations_table(runs)
    few = table[table["folds"].astype(int) < LEAST_FOLDS]
    if len(few):
        raise RunError(
            f"{few['configuration'].iloc[0]} has {few['folds'].iloc[0]} finished folds: a mean "
            f"over fewer than {LEAST_FOLDS} may tell of one person. Finish the sweep first."
        )
    half = out.with_name(f".{out.name}.half")
    shared = what_all_share(runs)
    half.write_text(f"# paincore {__version__}; {shared}\n{table.to_csv(index=False)}", "utf-8")
    return half.replace(out)


def each_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run: its key, configuration, fold, seed, F1, AUC, seconds and start."""
    rows = [
        {"key": row["key"]}
        | _heading(row)
        | {
            "fold": str(row["fold"]),
            "seed": str(row["seed"]),
            "F1": _number(row["f1"]),
            "AUC": _number(row["auc"]),
            "seconds": f"{row['seconds']:.1f}",
            "weights": "kept" if row["weights"] else "",
            "started": f"{row['started']:%Y-%m-%d %H:%M}",
        }
        for row in runs.to_dict("records")
    ]
    return _differing(pd.DataFrame(rows))


def _heading(row: Mapping[str, object]) -> dict[str, str]:
    settings = {name: row[name] for name in SETTINGS}
    if math.isnan(settings["mixup_alpha"]):
        settings["mixup_alpha"] = None
    one = Configuration(**settings)
    return {
        "configuration": one.title,
        "backbone": one.backbone,
        "precision": one.precision,
        "stride": str(one.clip_stride),
        "design": row["design"],
        **{name: str(row[name])[:8] for name in MADE_BY},
    }


def what_all_share(runs: pd.DataFrame) -> str:
    """The settings that the tables leave out, since all these runs have the same."""
    headings = pd.DataFrame([_heading(row) for row in runs.to_dict("records")])
    shared = [name for name in SHOWN_WHERE_THEY_DIFFER if headings[name].nunique() == 1]
    return ", ".join(f"{name} {headings[name].iloc[0]}" for name in shared)


def _differing(table: pd.DataFrame) -> pd.DataFrame:
    alike = [name for name in SHOWN_WHERE_THEY_DIFFER if table[name].nunique() == 1]
    return table.drop(columns=alike)


def _spread(values: pd.Series) -> str:
    return f"{_number(values.mean())} ± {_number(values.std())}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
