"""Statistics that 25 subjects in five folds can carry.

Conventions:

- A table of predictions has the columns `metrics.PREDICTIONS`, and `seed` where a training was
  repeated. Seeds are averaged within a fold, or within a draw, before anything else.
- People are what is drawn: frames of one person are alike. An interval is the middle `LEVEL` per
  cent of a score of the pooled predictions over draws of subjects. It tells how much depends on who
  was filmed; it does not train the models again. A difference is taken draw by draw, with the same
  people on both sides.
- A subject without a frame of pain counts like others. A score is NaN where a class is empty; draws
  in which it is NaN are left out.
- Intervals of 25 subjects in five folds hold the truth a little less often than they say: 92 times
  in 100, of 2,000 simulations with unlike people and frames alike in episodes.
- There is no rank or sign test: over five folds its p cannot be below 0.0625.
- Where several differences are looked at together, intervals are those of Bonferroni: all of them
  hold at once in at least `LEVEL` per cent of studies.
- Detectable is the true difference that a test finds with the chance `POWER`, where values spread
  as they do here.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from paincore import PaincoreError
from paincore.data.frames import KEYS
from paincore.statistics import scores as metrics
from paincore.statistics import tallies

DRAWS = 10_000
LEVEL = 95  # per cent of the draws that an interval holds
POWER = 0.8
TAIL = (100 - LEVEL) / 200


class StatisticsError(PaincoreError):
    """Predictions or values of which a statistic cannot be computed."""


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
    """The weight of each subject in each draw: float64, `count` rows, one column a subject.

    Of every fold's n subjects n - 1 are drawn with replacement and weigh n / (n - 1) each: with n
    of n the variance would be too small by the factor (n - 1) / n, 0.8 for five. Where a fold tests
    one subject, as in leave-one-subject-out, it would be the same in all draws: then all subjects
    are drawn from as one. Raises StatisticsError for a subject in two folds, or for one in all.
    Rao & Wu 1988, "Resampling inference with complex survey data"; chapters 04 to 06.
    """
    folds = predictions.groupby("subject")["fold"].agg(["min", "max"])
    if (folds["min"] != folds["max"]).any():
        raise StatisticsError(
            f"{folds.index[folds['min'] != folds['max']][0]} is tested in more than one fold: "
            "subjects can be drawn only where the folds are made of subjects."
        )
    if len(folds) < 2:
        raise StatisticsError(f"only {', '.join(folds.index)} to draw from: take more subjects.")
    strata = folds["min"]
    if strata.value_counts().min() == 1:
        strata = pd.Series(0, folds.index)
    rng = np.random.default_rng([seed, *b"subjects"])
    drawn = {}
    for _, subjects in strata.groupby(strata):
        number = len(subjects)
        times = rng.multinomial(number - 1, np.full(number, 1 / number), size=count)
        drawn |= dict(zip(subjects.index, times.T * number / (number - 1), strict=True))
    return pd.DataFrame(drawn)


def bootstrap(predictions: pd.DataFrame, draws: pd.DataFrame, score: str) -> np.ndarray:
    """The pooled "f1" or "auc" in each of `draws` of subjects, float64 (draws,), seeds averaged.

    `draws` comes from `subject_draws`; it may hold subjects without a prediction. NaN in a draw
    with one class. Equal to scoring the drawn subjects' frames anew, each with its subject's
    weight. Raises StatisticsError for a subject that `draws` does not hold. Chapters 04 to 06.
    """
    drawn, subjects = _weights(predictions["subject"], draws), draws.columns
    values = []
    for part in seeds_of(predictions):
        won, of = tallies.added(tallies.hits(part, subjects, score), drawn, score)
        both = tallies.both_classes(tallies.classes(part, subjects), drawn)
        values.append(np.divide(won, of, out=np.full(len(drawn), np.nan), where=both))
    return np.mean(values, axis=0)


def _weights(names: pd.Series | pd.Index, draws: pd.DataFrame) -> np.ndarray:
    strange = set(names.unique()) - set(draws.columns)
    if strange:
        raise StatisticsError(f"subject {min(strange)} is not among those drawn: draw from all.")
    return draws.to_numpy(np.float64)


def pooled_value(predictions: pd.DataFrame, score: str) -> float:
    """The pooled "f1" or "auc", as `pooled_scores` has it, without the others. Chapter 04."""
    once = pd.DataFrame(1, [0], predictions["subject"].unique())
    return float(bootstrap(predictions, once, score)[0])


def fold_values(predictions: pd.DataFrame, score: str) -> pd.Series:
    """Each fold's "f1" or "auc", as `fold_scores` has it, by fold. Chapters 04 to 06."""
    folds = np.unique(predictions["fold"])
    each = pd.DataFrame(np.eye(len(folds)), folds, folds)
    # Folds are drawn in the place of subjects, one at a time: a subject may be in several.
    values = bootstrap(predictions.assign(subject=predictions["fold"]), each, score)
    return pd.Series(values, folds)


