"""What chapter 07 measures of attention: maps of a trained model and its controls, and their worth.

Models of all folds together: samples are those of the first fold, then of the second, and so on,
and every array has one row a sample in that order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore.attention import faithfulness, interventions
from paincore.attention.attributions import attributions
from paincore.attention.explained import CONTROLS, Explained, control
from paincore.attention.interventions import (
    NEUTRAL,
    PAINLESS,
    UNCHANGED,
    Change,
    Rendered,
    render_again,
)
from paincore.attention.maps import cls_attention, fuse, last_layer_and_rollout, rollout, to_maps
from paincore.attention.regions import AU_REGIONS, NAMES, areas, shares
from paincore.attention.shares import people_means, with_intervals
from paincore.data.corpus import Corpus
from paincore.data.facs import PSPI_AUS
from paincore.statistics.scores import called_pain

TRAINED, SHUFFLED = "trained", "labels shuffled within people"
OUTCOMES = ("pain found", "pain missed", "false alarm", "no pain, none said")
AT_MOST = 4  # samples of a person that are drawn again
MAPPED = 8  # samples of a person and label whose maps are taken
STEPS = 6  # of deletion and insertion: so many times a sixth of the patches
NEUTRAL_FACE = "neutral face"
WHOLE = (UNCHANGED, PAINLESS, NEUTRAL)  # what every sample is drawn as, beside single units


def with_controls(
    trained: Sequence[Explained], shuffled: Sequence[Explained] = ()
) -> dict[str, list[Explained]]:
    """The models that attention is compared between, by name, a list of folds each.

    The trained one; the same trained on labels that were permuted within people, if given; the
    pretrained one before fine-tuning; and random weights.
    """
    others = {SHUFFLED: list(shuffled)} if shuffled else {}
    others |= {which: [control(one, which) for one in trained] for which in reversed(CONTROLS)}
    return {TRAINED: list(trained), **others}


def spread_over_people(folds: Sequence[Explained]) -> list[np.ndarray]:
    """Numbers of the samples of each fold whose maps are taken, int64 (K,), sorted.

    At most `MAPPED` of a person with pain, and as many without: neighbouring clips are alike.
    """
    both = (True, False)
    return [
        np.sort(
            np.concatenate([interventions.examined(one.samples, MAPPED, pain) for pain in both])
        )
        for one in folds
    ]


def samples_of(
    folds: Sequence[Explained], chosen: Sequence[np.ndarray] | None = None
) -> pd.DataFrame:
    """`Explained.samples` of all folds, or the chosen ones, with `outcome`, one of `OUTCOMES`."""
    parts = [one.samples for one in folds]
    if chosen is not None:
        parts = [part.iloc[own] for part, own in zip(parts, chosen, strict=True)]
    table = pd.concat(parts, ignore_index=True)
    said, pain = called_pain(table["probability"]), table["pain"].astype(bool)
    outcome = np.select([pain & said, pain & ~said, ~pain & said], OUTCOMES[:3], OUTCOMES[3])
    return table.assign(outcome=outcome)


class Maps(NamedTuple):
    """The last layer's heads, (M, H, F, P, P), and mean rollout, (M, F, P, P), float32."""

    heads: np.ndarray
    rolled: np.ndarray

    @property
    def last(self) -> np.ndarray:
        """The last layer's mean over heads, (M, F, P, P)."""
        return fuse(self.heads, "mean")


def maps_of(folds: Sequence[Explained], chosen: Sequence[np.ndarray]) -> Maps:
    """The maps of the chosen samples, each by the model that was not trained on its person."""
    heads, rolled = [], []
    for one, own in zip(folds, chosen, strict=True):
        last, flow = last_layer_and_rollout(one.model, one.frames(own))
        heads.append(to_maps(last, one.model))
        rolled.append(to_maps(flow, one.model))
    return Maps(np.concatenate(heads), np.concatenate(rolled))


class Telling(NamedTuple):
    """One sample, by its model and number: the last layer's heads (H, F, P, P), and maps (F, P, P)
    of all heads together by name."""

    explained: Explained
    number: int
    heads: np.ndarray
    together: dict[str, np.ndarray]


