"""What choosing the best of several models, on the people it is then scored on, adds to its score.

The bootstrap bias-corrected cross-validation of Tsamardinos et al. 2018, "Bootstrapping the
out-of-sample predictions for efficient and accurate cross-validation".
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from paincore.statistics.bootstrap import (
    TAIL,
    StatisticsError,
    add_up,
    count_classes,
    count_hits,
    hold_both,
)
from paincore.statistics.scores import seeds_of


class Optimism(NamedTuple):
    """What choosing the best of some candidates adds to its score.

    `chosen` is the candidate, `apparent` its score, `corrected` what people who had no part in a
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


def optimism(
    candidates: dict[str, pd.DataFrame], resamples: pd.DataFrame, score: str = "f1"
) -> Optimism:
    """The optimism of reporting the best of `candidates` on the people that it was chosen on.

    Apparent is the pooled score of the candidate for which it is highest (the first of equals). The
    choice is repeated in each resample by the same rule and scored on the people who are not in
    it. Hits of a person are averaged over the resamples without this person, each with its own
    choice, and only then made a score (as in Efron & Tibshirani 1997): F1 is a ratio, and its mean
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
    if strange := {*people} - {*resamples}:
        raise StatisticsError(f"subject {min(strange)} is not resampled: resample all subjects.")
    weights = resamples[people].to_numpy(float)
    seeds = {name: seeds_of(one) for name, one in candidates.items()}
    first = next(iter(seeds))
    classes = count_classes(seeds[first][0], people)
    for name, parts in seeds.items():
        same = (np.array_equal(count_classes(part, people), classes) for part in parts)
        if len(parts) != len(seeds[first]) or not all(same):
            raise StatisticsError(
                f"{name} is not tested on the same frames with as many seeds as {first}: choose "
                "among candidates that are."
            )
    if (classes > 0).sum(axis=1).min() < 3:
        raise StatisticsError(
            "fewer than three people have one of the classes: take more subjects."
        )
    hits = np.array([[count_hits(one, people, score) for one in parts] for parts in seeds.values()])
    best, apparent, corrected, chosen = _choose(hits, classes, weights, score)
    optimisms = []
    for kept in ~np.eye(len(people), dtype=bool):  # the jackknife
        mask = kept if score == "f1" else np.outer(kept, kept)
        _, without, corrected_without, _ = _choose(hits * mask, classes * kept, weights, score)
        optimisms.append(without - corrected_without)
    error = np.sqrt((len(people) - 1) * np.var(optimisms))
    reach = float(stats.t.isf(TAIL, len(people) - 1) * error)
    found, shares = apparent - corrected, pd.Series(chosen, [*candidates], name="share")
    return Optimism(
        shares.index[best], apparent, corrected, found, found - reach, found + reach, shares
    )


def _choose(
    hits: np.ndarray, classes: np.ndarray, weights: np.ndarray, score: str
) -> tuple[int, float, float, np.ndarray]:
    """The best candidate, its score, the corrected score, and how often each is chosen.

    `hits` (C, J, 2, ...) are of C candidates and J seeds, `classes` (2, S), `weights` (B, S).
    """

    def scores(weights: np.ndarray) -> np.ndarray:  # (C, B)
        won, of = np.moveaxis(add_up(hits, weights, score), 2, 0)
        # Rounded, so that of equals the first is taken, whatever order the sums went in.
        return (won / of).mean(axis=1).round(12)

    on_all = scores(np.ones((1, weights.shape[1])))[:, 0]
    weights = weights[hold_both(classes, weights)]
    chosen = scores(weights).argmax(axis=0) == np.arange(len(hits))[:, None]
    outside = [(weights[which] == 0).astype(float) for which in chosen]
    often = np.array([one.sum(axis=0) if score == "f1" else one.T @ one for one in outside])
    if not often.sum(axis=0).all():
        raise StatisticsError(
            f"{len(weights)} resamples do not leave out everybody (for AUC, each two people) once: "
            "take more."
        )
    averaged = np.einsum("c...,cjk...->kj...", often / often.sum(axis=0), hits)
    won, of = averaged.reshape(*averaged.shape[:2], -1).sum(axis=2)
    best = int(on_all.argmax())
    return best, float(on_all[best]), float((won / of).mean()), chosen.mean(axis=1)
