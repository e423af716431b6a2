"""The paper's 14 configurations of each model, tuned greedily (sections 3.3 and 4.1 to 4.4).

Six numbers of unfrozen attention layers at one learning rate; four other rates at the best of them;
SAM at the best of both; three strengths of Mixup there, without SAM. The best is what has the
highest mean F1 over folds, seeds averaged within a fold first, as in the paper: chosen on the folds
that are also reported. A configuration of which a run failed cannot be chosen. Of equals the first
is taken.
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
from paincore.registration.framestore import FrameStore
from paincore.statistics.scores import fold_scores
from paincore.training.configuration import SAM_RHO, Configuration
from paincore.training.runs import Run, predictions_of
from paincore.training.sweep import Failure, Sweep

STEPS = ("layers", "rate", "sam", "mixup")
MIXUP_ALPHAS = (0.2, 0.5, paper.MIXUP_ALPHA)  # the paper names the last; the others are inferred
PATHS = ("greedy", "paper")


class ExperimentError(PaincoreError):
    """A search that cannot be made or went nowhere."""


class Trial(NamedTuple):
    """One of the 14: the step that it belongs to, the value it tries, and all its settings.

    `value` is a number of layers, a learning rate, SAM's rho or Mixup's alpha.
    """

    step: str
    value: float
    configuration: Configuration


def layer_trials(start: Configuration) -> list[Trial]:
    """Step 1: how many attention layers train, at the rate of `paper.START_RATE`."""
    return [
        Trial("layers", depth, _with(start, unfrozen_layers=depth, learning_rate=paper.START_RATE))
        for depth in paper.DEPTHS
    ]


def rate_trials(best: Configuration) -> list[Trial]:
    """Step 2: the learning rates that step 1 did not try, at its best number of layers."""
    rates = (rate for rate in paper.RATES if rate != paper.START_RATE)
    return [Trial("rate", rate, _with(best, learning_rate=rate)) for rate in rates]


def last_trials(best: Configuration) -> list[Trial]:
    """Steps 3 and 4: SAM, and Mixup, each alone on the best layers and rate."""
    mixed = [Trial("mixup", alpha, _with(best, mixup_alpha=alpha)) for alpha in MIXUP_ALPHAS]
    return [Trial("sam", SAM_RHO, _with(best, sam=True)), *mixed]


def _with(configuration: Configuration, **settings: object) -> Configuration:
    return Configuration(**configuration.model_dump() | settings)


@dataclass(frozen=True)
class Ablation:
    """What was tried of one model, in the paper's order, and what came of it.

    `runs` holds every finished run by configuration, `failures` those that failed. `layers` and
    `rate` are the configurations that the steps 1 and 2 were decided for, by score or, on the
    paper's path, by the paper.
    """

    model: str
    trials: tuple[Trial, ...]
    runs: dict[Configuration, list[Run]]
    failures: tuple[Failure, ...]
    layers: Configuration
    rate: Configuration

    @cached_property
    def predictions(self) -> dict[Configuration, pd.DataFrame]:
        """Out-of-fold predictions of every configuration whose runs are all there."""
        return {
            trial.configuration: predictions_of(self.runs[trial.configuration])
            for trial in self.trials
            if trial.configuration in self.runs
        }

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row for each trial and fold: step, value, title, fold, f1, auc and the others.

        Scores are `fold_scores`. Trials with a failed run have no rows.
        """
        parts = [
            fold_scores(self.predictions[one]).assign(step=step, value=value, title=one.title)
            for step, value, one in self.trials
            if one in self.predictions
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def best(self) -> Configuration:
        """The one of all 14 with the highest mean F1."""
        return best_of(self.trials, self.predictions)

    def step(self, name: str) -> list[Trial]:
        """What a figure of one step shows: its trials, and what they started from.

        "rate" holds the rate of step 1 too, in the order of `paper.RATES`.
        """
        own = [trial for trial in self.trials if trial.step == name]
        if name != "rate":
            return own
        known = Trial("rate", paper.START_RATE, self.layers)
        return sorted([*own, known], key=lambda trial: paper.RATES.index(trial.value))


def mean_f1(predictions: pd.DataFrame) -> float:
    """Mean over folds of F1, seeds averaged within a fold first: what the paper chooses by."""
    return float(fold_scores(predictions)["f1"].mean())


def best_of(
    trials: Iterable[Trial], predictions: dict[Configuration, pd.DataFrame]
) -> Configuration:
    """The configuration with the highest `mean_f1`; the first of equals.

    Raises ExperimentError if there is none with a score.
    """
    scores = {
        trial.configuration: mean_f1(predictions[trial.configuration])
        for trial in trials
        if trial.configuration in predictions
    }
    defined = {one: score for one, score in scores.items() if not math.isnan(score)}
    if not defined:
        raise ExperimentError(
            "no configuration of this step has an F1: every run failed or no fold has both "
            "classes. The failures above say why; take other folds or settings."
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
    """The 14 configurations of each model of `starts`, by model; done runs are opened.

    `starts` hold what is not tuned: model, backbone, protocol, precision, clip_stride. Models are
    searched together, step by step, so that workers do not wait for one of them. `path` "paper"
    takes the paper's best layers and rate (`paper.CHOSEN`) for the later steps, whatever scores
    best here. Raises ExperimentError for another path, or where a step leaves nothing to choose.
    Chapters 05 and 06.
    """
    if path not in PATHS:
        raise ExperimentError(f"unknown path {path!r}; the paths are {', '.join(PATHS)}")
    searches = [_Search(start, path) for start in starts]
    for expand in (_Search.try_layers, _Search.try_rates, _Search.try_rest):
        wanted = {search: expand(search) for search in searches}
        trials = [trial for new in wanted.values() for trial in new]
        runs, failures = sweep.train(store, [t.configuration for t in trials], folds, seeds)
        for search, new in wanted.items():
            search.record(new, runs, failures)
    return {search.start.model: search.ablation() for search in searches}


class _Search:
    """One model's search while it goes on."""

    def __init__(self, start: Configuration, path: str):
        self.start, self.path = start, path
        self.trials: list[Trial] = []
        self.runs: dict[Configuration, list[Run]] = {}
        self.failures: list[Failure] = []

    def try_layers(self) -> list[Trial]:
        return layer_trials(self.start)

    def try_rates(self) -> list[Trial]:
        self.layers = self._decide(self.trials, "unfrozen_layers")
        return rate_trials(self.layers)

    def try_rest(self) -> list[Trial]:
        # The rate of step 1 is one of those to choose from.
        known = Trial("rate", paper.START_RATE, self.layers)
        rates = [trial for trial in self.trials if trial.step == "rate"]
        self.rate = self._decide([known, *rates], "learning_rate")
        return last_trials(self.rate)

    def _decide(self, trials: list[Trial], setting: str) -> Configuration:
        if self.path == "paper":
            value = paper.CHOSEN[self.start.model][setting]
            by_value = {getattr(trial.configuration, setting): trial for trial in trials}
            return by_value[value].configuration
        predictions = {one: predictions_of(runs) for one, runs in self.runs.items()}
        return best_of(trials, predictions)

    def record(
        self,
        trials: list[Trial],
        runs: dict[Configuration, list[Run]],
        failures: list[Failure],
    ) -> None:
        mine = {trial.configuration for trial in trials}
        self.trials += trials
        self.failures += [failure for failure in failures if failure.configuration in mine]
        failed = {failure.configuration for failure in self.failures}
        self.runs |= {one: runs[one] for one in mine - failed}

    def ablation(self) -> Ablation:
        return Ablation(
            self.start.model,
            tuple(self.trials),
            self.runs,
            tuple(self.failures),
            self.layers,
            self.rate,
        )


class Nested(NamedTuple):
    """What choosing without the test folds gives: the choice of each fold, and its runs there.

    `chosen` and `runs` are by fold number; `predictions` are those of all folds together.
    """

    chosen: dict[int, Configuration]
    runs: dict[int, list[Run]]
    predictions: pd.DataFrame


def choose_nested(
    sweep: Sweep, store: FrameStore, folds: Sequence[Fold], start: Configuration, seeds: int = 1
) -> Nested:
    """The search of one model repeated on each fold's training subjects alone, then tested on it.

    For a fold, the others are the folds of its search: 14 configurations times the other folds,
    for each fold. The paper chooses on the folds that it reports; this is what it did not do.
    Raises ExperimentError where a search leaves nothing to choose, or a chosen training failed.
    Chapter 06, where it is asked for. Varma & Simon 2006.
    """
    chosen, runs = {}, {}
    for outer in folds:
        inner = inner_folds(folds, outer)
        best = ablate(sweep, store, inner, [start], seeds=seeds)[start.model].best
        trained, failures = sweep.train(store, [best], [outer], seeds)
        if failures:
            raise ExperimentError(
                f"fold {outer.number} was decided for {best.title}, and its training failed: "
                f"{failures[0].message}"
            )
        chosen[outer.number], runs[outer.number] = best, trained[best]
    every = [run for fold in folds for run in runs[fold.number]]
    return Nested(chosen, runs, predictions_of(every))


def inner_folds(folds: Sequence[Fold], outer: Fold) -> list[Fold]:
    """The other folds, trained without anything that `outer` is tested on."""
    return [
        Fold(
            f"{outer.design}, within fold {outer.number}",
            fold.number,
            np.setdiff1d(fold.train, outer.test),
            fold.test,
        )
        for fold in folds
        if fold.number != outer.number
    ]
