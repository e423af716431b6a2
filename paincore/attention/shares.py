"""Where attention goes, counted: shares of regions, by head, by action unit, and how heads differ.

Values are first averaged over the samples of a person, then over people, who all count the same;
intervals are of 95 per cent over draws of people (`statistics.resample_subjects`). A ratio is a
region's share of attention over its share of the view: 1 where attention is even. The models of
different folds are different networks; as all are fine-tuned from one pretrained encoder, a head of
one number is taken for the same head in all of them, except where heads are compared with one
another. Intervals and p are about people, with the networks as they are: of what another training
would give, a handful of networks tells only their own values. Nothing here says that what is
attended to decides a prediction. Chapter 07.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from paincore.attention.regions import AU_REGIONS, NAMES
from paincore.statistics.bootstrap import interval

EXCHANGES = 999  # how often signs are exchanged at random
FEWEST = 5  # samples of a person, and people, below which nothing is said of them


def people_means(values: np.ndarray, subjects: pd.Series) -> pd.DataFrame:
    """Mean of values (M, K) over each person's samples, NaN left out: a row a person."""
    return pd.DataFrame(values).groupby(subjects.to_numpy()).mean()


def with_intervals(means: pd.DataFrame, draws: pd.DataFrame) -> pd.DataFrame:
    """Mean over people of each column, with its interval: mean, low, high, people.

    A person without a value, NaN, does not count in that column.
    """
    weights = draws[means.index].to_numpy()
    there = means.notna().to_numpy()
    values = means.fillna(0).to_numpy()
    with np.errstate(invalid="ignore"):
        drawn = (weights @ values) / (weights @ there)
        mean = values.sum(axis=0) / there.sum(axis=0)
    ends = [interval(column) for column in drawn.T]
    return pd.DataFrame(
        {
            "mean": mean,
            "low": [low for low, _ in ends],
            "high": [high for _, high in ends],
            "people": there.sum(axis=0),
        },
        index=means.columns,
    )


def by_region(
    shares: Mapping[str, np.ndarray], areas: np.ndarray, subjects: pd.Series, draws: pd.DataFrame
) -> pd.DataFrame:
    """Ratios by model and region: model, region, mean, low, high, people.

    `shares` are (M, R) by the name of a model, `areas` (R,), regions those of `regions.NAMES`.
    """
    parts = []
    for model, one in shares.items():
        found = with_intervals(people_means(one / areas, subjects), draws)
        parts.append(found.assign(model=model, region=NAMES))
    return pd.concat(parts, ignore_index=True)


def more_than_controls(
    shares: Mapping[str, np.ndarray], areas: np.ndarray, subjects: pd.Series, draws: pd.DataFrame
) -> pd.DataFrame:
    """Ratios of the first model less those of each other, as `by_region`, whose arguments it takes.

    The same people are drawn on both sides, so that an interval on one side of 0 tells two models
    of the same samples apart.
    """
    first, *others = shares
    less = {name: shares[first] - shares[name] for name in others}
    return by_region(less, areas, subjects, draws)


def by_head(
    shares: np.ndarray, areas: np.ndarray, subjects: pd.Series, draws: pd.DataFrame
) -> pd.DataFrame:
    """Ratios of shares (M, H, R) by head and region: head, region, mean, low, high, people."""
    heads = {str(head): shares[:, head] for head in range(shares.shape[1])}
    return by_region(heads, areas, subjects, draws).rename(columns={"model": "head"})


def by_unit(
    shares: np.ndarray, areas: np.ndarray, samples: pd.DataFrame, draws: pd.DataFrame
) -> pd.DataFrame:
    """Ratio in an action unit's regions where it is coded less where it is not, within people.

    Of shares (M, R): unit, mean, low, high, people; only people who show both count. It tells
    whether attention moves with an AU, not why: AUs of pain come together.
    """
    rows = []
    for unit, names in AU_REGIONS.items():
        places = [NAMES.index(name) for name in names]
        ratio = shares[:, places].sum(axis=1) / areas[places].sum()
        coded = samples[f"au{unit}"].to_numpy() > 0
        each = pd.DataFrame({"with": np.where(coded, ratio, np.nan)})
        each["without"] = np.where(coded, np.nan, ratio)
        means = people_means(each.to_numpy(), samples["subject"])
        found = with_intervals((means[0] - means[1]).to_frame(), draws)
        rows.append({"unit": unit, "regions": " + ".join(names), **found.iloc[0].to_dict()})
    return pd.DataFrame(rows).astype({"people": int})


