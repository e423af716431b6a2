"""What choosing the best of several models, on the people it is then scored on, adds to its score.

The bootstrap bias-corrected cross-validation of Tsamardinos et al. 2018, "Bootstrapping the
out-of-sample predictions for efficient and accurate cross-validation".
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from paincore.statistics import bootstrap
from paincore.statistics.scores import seeds_of


class Optimism(NamedTuple):
    """What choosing the best of some candidates adds to its F1.

    `chosen` is the candidate, `apparent` its F1, `corrected` what people who had no part in a
    choice give, `difference` the former minus the latter, `low` and `high` the ends of its
    interval, `shares` the proportion of resamples in which each candidate was chosen, from 0 to 1.
    """

    chosen: str
    apparent: float
    corrected: float
    difference: float
    low: float
    high: float
    shares: pd.Series


def optimism(candidates: dict[str, pd.DataFrame], resamples: pd.DataFrame) -> Optimism:
    """The optimism of reporting the F1 of the best of `candidates` on the people of the choice.

    Apparent is the pooled F1 of the candidate for which it is highest (the first of equals). The
    choice is repeated in each resample by the same rule and scored on the people who are not in
    it. Hits of a person are averaged over the resamples without this person, each with its own
    choice, and only then made an F1 (as in Efron & Tibshirani 1997): F1 is a ratio, and its mean
    over the few people outside each resample is lower than that of all people, by 0.01 in
    simulations, without any choice. So a single candidate has no optimism. A choice on a resample
    is a little poorer than one on all people, so `corrected` is rather too low than too high.
    Where earlier choices on the same people made candidates, as in a greedy search, those choices
    are not repeated and the optimism is understated.

    The interval is of the optimism to be expected of such a choice, by jackknife over subjects and
    t. Raises StatisticsError for candidates that are not of the same frames and seeds, fewer than
    three people with a class, and too few resamples.
    """
    people = pd.Index(sorted({name for one in candidates.values() for name in one["subject"]}))
    seeds = [seeds_of(one) for one in candidates.values()]
    counts = [[bootstrap.count_classes(part, people) for part in parts] for parts in seeds]
    classes = counts[0][0]
    if not all(np.array_equal(each, [classes] * len(counts[0])) for each in counts):
        raise bootstrap.StatisticsError("choose among candidates of the same frames and seeds.")
    if (classes > 0).sum(axis=1).min() < 3:
        raise bootstrap.StatisticsError("fewer than three people have a class: take more subjects.")
    hits = [[bootstrap.count_hits(part, people, "f1") for part in parts] for parts in seeds]
    weights = resamples[people].to_numpy(float)
    best, apparent, corrected, chosen = _choose(np.array(hits), classes, weights)
    optimisms = []
    for kept in ~np.eye(len(people), dtype=bool):  # the jackknife
        _, without, corrected_without, _ = _choose(np.array(hits) * kept, classes * kept, weights)
        optimisms.append(without - corrected_without)
    error = np.sqrt((len(people) - 1) * np.var(optimisms))
    reach = float(stats.t.isf(bootstrap.TAIL, len(people) - 1) * error)
    found, shares = apparent - corrected, pd.Series(chosen, [*candidates], name="share")
    ends = found - reach, found + reach
    return Optimism(shares.index[best], apparent, corrected, found, *ends, shares)


def _choose(hits: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> tuple:
    """The best candidate, its F1, the corrected F1, and how often each is chosen.

    `hits` (C, J, 2, S) are of C candidates and J seeds, `classes` (2, S), `weights` (B, S).
    """

    def scores(weights: np.ndarray) -> np.ndarray:  # (C, B)
        won, of = np.moveaxis(hits @ weights.T, 2, 0)
        # Rounded, so that of equals the first is taken, whatever order the sums went in.
        return (won / of).mean(axis=1).round(12)

    on_all = scores(np.ones((1, weights.shape[1])))[:, 0]
    weights = weights[bootstrap.hold_both(classes, weights)]
    chosen = scores(weights).argmax(axis=0) == np.arange(len(hits))[:, None]
    often = chosen @ (weights == 0).astype(float)  # and this person left out: (C, S)
    if not often.any(axis=0).all():
        few = f"{len(weights)} resamples do not leave out everybody once"
        raise bootstrap.StatisticsError(f"{few}: take more.")
    won, of = np.einsum("cs,cjks->kjs", often / often.sum(axis=0), hits).sum(axis=2)
    best = int(on_all.argmax())
    return best, float(on_all[best]), float((won / of).mean()), chosen.mean(axis=1)
