"""What was measured of faithfulness and of the shortcut, over people, and the chapter's findings.

Means are of people, who all count the same, with 95 % intervals over resamples of people
(`shares.with_intervals`).
"""

import pandas as pd

from paincore.attention.explained import PRETRAINED, SHUFFLED, TRAINED
from paincore.attention.faithfulness import Faithfulness
from paincore.attention.shares import with_intervals
from paincore.attention.shortcut import CLEAN, PLANTED, ShortcutTrial
from paincore.style import MINUS, Finding, finding

LEAST_PAIRS = 3  # of a sample and a unit, below which a person has no rank correlation


def beyond_random(found: Faithfulness, resamples: pd.DataFrame) -> pd.DataFrame:
    """Insertion − deletion of each method − that of random order: by replaced and method.

    The greater, the more of the prediction hangs on the patches that a method puts first; 0 where
    their order is no better than chance. mean, low, high, people.
    """
    gains = found.areas.assign(gain=found.areas["insertion"] - found.areas["deletion"])
    means = gains.pivot_table("gain", ["subject", "replaced"], "method", sort=False)
    beyond = means.sub(means.pop("random"), axis=0).unstack("replaced", sort=False)
    return with_intervals(beyond.swaplevel(axis=1), resamples)


def pointing(found: Faithfulness, resamples: pd.DataFrame) -> pd.DataFrame:
    """The pointing game by method and, last, the oracle: mean, low, high, people, hits.

    `mean` and its interval are of hits − chance, sample by sample: chance has errors of its own.
    """
    points = found.points.set_index("subject")
    hits = points[[*points.columns.drop(["chance", "oracle"]), "oracle"]]
    above = hits.sub(points["chance"], axis=0).groupby("subject").mean()
    return with_intervals(above, resamples).assign(hits=hits.groupby("subject").mean().mean())


def effects(found: Faithfulness, resamples: pd.DataFrame) -> pd.DataFrame:
    """What each unit adds to the log-odds of pain, by unit: mean, low, high, people, samples."""
    table = with_intervals(found.units.pivot_table("log_odds", "subject", "unit"), resamples)
    return table.assign(samples=found.units["unit"].value_counts())


def follows_causes(found: Faithfulness, resamples: pd.DataFrame) -> pd.DataFrame:
    """Whether rollout is where causes are: a row a model and a difference, mean, low, high, people.

    Mean over people of the rank correlation, over a person's samples and units, of each unit's
    effect on the trained model's log-odds with the ratio of a model's rollout in its regions.
    Controls have the effects of the trained model: what their rollout goes along with was there
    without training on pain. Differences are of the same people.
    """
    models = [*found.units.columns.drop(["subject", "unit", "log_odds"])]
    values = found.units.groupby("subject")[["log_odds", *models]]
    table = values.apply(lambda own: own.corr("spearman", LEAST_PAIRS)["log_odds"])[models]
    for name in models[1:]:
        table[f"{TRAINED} {MINUS} {name}"] = table[TRAINED] - table[name]
    return with_intervals(table, resamples)


def shortcut_used(tried: ShortcutTrial, resamples: pd.DataFrame) -> pd.DataFrame:
    """By how much turning a head raises the probability of pain, by model, and planted − clean:
    mean, low, high, people."""
    means = tried.turned.pivot_table("change", "subject", "model")
    means[f"{PLANTED} {MINUS} {CLEAN}"] = means[PLANTED] - means[CLEAN]
    return with_intervals(means, resamples)


def shortcut_found(tried: ShortcutTrial, resamples: pd.DataFrame, model: str) -> pd.DataFrame:
    """How much more of a model's maps lies on what turning hides than of the clean model's.

    By images and method: mean, low, high, people. A method finds the shortcut if it is above 0 on
    both kinds of images, and by more than `OTHER_SEED` is.
    """
    columns = ["model", "images", "method"]
    means = tried.hidden.pivot_table("proportion", "subject", columns, sort=False)
    return with_intervals(means[model] - means[CLEAN], resamples)


def attention_findings(
    apart: dict, beyond: pd.DataFrame, found: Faithfulness, tried, resamples: pd.DataFrame
) -> list[Finding]:
    """What of the paper's reading holds on this corpus, and what its figures cannot show.

    `apart` is of `shares.heads_apart` by model, `beyond` of `shares.beyond_controls` for rollout,
    `tried` a `ShortcutTrial` or None.
    """
    tuned, planted = f"{TRAINED} {MINUS} {PRETRAINED}", f"{PLANTED} {MINUS} {CLEAN}"
    more = apart[TRAINED] - apart[PRETRAINED]
    low, mean, high = map(_two_digits, (min(more), more.mean(), max(more)))
    networks = f"{mean}; networks {low} to {high}"
    first = Finding(f"How far apart heads look: {tuned}", networks, "not tested, networks are few")
    order = beyond_random(found, resamples).xs("rollout mean", level="method").iloc[-1]
    follows = follows_causes(found, resamples).loc[tuned] if len(found.units) else None
    used = hidden = None
    if tried:
        used = shortcut_used(tried, resamples).loc[planted]
        hidden = shortcut_found(tried, resamples, PLANTED).loc[(CLEAN, "rollout mean")]
    where = "Rollout in the regions of action units, times an even map"
    asked = {
        f"{where}: {TRAINED} {MINUS} {SHUFFLED}": beyond.loc[SHUFFLED],
        f"{where}: {tuned}": beyond.loc[PRETRAINED],
        f"Insertion {MINUS} deletion (replaced: {order.name}): mean rollout {MINUS} random": order,
        f"Rank correlation of rollout with what units add: {tuned}": follows,
        f"Change of the probability of pain by turning a head: {planted}": used,
        f"Proportion of mean rollout on what turning hides: {planted}": hidden,
    }
    return [first, *(_finding(question, row) for question, row in asked.items())]


def _finding(question: str, row: pd.Series | None) -> Finding:
    """A row of `with_intervals` as a finding; None is what this corpus cannot be asked."""
    if row is None:
        return Finding(question, "-", "not measured: the corpus does not know its causes")
    return finding(question, *row[["mean", "low", "high"]], _two_digits)


def _two_digits(value: float) -> str:
    """A difference with its sign and two significant digits: some are small, and not 0."""
    return f"{value:+.2g}".replace("-", MINUS)
