"""Searches whose scores are made up."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from paincore.ablations.search import Ablation, ablate
from paincore.folds.designs import Fold
from paincore.training.configuration import Configuration, configure
from paincore.training.runs import Run
from paincore.training.sweep import Failure

PAIN = 10  # painful frames of a fold, and as many painless ones


def run_of(configuration: Configuration, fold: int, seed: int, hits: int | None) -> Run:
    """A run that says pain in `hits` of the painful frames, never in others: F1 2h / (h + 10).

    With None its fold has no pain, and no F1.
    """
    frame = np.arange(2 * PAIN)
    subject = np.where(frame % 2, f"a{fold}", f"b{fold}")
    probability = np.where(frame < (hits or 0), 0.9, 0.2)
    pain = (frame < PAIN) & (hits is not None)
    columns = {"fold": fold, "subject": subject, "sequence": subject, "frame": frame, "pain": pain}
    table = pd.DataFrame(columns | {"probability": probability, "corrected": probability / 2})
    metrics = {"steps": 95 + fold, "weight_change": configuration.learning_rate * 100}
    run = Run(Path("made up"), configuration, {"fold": fold, "seed": seed}, metrics, {})
    run.__dict__["predictions"] = table  # where the table is kept once it has been read
    return run


class MadeUp:
    """In place of a sweep: runs with as many hits as `hits` says; "failed" is a failure."""

    def __init__(self, hits: Callable):
        self.hits, self.asked = hits, []

    def train(self, store, configurations, folds, seeds=1):
        self.asked.append([(one, f.number) for one in configurations for f in folds] * seeds)
        runs, failures = {one: [] for one in configurations}, []
        for one in configurations:
            for seed in range(seeds):
                for fold in folds:
                    hits = self.hits(one, fold.number, seed)
                    if hits == "failed":
                        failures += [Failure(one, fold.number, seed, "the loss is nan", "...")]
                    else:
                        runs[one].append(run_of(one, fold.number, seed, hits))
        return runs, failures

    def train_all(self, *asked):
        return [run for runs in self.train(*asked)[0].values() for run in runs]


def folds_of(count: int) -> list[Fold]:
    """Folds of a row each."""
    rows = np.arange(count)
    return [Fold("balanced", k + 1, np.setdiff1d(rows, [k]), rows[k : k + 1]) for k in rows]


def study_of(sweep: MadeUp, folds=2, models=("vit", "vivit"), seeds=1, **settings):
    """A study whose trainings are made up."""

    def starts(model: str | None) -> list[Configuration]:
        return [configure(model=one, **settings) for one in ([model] if model else models)]

    parts = {"store": None, "folds": folds_of(folds), "starts": starts, "seeds": seeds}
    return SimpleNamespace(sweep=sweep, **parts)


def search(
    hits: Callable, models=("vit", "vivit"), folds=2, seeds=1, path="greedy"
) -> dict[str, Ablation]:
    """A search whose scores are those of `hits(configuration, fold, seed)`."""
    return ablate(study_of(MadeUp(hits), folds, models, seeds), path)


def peak(depth: int, rate: float) -> Callable:
    """Scores that are highest at one depth, and there at one rate, by how near values are."""

    def hits(one: Configuration, *_: int) -> int:
        decades = abs(np.log10(one.learning_rate / rate))
        return round(9 - abs(one.unfrozen_layers - depth) / 2.5 - decades)

    return hits
