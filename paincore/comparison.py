"""Predictions of several models on the same folds, side by side.

Seeds are averaged within a fold before anything else. An interval is a percentile bootstrap over
subjects, drawn with replacement within their fold, on the pooled predictions: frames of one person
are alike, so people are what is drawn. A difference is taken draw by draw, with the same people on
both sides. It tells how much depends on who was filmed; it does not train the models again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore import PaincoreError, metrics
from paincore.configuration import THRESHOLD, Configuration
from paincore.corpus import Corpus
from paincore.encoders import DEMO_BACKBONES
from paincore.folds import Fold
from paincore.framestore import FrameStore
from paincore.registration import registered
from paincore.runs import Run
from paincore.sweep import train_folds

DRAWS = 2000
LEVEL = 95  # per cent of the draws that an interval holds
COMPARED = (*DEMO_BACKBONES, "random")
VIEWS = ("frontal views", "plain crops")


class ComparisonError(PaincoreError):
    """Predictions that cannot be compared subject by subject."""


def predictions_of(runs: Iterable[Run]) -> pd.DataFrame:
    """The predictions of runs of one configuration as one table, with their `seed`. Chapter 04."""
    parts = [run.predictions.assign(seed=run.rests_on["seed"]) for run in runs]
    return pd.concat(parts, ignore_index=True)


def by_setting(runs: Iterable[Run], name: str) -> dict[str, pd.DataFrame]:
    """`predictions_of` the runs for each value of a setting, such as "model". Chapter 04."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(getattr(run.configuration, name), []).append(run)
    return {value: predictions_of(group) for value, group in groups.items()}


def seeds_of(predictions: pd.DataFrame) -> list[pd.DataFrame]:
    """The predictions of each seed; a table without the column `seed` is of one."""
    if "seed" not in predictions:
        return [predictions]
    return [group for _, group in predictions.groupby("seed")]


def fold_scores(predictions: pd.DataFrame, column: str = "probability") -> pd.DataFrame:
    """`metrics.by_fold`, averaged over seeds: one row a fold, sorted by `fold`. Chapter 04."""
    each = pd.concat([metrics.by_fold(part, column) for part in seeds_of(predictions)])
    return each.groupby("fold", as_index=False).mean()


def pooled_scores(predictions: pd.DataFrame, column: str = "probability") -> pd.Series:
    """`metrics.pooled`, averaged over seeds. Chapter 04."""
    return pd.DataFrame([metrics.pooled(part, column) for part in seeds_of(predictions)]).mean()


