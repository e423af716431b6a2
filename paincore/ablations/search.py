"""Configurations of each model, tried one setting after another (sections 3.3 and 4.1 to 4.4).

The best of a step has the highest mean F1 over folds, seeds averaged within a fold first. As in the
paper, it is chosen on the folds that are also reported. A configuration of which a run failed
cannot be chosen by its score. Of equals the first is chosen.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore import PaincoreError, paper
from paincore.folds.designs import Fold
from paincore.statistics.bootstrap import fold_values
from paincore.statistics.scores import fold_scores
from paincore.training.configuration import Configuration, configure
from paincore.training.runs import Run, predictions_of
from paincore.training.sweep import Failure

PATHS = ("greedy", "paper")
TUNED = {"layers": "unfrozen_layers", "rate": "learning_rate", "sam": "sam", "mixup": "mixup_alpha"}
"""The steps, and the setting of `Configuration` that each tunes."""


def values_to_try() -> dict[str, list]:
    """The values that each step tries: the paper's. A value more is a configuration more.

    "rate" starts from the best of "layers"; "sam" and "mixup" both start from the best of "rate".
    """
    return {
        "layers": [2, 4, 6, 8, 10, 12],  # attention layers that train, at a learning rate of 2e-4
        "rate": [2e-2, 2e-3, 2e-5, 2e-6],  # Adam's learning rate; "layers" has tried 2e-4
        "sam": [True],  # sharpness-aware minimisation around Adam
        "mixup": [0.2, 0.5, 0.8],  # Mixup's alpha; the paper names 0.8 alone, we infer the others
    }


class ExperimentError(PaincoreError):
    """A search that cannot be made, or that leaves nothing to choose."""


class Trial(NamedTuple):
    """A configuration that is tried: its step, the value that the step tries, and all settings."""

    step: str
    value: float | None
    configuration: Configuration


@dataclass
class Ablation:
    """What was tried of one model, in the order of `values_to_try`, and what came of it.

    `runs` holds the runs of every configuration of which none failed, `failures` those that failed.
    `kept` has the configuration that the steps "layers" and "rate" end with.
    """

    model: str
    trials: list[Trial] = field(default_factory=list)
    runs: dict[Configuration, list[Run]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    kept: dict[str, Configuration] = field(default_factory=dict)

    @cached_property
    def predictions(self) -> dict[Configuration, pd.DataFrame]:
        """Out-of-fold predictions of every configuration of which no run failed."""
        tried = [trial.configuration for trial in self.trials]
        return {one: predictions_of(self.runs[one]) for one in tried if one in self.runs}

    @cached_property
    def scores(self) -> pd.DataFrame:
        """`fold_scores` of every configuration of which no run failed, with its title."""
        tables = self.predictions.items()
        parts = [fold_scores(table).assign(title=one.title) for one, table in tables]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def best(self) -> Configuration:
        """The configuration with the highest mean F1 of all."""
        return best_of(self.trials, self.runs)

    def step(self, name: str) -> list[Trial]:
        """What one step chooses from: its trials, after what they are compared with.

        That is for "rate" the rate of the step before; for "sam" and "mixup" the configuration that
        they are added to, as the value None.
        """
        own = [trial for trial in self.trials if trial.step == name]
        if name == "layers":
            return own
        before = self.kept["layers" if name == "rate" else "rate"]
        return [Trial(name, before.learning_rate if name == "rate" else None, before), *own]

    def tried(self, step: str, value: float) -> Configuration:
        """The configuration with this value of a step."""
        return next(t.configuration for t in self.trials if (t.step, t.value) == (step, value))


def best_of(trials: list[Trial], runs: dict[Configuration, list[Run]]) -> Configuration:
    """The configuration with the highest mean F1 over folds, of equals the first.

    Raises ExperimentError where none has runs with an F1.
    """
    tried = [trial.configuration for trial in trials if trial.configuration in runs]
    scores = {one: fold_values(predictions_of(runs[one]), "f1").mean() for one in tried}
    defined = {one: score for one, score in scores.items() if not np.isnan(score)}
    if not defined:
        raise ExperimentError("no configuration has an F1: take other folds or settings.")
    return max(defined, key=defined.get)


def second_best_rate(ablation: Ablation, path: str) -> Configuration:
    """The learning rate after the one that is kept; on the path "paper" the paper's ViViT-2."""
    if path == "paper":
        return ablation.tried("rate", paper.CHOSEN_SECOND[ablation.model]["learning_rate"])
    others = {one: runs for one, runs in ablation.runs.items() if one != ablation.kept["rate"]}
    return best_of(ablation.step("rate"), others)


