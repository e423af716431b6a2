"""Tests of differences over folds that share training data, and what several of them together say.

There is no rank or sign test: over five folds its p cannot be below 0.0625. The detectable
difference is the true difference that a test finds with the probability `POWER`, where values vary
as they do here.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from paincore.statistics.bootstrap import TAIL

POWER = 0.8


class CorrectedT(NamedTuple):
    """A corrected resampled t test: `mean` difference over folds, its standard error `se`, degrees
    of freedom, t, two-sided p, the ends of the interval, and the `detectable` difference."""

    mean: float
    se: float
    df: int
    t: float
    p: float
    low: float
    high: float
    detectable: float


def corrected_t(differences: np.ndarray, tests: int = 1) -> CorrectedT:
    """Test the mean of differences by fold, (K,), averaged over seeds before, against 0.

    The interval and `detectable` are those of one of so many `tests` by Bonferroni, which is also
    what the smallest p must pass by Holm; `p` is not adjusted.

    Folds share training data, so their differences are correlated and s / sqrt(K) is too small.
    Here se = s sqrt(1/J + 1/(K - 1)), where J of K folds have a difference that is not NaN, and
    df = J - 1. The size is 5 per cent where differences of two folds are correlated by 1/K, and
    less where they are less correlated. All but `mean` is NaN with J below 2; differences that are
    all 0 have t 0 and p 1. Nadeau & Bengio 2003, "Inference for the generalization error".
    """
    values = np.asarray(differences, np.float64)
    defined = values[~np.isnan(values)]
    count = len(defined)
    mean = float(defined.mean()) if count else float("nan")
    if count < 2:
        return CorrectedT(mean, *[float("nan")] * 7)
    se = float(defined.std(ddof=1) * np.sqrt(1 / count + 1 / (len(values) - 1)))
    t = mean / se if se else float(np.copysign(np.inf, mean) if mean else 0.0)
    p = float(2 * stats.t.sf(abs(t), count - 1))
    reach = float(stats.t.isf(TAIL / tests, count - 1) * se)
    detectable = _noncentrality(count - 1, TAIL / tests) * se
    return CorrectedT(mean, se, count - 1, t, p, mean - reach, mean + reach, detectable)


@lru_cache
def _noncentrality(df: int, tail: float) -> float:
    """The true difference, in standard errors, that a t test of this df finds with `POWER`."""
    critical = stats.t.isf(tail, df)

    def lack(shift: float) -> float:  # a squared t is an F
        return float(stats.ncf.sf(critical**2, 1, df, shift**2) - POWER)

    return brentq(lack, 0.1, 2 * critical)


def sd_factors(df: int) -> tuple[float, float]:
    """The ends of a standard deviation's interval, divided by the one that is found.

    For independent normal values with `df` degrees of freedom, by chi-square.
    """
    low, high = np.sqrt(df / stats.chi2.isf([TAIL, 1 - TAIL], df))
    return float(low), float(high)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p of a family of tests, from their p, float64 (N,), in the same order.

    A test that could not be made (NaN) stays NaN and counts as one of the family. Holm 1979, "A
    simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p)  # NaN last
    stepped = (len(p) - np.arange(len(p))) * p[order]
    return np.maximum.accumulate(stepped).clip(max=1)[np.argsort(order)]
