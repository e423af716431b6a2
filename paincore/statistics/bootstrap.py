"""Intervals of pooled scores and of their differences, by a bootstrap over subjects.

- Subjects are resampled, because frames of one person resemble each other. An interval is the
  middle `LEVEL` per cent of a pooled score over bootstrap resamples. It tells how much the score
  depends on who was filmed; the models are not trained again. A difference is taken resample by
  resample, with the same people on both sides.
- A subject without a pain frame counts as any other. Resamples without both classes are left out.
- Intervals of 25 subjects in five folds hold the truth a little less often than they say: 92 times
  in 100, in 2,000 simulations of people who differ and frames that resemble each other in episodes.
- Several intervals that are read together are Bonferroni's: all of them hold at once in at least
  `LEVEL` per cent of studies.

A pooled score is a ratio of two sums, F1 over subjects and AUC over pairs of subjects. We count
each subject's part once, and each resample only adds up: S is the number of subjects, B of
resamples.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.data.frames import KEYS
from paincore.statistics.scores import called_pain, seeds_of

RESAMPLES = 10_000
LEVEL = 95  # per cent of the resamples that an interval holds
TAIL = (100 - LEVEL) / 200


class StatisticsError(PaincoreError):
    """Predictions or values of which a statistic cannot be computed."""


def resample_subjects(predictions: pd.DataFrame, count=RESAMPLES, seed=0) -> pd.DataFrame:
    """The weight of each subject in each resample: float64, `count` rows, one column a subject.

    Of every fold's n subjects n - 1 are taken with replacement and weigh n / (n - 1) each: with n
    of n the variance would be too small by the factor (n - 1) / n, 0.8 for five (Rao & Wu 1988,
    "Resampling inference with complex survey data"). Where a fold tests one subject, as in
    leave-one-subject-out, all folds are resampled as one. Raises StatisticsError for a subject in
    two folds and for fewer than two subjects.
    """
    folds = predictions.groupby("subject")["fold"].agg(["min", "max"])
    if len(twice := folds.index[folds["min"] != folds["max"]]):
        raise StatisticsError(f"{twice[0]} is tested in several folds: make folds of subjects.")
    if len(folds) < 2:
        raise StatisticsError(f"only {', '.join(folds.index)} to resample: take more subjects.")
    strata = folds["min"]
    if strata.value_counts().min() == 1:
        strata = pd.Series(0, folds.index)
    rng = np.random.default_rng([seed, *b"subjects"])
    weights = {}
    for _, subjects in strata.groupby(strata):
        number = len(subjects)
        times = rng.multinomial(number - 1, np.full(number, 1 / number), size=count)
        weights |= dict(zip(subjects.index, times.T * number / (number - 1), strict=True))
    return pd.DataFrame(weights)


def bootstrap(predictions: pd.DataFrame, resamples: pd.DataFrame, score: str) -> np.ndarray:
    """The pooled "f1" or "auc" in each of `resamples`, float64 (B,), averaged over seeds.

    `resamples` is that of `resample_subjects`; it may hold subjects without a prediction. NaN in a
    resample without both classes. Equal to scoring the resampled subjects' frames, each with its
    subject's weight. Raises StatisticsError for a subject that `resamples` does not hold.
    """
    if strange := {*predictions["subject"]} - {*resamples}:
        raise StatisticsError(f"subject {min(strange)} is not resampled: resample all subjects.")
    weights, values = resamples.to_numpy(float), []
    for part in seeds_of(predictions):
        hits = count_hits(part, resamples.columns, score)
        if score == "auc":  # a pair weighs as much as both its subjects
            won, of = np.einsum("kbs,bs->kb", weights @ hits, weights)
        else:
            won, of = hits @ weights.T
        both = hold_both(count_classes(part, resamples.columns), weights)
        values.append(np.divide(won, of, out=np.full(len(weights), np.nan), where=both))
    return np.mean(values, axis=0)


def pooled_value(predictions: pd.DataFrame, score: str) -> float:
    """The pooled "f1" or "auc", averaged over seeds."""
    once = pd.DataFrame(1, [0], predictions["subject"].unique())
    return float(bootstrap(predictions, once, score)[0])


def fold_values(predictions: pd.DataFrame, score: str) -> pd.Series:
    """Each fold's "f1" or "auc", averaged over seeds, by fold."""
    folds = np.unique(predictions["fold"])
    one_each = pd.DataFrame(np.eye(len(folds)), folds, folds)  # folds in the place of subjects
    values = bootstrap(predictions.assign(subject=predictions["fold"]), one_each, score)
    return pd.Series(values, folds)


