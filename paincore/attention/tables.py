"""What chapter 07 says of attention: sentences that follow this run's numbers.

Something is said to be more or less only where its interval lies on one side; else it is said that
the two are not told apart. No sentence says that the paper is right or wrong about its own data.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from paincore import paper
from paincore.attention.measures import (
    SHUFFLED,
    TRAINED,
    Drawn,
    Telling,
    effects,
    faithful,
    follows_causes,
    pointing,
)
from paincore.attention.regions import AU_REGIONS, NAMES, REGIONS, areas, shares
from paincore.attention.shares import FEWEST
from paincore.attention.shortcut import MODELS, Tried, changes, finds
from paincore.results.tables import p_value
from paincore.style import bracket, number, signed

MAPS = ("last layer mean", "last layer max", "rollout mean", "rollout max")
SIGNIFICANT = 0.05
NOT_HERE = (
    "This corpus does not know what its frames were caused by, so nothing could be taken away from "
    "a face. The book's synthetic corpus knows."
)


def sample_sentence(telling: Telling | None) -> str:
    """Which sample was chosen, beside the paper's. Chapter 07."""
    if telling is None:
        return "No clip of a test subject fits the rule, so there is nothing to picture here."
    frames = telling.explained.store.frames.iloc[telling.explained.rows[telling.number]]
    levels = [f"{value:.0f}" for value in frames["pspi"]]
    run = telling.explained.run
    fold = run.predictions["fold"].iloc[0]
    return (
        f"The rule chose {frames['sequence'].iloc[0]}, frames {frames['frame'].iloc[0]} to "
        f"{frames['frame'].iloc[-1]}, with PSPI {', '.join(levels)}; the paper's sample has 0, 10, "
        f"10, 10. The model is {run.configuration.title} of fold {fold}, which was not trained "
        "on this person."
    )


def heads_sentence(telling: Telling | None) -> str:
    """What each head of the sample favours, as the paper's section 4.6 reads its Figure 9."""
    if telling is None:
        return ""
    found = shares(telling.heads) / areas(telling.heads.shape[-1])
    face = list(range(len(REGIONS)))
    said = []
    for head, ratios in enumerate(found):
        most = face[int(np.argmax(ratios[face]))]
        little = ", less than even" if ratios[most] < 1 else ""
        said.append(f"head {head} in the {NAMES[most]} ({number(ratios[most])} times{little})")
    return (
        "The region of action units that each head has most attention in, in this sample and "
        f"against an even share: {', '.join(said)}. The paper reads its own picture as AU43 "
        "(head 0), AU4 (head 1), AU6 and AU7 (head 2) and most of the face (head 3)."
    )


def regions_sentences(
    found: Mapping[str, pd.DataFrame], less: Mapping[str, pd.DataFrame]
) -> list[str]:
    """Whether the trained model attends to regions more than evenly, and than its controls do.

    By kind of map, `found` holds `attention_shares.by_region` and `less` `more_than_controls`.
    """
    said = []
    for kind, table in found.items():
        trained = table[table["model"] == TRAINED].set_index("region").loc[list(REGIONS)]
        more = [name for name in REGIONS if trained.loc[name, "low"] > 1]
        # The trained model is more than both controls by what it is more than the nearer one.
        controls = less[kind][less[kind]["model"].isin((SHUFFLED, "pretrained"))]
        nearer = controls.groupby("region")[["mean", "low"]].min()
        beyond = [name for name in more if nearer.loc[name, "low"] > 0]
        ratios = f"{number(trained['mean'].min())} to {number(trained['mean'].max())}"
        rest = (
            f"more than both the model of labels shuffled within people and the one before "
            f"fine-tuning in "
            f"{_listed(beyond)}, by at most {number(nearer.loc[beyond, 'mean'].max())}"
            if beyond
            else "in none of them more than in both the model of labels shuffled within people and "
            "the one before fine-tuning, people drawn alike"
        )
        said.append(
            f"In the {kind}, the trained model has {ratios} times an even share in the six "
            f"regions, and more than even in {_listed(more)}, {rest}."
        )
    return said


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


