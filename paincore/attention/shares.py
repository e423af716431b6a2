"""Where attention goes, counted: regions by model and head, by action unit, and how heads differ.

Values are first averaged over the samples of a person, then over people, who all count the same;
intervals are of 95 % over bootstrap resamples of people (`statistics.bootstrap`), with the networks
as they are. A ratio is a region's proportion of attention over its proportion of the view: 1 where
attention is even. The models of different folds are different networks; as all are fine-tuned from
one pretrained encoder, head 0 of one is taken for head 0 of another, except where heads are
compared with one another. Nothing here says that what is attended to decides a prediction.
"""

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from paincore.attention import regions
from paincore.attention.explained import TRAINED
from paincore.attention.regions import AU_REGIONS, REGION_NAMES
from paincore.statistics.bootstrap import interval


def with_intervals(means: pd.DataFrame, resamples: pd.DataFrame) -> pd.DataFrame:
    """Mean over people of each column, with its interval: mean, low, high, people.

    `means` has a row for each person, by name; a person without a value, NaN, does not count in
    that column. `resamples` are the weights of people, of `resample_subjects`.
    """
    weights = resamples[means.index].to_numpy()
    known, values = means.notna().to_numpy(), means.fillna(0).to_numpy(float)
    with np.errstate(invalid="ignore"):
        resampled = (weights @ values) / (weights @ known)
        mean = values.sum(axis=0) / known.sum(axis=0)
    ends = np.reshape([interval(column) for column in resampled.T], (-1, 2))
    table = {"mean": mean, "low": ends[:, 0], "high": ends[:, 1], "people": known.sum(axis=0)}
    return pd.DataFrame(table, index=means.columns)


def by_region(maps: dict, subjects: pd.Series, resamples: pd.DataFrame) -> pd.DataFrame:
    """Ratios of maps (M, F, P, P) by their names and region: name, region, mean, low, high, people.

    Names are those of models, or of heads; `subjects` (M,) are the samples' people.
    """
    ratios = {}
    for name, one in maps.items():
        each = regions.proportions(one) / regions.areas(one.shape[-1])
        ratios[name] = pd.DataFrame(each, columns=REGION_NAMES)
    means = pd.concat(ratios, axis=1).groupby(subjects.to_numpy()).mean()
    return with_intervals(means, resamples).rename_axis(["name", "region"]).reset_index()


def by_head(heads: np.ndarray, subjects: pd.Series, resamples: pd.DataFrame) -> pd.DataFrame:
    """`by_region` of the heads (M, H, F, P, P) of one model."""
    named = {f"head {head}": heads[:, head] for head in range(heads.shape[1])}
    return by_region(named, subjects, resamples)


def beyond_controls(maps: dict, subjects: pd.Series, resamples: pd.DataFrame) -> pd.DataFrame:
    """The ratio in the regions of action units together: trained − each control, by its name.

    Maps are (M, F, P, P), by model; the same people are resampled on both sides.
    """
    ratios = {name: regions.times_even(one, regions.REGIONS) for name, one in maps.items()}
    means = pd.DataFrame(ratios).groupby(subjects.to_numpy()).mean()
    return with_intervals(-means.sub(means.pop(TRAINED), axis=0), resamples)


def by_unit(maps: np.ndarray, samples: pd.DataFrame, resamples: pd.DataFrame) -> pd.DataFrame:
    """The ratio in an action unit's regions where it is coded − where it is not, within people.

    Of maps (M, F, P, P), by unit and regions in words: mean, low, high, people; only people with
    both kinds of samples count. It tells whether attention moves with an AU, not why: AUs of pain
    come together.
    """
    people, means = samples["subject"], {}
    for unit, shown_in in AU_REGIONS.items():
        ratio = pd.Series(regions.times_even(maps, shown_in), people.index)
        coded = samples[f"au{unit}"] > 0
        with_it, without = (ratio.where(which).groupby(people).mean() for which in (coded, ~coded))
        means[f"AU{unit}: {' + '.join(shown_in)}"] = with_it - without
    return with_intervals(pd.DataFrame(means), resamples)


def heads_apart(heads: np.ndarray, samples: pd.DataFrame) -> np.ndarray:
    """How far apart the heads of each fold's network look, 0 to 1: float64 (K,), by fold.

    `heads` (M, H, F, P, P); `samples` has subject and fold. It is the proportion of a head's
    attention that would have to move to other regions to make it look where another head looks, a
    mean over pairs of heads. Heads of any network differ, also before training; what a training
    adds is the difference, network by network, to the model before it. Of few people a distance
    comes out too large, as a mean of absolute differences does, for all models alike.
    """
    found, each = [], regions.proportions(heads)
    for rows in samples.groupby("fold").indices.values():
        own = pd.DataFrame(each[rows].reshape(len(rows), -1))
        mean = own.groupby(samples["subject"].to_numpy()[rows]).mean().mean().to_numpy()
        found.append(pdist(mean.reshape(each.shape[1:]), "cityblock").mean() / 2)
    return np.array(found)