def subject_draws(predictions: pd.DataFrame, count: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """How often each subject is drawn: int, `count` rows, one column a subject.

    From every fold as many subjects as it tests, with replacement. Raises ComparisonError for a
    subject in two folds. Efron & Tibshirani 1993, chapter 8; chapter 04.
    """
    folds = predictions.groupby("subject")["fold"].agg(["min", "max"])
    if (folds["min"] != folds["max"]).any():
        raise ComparisonError(
            f"{folds.index[folds['min'] != folds['max']][0]} is tested in more than one fold: "
            "subjects can be drawn only where the folds are made of subjects."
        )
    rng = np.random.default_rng([seed, *b"subjects"])
    drawn = {}
    for _, subjects in folds.groupby("min"):
        number = len(subjects)
        times = rng.multinomial(number, np.full(number, 1 / number), size=count)
        drawn |= dict(zip(subjects.index, times.T, strict=True))
    return pd.DataFrame(drawn)


def bootstrap(predictions: pd.DataFrame, draws: pd.DataFrame, score: str) -> np.ndarray:
    """The pooled "f1" or "auc" in each of `draws` of subjects, float64 (draws,), seeds averaged.

    `draws` comes from `subject_draws`; it may hold subjects without a prediction. NaN in a draw
    with one class. Equal to scoring the drawn subjects' frames
    anew. Raises ComparisonError for a subject that `draws` does not hold. Chapter 04.
    """
    strange = set(predictions["subject"]) - set(draws.columns)
    if strange:
        raise ComparisonError(f"subject {min(strange)} is not among those drawn: draw from all.")
    drawn = draws.to_numpy(np.float64)
    compute = {"f1": _f1, "auc": _auc}[score]
    with np.errstate(invalid="ignore"):
        parts = [compute(part, draws.columns, drawn) for part in seeds_of(predictions)]
    return np.mean(parts, axis=0)


def _f1(predictions: pd.DataFrame, subjects: pd.Index, drawn: np.ndarray) -> np.ndarray:
    pain, said = predictions["pain"], predictions["probability"] > THRESHOLD
    names = predictions["subject"]
    hits, painful, called, frames = (
        drawn @ flags.groupby(names).sum().reindex(subjects, fill_value=0).to_numpy(np.float64)
        for flags in (pain & said, pain, said, pain | True)
    )
    return np.where((painful > 0) & (painful < frames), 2 * hits / (painful + called), np.nan)


def _auc(predictions: pd.DataFrame, subjects: pd.Index, drawn: np.ndarray) -> np.ndarray:
    """The share of pairs of a painful and a painless frame in which pain has the higher value.

    The pairs of each two subjects are counted once; a draw weighs these counts.
    """
    subject = subjects.get_indexer(predictions["subject"])
    pain = predictions["pain"].to_numpy(bool)
    values = predictions["probability"].to_numpy()
    size = len(subjects)
    painful = np.bincount(subject[pain], minlength=size)
    painless = np.bincount(subject[~pain], minlength=size)
    wins = np.zeros((size, size))  # of the row's painful over the column's painless frames
    for column in np.flatnonzero(painless):
        others = np.sort(values[~pain & (subject == column)])
        below = np.searchsorted(others, values[pain], "left")
        ties = np.searchsorted(others, values[pain], "right") - below
        wins[:, column] = np.bincount(subject[pain], below + ties / 2, minlength=size)
    won = ((drawn @ wins) * drawn).sum(1)
    return won / ((drawn @ painful) * (drawn @ painless))


def pooled_value(predictions: pd.DataFrame, score: str) -> float:
    """The pooled "f1" or "auc", as `pooled_scores` has it, without the others. Chapter 04."""
    once = pd.DataFrame(1, [0], predictions["subject"].unique())
    return float(bootstrap(predictions, once, score)[0])


def fold_values(predictions: pd.DataFrame, score: str) -> pd.Series:
    """Each fold's "f1" or "auc", as `fold_scores` has it, by fold. Chapter 04."""
    members = pd.crosstab(predictions["fold"], predictions["subject"]).clip(upper=1)
    return pd.Series(bootstrap(predictions, members, score), members.index)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The ends of the middle `LEVEL` per cent of bootstrap values; NaN ones are left out."""
    tail = (100 - LEVEL) / 2
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def shared_folds(folds: Sequence[Fold], usable: np.ndarray) -> list[Fold]:
    """The folds without the frames that are not `usable`, bool (N,). Chapter 04."""
    return [
        replace(fold, train=fold.train[usable[fold.train]], test=fold.test[usable[fold.test]])
        for fold in folds
    ]


def backbones_and_views(
    corpus: Corpus,
    store: FrameStore,
    folds: Sequence[Fold],
    configuration: Configuration,
    seeds: int = 1,
    results: str | Path | None = None,
    device: str | None = None,
    scheduler: str | None = None,
) -> dict[tuple[str, str], pd.DataFrame] | None:
    """Predictions by backbone of `COMPARED` and view of `VIEWS`, on frames that both views hold.

    The rest is as in `train_folds`. None where `configuration` does not start from a backbone of
    the demo: there it would be 30 trainings of full size, and the demo's backbones have no place.
    Chapter 04.
    """
    if configuration.backbone not in DEMO_BACKBONES:
        return None
    crops = registered(corpus, "none", results=results, device="cpu", scheduler=scheduler)
    folds = shared_folds(folds, store.usable & crops.usable)
    arms = [configuration.model_copy(update={"backbone": backbone}) for backbone in COMPARED]
    found = {}
    for view, pictures in zip(VIEWS, (store, crops), strict=True):
        runs = train_folds(pictures, arms, folds, seeds, results, device, scheduler)
        for backbone, predictions in by_setting(runs, "backbone").items():
            found[backbone, view] = predictions
    return {(backbone, view): found[backbone, view] for backbone in COMPARED for view in VIEWS}


class Difference(NamedTuple):
    """One score of a model less that of another: pooled, the ends of its interval, and by fold."""

    pooled: float
    low: float
    high: float
    folds: np.ndarray

    @property
    def verdict(self) -> str:
        """ "higher" or "lower" where the whole interval is, else "undecided"."""
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "undecided"


def difference(
    one: pd.DataFrame, other: pd.DataFrame, draws: pd.DataFrame, score: str
) -> Difference:
    """The "f1" or "auc" of `one` less that of `other`, on the same people. Chapter 04."""
    pooled = pooled_value(one, score) - pooled_value(other, score)
    low, high = interval(bootstrap(one, draws, score) - bootstrap(other, draws, score))
    folds = fold_values(one, score) - fold_values(other, score)
    return Difference(pooled, low, high, folds.to_numpy())


def always_pain(predictions: pd.DataFrame) -> pd.DataFrame:
    """What always saying pain predicts for the same frames. Chapter 04."""
    return predictions.assign(probability=1.0, corrected=1.0)