def interval(values: np.ndarray, tests: int = 1) -> tuple[float, float]:
    """The ends of the middle `LEVEL` per cent of bootstrap values; NaN ones are left out.

    As one of several `tests` it is wider, so that all of them hold at once: Bonferroni.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [TAIL / tests, 1 - TAIL / tests])
    return float(low), float(high)


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
    one: pd.DataFrame, other: pd.DataFrame, draws: pd.DataFrame, score: str, tests: int = 1
) -> Difference:
    """The "f1" or "auc" of `one` less that of `other`, on the same people; `tests` as `interval`.

    Chapters 04 to 06.
    """
    pooled = pooled_value(one, score) - pooled_value(other, score)
    values = bootstrap(one, draws, score) - bootstrap(other, draws, score)
    folds = fold_values(one, score) - fold_values(other, score)
    return Difference(pooled, *interval(values, tests), folds.to_numpy())


def on_shared_frames(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions of both on the frames that both predict. Chapters 04 and 06."""
    keys, others = (pd.MultiIndex.from_frame(each[KEYS]) for each in (one, other))
    return one[keys.isin(others)], other[others.isin(keys)]


def always_pain(predictions: pd.DataFrame) -> pd.DataFrame:
    """What always saying pain predicts for the same frames. Chapter 04."""
    return predictions.assign(probability=1.0, corrected=1.0)


class CorrectedT(NamedTuple):
    """A corrected resampled t test: `mean` difference over folds, its standard error `se`, degrees
    of freedom, t, two-sided p, the ends of the interval, `detectable` as the module says, and the
    number of folds without a difference."""

    mean: float
    se: float
    df: int
    t: float
    p: float
    low: float
    high: float
    detectable: float
    left_out: int


def corrected_t(differences: np.ndarray, tests: int = 1) -> CorrectedT:
    """Test the mean of differences by fold, (K,), seeds averaged before, against 0.

    The interval and `detectable` are those of one of so many `tests` by Bonferroni, which is also
    what the smallest p must pass by Holm; `p` is not adjusted.

    Folds share training data, so their differences are alike and s / sqrt(K) is too small. Here
    se = s sqrt(1/J + 1/(K - 1)), J of K folds having a difference that is not NaN, and df = J - 1.
    The size is 5 per cent where differences of two folds are correlated by 1/K, less where they are
    so by less. All but `mean` is NaN with J below 2; differences that are all 0 have t 0 and p 1.
    Nadeau & Bengio 2003, "Inference for the generalization error"; chapters 05 and 06.
    """
    values = np.asarray(differences, np.float64)
    defined = values[~np.isnan(values)]
    folds, count = len(values), len(defined)
    mean = float(defined.mean()) if count else float("nan")
    if count < 2:
        return CorrectedT(mean, *[float("nan")] * 7, left_out=folds - count)
    se = float(defined.std(ddof=1) * np.sqrt(1 / count + 1 / (folds - 1)))
    t = mean / se if se else float(np.copysign(np.inf, mean) if mean else 0.0)
    reach = stats.t.isf(TAIL / tests, count - 1) * se
    return CorrectedT(
        mean=mean,
        se=se,
        df=count - 1,
        t=t,
        p=float(2 * stats.t.sf(abs(t), count - 1)),
        low=float(mean - reach),
        high=float(mean + reach),
        detectable=_noncentrality(count - 1, TAIL / tests) * se,
        left_out=folds - count,
    )


def sd_factors(df: int) -> tuple[float, float]:
    """The ends of a standard deviation's `LEVEL` per cent interval, over the one that is found.

    For independent normal values with `df` degrees of freedom, by chi-square.
    """
    low, high = np.sqrt(df / stats.chi2.isf([TAIL, 1 - TAIL], df))
    return float(low), float(high)


@lru_cache
def _noncentrality(df: int, tail: float) -> float:
    """The true difference, in standard errors, that a t test of this df finds with `POWER`."""
    critical = stats.t.isf(tail, df)

    def lack(shift: float) -> float:  # a squared t is an F
        return float(stats.ncf.sf(critical**2, 1, df, shift**2) - POWER)

    return brentq(lack, 0.1, 2 * critical)


def holm(p: Sequence[float]) -> np.ndarray:
    """Adjusted p of a family of tests, float64, in the order given.

    A test that could not be made (NaN) stays so and counts as one of the family. Raises
    StatisticsError for values outside 0 to 1. Holm 1979, "A simple sequentially rejective multiple
    test procedure"; chapter 06.
    """
    p = np.asarray(p, np.float64)
    if ((p < 0) | (p > 1)).any():
        raise StatisticsError(f"a p lies from 0 to 1; these are {p.tolist()}")
    order = np.argsort(p)  # NaN last
    stepped = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(stepped).clip(max=1)
    return adjusted


class Optimism(NamedTuple):
    """What choosing the best of some candidates adds to its score.

    `chosen` is the candidate, `apparent` its score, `corrected` what people who had no part in a
    choice give, `difference` the former less the latter, `low` and `high` the ends of its interval,
    `shares` in how many of the draws each candidate was chosen, from 0 to 1.
    """

    chosen: str
    apparent: float
    corrected: float
    difference: float
    low: float
    high: float
    shares: pd.Series