def heads_apart(shares: np.ndarray, samples: pd.DataFrame) -> np.ndarray:
    """How far apart the heads of each fold's network look, 0 to 1: float64 (K,), by fold.

    `shares` (M, H, R); `samples` has subject and fold. It is the proportion of a head's attention
    that would have to move to other regions to make it look where another head looks, a mean over
    pairs of heads. Heads of any network differ, also before training; what a training adds is the
    difference, network by network, to the model before it. Of few people a distance comes out too
    large, as a mean of absolute differences does, for all models alike.
    """
    _, heads, regions = shares.shape
    found = []
    for _, group in samples.reset_index(drop=True).groupby("fold", sort=True):
        own = shares[group.index].reshape(len(group), -1)
        mean = people_means(own, group["subject"]).to_numpy().mean(axis=0)
        found.append(_distance(mean.reshape(heads, regions)))
    return np.array(found)


def _distance(means: np.ndarray) -> float:
    """Mean over pairs of heads (H, R) of half the sum of absolute differences."""
    one, other = np.triu_indices(len(means), 1)
    return float(abs(means[one] - means[other]).sum(axis=1).mean() / 2)


def followers(shares: np.ndarray, samples: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Whether a head follows an action unit: head, unit, correlation, people, alike, p; by p.

    The correlation is Spearman's, within people, of a head's share (M, H, R) in the unit's regions
    with its coded intensity, averaged over people who show it. For p the signs of people are
    exchanged at random, and the greatest of all heads and units is what chance must reach (max-T,
    Westfall & Young 1993), so that many heads do not find something by their number. `alike` is
    in how many of the folds' networks, of how many, the mean correlation has this sign.
    """
    units = [unit for unit in AU_REGIONS if samples[f"au{unit}"].nunique() > 1]
    each = np.stack([_within(shares, samples, unit) for unit in units], axis=2)  # (S, H, U)
    there = np.isfinite(each)
    people, values = there.sum(axis=0), np.where(there, each, 0)
    root = np.sqrt((values**2).sum(axis=0))
    score = abs(values.sum(axis=0)) / np.where(root > 0, root, 1)
    rng = np.random.default_rng([seed, *b"followers"])
    signs = rng.choice([-1.0, 1.0], (EXCHANGES, len(values)))
    chance = abs(np.einsum("ns,shu->nhu", signs, values)) / np.where(root > 0, root, 1)
    most = chance.max(axis=(1, 2))
    p = (1 + (most[:, None, None] >= score).sum(axis=0)) / (1 + EXCHANGES)
    mean = values.sum(axis=0) / np.maximum(people, 1)
    network = np.sign(_by_network(values, samples))
    alike = ((network == np.sign(mean)) & (network != 0)).sum(axis=0)
    rows = [
        (head, unit, mean[head, place], int(people[head, place]),
         f"{alike[head, place]} of {(network[:, head, place] != 0).sum()}", p[head, place])
        for head in range(shares.shape[1])
        for place, unit in enumerate(units)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["head", "unit", "correlation", "people", "alike", "p"])
    return table.sort_values(["p", "head", "unit"], ignore_index=True)


def _by_network(values: np.ndarray, samples: pd.DataFrame) -> np.ndarray:
    """Sums (K, ...) over the people of each fold of values (S, ...), people in sorted order."""
    folds = samples.groupby("subject", sort=True)["fold"].first().to_numpy()
    return np.stack([values[folds == fold].sum(axis=0) for fold in np.unique(folds)])


def _within(shares: np.ndarray, samples: pd.DataFrame, unit: int) -> np.ndarray:
    """Spearman's correlation within each person, (S, H); NaN for those who do not vary."""
    places = [NAMES.index(name) for name in AU_REGIONS[unit]]
    values = shares[:, :, places].sum(axis=2)
    rows = []
    for _, group in samples.reset_index(drop=True).groupby("subject", sort=True):
        level, there = group[f"au{unit}"].to_numpy(float), values[group.index]
        if len(group) < FEWEST or np.ptp(level) == 0:
            rows.append(np.full(values.shape[1], np.nan))
            continue
        ranks = rankdata(np.column_stack([level, there]), axis=0)
        with np.errstate(invalid="ignore"):
            rows.append(np.corrcoef(ranks, rowvar=False)[0, 1:])
    return np.array(rows)
