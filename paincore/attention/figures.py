"""The figures of the chapter: maps on the faces of one sample, and what is measured of all of them.

A map has one value for each patch of the model and is drawn as it is, a square for each patch, on
the frame in grey. Its colours run from the least value of a sample to its greatest (min-max); where
a threshold is set, only values at or above it are coloured, and the scale begins there. Four frames
of a clip stand as ViViT sees them: the first top left, the last bottom right. Where a face may not
be shown, the map stands alone.

Points are means over people, who all count the same; lines are their 95 % intervals over resamples
of people. Grey is what has learnt nothing: random weights, chance, another seed.
"""

from itertools import product

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure

from paincore import style
from paincore.attention import tables
from paincore.attention.explained import OUTCOMES, PRETRAINED, RANDOM_WEIGHTS, SHUFFLED, outcomes
from paincore.attention.faithfulness import Faithfulness
from paincore.attention.maps import ChosenSample, above, scaled
from paincore.attention.regions import REGION_NAMES, region_masks
from paincore.attention.shortcut import CLEAN, OTHER_SEED, PLANTED, ShortcutTrial
from paincore.style import MINUS, MUTED, PAIN, PAPER, THIS, WIDTH, new_figure, sentence_instead

THRESHOLD = 0.7  # of a sample's min-max, from which on the paper colours (figures 9 and 10)
MAP_COLOURS = matplotlib.colormaps["viridis"]
OPACITY = 0.55  # of a coloured patch: the face stays visible below it
COLUMNS = 4  # images side by side
LETTERS = 9.5  # points: the figures are read on phones too
MODEL_COLOURS = {SHUFFLED: "#E69F00", PRETRAINED: "#009E73", RANDOM_WEIGHTS: PAPER}
MODEL_COLOURS |= {PLANTED: PAIN, OTHER_SEED: PAPER, "oracle": MUTED}  # all others in blue
NO_SAMPLE = "No clip that begins without pain and goes on with it is found by the model."
NO_CAUSES = "This corpus does not know its causes: no frame can be rendered again without one."


def tiled(frames: np.ndarray) -> np.ndarray:
    """One image (S', S', ...) of frames (F, S, S, ...): of four the 2x2 grid, else the one."""
    side = 2 if len(frames) == 4 else 1
    rows = frames.reshape(side, side, *frames.shape[1:])
    return np.vstack([np.hstack(row) for row in rows])


@style.styled
def show_sample(corpus, chosen: ChosenSample | None) -> Figure:
    """The frames of one sample in order of time, each with its PSPI: the paper's Figure 8."""
    if chosen is None:
        return sentence_instead(corpus.dataset, "The sample", NO_SAMPLE)
    store, sample = chosen.explained.store, chosen.explained.samples.iloc[chosen.number]
    title = f"{sample['sequence']}, tested in fold {sample['fold']}: "
    title += f"probability of pain {sample['probability']:.2f}"
    figure = new_figure(corpus.dataset, title, 0.55 + WIDTH / COLUMNS)
    frames = store.frames.iloc[chosen.explained.rows[chosen.number]]
    for axes, frame in zip(figure.subplots(1, 4), frames.itertuples(), strict=True):
        style.show_face(axes, store.images[frame.Index], corpus.dataset, frame.subject)
        axes.set_title(f"frame {frame.frame}: PSPI {frame.pspi:.0f}", color=MUTED)
    return figure


