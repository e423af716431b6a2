"""The paper's 14 configurations of each model, tuned greedily (sections 3.3 and 4.1 to 4.4).

The best of a step has the highest mean F1 over folds, seeds averaged within a fold first. As in the
paper, it is chosen on the folds that are also reported. A configuration of which a run failed
cannot be chosen by its score. Of equals the first is chosen.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore import PaincoreError, paper
from paincore.folds.designs import Fold
from paincore.registration.store import FrameStore
from paincore.statistics.scores import fold_scores
from paincore.training.configuration import Configuration
from paincore.training.runs import Run, predictions_of
from paincore.training.sweep import Failure, Sweep

PATHS = ("greedy", "paper")
TUNED = {"layers": "unfrozen_layers", "rate": "learning_rate", "sam": "sam", "mixup": "mixup_alpha"}
"""The steps, and the setting of `Configuration` that each tunes."""


def paper_trials() -> list[tuple[str, float]]:
    """The 14 configurations: a step, and the value that it tries. A line more is a trial more.

    "rate" starts from the best of "layers"; "sam" and "mixup" both start from the best of "rate".
    """
    return [
        ("layers", 2),  # attention layers that train, at a learning rate of 2e-4
        ("layers", 4),
        ("layers", 6),
        ("layers", 8),
        ("layers", 10),
        ("layers", 12),
        ("rate", 2e-2),  # Adam's learning rate; the step before has tried 2e-4
        ("rate", 2e-3),
        ("rate", 2e-5),
        ("rate", 2e-6),
        ("sam", True),  # sharpness-aware minimisation around Adam
        ("mixup", 0.2),  # Mixup's alpha; the paper names 0.8 alone, we infer the others
        ("mixup", 0.5),
        ("mixup", 0.8),
    ]


class ExperimentError(PaincoreError):
    """A search that cannot be made, or that leaves nothing to choose."""


class Trial(NamedTuple):
    """One of the 14: its step, the value that the step tries, and all its settings."""

    step: str
    value: float | None
    configuration: Configuration


@dataclass(frozen=True)
class Ablation:
    """What was tried of one model, in the order of `paper_trials`, and what came of it.

    `runs` holds the runs of every configuration of which none failed, `failures` those that failed.
    `layers` and `rate` are what the steps of these names kept.
    """

    model: str
    trials: tuple[Trial, ...]
    runs: dict[Configuration, list[Run]]
    failures: tuple[Failure, ...]
    layers: Configuration
    rate: Configuration

    @cached_property
    def predictions(self) -> dict[Configuration, pd.DataFrame]:
        """Out-of-fold predictions of every configuration of which no run failed."""
        tried = [trial.configuration for trial in self.trials]
        return {one: predictions_of(self.runs[one]) for one in tried if one in self.runs}

    @cached_property
    def scores(self) -> pd.DataFrame:
        """`fold_scores` of every configuration of which no run failed, with its title."""
        parts = [
            fold_scores(part).assign(title=one.title) for one, part in self.predictions.items()
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def best(self) -> Configuration:
        """The configuration with the highest mean F1 of all."""
        return best_of(self.trials, self.predictions)

    def step(self, name: str) -> list[Trial]:
        """The trials of one step, and what they are compared with.

        "rate" holds the rate of the step before, too, and goes from high to low; "sam" and "mixup"
        begin with the configuration that they are added to, as the value None.
        """
        own = [trial for trial in self.trials if trial.step == name]
        if name == "rate":
            return sorted([_known(self.layers), *own], key=lambda trial: -trial.value)
        return own if name == "layers" else [Trial(name, None, self.rate), *own]

    def tried(self, step: str, value: float) -> Configuration:
        """The configuration with this value of a step."""
        return next(t.configuration for t in self.trials if (t.step, t.value) == (step, value))


def _known(layers: Configuration) -> Trial:
    """The learning rate that the step of layers has tried already."""
    return Trial("rate", layers.learning_rate, layers)


def mean_f1(predictions: pd.DataFrame) -> float:
    """Mean over folds of F1, seeds averaged within a fold first: what the paper chooses by."""
    return float(fold_scores(predictions)["f1"].mean())


def best_of(trials: Iterable[Trial], predictions: dict) -> Configuration:
    """The configuration with the highest `mean_f1`, of equals the first.

    `predictions` holds tables by configuration. Raises ExperimentError where none has a score.
    """
    tried = [trial.configuration for trial in trials]
    scores = {one: mean_f1(predictions[one]) for one in tried if one in predictions}
    defined = {one: score for one, score in scores.items() if not math.isnan(score)}
    if not defined:
        raise ExperimentError(
            "no configuration has an F1: runs of each failed, or no fold has both classes. "
            "Take other folds or settings."
        )
    return max(defined, key=defined.get)


def ablate(
    sweep: Sweep,
    store: FrameStore,
    folds: Sequence[Fold],
    starts: Iterable[Configuration],
    path: str = "greedy",
    seeds: int = 1,
) -> dict[str, Ablation]:
    """Try `paper_trials` of each model of `starts`; by model. Runs that are there are opened.

    `starts` hold what is not tuned, such as model, backbone and protocol. Each step trains both
    models together, so that no worker waits. `path` "paper" keeps the paper's best layers and rate
    (`paper.CHOSEN`), whatever scores best here. Raises ExperimentError for another path, or where a
    step leaves nothing to choose.
    """
    if path not in PATHS:
        raise ExperimentError(f"unknown path {path!r}; the paths are {', '.join(PATHS)}")
    if unknown := {step for step, _ in paper_trials()} - TUNED.keys():
        raise ExperimentError(f"unknown step {min(unknown)!r}; the steps are {', '.join(TUNED)}")
    runs: dict[Configuration, list[Run]] = {}
    failures: list[Failure] = []

    def train(starts: Iterable[Configuration], *steps: str) -> list[Trial]:
        new = [trial for start in starts for trial in _trials_from(start, steps)]
        trained, lost = sweep.train(store, [trial.configuration for trial in new], folds, seeds)
        failed = {failure.configuration for failure in lost}
        runs.update({one: group for one, group in trained.items() if one not in failed})
        failures.extend(lost)
        return new

    first = train([_with(start, learning_rate=paper.START_RATE) for start in starts], "layers")
    layers = _choose(first, runs, path)
    second = train(layers.values(), "rate")
    rate = _choose([*map(_known, layers.values()), *second], runs, path)
    last = train(rate.values(), "sam", "mixup")
    return {
        model: Ablation(
            model,
            tuple(t for t in [*first, *second, *last] if t.configuration.model == model),
            {one: group for one, group in runs.items() if one.model == model},
            tuple(failure for failure in failures if failure.configuration.model == model),
            layers[model],
            rate[model],
        )
        for model in layers
    }


def _trials_from(start: Configuration, steps: Sequence[str]) -> list[Trial]:
    return [
        Trial(step, value, _with(start, **{TUNED[step]: value}))
        for step, value in paper_trials()
        if step in steps
    ]


def _with(configuration: Configuration, **settings: object) -> Configuration:
    return Configuration(**configuration.model_dump() | settings)


def _choose(trials: list[Trial], runs: dict, path: str) -> dict[str, Configuration]:
    """What each model keeps of a step, by model."""
    kept = {}
    for model in dict.fromkeys(trial.configuration.model for trial in trials):
        own = [trial for trial in trials if trial.configuration.model == model]
        if path == "paper":
            theirs = paper.CHOSEN[model][TUNED[own[-1].step]]
            if theirs not in (values := {trial.value: trial.configuration for trial in own}):
                raise ExperimentError(f"the paper's path needs {theirs} in `paper_trials`")
            kept[model] = values[theirs]
        else:
            tried = [trial.configuration for trial in own if trial.configuration in runs]
            kept[model] = best_of(own, {one: predictions_of(runs[one]) for one in tried})
    return kept


class Nested(NamedTuple):
    """A choice without the test fold: by fold number what was chosen, and all its predictions."""

    chosen: dict[int, Configuration]
    predictions: pd.DataFrame


def choose_nested(
    sweep: Sweep, store: FrameStore, folds: Sequence[Fold], start: Configuration, seeds: int = 1
) -> Nested:
    """Repeat the search of one model on the training subjects of each fold, and test it there.

    A fold's search has the other folds as its own: 14 configurations times the other folds, for
    each fold. The paper chooses on the folds that it reports instead. Raises ExperimentError where
    a search leaves nothing to choose, or the chosen training fails. Varma & Simon 2006.
    """
    chosen, runs = {}, []
    for outer in folds:
        inner = inner_folds(folds, outer)
        best = ablate(sweep, store, inner, [start], seeds=seeds)[start.model].best
        trained, failures = sweep.train(store, [best], [outer], seeds)
        if failures:
            raise ExperimentError(
                f"{best.title}, chosen for fold {outer.number}, failed on it: {failures[0].message}"
            )
        chosen[outer.number] = best
        runs += trained[best]
    return Nested(chosen, predictions_of(runs))


def inner_folds(folds: Sequence[Fold], outer: Fold) -> list[Fold]:
    """The other folds, trained without anything that `outer` is tested on."""
    design = f"{outer.design}, within fold {outer.number}"
    others = [fold for fold in folds if fold.number != outer.number]
    return [Fold(design, f.number, np.setdiff1d(f.train, outer.test), f.test) for f in others]