def ablate(study, path="greedy", model=None, folds=None) -> dict[str, Ablation]:
    """Try `values_to_try` of "vit" or "vivit", by default of both; by model. Runs that are there
    are opened.

    `study` is a `paincore.study.Study`: its `starts` hold what is not tuned, such as backbone and
    protocol; `folds` take the place of its own. Each step trains both models together, so that no
    worker waits. `path` "paper" keeps the paper's best layers and rate (`paper.CHOSEN`), whatever
    scores best here. Raises ExperimentError for another path or step, or where a step leaves
    nothing to choose.
    """
    if path not in PATHS:
        raise ExperimentError(f"unknown path {path!r}; the paths are {', '.join(PATHS)}")
    if unknown := values_to_try().keys() - TUNED.keys():
        raise ExperimentError(f"unknown step {min(unknown)!r}; the steps are {', '.join(TUNED)}")
    starts, folds = study.starts(model), folds or study.folds
    found = {start.model: Ablation(start.model) for start in starts}

    def train(starts: list[Configuration], *steps: str) -> None:
        new = [trial for start in starts for trial in _trials_from(start, steps)]
        tried = [trial.configuration for trial in new]
        runs, failures = study.sweep.train(study.store, tried, folds, study.seeds)
        failed = {failure.configuration for failure in failures}
        for trial in new:
            found[trial.configuration.model].trials.append(trial)
        for one, group in runs.items():
            if one not in failed:
                found[one.model].runs[one] = group
        for failure in failures:
            found[failure.configuration.model].failures.append(failure)

    def choose(step: str) -> list[Configuration]:
        for ablation in found.values():
            ablation.kept[step] = _choose(ablation, step, path)
        return [ablation.kept[step] for ablation in found.values()]

    train([_with(start, "learning_rate", paper.START_RATE) for start in starts], "layers")
    train(choose("layers"), "rate")
    train(choose("rate"), "sam", "mixup")
    return found


def _trials_from(start: Configuration, steps: tuple[str, ...]) -> list[Trial]:
    tried = [(step, value) for step in steps for value in values_to_try()[step]]
    return [Trial(step, value, _with(start, TUNED[step], value)) for step, value in tried]


def _with(configuration: Configuration, setting: str, value: object) -> Configuration:
    return configure(**configuration.model_dump() | {setting: value})


def _choose(ablation: Ablation, step: str, path: str) -> Configuration:
    """What a model keeps of a step."""
    trials, setting = ablation.step(step), TUNED[step]
    if path == "greedy":
        return best_of(trials, ablation.runs)
    return _with(trials[0].configuration, setting, paper.CHOSEN[ablation.model][setting])


def choose_nested(study, model: str) -> tuple[dict[int, Configuration], pd.DataFrame]:
    """Repeat the search of one model on the training subjects of each fold, and test it there.

    Returns what was chosen by fold number, and all predictions. A fold's search has the other folds
    as its own; the paper chooses on the folds that it reports instead. Raises ExperimentError where
    a search leaves nothing to choose, TrainingError where the chosen one fails. Varma & Simon 2006.
    """
    chosen, runs = {}, []
    for outer in study.folds:
        best = ablate(study, model=model, folds=inner_folds(study.folds, outer))[model].best
        chosen[outer.number] = best
        runs += study.sweep.train_all(study.store, [best], [outer], study.seeds)
    return chosen, predictions_of(runs)


def inner_folds(folds: list[Fold], outer: Fold) -> list[Fold]:
    """The other folds, trained without anything that `outer` is tested on."""
    design = f"{outer.design}, within fold {outer.number}"
    others = [fold for fold in folds if fold.number != outer.number]
    return [Fold(design, f.number, np.setdiff1d(f.train, outer.test), f.test) for f in others]
