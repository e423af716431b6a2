"""What `paincore runs` and `paincore export-results` show of the runs of a results folder."""

from pathlib import Path

import pandas as pd

from paincore import __version__
from paincore.files import whole_file, writing
from paincore.style import mean_sd, number
from paincore.training.runs import Run, RunError

LEAST_FOLDS = 3  # of an exported mean
ENGINE = ["engine", "torch", "transformers"]
BASIS = ["backbone", "precision", "clip_stride", "design", "store", "labels", "device", *ENGINE]
"""What runs share that are averaged, beside their configuration's title.

`backbone` has the digest of its weights; random ones follow from the seed. `labels` is the digest
`Task.corpus`, "-" for runs that were written before it was.
"""


def runs_table(runs: list[Run]) -> pd.DataFrame:
    """A row for each run: its key, title, settings, what it rests on, scores and times."""
    rows = [
        run.rests_on
        | run.configuration.model_dump()
        | {
            "key": run.folder.name,
            "configuration": run.configuration.title,
            "store": run.rests_on["store"][:8],
            "labels": run.environment.get("corpus", "-")[:8],
            "backbone": _backbone(run),
            "f1": run.metrics["f1"],
            "auc": run.metrics["auc"],
            "seconds": run.seconds,
            "started": pd.Timestamp(run.environment["started"], unit="s"),
        }
        for run in runs
    ]
    order = ["model", "unfrozen_layers", "learning_rate", "configuration", "design", "fold", "seed"]
    return pd.DataFrame(rows).sort_values(order) if rows else pd.DataFrame(columns=order)


def _backbone(run: Run) -> str:
    name = run.configuration.backbone
    return name if name == "random" else f"{name} {run.rests_on['backbone'][:8]}"


def latest_engine(table: pd.DataFrame) -> pd.DataFrame:
    """The rows made with the engine, torch and transformers of the run that was started last."""
    if table.empty:
        return table
    return table[(table[ENGINE] == table.loc[table["started"].idxmax(), ENGINE]).all(axis=1)]


def each_configuration(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each configuration and what it rests on: F1 and AUC, mean ± standard deviation.

    Seeds are averaged within a fold, then folds are. A fold in which a score is not defined is left
    out of it.
    """
    shown, rows = ["configuration", *_differing(table)], []
    for _, group in table.groupby(["configuration", *BASIS], sort=False):
        folds = group.groupby("fold")[["f1", "auc"]].mean()
        counts = {"folds": len(folds), "runs": len(group)}
        scores = {"F1": mean_sd(folds["f1"]), "AUC": mean_sd(folds["auc"])}
        rows.append(group[shown].iloc[0].to_dict() | counts | scores)
    return pd.DataFrame(rows)


def each_run(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each run: its key, configuration, fold, seed, F1, AUC, seconds and start."""
    shown = ["key", "configuration", *_differing(table), "fold", "seed"]
    return table[shown].assign(
        F1=table["f1"].map(number),
        AUC=table["auc"].map(number),
        seconds=table["seconds"].round(1),
        started=table["started"].dt.strftime("%Y-%m-%d %H:%M"),
    )


def what_all_share(table: pd.DataFrame) -> str:
    """What the tables leave out, since all these runs rest on the same."""
    shared = [name for name in BASIS if name not in _differing(table)]
    return ", ".join(f"{name} {table[name].iloc[0]}" for name in shared)


def _differing(table: pd.DataFrame) -> list[str]:
    return [name for name in BASIS if table[name].nunique() > 1]


def write_results(table: pd.DataFrame, out: Path) -> Path:
    """What may leave the machine of a restricted corpus: scores over folds, one line each.

    A CSV of `each_configuration`, its first line, after #, what all of them share. No frame, label,
    prediction or weight is in it, and no score of one fold, which may be one person. Written whole.
    Raises RunError where there is no run, or fewer than three folds of a configuration.
    """
    if table.empty:
        raise RunError("there is no finished run to export: train some with paincore sweep")
    scores = each_configuration(table)
    few = scores[scores["folds"] < LEAST_FOLDS]
    if len(few):
        wrong = f"{few['configuration'].iloc[0]} has fewer than {LEAST_FOLDS} finished folds"
        raise RunError(f"{wrong}: its mean may tell of one person. Finish the sweep first.")
    heading = f"# paincore {__version__}; {what_all_share(table)}\n"
    with writing(out), whole_file(out) as partial:
        partial.write_text(heading + scores.to_csv(index=False), "utf-8")
    return out
