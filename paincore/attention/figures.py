"""The figures of what chapter 07 measures of attention. Its pictures are in `attention_pictures`.

Points are means over people, who all count the same; lines are their intervals by drawing people
anew. Grey is what has learnt nothing: random weights, chance, another seed.
"""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from paincore.attention.measures import SHUFFLED, TRAINED, Drawn
from paincore.attention.measures import effects as effects_of
from paincore.attention.measures import faithful as faithful_of
from paincore.attention.measures import follows_causes as follows_of
from paincore.attention.measures import pointing as pointing_of
from paincore.attention.regions import NAMES
from paincore.attention.shortcut import MODELS, Tried, changes, finds
from paincore.style import MUTED, PAIN, PAPER, THIS, new_figure, sentence_instead, styled

TEXT = 9.5  # points: the figures are read on phones too
COLOURS = {TRAINED: THIS, SHUFFLED: "#E69F00", "pretrained": "#009E73", "random": PAPER}
LABELS = {"pretrained": "before fine-tuning", "random": "random weights"}
NOT_DRAWN = "This corpus does not know its causes: its frames cannot be drawn again without one."
NO_PAIN = "No test sample with pain shows an action unit of pain that could be taken away."


@styled
def by_region(corpus, found: Mapping[str, pd.DataFrame]) -> Figure:
    """Ratios of `attention_shares.by_region` for each model, a panel for each kind of map."""
    figure = new_figure(corpus.dataset, "Attention in regions of the face", 5.4)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (title, table) in zip(panels, found.items(), strict=True):
        for place, (model, colour) in enumerate(COLOURS.items()):
            part = table[table["model"] == model].set_index("region").loc[list(NAMES)]
            at = np.arange(len(NAMES)) + 0.19 * (place - 1.5)
            _points(axes, at, part, colour, LABELS.get(model, model))
        _rows(axes, NAMES, 1, "times an even share")
        axes.set_title(title)
    _legend(figure, panels[0], 4)
    return figure


@styled
def by_head(corpus, table: pd.DataFrame) -> Figure:
    """Ratios of `attention_shares.by_head`: a row a head, a column a region."""
    wide = table.pivot(index="head", columns="region", values="mean")
    wide = wide.loc[sorted(wide.index, key=int), list(NAMES)]
    figure = new_figure(corpus.dataset, "Regions, head by head", 1.6 + 0.36 * len(wide))
    axes = figure.subplots()
    reach = max(abs(wide.to_numpy() - 1).max(), 0.01)
    norm = Normalize(1 - reach, 1 + reach)
    colours = matplotlib.colormaps["PuOr_r"]
    image = axes.imshow(wide, cmap=colours, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(wide.to_numpy()):
        dark = abs(value - 1) > 0.7 * reach
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", fontsize=TEXT,
            color="white" if dark else "black",
        )  # fmt: skip
    names = [name.replace(" of the ", " of\nthe ") for name in NAMES]
    axes.set_xticks(range(len(NAMES)), names, color="black", fontsize=8.5)
    axes.set_yticks(range(len(wide)), [f"head {head}" for head in wide.index], color="black")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, pad=0.02).set_label("times an even share", fontsize=8.5)
    return figure


@styled
def apart(corpus, found: Mapping[str, np.ndarray]) -> Figure:
    """How far apart the heads of each model look: a circle a fold's network, a bar their mean."""
    title = "How far apart heads look"
    figure = new_figure(corpus.dataset, title, 1.0 + 0.4 * len(found))
    axes = figure.subplots()
    for row, (model, each) in enumerate(found.items()):
        axes.plot(each, np.full(len(each), row), "o", color=COLOURS[model], ms=5.5, alpha=0.6)
        axes.plot(each.mean(), row, "|", color=COLOURS[model], ms=15, mew=2.5)
    names = [LABELS.get(model, model) for model in found]
    _rows(axes, names, 0, "proportion of a head's attention (0 to 1)")
    axes.set_xlim(left=0)
    return figure


@styled
def by_unit(corpus, table: pd.DataFrame) -> Figure:
    """Attention where an AU shows, with it - without it: `attention_shares.by_unit`."""
    title = "Attention in an action unit's regions, with it \N{MINUS SIGN} without it"
    figure = new_figure(corpus.dataset, title, 1.2 + 0.42 * len(table))
    axes = figure.subplots()
    _points(axes, np.arange(len(table)), table, THIS)
    names = [f"AU{row.unit}: {row.regions}" for row in table.itertuples()]
    _rows(axes, names, 0, "times an even share, difference")
    return figure


@styled
def faithful(corpus, drawn: Drawn, draws: pd.DataFrame) -> Figure:
    """Insertion less deletion of each method, less that of random order, by replacement."""
    table = faithful_of(drawn, draws)
    kinds, methods = table["replaced"].unique(), [name for name in drawn.maps if name != "random"]
    figure = new_figure(
        corpus.dataset, "Insertion \N{MINUS SIGN} deletion", 1.3 + 0.44 * len(methods)
    )
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        part = table[table["replaced"] == kind].set_index("method").loc[methods]
        part = part.rename(columns={"less_random": "mean"})
        _points(axes, np.arange(len(methods)), part, THIS)
        _rows(axes, methods, 0, "beyond random order")
        axes.set_title(f"replaced: {kind}")
    return figure


