"""Compare this machine's results with the reference in the repository: `make check-results`.

The search of chapter 05 is opened, or trained where it is missing. F1 and AUC of each configuration
and fold, and their means over folds, are compared with reference/<profile>.json. Exits with 1 where
a score differs by more than its tolerance.

On one kind of processor a run repeats to the bit. Kinds differ in the last bit of a sum and of a
registered image, and training amplifies that, the more the higher the learning rate. So the corpus
is compared by its labels, not its images, and `TOLERANCES` are twice the largest differences
between the demo's 140 trainings on a processor with AVX2 and on one with AVX-512.

    python tools/check_results.py [--write]
"""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from paincore import PaincoreError
from paincore.ablations.search import Ablation, ablate
from paincore.data.frames import KEYS
from paincore.manifest import ROOT
from paincore.profiles import DEFAULT_PROFILE
from paincore.study import open_study

KEY = ["configuration", "learning_rate"]
SCORES = ["f1", "auc"]
TOLERANCES = (
    (2e-4, {"f1": (0.04, 0.01), "auc": (0.004, 0.002)}),
    (2e-3, {"f1": (0.07, 0.02), "auc": (0.015, 0.002)}),
    (math.inf, {"f1": (0.75, 0.13), "auc": (0.47, 0.07)}),
)
"""How far scores may differ, of one fold and of the folds' mean, up to a learning rate.

We have seen 0.019, 0.004, 0.0017 and 0.0007 up to 2e-4; 0.033, 0.010, 0.0072 and 0.0008 at 2e-3. At
2e-2 trainings fall apart: 0.38, 0.066, 0.23 and 0.034, so that a fold alone says nothing there.
"""

console = Console()


class ReferenceFileError(PaincoreError):
    """A reference that is missing, damaged, or of other data."""


def scores_of(ablations: Mapping[str, Ablation]) -> pd.DataFrame:
    """F1 and AUC of every configuration and fold: configuration, learning_rate, fold, f1, auc."""
    scores = pd.concat([one.scores for one in ablations.values()]).rename(
        columns={"title": "configuration"}
    )
    trials = [trial.configuration for one in ablations.values() for trial in one.trials]
    rates = {one.title: one.learning_rate for one in trials}
    scores["learning_rate"] = scores["configuration"].map(rates)
    return scores[[*KEY, "fold", *SCORES]]


def labels_of(frames: pd.DataFrame) -> str:
    """A SHA-256 of which frames a corpus has, and which of them are pain."""
    return sha256(frames[[*KEYS, "pain"]].to_csv(index=False).encode()).hexdigest()


def rests_on(ablations: Mapping[str, Ablation], frames: pd.DataFrame) -> dict[str, dict]:
    """What must be the same for a comparison to mean something, and what may differ."""
    runs = [run for one in ablations.values() for group in one.runs.values() for run in group]
    first = runs[0]
    return {
        "rests_on": {
            "labels": labels_of(frames),
            "design": first.rests_on["design"],
            "seeds": 1 + max(run.rests_on["seed"] for run in runs),
            "backbone": first.rests_on["backbone"],
        },
        "made_with": {
            "engine": first.rests_on["engine"],
            "device": first.rests_on["device"],
            **{name: first.environment.get(name) for name in ("torch", "machine")},
            "cpu_capability": first.environment.get("cpu_capability"),
        },
    }


def read_reference(path: Path) -> tuple[dict, pd.DataFrame]:
    """What a reference rests on, and its scores. Raises ReferenceFileError naming the file."""
    try:
        content = json.loads(path.read_text("utf-8"))
        columns = [*KEY, "fold", *SCORES]
        scores = pd.DataFrame(content.pop("scores"))[columns]
        scores = scores.astype(dict.fromkeys(columns[1:], "float64"))
        return {name: content[name] for name in ("rests_on", "made_with")}, scores
    except FileNotFoundError as fault:
        raise ReferenceFileError(f"{path} is not there: write it with --write.") from fault
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ReferenceFileError(f"{path} is damaged ({fault!r}). Write it anew.") from fault


