"""The demo's results as the repository keeps them, and how this machine's compare.

A reference is a JSON file with what the runs rest on and, for each model, what was chosen and every
configuration's F1 and AUC by fold. On one kind of processor a run repeats to the bit. Kinds differ
in the last bit of a sum and of a registered picture, and training amplifies that, the more the
higher the rate. `TOLERANCES` are twice the largest differences between the demo's 140 trainings on
a processor with AVX2 and on one with AVX-512, where the search chose the same throughout.
"""

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.ablations.search import Ablation
from paincore.manifest import ROOT
from paincore.statistics.scores import fold_scores
from paincore.training.configuration import MODELS, Configuration

VERSION = 2
SCORES = ("f1", "auc")
COLUMNS = ("model", "configuration", "score", "fold", "here", "reference", "tolerance")
TOLERANCES = (
    (2e-4, {"f1": (0.04, 0.01), "auc": (0.004, 0.002)}),
    (2e-3, {"f1": (0.07, 0.02), "auc": (0.015, 0.002)}),
    (2e-2, {"f1": (0.75, 0.13), "auc": (0.47, 0.07)}),
)
"""How far scores may differ, of one fold and of the folds' mean, up to a learning rate.

Seen were 0.019, 0.004, 0.0017 and 0.0007 up to 2e-4; 0.033, 0.010, 0.0072 and 0.0008 at 2e-3. At
2e-2 trainings fall apart: 0.38, 0.066, 0.23 and 0.034, so that a fold alone says nothing there.
"""

RESTS_ON = ("store", "design", "seeds", "backbone")
"""What must be the same for a comparison to have a meaning."""

CHOICES = {
    "layers": "the best number of layers",
    "rate": "the best rate",
    "best": "the best of all",
}

OTHER = {
    "engine": "The engine (ENGINE_VERSION) is not the one that the reference was made with: "
    "figures may differ for that reason.",
    "device": "The reference was made on another kind of device.",
}


class ReferenceFileError(PaincoreError):
    """A reference that is missing, damaged, or of other data."""


def reference_file(profile: str) -> Path:
    """Where the repository keeps the results of a profile."""
    return ROOT / "reference" / f"{profile}.json"


def write_reference(ablations: Mapping[str, Ablation], path: Path) -> None:
    """Write the results of a search, whole or not at all.

    Raises ReferenceFileError where a run failed or the disk refuses.
    """
    failed = [failure for one in ablations.values() for failure in one.failures]
    if failed:
        raise ReferenceFileError(
            f"{failed[0].configuration.title} failed on fold {failed[0].fold}: a reference needs "
            "every run. See why, and run again."
        )
    content = {
        "version": VERSION,
        **_rests_on(ablations),
        "models": {model: _model(ablation) for model, ablation in ablations.items()},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(content, indent=1, allow_nan=False) + "\n")
            Path(partial).chmod(0o644)
            Path(partial).replace(path)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as fault:
        raise ReferenceFileError(f"{path} cannot be written ({fault.strerror}).") from fault


def _rests_on(ablations: Mapping[str, Ablation]) -> dict:
    """What the runs rest on, of which all have the same, and what they were made with."""
    runs = [run for one in ablations.values() for group in one.runs.values() for run in group]
    first = runs[0]
    return {
        **{name: first.rests_on[name] for name in ("store", "design", "backbone", "engine")},
        "seeds": 1 + max(run.rests_on["seed"] for run in runs),
        "device": first.rests_on["device"],
        "made_with": {
            name: first.environment.get(name) for name in ("torch", "machine", "cpu_capability")
        },
    }


def _model(ablation: Ablation) -> dict:
    """What was chosen of a model, by title, and every trial's scores."""
    scored = _scored(ablation)
    return {
        "chosen": _chosen(ablation),
        "trials": [
            {
                "step": trial.step,
                "value": trial.value,
                "configuration": trial.configuration.model_dump(mode="json"),
                **scored[trial.configuration],
            }
            for trial in ablation.trials
        ],
    }


def _scored(ablation: Ablation) -> dict[Configuration, dict]:
    """Fold numbers, F1 and AUC by fold and on average, of all that has them; None for no score."""
    found = {}
    for configuration, predictions in ablation.predictions.items():
        folds = fold_scores(predictions)
        found[configuration] = {"folds": folds["fold"].astype(int).tolist()}
        for score in SCORES:
            values = [*folds[score], folds[score].mean()]
            *each, mean = (None if math.isnan(value) else float(value) for value in values)
            found[configuration] |= {score: each, f"mean_{score}": mean}
    return found