def optimism(
    candidates: dict[str, pd.DataFrame], draws: pd.DataFrame, score: str = "f1"
) -> Optimism:
    """The optimism of reporting the best of `candidates` on the people that it was chosen on.

    Apparent is the pooled score of the candidate for which it is highest (the first of equals). The
    choice is repeated in each draw by the same rule, on those drawn, and scored on those who are
    not. Hits of a person are averaged over the draws that leave this person out, each draw with its
    own choice, and only then made a score: F1 is a ratio, and its mean over the few people left out
    of each draw is lower than that of all people, by 0.01 in simulations, without any choice. So a
    single candidate has no optimism. A choice on those drawn is a little poorer than one on all, so
    `corrected` is rather too low than too high where candidates differ.

    The candidates are taken as given. Where earlier choices on the same people made some of them,
    as in a greedy search, those choices are not repeated and the optimism is understated.

    The interval is of the optimism to be expected of such a choice, by jackknife over subjects and
    t; how far one score lies from the truth is for its own interval to say. Draws without both
    classes are left out. `draws` is as in `bootstrap`. Raises StatisticsError for candidates that
    are not of the same frames and seeds, fewer than three people with a class, and too few draws.
    BBC-CV: Tsamardinos et al. 2018, "Bootstrapping the out-of-sample predictions for efficient and
    accurate cross-validation"; Efron & Tibshirani 1997 average by person; chapters 05 and 06.
    """
    named = {name for one in candidates.values() for name in one["subject"].unique()}
    people = pd.Index(sorted(named))
    drawn = _weights(people, draws)[:, draws.columns.get_indexer(people)]
    classes, hits = _tallied(candidates, people, score)
    best, apparent, corrected, shares = _choose(hits, classes, drawn, score)
    reach = stats.t.isf(TAIL, len(people) - 1) * _jackknife_error(hits, classes, drawn, score)
    found, names = apparent - corrected, list(candidates)
    shares = pd.Series(shares, names, name="share")
    ends = float(found - reach), float(found + reach)
    return Optimism(names[best], apparent, corrected, found, *ends, shares)


def _tallied(
    candidates: dict[str, pd.DataFrame], people: pd.Index, score: str
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of both classes by person, (2, S), and hits by candidate and seed, (C, J, 2, ...)."""
    seeds = {name: seeds_of(one) for name, one in candidates.items()}
    first = next(iter(seeds))
    classes = tallies.classes(seeds[first][0], people)
    for name, parts in seeds.items():
        same = all(np.array_equal(tallies.classes(part, people), classes) for part in parts)
        if not same or len(parts) != len(seeds[first]):
            raise StatisticsError(
                f"{name} is not tested on the same frames with as many seeds as {first}: choose "
                "among candidates that are."
            )
    if (classes > 0).sum(axis=1).min() < 3:
        raise StatisticsError(
            "fewer than three people show pain, or no pain: who is left out leaves too few to "
            "choose by. Take more subjects."
        )
    hits = [[tallies.hits(part, people, score) for part in parts] for parts in seeds.values()]
    return classes, np.array(hits)


def _choose(
    hits: np.ndarray, classes: np.ndarray, drawn: np.ndarray, score: str
) -> tuple[int, float, float, np.ndarray]:
    """The best candidate, its score, the corrected score, and shares of the draws by candidate."""

    def scores(drawn: np.ndarray) -> np.ndarray:  # (C, draws)
        added = tallies.added(hits, drawn, score)
        # Rounded, so that of equals the first is taken, whatever order the sums went in.
        return (added[:, :, 0] / added[:, :, 1]).mean(axis=1).round(12)

    on_all = scores(np.ones((1, drawn.shape[1])))[:, 0]
    drawn = drawn[tallies.both_classes(classes, drawn)]
    chosen = scores(drawn).argmax(axis=0) == np.arange(len(hits))[:, None]
    often = np.array([tallies.left_out(drawn[draws], score) for draws in chosen])
    if not often.sum(axis=0).all():
        raise StatisticsError(
            f"{len(drawn)} draws do not leave out everybody (for AUC, each two) once: take more."
        )
    averaged = np.einsum("c...,cjk...->kj...", often / often.sum(axis=0), hits)
    won, of = averaged.reshape(*averaged.shape[:2], -1).sum(axis=2)
    best = int(on_all.argmax())
    return best, float(on_all[best]), float((won / of).mean()), chosen.mean(axis=1)


def _jackknife_error(hits: np.ndarray, classes: np.ndarray, drawn: np.ndarray, score: str) -> float:
    """The standard error of the optimism, leaving out one person at a time."""
    number = drawn.shape[1]
    values = []
    for person in range(number):
        kept = np.arange(number) != person
        mask = kept if score == "f1" else np.outer(kept, kept)
        _, apparent, corrected, _ = _choose(hits * mask, classes * kept, drawn, score)
        values.append(apparent - corrected)
    return float(np.sqrt((number - 1) * np.var(values)))