def apart_sentence(found: Mapping[str, np.ndarray]) -> str:
    """How far apart heads look, network by network, and whether training made it so in all."""
    more = found[TRAINED] - found["pretrained"]
    each = ", ".join(signed(100 * one) for one in more)
    learnt = (
        f"moved heads {'apart' if more[0] > 0 else 'together'} in all of them"
        if abs(np.sign(more).sum()) == len(more)
        else "not done the same to all of them"
    )
    others = "; ".join(f"{name}, {_percent(one)}" for name, one in found.items() if name != TRAINED)
    return (
        f"To make one head look where another looks, {_percent(found[TRAINED])} of its attention "
        f"would have to move in the trained networks. In the others: {others}. Trained "
        f"\N{MINUS SIGN} before fine-tuning, network by network: {each} points; fine-tuning has "
        f"{learnt}. So few networks give no p."
    )


def _percent(each: np.ndarray) -> str:
    """The mean of distances and their range over networks, in per cent."""
    return f"{100 * each.mean():.1f} % ({100 * each.min():.1f} to {100 * each.max():.1f})"


def units_sentence(table: pd.DataFrame) -> str:
    """At which action units attention goes more, or less, to where they show."""
    more = [f"AU{row.unit}" for row in table.itertuples() if row.low > 0]
    less = [f"AU{row.unit}" for row in table.itertuples() if row.high < 0]
    return (
        f"Where a unit is coded, attention is more in its regions for {_listed(more)} and less for "
        f"{_listed(less)}; for the others the interval holds 0. Units of pain come together, so "
        "this does not say which of them attention follows."
    )


def followers_table(table: pd.DataFrame, rows: int = 6) -> pd.DataFrame:
    """The heads and units that go together most clearly."""
    top = table.head(rows)
    columns = {
        "head": top["head"],
        "action unit": [f"AU{unit}" for unit in top["unit"]],
        "regions": [" + ".join(AU_REGIONS[unit]) for unit in top["unit"]],
        "correlation": top["correlation"].map(signed),
        "people": top["people"],
        "networks alike": top["alike"],
        "p, adjusted for all pairs": top["p"].map(p_value),
    }
    return pd.DataFrame(columns).astype(str)


def faithful_sentences(drawn: Drawn, draws: pd.DataFrame) -> list[str]:
    """Which methods put patches in a better order than chance, by replacement."""
    table = faithful(drawn, draws)
    said = []
    for kind, part in table[table["method"] != "random"].groupby("replaced", sort=False):
        part = part.sort_values("less_random", ascending=False)
        better = [
            f"{row.method} {signed(row.less_random)} {bracket(row.low, row.high, signed)}"
            for row in part.itertuples()
            if row.low > 0
        ]
        said.append(f"Replaced by {_kinds(kind)}, better than random order: {_listed(better)}.")
    return said


def _kinds(kind: str) -> str:
    return {"mean": "the mean colour", "blurred": "a blurred face"}.get(kind, f"the {kind}")


def pointing_sentence(drawn: Drawn, draws: pd.DataFrame) -> str:
    """Whether maps are greatest where the units of pain move the face."""
    if drawn.units.empty:
        return NOT_HERE
    table = pointing(drawn, draws).set_index("method")
    better = [
        f"{name} by {number(row['mean'])} {bracket(row['low'], row['high'])}"
        for name, row in table.drop(index="oracle").iterrows()
        if row["low"] > 0
    ]
    most = table.loc["oracle"]
    return (
        f"More often than a pixel of the face drawn at random hit: {_listed(better)}. The most "
        f"that a single maximum could do is {number(most['mean'])} "
        f"{bracket(most['low'], most['high'])} above it."
    )


