"""The tables of the ablations, and the values that their figures show.

A score is F1 of the pain class by fold, seeds averaged within a fold. Mean and sample standard
deviation go over the folds in which it is defined.
"""

import math
from typing import NamedTuple

import pandas as pd

from paincore import paper
from paincore.ablations.search import Ablation, best_of
from paincore.statistics.bootstrap import always_pain, fold_values
from paincore.statistics.contrast_tests import corrected_t
from paincore.style import Finding, finding, from_to, mean_sd, number, scientific
from paincore.training.configuration import MODELS, SAM_RHO, Configuration

STEP_TITLES = {"layers": "trained layers", "rate": "learning rate", "sam": "SAM", "mixup": "Mixup"}
FAILED_RUN = "a run failed"


class StepValue(NamedTuple):
    """One value of a step, as figures show it.

    `f1` is F1 by fold, float, NaN where a fold has none; it is empty where a run failed. `printed`
    is the paper's mean, NaN where it prints none and None where it tried none. `kept` marks what
    the next step starts from; of SAM and Mixup, which no step follows, the highest mean.
    """

    label: str
    f1: pd.Series
    printed: float | None
    kept: bool


def step_values(ablation: Ablation, step: str) -> list[StepValue]:
    """The values of a step, learning rates from high to low."""
    trials = ablation.step(step)
    kept = ablation.kept.get(step) or best_of(trials, ablation.runs)
    if step == "rate":
        trials.sort(key=lambda trial: -trial.value)
    found = []
    for _, value, one in trials:
        tried = math.nan if value in paper.TRIED[step] else None
        printed = paper.PRINTED_F1[ablation.model, step].get(value, tried)
        f1 = score_by_fold(ablation, one)
        found.append(StepValue(_label(step, value), f1, printed, one == kept))
    return found


def _label(step: str, value: float | None) -> str:
    if value is None:
        return "without"
    if step == "mixup" and value != paper.MIXUP_ALPHA:
        return f"{value:g}\n(inferred)"
    return {"rate": scientific(value), "sam": f"with\n(rho {SAM_RHO:g})"}.get(step, f"{value:g}")


def score_by_fold(ablation: Ablation, configuration: Configuration, score: str = "f1") -> pd.Series:
    """A score of a configuration, index fold; empty where a run of it failed."""
    return ablation.scores[ablation.scores["title"] == configuration.title].set_index("fold")[score]


def always_pain_f1(ablation: Ablation) -> pd.Series:
    """F1 by fold of always saying pain, on the frames that the model was tested on."""
    return fold_values(always_pain(next(iter(ablation.predictions.values()))), "f1")


def runs_of_step(ablation: Ablation, step: str) -> pd.DataFrame:
    """A row for each run of a step: value, fold, seconds of the training loop, and metrics.

    `weight_change` is the norm of the change of the encoder's trained weights, over their norm.
    """
    rows = [
        {"model": MODELS[ablation.model], "value": trial.value, "fold": run.rests_on["fold"]}
        | {"seconds": run.environment.get("train_seconds"), **run.metrics}
        for trial in ablation.step(step)
        for run in ablation.runs.get(trial.configuration, ())
    ]
    metrics = ["steps", "weight_change", "train_samples", "mixed", "mixed_left_out"]
    return pd.DataFrame(rows, columns=["model", "value", "fold", "seconds", *metrics])


def steps_of_epoch(ablation: Ablation) -> str:
    """Optimiser steps of an epoch here, as "97 to 102" where folds differ."""
    return from_to(runs_of_step(ablation, "rate")["steps"])


def sam_cost_table(ablations: dict[str, Ablation]) -> pd.DataFrame:
    """Seconds of the training loop without and with SAM, and their ratio on the same folds.

    A row a model: medians over folds, seeds averaged before, and the range of the ratio. Medians,
    because the first run of a process also loads SAM's library.
    """
    rows = []
    for ablation in ablations.values():
        runs = runs_of_step(ablation, "sam")
        seconds = runs.groupby(["fold", runs["value"].notna()])["seconds"].mean().unstack()
        without, with_sam = (seconds.get(added, pd.Series()) for added in (False, True))
        ratio = (with_sam / without).dropna()
        cells = (number(each.median()) for each in (without, with_sam, ratio))
        rows.append((MODELS[ablation.model], *cells, from_to(ratio, "{:.2f}")))
    columns = ["model", "without SAM (s)", "with SAM (s)", "ratio", "ratio by fold"]
    return pd.DataFrame(rows, columns=columns)


def mixed_table(ablations: dict[str, Ablation]) -> pd.DataFrame:
    """How many samples of an epoch Mixup replaced by a blend, and how many had no partner.

    A row a model and fold; ranges are over alpha and seeds, without those of which a run failed.
    """
    runs = pd.concat([runs_of_step(ablation, "mixup") for ablation in ablations.values()])
    names = {"train_samples": "samples", "mixed": "mixed", "mixed_left_out": "no partner"}
    groups = runs.dropna(subset="value").rename(columns=names).groupby(["model", "fold"])
    return groups[[*names.values()]].agg(from_to).reset_index()


def trials_table(ablations: dict[str, Ablation]) -> pd.DataFrame:
    """Every configuration: its step, F1 and AUC as mean ± sd over folds, and what was kept."""
    rows = []
    for ablation in ablations.values():
        best = f"best of {len(ablation.trials)}"
        notes = {f"{step} kept": one for step, one in ablation.kept.items()} | {best: ablation.best}
        for step, _, one in ablation.trials:
            f1, auc = (score_by_fold(ablation, one, score) for score in ("f1", "auc"))
            scores = (FAILED_RUN if each.empty else mean_sd(each) for each in (f1, auc))
            noted = ", ".join(note for note, noted in notes.items() if noted == one)
            rows.append((STEP_TITLES[step], one.title, *scores, noted))
    return pd.DataFrame(rows, columns=["step", "configuration", "F1", "AUC", "note"])


def failures_table(ablations: dict[str, Ablation]) -> pd.DataFrame:
    """Every training that failed, and its message."""
    rows = [
        (each.configuration.title, f"{each.fold}", f"{each.seed}", each.message)
        for ablation in ablations.values()
        for each in ablation.failures
    ]
    return pd.DataFrame(rows, columns=["configuration", "fold", "seed", "failure"])


def ablation_findings(ablations: dict[str, Ablation]) -> list[Finding]:
    """Of each model: the best against always pain, SAM, and Mixup at the paper's alpha.

    The estimate is the mean over folds of a difference of F1. The intervals are those of the
    corrected resampled t, and hold together (Bonferroni).
    """
    asked = {}
    for model, ablation in ablations.items():
        name, base = MODELS[model], score_by_fold(ablation, ablation.kept["rate"])
        best = score_by_fold(ablation, ablation.best)
        asked[f"{ablation.best.title} − always pain"] = best - always_pain_f1(ablation)
        for step, value in (("sam", True), ("mixup", paper.MIXUP_ALPHA)):
            question = f"{name} with {STEP_TITLES[step]} − without"
            asked[question] = score_by_fold(ablation, ablation.tried(step, value)) - base
    tests = {question: corrected_t(each.to_numpy(), len(asked)) for question, each in asked.items()}
    return [finding(question, t.mean, t.low, t.high) for question, t in tests.items()]