def interval(values: np.ndarray, tests: int = 1) -> tuple[float, float]:
    """The ends of the middle `LEVEL` per cent of bootstrap values; NaN ones are left out.

    As one of several `tests` it is wider, so that all of them hold at once (Bonferroni).
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [TAIL / tests, 1 - TAIL / tests])
    return float(low), float(high)


def estimate_of(predictions: pd.DataFrame, resamples: pd.DataFrame, score: str) -> tuple:
    """The pooled "f1" or "auc" and the two ends of its interval."""
    ends = interval(bootstrap(predictions, resamples, score))
    return pooled_value(predictions, score), *ends


class Difference(NamedTuple):
    """A score of one model minus that of another: pooled, the ends of its interval, and by fold."""

    pooled: float
    low: float
    high: float
    folds: np.ndarray


def difference(
    one: pd.DataFrame, other: pd.DataFrame, resamples: pd.DataFrame, score: str, tests: int = 1
) -> Difference:
    """The "f1" or "auc" of `one` minus that of `other`, on the same people, as one of `tests`."""
    pooled = pooled_value(one, score) - pooled_value(other, score)
    values = bootstrap(one, resamples, score) - bootstrap(other, resamples, score)
    folds = fold_values(one, score) - fold_values(other, score)
    return Difference(pooled, *interval(values, tests), folds.to_numpy())


def on_shared_frames(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions of both on the frames that both predict."""
    keys, others = (pd.MultiIndex.from_frame(each[KEYS]) for each in (one, other))
    return one[keys.isin(others)], other[others.isin(keys)]


def always_pain(predictions: pd.DataFrame) -> pd.DataFrame:
    """What always saying pain predicts for the same frames."""
    return predictions.assign(probability=1.0, corrected=1.0)


def count_classes(predictions: pd.DataFrame, subjects: pd.Index) -> np.ndarray:
    """Pain frames and frames without pain of each subject, (2, S)."""
    at, pain = subjects.get_indexer(predictions["subject"]), predictions["pain"].to_numpy(bool)
    return np.array([np.bincount(at[frames], minlength=len(subjects)) for frames in (pain, ~pain)])


def hold_both(classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Which resamples, weights (B, S), hold both classes of `count_classes`: bool (B,)."""
    return (classes @ weights.T > 0).all(axis=0)


def count_hits(predictions: pd.DataFrame, subjects: pd.Index, score: str) -> np.ndarray:
    """Hits, and what they are a proportion of: (2, S) for "f1", (2, S, S) for "auc".

    For F1 twice the pain frames predicted as pain, and the pain frames plus the frames predicted
    as pain. For AUC pairs of a pain frame of the row's subject and a frame without pain of the
    column's: those in which the pain frame has the higher probability, ties counting half; and all.
    """
    at, count = subjects.get_indexer(predictions["subject"]), len(subjects)
    pain, values = predictions["pain"].to_numpy(bool), predictions["probability"].to_numpy()
    if score == "f1":
        said = called_pain(values)
        frames = 2.0 * pain * said, 0.0 + pain + said
        return np.array([np.bincount(at, each, count) for each in frames])
    painful, painless = count_classes(predictions, subjects)
    won = np.zeros((count, count))
    for column in np.flatnonzero(painless):
        others = np.sort(values[~pain & (at == column)])
        below, upto = (np.searchsorted(others, values[pain], side) for side in ("left", "right"))
        won[:, column] = np.bincount(at[pain], (below + upto) / 2, count)
    return np.array([won, np.outer(painful, painless)])