@style.styled
def show_maps(corpus, chosen: ChosenSample | None, kind: str) -> Figure:
    """The maps of a sample on its frames: whole, then the first four from `THRESHOLD` on.

    `kind` is "heads", what each head of the last layer attends to, the paper's Figure 9, or
    "together", all heads as one map, its Figure 10.
    """
    title = {"heads": "Heads of the last layer", "together": "All heads together"}[kind]
    if chosen is None:
        return sentence_instead(corpus.dataset, title, NO_SAMPLE)
    rows, store = chosen.explained.rows[chosen.number], chosen.explained.store
    subject, face = store.frames["subject"].iloc[rows[0]], tiled(store.images[rows])
    shown = {name: scaled(one[None])[0] for name, one in getattr(chosen, kind).items()}
    for name, one in list(shown.items())[:COLUMNS]:
        shown[f"{name}, from {THRESHOLD:g} on"] = above(one, THRESHOLD)
    lines, norm = -(-len(shown) // COLUMNS), Normalize(0, 1)
    figure = new_figure(corpus.dataset, title, lines * (WIDTH / COLUMNS + 0.05) + 0.4)
    for place, (name, one) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(lines, COLUMNS, place)
        overlay(axes, corpus, face, subject, one, norm)
        axes.set_title(name, color=MUTED, fontsize=8)
    scale = matplotlib.cm.ScalarMappable(norm, MAP_COLOURS)
    look = {"shrink": 0.8, "aspect": 18, "pad": 0.02}
    figure.colorbar(scale, ax=figure.axes, label="least to greatest", **look)
    return figure


def overlay(axes: Axes, corpus, face: np.ndarray, subject: str, values, norm) -> None:
    """The map (F, P, P), NaN where nothing is coloured, on the face in grey."""
    axes.set_axis_off()
    shown = style.may_be_shown(corpus.dataset, subject)
    if shown:
        grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        style.show_face(axes, grey, corpus.dataset, subject)
    extent = (-0.5, len(face) - 0.5, len(face) - 0.5, -0.5)
    look = {"cmap": MAP_COLOURS, "norm": norm, "alpha": OPACITY if shown else 1}
    axes.imshow(tiled(values), extent=extent, interpolation="nearest", **look)


@style.styled
def show_mean_maps(corpus, maps: np.ndarray, samples: pd.DataFrame) -> Figure:
    """The mean map of each of `OUTCOMES` that occurs, on the outlines of the face's regions.

    Of maps (M, F, P, P) and their samples. All have one scale: times as much as an even map, 1
    where attention is even. Frames of a clip stand as the model sees them.
    """
    outcome, grid = outcomes(samples), len(tiled(maps[0])) // maps.shape[-1]
    even = {name: maps[outcome == name].mean(axis=0) for name in OUTCOMES if name in outcome}
    even = {name: one / one.mean() for name, one in even.items()}
    figure = new_figure(corpus.dataset, "Where attention goes, by outcome", WIDTH / COLUMNS + 0.9)
    panels = figure.subplots(1, len(even), squeeze=False)[0]
    look = {"cmap": MAP_COLOURS, "vmin": 0, "vmax": max(one.max() for one in even.values())}
    *faces, outside = (np.tile(mask, (grid, grid)) for mask in region_masks(224).values())
    for axes, (name, values) in zip(panels, even.items(), strict=True):
        axes.set_axis_off()
        image = axes.imshow(tiled(values), extent=(0, *outside.shape, 0), **look)
        for region in faces:
            axes.contour(region, levels=[0.5], colors="white", linewidths=0.7)
        axes.set_title(f"{name}\n{(outcome == name).sum()} samples", color=MUTED, fontsize=8)
    figure.colorbar(image, ax=panels, shrink=0.8, label="times an even map")
    return figure


def plot_regions(corpus, found: dict[str, pd.DataFrame]) -> Figure:
    """Ratios of `shares.by_region` for each model, a panel for each kind of map."""
    panels = {kind: dict(list(table.groupby("name", sort=False))) for kind, table in found.items()}
    block = (panels, list(REGION_NAMES), "times an even map")
    return _plot_intervals(corpus, "Attention in regions of the face", block, null=1)


@style.styled
def plot_heads(corpus, table: pd.DataFrame) -> Figure:
    """Ratios of `shares.by_head`: a row a head, a column a region."""
    wide = table.set_index(["name", "region"])["mean"].unstack(sort=False)
    figure = new_figure(corpus.dataset, "Regions, head by head", 1.6 + 0.36 * len(wide))
    axes = figure.subplots()
    image = axes.imshow(wide, cmap="PuOr_r", norm=CenteredNorm(1), alpha=0.6, aspect="auto")
    for (row, column), value in np.ndenumerate(wide):
        axes.annotate(f"{value:.2f}", (column, row), ha="center", va="center")
    names = [name.replace(" of the ", " of\nthe ") for name in wide.columns]
    axes.set_xticks(range(len(names)), names, color="black", fontsize=8.5)
    axes.set_yticks(range(len(wide)), wide.index, color="black")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, pad=0.02, label="times an even map")
    return figure


@style.styled
def plot_heads_apart(corpus, found: dict[str, np.ndarray]) -> Figure:
    """How far apart the heads of each model look: a circle a fold's network, a line their mean."""
    figure = new_figure(corpus.dataset, "How far apart heads look", 1.0 + 0.4 * len(found))
    axes = figure.subplots()
    for row, (model, each) in enumerate(found.items()):
        colour = MODEL_COLOURS.get(model, THIS)
        axes.plot(each, np.full(len(each), row), "o", color=colour, ms=5.5, alpha=0.6)
        axes.plot(each.mean(), row, "|", color=colour, ms=15, mew=2.5)
    _name_rows(axes, list(found), "proportion of a head's attention (0 to 1)", 0)
    axes.set_xlim(left=0)
    return figure


def plot_units(corpus, table: pd.DataFrame) -> Figure:
    """Attention where an AU shows, with it − without it: `shares.by_unit`."""
    title = f"Attention in an action unit's regions, with it {MINUS} without it"
    return _plot_rows(corpus, title, table, "times an even map, difference")


def plot_faithfulness(corpus, found: Faithfulness, resamples: pd.DataFrame) -> Figure:
    """Insertion − deletion of each method, − that of random order, by replacement."""
    table = tables.beyond_random(found, resamples)
    kinds, methods = (table.index.unique(level) for level in ("replaced", "method"))
    panels = {f"replaced: {kind}": {"": table.loc[kind]} for kind in kinds}
    block = (panels, list(methods), "beyond random order")
    return _plot_intervals(corpus, f"Insertion {MINUS} deletion", block)