def effects_sentences(drawn: Drawn, draws: pd.DataFrame) -> list[str]:
    """What units add to a prediction, and whether attention is where they do."""
    if drawn.units.empty:
        return [NOT_HERE]
    table = effects(drawn, draws)
    adds = [
        f"AU{row.unit} by {number(row.mean)} {bracket(row.low, row.high)} ({row.samples} samples "
        f"of {row.people:.0f} people)"
        for row in table.itertuples()
        if row.low > 0 and row.people >= FEWEST
    ]
    few = [f"AU{row.unit}" for row in table.itertuples() if row.people < FEWEST]
    few = f" Fewer than {FEWEST} people show {', '.join(few)}." if few else ""
    found = follows_causes(drawn, draws)
    said = [
        f"{name} {signed(row['mean'])} {bracket(row['low'], row['high'], signed)}"
        for name, row in found.iterrows()
    ]
    count = f"{len(drawn.samples)} samples of {drawn.samples['subject'].nunique()} people"
    lost = f" Left out, as no face was found in one of their frames: {len(drawn.lost)}."
    return [
        f"In {count}, taking a unit away lowers the log-odds of pain for: {_listed(adds)}."
        + few
        + (lost if drawn.lost else ""),
        "Within people, the rank correlation of what a unit adds with the proportion of rollout in "
        f"its regions is: {'; '.join(said)} ({found['people'].iloc[0]:.0f} people with enough to "
        "rank).",
    ]


def shortcut_sentences(tried: Tried | None, draws: pd.DataFrame) -> list[str]:
    """Whether the planted shortcut is used, and which maps find it."""
    if tried is None:
        return [NOT_HERE]
    used = changes(tried, draws)
    less = used.loc["planted less clean"]
    planted, clean = (signed(used.loc[model, "mean"]) for model in MODELS[:2])
    found = _finders(tried, draws)
    said = (
        f"found, on both kinds of pictures and beyond another seed, by {_listed(found)}"
        if found
        else "not found by any method: none puts more of its map on the hidden part on both kinds "
        "of pictures, beyond what another seed does"
    )
    return [
        f"Turning heads without pain changes the probability of pain by {planted} for the model of "
        f"the planted copy and by {clean} for that of the clean one; the difference is "
        f"{signed(less['mean'])} {bracket(less['low'], less['high'], signed)}: the shortcut is "
        f"{'used' if less['low'] > 0 else 'not seen to be used'}.",
        f"In maps it is {said}.",
    ]


def _finders(tried: Tried, draws: pd.DataFrame) -> list[str]:
    """Methods that find the shortcut on all kinds of pictures, by more than another seed does."""
    table = finds(tried.shares, draws).set_index(["method", "pictures"])
    seed = finds(tried.shares, draws, MODELS[2]).set_index(["method", "pictures"])
    wins = table["found"] & (table["difference"] > seed["difference"].abs())
    each = wins.groupby(level="method").all()
    return sorted(each.index[each])


def findings(
    found: Mapping[str, pd.DataFrame],
    less: Mapping[str, pd.DataFrame],
    apart: Mapping[str, np.ndarray],
    drawn: Drawn,
    tried: Tried | None,
    draws: pd.DataFrame,
) -> str:
    """What of the paper's reading holds on this corpus, in Markdown. Chapter 07."""
    return "\n".join(
        f"- {sentence}"
        for sentence in [
            f"**{paper.READINGS[0]}** {apart_sentence(apart)}",
            f"**{paper.READINGS[1]}** {' '.join(regions_sentences(found, less))}",
            f"**{paper.READINGS[2]}** {' '.join(_whether_it_explains(drawn, draws))}",
            f"**What no picture shows.** {' '.join(shortcut_sentences(tried, draws))}",
        ]
    )


def _whether_it_explains(drawn: Drawn, draws: pd.DataFrame) -> list[str]:
    """Attention's maps alone, in every measure."""
    table = faithful(drawn, draws).set_index(["method", "replaced"])
    kinds = table.index.get_level_values("replaced").unique()
    said = []
    for kind in kinds:
        part = table.xs(kind, level="replaced")
        better = [name for name in MAPS if part.loc[name, "low"] > 0]
        beyond = sum(part.loc[better, "less_random"] > part.loc["centre", "less_random"])
        said.append(f"{_kinds(kind)} {len(better)}" + (f" ({beyond})" if better else ""))
    return [
        f"Of the {len(MAPS)} maps of attention, so many order patches better than chance where "
        f"they are replaced by: {', '.join(said)}; in brackets, how many of these score higher "
        "than the centre of the picture, which has seen nothing.",
        pointing_sentence(drawn, draws),
        effects_sentences(drawn, draws)[-1],
    ]