def telling_sample(folds: Sequence[Explained]) -> Telling | None:
    """The sample of the paper's figures 8 to 10, chosen by rule, with its maps.

    Of the clips of test subjects whose first frame has PSPI 0, whose others are painful and whose
    pain the model finds, the one with the largest step from the first PSPI to the second; of equals
    the one with the greater PSPI in all, then the first. None if there is no such clip.
    """
    best, found = (0.0, 0.0), None
    for one in folds:
        pspi = one.store.frames["pspi"].to_numpy()[one.rows]
        said = called_pain(one.run.predictions["probability"].to_numpy())
        fits = (pspi[:, 0] == 0) & (pspi[:, 1:] > 0).all(axis=1) & said
        for number in np.flatnonzero(fits):
            score = (float(pspi[number, 1]), float(pspi[number].sum()))
            if score > best:
                best, found = score, (one, int(number))
    return _told(*found) if found else None


def _told(one: Explained, number: int) -> Telling:
    frames = one.frames(np.array([number]))
    heads = to_maps(cls_attention(one.model, frames), one.model)
    rolled = to_maps(rollout(one.model, frames, "max"), one.model)
    together = {"rollout, max": rolled[0], "last layer, max": fuse(heads, "max")[0]}
    return Telling(one, number, heads[0], together)


def mean_maps(maps: np.ndarray, samples: pd.DataFrame) -> dict[str, np.ndarray]:
    """The mean map (F, P, P) of each of `OUTCOMES` that occurs, over samples (M, F, P, P)."""
    return {
        outcome: maps[(samples["outcome"] == outcome).to_numpy()].mean(axis=0)
        for outcome in OUTCOMES
        if (samples["outcome"] == outcome).any()
    }


@dataclass(frozen=True)
class Drawn:
    """Test samples with pain, drawn again without one of the units that act in them, or neutral.

    `samples` has a row for each sample; `maps` are attributions (K, F, P, P) of the unchanged ones
    by method. `units` has a row for each sample and unit that was removed: sample (a row of
    `samples`), subject, unit, effect and log_odds (by how much the unit raises the probability and
    the log-odds), and for each model by its name the proportion of its rollout in the unit's
    regions over their area. `points` has a row for each sample: subject, hits by method, chance and
    oracle of the pointing game on what all units of PSPI together move. `areas` has a row for each
    sample, method and replacement: deletion and insertion. `lost` says of each frame on which no
    face was found that it was left out.
    """

    samples: pd.DataFrame
    maps: dict[str, np.ndarray]
    units: pd.DataFrame
    points: pd.DataFrame
    areas: pd.DataFrame
    lost: tuple[str, ...]


def drawn_again(
    corpus: Corpus, compared: Mapping[str, Sequence[Explained]], workers: int | None = None
) -> Drawn:
    """Pain samples, drawn again without each acting unit, without all, and neutral.

    At most `AT_MOST` a person. `compared` is of `with_controls`: all is measured of the trained
    model, rollout in the units' regions of its controls too. Of a corpus that does not know what
    its frames were caused by, they are taken as they are: `units` and `points` are empty, and
    nothing is replaced by a neutral face.
    """
    folds = compared[TRAINED]
    if corpus.truth is None:
        return _joined([_as_filmed(one) for one in folds], ())
    plan = pd.concat(
        [_plan(corpus, one).assign(fold=place) for place, one in enumerate(folds)],
        ignore_index=True,
    )
    rows = np.stack([folds[one.fold].rows[one.number] for one in plan.itertuples()])
    size = folds[0].model.image_size
    again = render_again(corpus, folds[0].store, rows, list(plan["change"]), size, workers)
    lost = plan.assign(lost=~again.whole).groupby(["fold", "number"])["lost"].transform("any")
    interventions.check_some_left(~lost, again)
    plan = plan[~lost]
    parts = [
        _measured({name: each[place] for name, each in compared.items()}, again, part)
        for place, part in plan.groupby("fold")
    ]
    return _joined(parts, again.lost)