@styled
def pointing(corpus, drawn: Drawn, draws: pd.DataFrame) -> Figure:
    """The pointing game: hits - chance of each method on the pixels that AUs move, and the most."""
    title = "The pointing game"
    if drawn.units.empty:
        return _instead(corpus, title)
    table = pointing_of(drawn, draws)
    figure = new_figure(corpus.dataset, title, 1.2 + 0.4 * len(table))
    axes = figure.subplots()
    last = len(table) - 1  # the oracle
    _points(axes, np.arange(last), table.iloc[:last], THIS)
    _points(axes, np.array([last]), table.iloc[[last]], MUTED)
    names = [f"{row.method}: hits {row.hits:.2f}" for row in table.itertuples()]
    _rows(axes, names, 0, "hits \N{MINUS SIGN} chance, as proportions")
    return figure


@styled
def effects(corpus, drawn: Drawn, draws: pd.DataFrame) -> Figure:
    """What each AU adds to the log-odds of pain, by taking it away from the face."""
    title = "What an action unit adds to the prediction"
    if drawn.units.empty:
        return _instead(corpus, title)
    table = effects_of(drawn, draws)
    figure = new_figure(corpus.dataset, title, 1.2 + 0.42 * len(table))
    axes = figure.subplots()
    _points(axes, np.arange(len(table)), table, PAIN)
    names = [
        f"AU{row.unit} ({row.samples} samples, {row.people:.0f} people)"
        for row in table.itertuples()
    ]
    _rows(axes, names, 0, "log-odds of pain, with it \N{MINUS SIGN} without it")
    return figure


@styled
def follows(corpus, drawn: Drawn, draws: pd.DataFrame) -> Figure:
    """How far rollout goes along with the effects of units: the model, its controls, and less."""
    title = "Rollout and what units add: rank correlation within people"
    if drawn.units.empty:
        return _instead(corpus, title)
    table = follows_of(drawn, draws)
    figure = new_figure(corpus.dataset, title, 1.1 + 0.4 * len(table))
    axes = figure.subplots()
    for row, name in enumerate(table.index):
        colour = COLOURS.get(name, "black")
        _points(axes, np.array([row]), table.iloc[[row]], colour)
    names = [_named(name) for name in table.index]
    _rows(axes, names, 0, "rank correlation, or a difference of two")
    return figure


def _named(row: str) -> str:
    """The row of `follows_causes` as a reader knows its models."""
    return " \N{MINUS SIGN} ".join(LABELS.get(name, name) for name in row.split(" - "))


@styled
def shortcut(corpus, tried: Tried | None, draws: pd.DataFrame) -> Figure:
    """Whether a planted shortcut is used (above) and whether maps find it (below)."""
    title = "A planted shortcut: used, and found?"
    if tried is None:
        return sentence_instead(corpus.dataset, title, NOT_DRAWN)
    colours = dict(zip(MODELS, (PAIN, THIS, PAPER), strict=True))
    kinds = list(tried.shares["pictures"].unique())
    methods = [name for name in tried.shares["method"].unique() if name not in ("random", "centre")]
    figure = new_figure(corpus.dataset, title, 5.6)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 2.4))
    axes = upper.subplots()
    used = changes(tried, draws).loc[list(MODELS)]
    for row, model in enumerate(MODELS):
        _points(axes, np.array([row]), used.loc[[model]], colours[model])
    _rows(axes, MODELS, 0, "change of the probability of pain when a head without pain is turned")
    panels = lower.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for model, shift in ((MODELS[0], -0.15), (MODELS[2], 0.15)):
        table = finds(tried.shares, draws, model).rename(columns={"difference": "mean"})
        for axes, kind in zip(panels, kinds, strict=True):
            part = table[table["pictures"] == kind].set_index("method").loc[methods]
            at = np.arange(len(methods)) + shift
            _points(axes, at, part, colours[model], f"{model}, less clean")
    for axes, kind in zip(panels, kinds, strict=True):
        _rows(axes, methods, 0, "share of the map on what turning hides")
        axes.set_title(f"on {kind} pictures")
    _legend(lower, panels[0], 2)
    return figure


def _instead(corpus, title: str) -> Figure:
    why = NOT_DRAWN if corpus.truth is None else NO_PAIN
    return sentence_instead(corpus.dataset, title, why)


def _points(
    axes: Axes, at: np.ndarray, table: pd.DataFrame, colour: str, label: str | None = None
) -> None:
    """A point a row of a table with mean, low and high, at heights `at`."""
    axes.hlines(at, table["low"], table["high"], color=colour, lw=2)
    axes.plot(table["mean"], at, "o", color=colour, ms=5.5, label=label)


def _rows(axes: Axes, names: Sequence[str], zero: float, label: str) -> None:
    """Rows from top to bottom with their names, and a line at what means nothing."""
    axes.axvline(zero, color=MUTED, lw=1, zorder=0)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_yticks(range(len(names)), names, color="black", fontsize=TEXT)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label, fontsize=TEXT)
    axes.grid(axis="x")


def _legend(figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": columns, "fontsize": TEXT}
    figure.legend(handles, labels, **place)