def _chosen(ablation: Ablation) -> dict[str, str]:
    return {name: getattr(ablation, name).title for name in ("layers", "rate", "best")}


def read_reference(path: Path) -> dict:
    """A reference, as `write_reference` wrote it.

    Raises ReferenceFileError where it is missing, damaged or of another version.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if (version := content["version"]) != VERSION:
            raise ReferenceFileError(
                f"{path} is of version {version}, this is version {VERSION}. Write it anew."
            )
        for model in content["models"].values():
            for trial in model["trials"]:
                trial["configuration"] = Configuration(**trial["configuration"])
                lengths = {len(trial[name]) for name in ("folds", *SCORES)}
                if len(lengths) != 1:
                    raise ValueError(f"{trial['configuration'].title} has no score for each fold")
                _ = [trial[f"mean_{score}"] for score in SCORES]
            _ = [model["chosen"][name] for name in ("layers", "rate", "best")]
        _ = [content[name] for name in (*RESTS_ON, "engine", "device", "made_with")]
    except FileNotFoundError as fault:
        raise ReferenceFileError(f"{path} is not there: write it with --write.") from fault
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ReferenceFileError(f"{path} is damaged ({fault!r}). Write it anew.") from fault
    return content


def notes(ablations: Mapping[str, Ablation], reference: dict) -> list[str]:
    """What to know before the figures: another choice first, then other code, device, failures.

    Raises ReferenceFileError for results of other data, folds, seeds or backbone.
    """
    here = _rests_on(ablations)
    for name in RESTS_ON:
        if here[name] != reference[name]:
            raise ReferenceFileError(
                f"the reference has {name} {reference[name]}, these runs have {here[name]}: "
                "compare the same data, or write the reference anew."
            )
    said = []
    for model, ablation in ablations.items():
        there = reference["models"].get(model, {"chosen": {}})["chosen"]
        for name, title in _chosen(ablation).items():
            if title != there.get(name):
                said.append(
                    f"{MODELS[model]}: {CHOICES[name]} is {title} here and {there.get(name)} in "
                    "the reference. The configurations in common are compared."
                )
    for name in ("engine", "device"):
        if here[name] != reference[name]:
            said.append(OTHER[name])
    for name, value in here["made_with"].items():
        if value != (there := reference["made_with"].get(name)):
            said.append(f"{name}: {value} here, {there} in the reference: last bits may differ.")
    for ablation in ablations.values():
        said += [
            f"{failure.configuration.title} failed here on fold {failure.fold}: {failure.message}"
            for failure in ablation.failures
        ]
    return said


def compare(ablations: Mapping[str, Ablation], reference: dict) -> pd.DataFrame:
    """Every F1 and AUC of the configurations in common, here and in the reference.

    A row for each model, configuration, score and fold, with the mean as fold "mean": model,
    configuration (its title), score, fold, here, reference, tolerance, difference, within. A score
    that one side alone has is not within.
    """
    rows = []
    for model, ablation in ablations.items():
        scored = _scored(ablation)
        for trial in reference["models"].get(model, {"trials": []})["trials"]:
            configuration = trial["configuration"]
            if configuration in scored:
                named = (model, configuration.title)
                rate = configuration.learning_rate
                limits = next(limits for highest, limits in TOLERANCES if rate <= highest)
                rows += [(*named, *row) for row in _rows(scored[configuration], trial, limits)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    values = table[["here", "reference"]].astype(np.float64)
    table["difference"] = values["here"] - values["reference"]
    no_score = values.isna().all(axis=1)
    table["within"] = no_score | (table["difference"].abs() <= table["tolerance"])
    return table


def _rows(here: dict, there: dict, limits: dict) -> list[tuple]:
    """Score, fold, here, reference and tolerance of one configuration."""
    rows = []
    for score in SCORES:
        of_fold, of_mean = limits[score]
        own, theirs = (dict(zip(one["folds"], one[score], strict=True)) for one in (here, there))
        for fold in sorted(own | theirs):
            rows.append((score, str(fold), own.get(fold), theirs.get(fold), of_fold))
        mean = f"mean_{score}"
        rows.append((score, "mean", here[mean], there[mean], of_mean))
    return rows
