"""Scores of pain predictions: per fold and pooled.

Conventions:

- Pain is the positive class. `called_pain` alone decides which frames are predicted as pain.
- Where one class is empty, F1, AUC, average precision, precision and calibration are NaN. Recall is
  NaN where no frame is pain, the false positive rate where every frame is.
- With both classes there and no frame predicted as pain, F1 is 0 and precision NaN.
- Calibration is Cox's (1958): a logistic regression of the label on logit(probability), without
  penalty. The slope is that of the fit with both coefficients free; the intercept is of another
  fit, whose slope is fixed at 1, so that 0 means as much pain predicted as there is. Probabilities
  are clipped to [1e-6, 1 - 1e-6]. Both are NaN where the slope is not determined: predictions that
  are all equal, or that separate the classes.
- Scores of several seeds are averaged within a fold, or as pooled scores, before anything else.
- Pooled means all out-of-fold predictions taken together as one set, each frame once.
- A predictions table has the columns `PREDICTIONS`: one row a tested frame, `probability` as the
  model gives it after balanced training, `corrected` by `prior_corrected`.
"""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from paincore import PaincoreError
from paincore.data.frames import KEYS

PREDICTIONS = ("fold", *KEYS, "pain", "probability", "corrected")

CLIP = 1e-6  # probabilities of 0 and 1 have no logit


class MetricError(PaincoreError):
    """Predictions that cannot be scored."""


def called_pain(probability: np.ndarray, threshold: float | np.ndarray = 0.5) -> np.ndarray:
    """Which samples are predicted as pain: bool, of the shape of `probability` (0 to 1).

    Those above the threshold, not those exactly at it: arg max of two equal logits is the first
    class, no pain, as in the released notebook.
    """
    return probability > threshold


def score(pain: np.ndarray, probability: np.ndarray, threshold: float = 0.5) -> dict:
    """All scores of one set of frames, as the module's docstring defines them.

    `pain` bool (n,), `probability` (n,) of pain from 0 to 1. Counts: frames, pain (frames), tn, fp,
    fn, tp. From 0 to 1: f1, auc, average_precision, precision, recall, false_positive_rate, brier.
    calibration_slope is below 1 where probabilities are too extreme, calibration_intercept below 0
    where too much pain is predicted. Raises MetricError for probabilities outside 0 to 1 or NaN,
    and for other lengths.
    """
    pain, probability = np.asarray(pain, bool), np.asarray(probability, np.float64)
    if pain.shape != probability.shape or pain.ndim != 1 or not len(pain):
        shapes = f"labels {pain.shape} and probabilities {probability.shape}"
        raise MetricError(f"{shapes} are not of one length, of at least one frame.")
    wrong = probability[~((probability >= 0) & (probability <= 1))]
    if len(wrong):
        some = f"{len(wrong)} of {len(probability)} probabilities lie outside 0 to 1 ({wrong[0]})"
        raise MetricError(f"{some}: the loss was not finite, or these are logits.")
    said = called_pain(probability, threshold)
    tn, fp, fn, tp = np.bincount(2 * pain + said, minlength=4).tolist()
    of_both = dict.fromkeys(("f1", "auc", "average_precision", "precision"), np.nan)
    if 0 < pain.sum() < len(pain):
        of_both["f1"] = 2 * tp / (2 * tp + fp + fn)
        of_both["auc"] = float(roc_auc_score(pain, probability))
        of_both["average_precision"] = float(average_precision_score(pain, probability))
        of_both["precision"] = _proportion(tp, fp)
    rates = {"recall": _proportion(tp, fn), "false_positive_rate": _proportion(fp, tn)}
    counts = {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    errors = {"brier": float(np.square(probability - pain).mean())}
    names = ("calibration_slope", "calibration_intercept")
    errors |= zip(names, calibration(pain, probability), strict=True)
    return {"frames": len(pain), "pain": int(pain.sum())} | of_both | rates | counts | errors


def _proportion(hits: int, others: int) -> float:
    return hits / (hits + others) if hits + others else np.nan


def calibration(pain: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """Calibration slope and intercept as the module's docstring says; (NaN, NaN) where undefined.

    `pain` bool (n,), `probability` (n,). Cox 1958, "Two further applications of a model for binary
    regression"; Van Calster et al. 2016, "A calibration hierarchy for risk models".
    """
    offset = logit(np.clip(probability, CLIP, 1 - CLIP))
    painful, painless = offset[pain], offset[~pain]
    one_class = not len(painful) or not len(painless)
    if one_class or painful.min() >= painless.max() or painless.min() >= painful.max():
        return np.nan, np.nan  # no finite slope is best
    free = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8, max_iter=1000)
    slope = free.fit(offset[:, None], pain).coef_[0, 0]
    ends = np.array([offset.max() + 1e-9, offset.min() - 1e-9])
    moved = logit(pain.mean()) - ends
    intercept = brentq(lambda a: expit(a + offset).mean() - pain.mean(), *moved)
    return float(slope), float(intercept)


def seeds_of(predictions: pd.DataFrame) -> list[pd.DataFrame]:
    """The predictions of each seed; a table without the column `seed` is of one."""
    if "seed" not in predictions:
        return [predictions]
    return [group for _, group in predictions.groupby("seed")]


def fold_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """`score` of each fold, averaged over seeds: one row a fold, its number in the column `fold`.

    `predictions` has the columns `PREDICTIONS`.
    """
    rows = [
        {"fold": fold} | score(group["pain"], group["probability"])
        for part in seeds_of(predictions)
        for fold, group in part.groupby("fold")
    ]
    return pd.DataFrame(rows).groupby("fold", as_index=False).mean()


def pooled_scores(predictions: pd.DataFrame, column: str = "probability") -> pd.Series:
    """`score` of the predictions of all folds as one set, averaged over seeds.

    `column` is the probability that is scored, "probability" or "corrected". Raises MetricError
    if a seed predicts a frame twice, as two runs of one fold do.
    """
    rows = []
    for part in seeds_of(predictions):
        twice = part[part.duplicated(KEYS)]
        if len(twice):
            frame = "{} {} {}".format(*twice[KEYS].iloc[0])
            raise MetricError(f"{frame} is predicted more than once: pool one run of each fold.")
        rows.append(score(part["pain"], part[column]))
    return pd.DataFrame(rows).mean()


def prior_corrected(probability: np.ndarray, prevalence: float) -> np.ndarray:
    """Probabilities of balanced training as they would be for the true prevalence of pain, float64.

    `prevalence` is the proportion of pain among the training folds' frames. The odds, learnt where
    half of the samples are pain, are multiplied by its odds (Bayes; Saerens et al. 2002, equation
    2.4). Raises MetricError for a proportion that leaves a class empty.
    """
    if not 0 < prevalence < 1:
        raise MetricError(f"a proportion of pain of {prevalence} leaves a class empty")
    probability = np.asarray(probability, np.float64)
    painful, painless = probability * prevalence, (1 - probability) * (1 - prevalence)
    return painful / (painful + painless)