def _joined(parts: Sequence[Drawn], lost: tuple[str, ...]) -> Drawn:
    """The folds' parts as one; `units` points to the rows of all samples."""
    starts = np.cumsum([0, *(len(part.samples) for part in parts)])
    units = [part.units.assign(sample=part.units["sample"] + start)
             for part, start in zip(parts, starts, strict=False)]  # fmt: skip
    return Drawn(
        pd.concat([part.samples for part in parts], ignore_index=True),
        {name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
        pd.concat(units, ignore_index=True),
        pd.concat([part.points for part in parts], ignore_index=True),
        pd.concat([part.areas for part in parts], ignore_index=True),
        lost,
    )


def _as_filmed(one: Explained) -> Drawn:
    """What `Drawn` holds of one fold where nothing can be drawn again."""
    chosen = interventions.examined(one.samples, AT_MOST)
    frames, samples = one.frames(chosen), one.samples.iloc[chosen].reset_index(drop=True)
    maps = attributions(one.model, frames)
    units = pd.DataFrame(columns=["sample", "subject", "unit"])
    points = pd.DataFrame(columns=["subject"])
    return Drawn(samples, maps, units, points, _areas(one, frames, maps, None, samples), ())


def _plan(corpus: Corpus, one: Explained) -> pd.DataFrame:
    """What of a fold is drawn again: number of the sample, change."""
    chosen = interventions.examined(one.samples, AT_MOST)
    acting = interventions.active_aus(corpus, one.rows[chosen, -1])
    rows = [
        (int(number), change)
        for number, units in zip(chosen, acting, strict=True)
        for change in (*WHOLE, *(Change((unit,)) for unit in units))
    ]
    return pd.DataFrame(rows, columns=["number", "change"])


def _measured(models: Mapping[str, Explained], again: Rendered, plan: pd.DataFrame) -> Drawn:
    """What `Drawn` holds of one fold; the index of `plan` is the place in `again`."""
    one = models[TRAINED]
    places = {change: plan[plan["change"] == change] for change in WHOLE}
    kept = places[UNCHANGED]
    frames, neutral = (again.frames[places[change].index] for change in (UNCHANGED, NEUTRAL))
    maps = attributions(one.model, frames)
    samples = one.samples.iloc[kept["number"]].reset_index(drop=True)
    rank = {number: row for row, number in enumerate(kept["number"])}
    removed = plan[~plan["change"].isin(WHOLE)]
    units = _units(models, again, removed, removed["number"].map(rank).to_numpy(), frames)
    units.insert(1, "subject", samples["subject"].to_numpy()[units["sample"]])
    points = _points(again.of(places[PAINLESS].index), maps).assign(subject=samples["subject"])
    return Drawn(samples, maps, units, points, _areas(one, frames, maps, neutral, samples), ())


def _units(
    models: Mapping[str, Explained],
    again: Rendered,
    removed: pd.DataFrame,
    samples: np.ndarray,
    frames: np.ndarray,
) -> pd.DataFrame:
    """A row for each sample and unit that was removed from it; see `Drawn`."""
    without, model = again.frames[removed.index], models[TRAINED].model
    effect, log_odds = faithfulness.causal_effects(model, frames[samples], without)
    units = [change.removed[0] for change in removed["change"]]
    table = pd.DataFrame({"sample": samples, "unit": units, "effect": effect, "log_odds": log_odds})
    regions = [[NAMES.index(name) for name in AU_REGIONS[unit]] for unit in units]
    for name, one in models.items():
        rolled = to_maps(rollout(one.model, frames), one.model)
        parts, even = shares(rolled), areas(rolled.shape[-1])
        table[name] = [
            parts[sample, at].sum() / even[at].sum()
            for sample, at in zip(samples, regions, strict=True)
        ]
    return table


def _points(painless: Rendered, maps: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The pointing game of each method on what all units of PSPI move; see `Drawn`."""
    table = pd.DataFrame()
    for name, values in maps.items():
        hits, chance, oracle = faithfulness.pointing_game(values, painless.moved, painless.visible)
        table[name] = hits
    return table.assign(chance=chance, oracle=oracle)


def _areas(
    one: Explained,
    frames: np.ndarray,
    maps: Mapping[str, np.ndarray],
    neutral: np.ndarray | None,
    samples: pd.DataFrame,
) -> pd.DataFrame:
    """A row for each sample, method and replacement: areas under deletion and insertion."""
    others = {kind: faithfulness.replacement(frames, kind) for kind in faithfulness.REPLACEMENTS}
    others |= {} if neutral is None else {NEUTRAL_FACE: neutral}
    tables = []
    for method, values in maps.items():
        for kind, replaced in others.items():
            drops, gains = (
                faithfulness.area_under(
                    faithfulness.curves(one.model, frames, values, replaced, insertion, STEPS)
                )
                for insertion in (False, True)
            )
            named = {"subject": samples["subject"], "method": method, "replaced": kind}
            tables.append(pd.DataFrame(named | {"deletion": drops, "insertion": gains}))
    return pd.concat(tables, ignore_index=True)


def faithful(drawn: Drawn, draws: pd.DataFrame) -> pd.DataFrame:
    """Insertion less deletion by method and replacement: method, replaced, mean, low, high, people.

    The greater, the more of the prediction hangs on the patches that a method puts first; 0 where
    their order is no better than chance. Differences to "random" are in `less_random`, with low and
    high of that.
    """
    rows = []
    for kind in drawn.areas["replaced"].unique():
        part = drawn.areas[drawn.areas["replaced"] == kind]
        random = part[part["method"] == "random"]
        for method, group in part.groupby("method", sort=False):
            gained = (group["insertion"] - group["deletion"]).to_numpy()
            less = gained - (random["insertion"] - random["deletion"]).to_numpy()
            both = np.column_stack([gained, less])
            found = with_intervals(people_means(both, group["subject"]), draws)
            named = {"method": method, "replaced": kind, "gained": found.loc[0, "mean"]}
            rows.append(named | found.loc[1].to_dict())
    return pd.DataFrame(rows).rename(columns={"mean": "less_random"})


def pointing(drawn: Drawn, draws: pd.DataFrame) -> pd.DataFrame:
    """The pointing game by method and, last, the oracle: method, hits, mean, low, high, people.

    `mean` and its interval are of hits - chance, sample by sample: chance has errors of its own.
    """
    names = [*drawn.maps, "oracle"]
    hits = drawn.points[names]
    above = hits.sub(drawn.points["chance"], axis=0)
    means = people_means(np.hstack([hits, above]), drawn.points["subject"])
    found = with_intervals(means, draws)
    table = found.iloc[len(names) :].reset_index(drop=True)
    return table.assign(method=names, hits=found["mean"].to_numpy()[: len(names)])


def effects(drawn: Drawn, draws: pd.DataFrame) -> pd.DataFrame:
    """What each unit adds to the log-odds of pain: unit, mean, low, high, people, samples."""
    rows = []
    for unit in PSPI_AUS:
        group = drawn.units[drawn.units["unit"] == unit]
        if len(group):
            found = with_intervals(
                people_means(group[["log_odds"]].to_numpy(), group["subject"]), draws
            )
            rows.append({"unit": unit, **found.loc[0].to_dict(), "samples": len(group)})
    return pd.DataFrame(rows)


def follows_causes(drawn: Drawn, draws: pd.DataFrame) -> pd.DataFrame:
    """Whether attention is where causes are: a row a model and a difference, mean, low, high.

    Mean over people of the rank correlation, over a person's samples and units, of each unit's
    effect on the trained model's log-odds with the proportion of a model's rollout in its regions.
    Controls have the effects of the trained model: what their rollout goes along with was there
    without training on pain. Differences, "trained - ...", are of the same people.
    """
    units = drawn.units
    names = [name for name in (TRAINED, SHUFFLED, *reversed(CONTROLS)) if name in units]
    each = pd.DataFrame(
        {
            name: faithfulness.rank_correlations(
                units["log_odds"], units[name], units["subject"]
            ).set_index("subject")["rho"]
            for name in names
        }
    )
    for name in names[1:]:
        each[f"{TRAINED} - {name}"] = each[TRAINED] - each[name]
    return with_intervals(each, draws)


def by_name(measured: Mapping[str, Maps], kind: str) -> dict[str, np.ndarray]:
    """Shares of regions, float64 (M, R), by model; `kind` is "last" or "rolled"."""
    return {name: shares(getattr(maps, kind)) for name, maps in measured.items()}