def plot_pointing(corpus, found: Faithfulness, resamples: pd.DataFrame) -> Figure:
    """The pointing game: hits − chance of each method on the pixels that AUs move, and the most."""
    table = tables.pointing(found, resamples) if len(found.units) else None
    name, label = "{0}: hits {1.hits:.2f}", f"hits {MINUS} chance, as proportions"
    return _plot_rows(corpus, "The pointing game", table, label, name)


def plot_effects(corpus, found: Faithfulness, resamples: pd.DataFrame) -> Figure:
    """What each AU adds to the log-odds of pain, by taking it away from the face."""
    table = tables.effects(found, resamples) if len(found.units) else None
    title = "What an action unit adds to the prediction"
    title += f" (lost faces: {found.lost} samples)" if found.lost else ""
    name = "AU{0} ({1.samples:.0f} samples, {1.people:.0f} people)"
    return _plot_rows(corpus, title, table, f"log-odds of pain, with it {MINUS} without it", name)


def plot_follows(corpus, found: Faithfulness, resamples: pd.DataFrame) -> Figure:
    """How far rollout goes along with what units add, by model, and differences of models."""
    table = tables.follows_causes(found, resamples) if len(found.units) else None
    title = "Rollout and what units add: rank correlation within people"
    return _plot_rows(corpus, title, table, "rank correlation, or a difference of two")


@style.styled
def _plot_rows(corpus, title: str, table, label: str, name: str = "{0}") -> Figure:
    """One panel with the rows of a table, named by their index and values; None: no causes."""
    if table is None:
        return sentence_instead(corpus.dataset, title, NO_CAUSES)
    names = [name.format(index, row) for index, row in table.iterrows()]
    return _plot_intervals(corpus, title, ({"": {"": table}}, names, label))


@style.styled
def plot_shortcut(corpus, tried: ShortcutTrial | None, resamples: pd.DataFrame) -> Figure:
    """Whether a planted shortcut is used (above) and whether maps find it (below)."""
    title, models = "A planted shortcut: used, and found?", [PLANTED, CLEAN, OTHER_SEED]
    if tried is None:
        return sentence_instead(corpus.dataset, title, NO_CAUSES)
    used = {"": {"": tables.shortcut_used(tried, resamples).loc[models]}}
    label = "change of the probability of pain when a head without pain is turned"
    panels = {f"on {kind} images": {} for kind in (PLANTED, CLEAN)}
    for model, kind in product((PLANTED, OTHER_SEED), (PLANTED, CLEAN)):
        more = tables.shortcut_found(tried, resamples, model).loc[kind].drop(["random", "centre"])
        panels[f"on {kind} images"][f"{model} {MINUS} {CLEAN}"] = more
    found = (panels, list(more.index), "proportion on the hidden part")
    return _plot_intervals(corpus, title, (used, models, label), found)


@style.styled
def _plot_intervals(corpus, title: str, *blocks: tuple, null: float = 0) -> Figure:
    """Blocks below one another of panels side by side, with a line at what means nothing, `null`.

    A block has its panels, the names of its rows and what its axes say. Panels have a title and
    tables by model, with mean, low and high and the block's rows; their points stand below one
    another in each row. A model, or else a row, has its colour of `MODEL_COLOURS`.
    """
    heights = [1.1 + 0.43 * len(names) for _, names, _ in blocks]
    figure = new_figure(corpus.dataset, title, 0.2 + sum(heights))
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (panels, names, label) in zip(parts, blocks, strict=True):
        every = part.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (above_it, groups) in zip(every, panels.items(), strict=True):
            _name_rows(axes, names, label, null)
            axes.set_title(above_it)
            for place, (model, table) in enumerate(groups.items()):
                colour = MODEL_COLOURS.get(model.removesuffix(f" {MINUS} {CLEAN}"), THIS)
                colours = [MODEL_COLOURS.get(index, colour) for index in table.index]
                rows = np.arange(len(table)) + 0.19 * (place - (len(groups) - 1) / 2)
                axes.hlines(rows, table["low"], table["high"], colours, lw=2)
                axes.scatter(table["mean"], rows, 25, colours, label=model)
        if len(groups) > 1:
            look = {"loc": "outside lower center", "ncols": len(groups), "fontsize": LETTERS}
            part.legend(*every[0].get_legend_handles_labels(), **look)
    return figure


def _name_rows(axes: Axes, names: list[str], label: str, null: float) -> None:
    """Rows from top to bottom with their names, and a line at what means nothing."""
    axes.axvline(null, color=MUTED, lw=1, zorder=0)
    style.name_rows(axes, names)
    axes.tick_params(axis="y", labelsize=LETTERS)
    axes.set_xlabel(label, fontsize=LETTERS)