def write_reference(path: Path, known: dict, scores: pd.DataFrame) -> None:
    """Write a reference, whole or not at all, one line for each configuration and fold."""
    rows = [
        json.dumps({name: None if value != value else value for name, value in row.items()})
        for row in scores.to_dict("records")
    ]
    head = json.dumps(known, indent=1).removesuffix("\n}")
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(head + ',\n "scores": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n", "utf-8")
        partial.replace(path)
    except OSError as fault:
        raise ReferenceFileError(f"{path} cannot be written ({fault.strerror}).") from fault


def check_alike(here: dict, there: dict) -> None:
    """Print in what else the two were made differently; raise ReferenceFileError for other data."""
    for name, value in here["rests_on"].items():
        if value != (known := there["rests_on"].get(name)):
            raise ReferenceFileError(
                f"the reference has {name} {known}, these runs have {value}: compare the same "
                "data, or write the reference anew."
            )
    for name, value in here["made_with"].items():
        if value != (known := there["made_with"].get(name)):
            said = f"{name}: {value} here, {known} in the reference; scores may differ for that."
            console.print(said, markup=False)


def compared_scores(here: pd.DataFrame, there: pd.DataFrame) -> pd.DataFrame:
    """A row for each score of the configurations in common, with the mean as fold "mean".

    Columns: configuration, score, fold, here, reference, tolerance, within. A score that one side
    alone has is not within.
    """
    both = _with_means(here).merge(
        _with_means(there), "outer", [*KEY, "fold", "score"], suffixes=("_here", "_reference")
    )
    both = both.rename(columns={"value_here": "here", "value_reference": "reference"})
    common = set(here["configuration"]) & set(there["configuration"])
    both = both[both["configuration"].isin(common)]
    both["tolerance"] = [
        next(limits for highest, limits in TOLERANCES if row.learning_rate <= highest)[row.score][
            row.fold == "mean"
        ]
        for row in both.itertuples()
    ]
    values = both["here"], both["reference"]
    within = np.isclose(*values, rtol=0, atol=both["tolerance"], equal_nan=True)
    return both.assign(within=within)


def _with_means(scores: pd.DataFrame) -> pd.DataFrame:
    """A row for each configuration, fold or mean of the folds, and score."""
    means = scores.groupby(KEY, as_index=False)[SCORES].mean().assign(fold="mean")
    folds = scores.assign(fold=scores["fold"].astype(int).astype(str))
    return pd.concat([folds, means]).melt([*KEY, "fold"], SCORES, "score")


def check(here: pd.DataFrame, there: pd.DataFrame) -> bool:
    """Print what differs from the reference; whether nothing does."""
    for side, own, other in (("here", here, there), ("in the reference", there, here)):
        if alone := sorted(set(own["configuration"]) - set(other["configuration"])):
            console.print(f"only {side}: {'; '.join(alone)}", markup=False)
    scores = compared_scores(here, there)
    differing = scores[~scores["within"]].drop(columns=["learning_rate", "within"])
    if len(differing):
        console.print(differing.round(4).to_string(index=False), markup=False, soft_wrap=True)
    console.print(
        f"{len(scores)} scores of {scores['configuration'].nunique()} configurations: "
        f"{(scores['here'] == scores['reference']).sum()} equal, {len(differing)} beyond tolerance."
    )
    return len(differing) == 0 and len(scores) > 0


def main(
    profile: str = DEFAULT_PROFILE,
    results: Annotated[Path | None, typer.Option(help="Where runs lie (default: results).")] = None,
    file: Annotated[Path | None, typer.Option(help="The reference, if another.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Make the reference anew.")] = False,
) -> None:
    """Compare, or with --write make the reference anew."""
    path = file or ROOT / "reference" / f"{profile}.json"
    try:
        study = open_study(profile, results=results, device="cpu")
        with study.sweep:
            found = ablate(study)
        failures = [failure for one in found.values() for failure in one.failures]
        for failure in failures:
            said = f"{failure.configuration.title} failed on fold {failure.fold}: {failure.message}"
            console.print(said, markup=False)
        known, scores = rests_on(found, study.corpus.frames), scores_of(found)
        if write:
            if failures:
                raise ReferenceFileError(f"{path} is not written: it needs every run.")
            write_reference(path, known, scores)
            console.print(f"The reference: {path}", soft_wrap=True)
            return
        there, theirs = read_reference(path)
        check_alike(known, there)
        if not check(scores, theirs):
            raise typer.Exit(1)
    except PaincoreError as error:
        Console(stderr=True).print(f"Error: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
