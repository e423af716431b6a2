"""Pictures of attention on faces, all in one style: figures 8 to 10 of the paper, and mean maps.

A map has one value for each patch of the model and is drawn as it is, a square for each patch, on
the frame in grey. Its colours run from the least value of a sample to its greatest (min-max);
where a threshold is set, only values at or above it are coloured, and the scale begins there. Four
frames of a clip stand as ViViT sees them: the first top left, the last bottom right. Where a face
may not be shown, the map stands alone. Chapter 07.
"""

from collections.abc import Mapping

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from paincore.attention.maps import above, scaled
from paincore.attention.measures import Telling
from paincore.attention.regions import masks
from paincore.style import (
    MUTED,
    WIDTH,
    may_be_shown,
    new_figure,
    sentence_instead,
    show_face,
    styled,
)

THRESHOLD = 0.7  # of a sample's min-max, from which on the paper colours (figures 9 and 10)
COLOURS = matplotlib.colormaps["viridis"]
OPACITY = 0.55  # of a coloured patch: the face stays visible below it
COLUMNS = 4  # pictures side by side
NO_SAMPLE = (
    "No clip of a test subject begins without pain, goes on with it and is found by the model."
)


def tiled(frames: np.ndarray) -> np.ndarray:
    """One picture (S', S', ...) of frames (F, S, S, ...): of four the 2x2 grid, else the one."""
    if len(frames) == 1:
        return frames[0]
    return np.vstack([np.hstack(list(frames[:2])), np.hstack(list(frames[2:]))])


@styled
def sample(corpus, telling: Telling | None) -> Figure:
    """The frames of one sample in order of time, each with its PSPI: the paper's Figure 8."""
    if telling is None:
        return sentence_instead(corpus.dataset, "The sample", NO_SAMPLE)
    explained, number = telling.explained, telling.number
    rows = explained.rows[number]
    frames = explained.store.frames.iloc[rows]
    probability = explained.run.predictions["probability"].iloc[number]
    title = f"{frames['sequence'].iloc[0]}: probability of pain {probability:.2f}"
    figure = new_figure(corpus.dataset, title, 0.55 + WIDTH / COLUMNS)
    panels = figure.subplots(1, COLUMNS, squeeze=False)[0]
    for axes in panels:
        axes.set_axis_off()
    for axes, row, frame in zip(panels, rows, frames.itertuples(), strict=False):
        show_face(axes, explained.store.images[row], corpus.dataset, frame.subject)
        axes.set_title(f"frame {frame.frame}: PSPI {frame.pspi:.0f}", color=MUTED)
    return figure


@styled
def heads(corpus, telling: Telling | None) -> Figure:
    """What each head of the last layer attends to: the paper's Figure 9.

    All heads whole, then the first four as the paper shows them, from `THRESHOLD` on.
    """
    title = "Heads of the last layer"
    if telling is None:
        return sentence_instead(corpus.dataset, title, NO_SAMPLE)
    whole, shown = scaled(telling.heads), min(len(telling.heads), COLUMNS)
    lines = -(-len(whole) // COLUMNS)
    figure = new_figure(corpus.dataset, title, (lines + 1) * (WIDTH / COLUMNS + 0.05) + 0.5)
    upper, lower = figure.subfigures(2, 1, height_ratios=(lines + 0.15, 1.15))
    names = [f"head {head}" for head in range(len(whole))]
    _row(upper, corpus, telling, dict(zip(names, whole, strict=True)), 0.0)
    _row(lower, corpus, telling, dict(zip(names[:shown], whole, strict=False)), THRESHOLD)
    return figure


@styled
def together(corpus, telling: Telling | None) -> Figure:
    """All heads as one map, whole and from `THRESHOLD` on: the paper's Figure 10."""
    title = "All heads together"
    if telling is None:
        return sentence_instead(corpus.dataset, title, NO_SAMPLE)
    figure = new_figure(corpus.dataset, title, WIDTH / COLUMNS + 0.55)
    values = {name: scaled(one[None])[0] for name, one in telling.together.items()}
    for part, threshold in zip(figure.subfigures(1, 2), (0.0, THRESHOLD), strict=True):
        _row(part, corpus, telling, values, threshold, columns=2)
    return figure


def _row(
    part: SubFigure,
    corpus,
    telling: Telling,
    maps: Mapping[str, np.ndarray],
    threshold: float,
    columns: int = COLUMNS,
) -> None:
    """Maps on their sample, `columns` a line, with their colour scale at the right."""
    rows, store = telling.explained.rows[telling.number], telling.explained.store
    subject, face = store.frames["subject"].iloc[rows[0]], tiled(store.images[rows])
    panels = part.subplots(-(-len(maps) // columns), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    norm = Normalize(threshold, 1)
    for axes, (name, values) in zip(panels.flat, maps.items(), strict=False):
        overlay(axes, corpus, face, subject, above(values, threshold), norm)
        axes.set_title(name, color=MUTED, fontsize=8)
    scale = matplotlib.cm.ScalarMappable(norm, COLOURS)
    said = "attention, min-max" if not threshold else f"from {threshold:g} on"
    part.colorbar(scale, ax=panels, shrink=0.8, aspect=18, pad=0.02, label=said)


def overlay(
    axes: Axes, corpus, face: np.ndarray, subject: str, values: np.ndarray, norm: Normalize
) -> None:
    """The map (F, P, P), NaN where nothing is coloured, on the face in grey."""
    shown = may_be_shown(corpus.dataset, subject)
    if shown:
        grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        show_face(axes, grey, corpus.dataset, subject)
    side = len(face)
    axes.imshow(
        tiled(values),
        extent=(-0.5, side - 0.5, side - 0.5, -0.5),
        cmap=COLOURS,
        norm=norm,
        alpha=OPACITY if shown else 1,
        interpolation="nearest",
    )


@styled
def mean_maps(corpus, means: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> Figure:
    """Mean maps (F, P, P) by outcome on the outlines of the face's regions, with their numbers.

    All have one scale: times as much as an even share, 1 where attention is even. Frames of a clip
    stand as the model sees them, in order of time.
    """
    figure = new_figure(corpus.dataset, "Where attention goes, by outcome", WIDTH / COLUMNS + 0.9)
    panels = figure.subplots(1, len(means), squeeze=False)[0]
    even = {name: one / one.mean() for name, one in means.items()}
    most = max((float(one.max()) for one in even.values()), default=1.0)
    norm = Normalize(0, most)
    for axes, (name, values) in zip(panels, even.items(), strict=True):
        axes.set_axis_off()
        side = 1 if len(values) == 1 else 2
        whole = (0, 224 * side, 224 * side, 0)
        axes.imshow(tiled(values), extent=whole, cmap=COLOURS, norm=norm)
        for frame in range(len(values)):
            outline(axes, 224, left=224 * (frame % side), top=224 * (frame // side))
        axes.set_title(f"{name}\n{counts[name]} samples", color=MUTED, fontsize=8)
    scale = matplotlib.cm.ScalarMappable(norm, COLOURS)
    figure.colorbar(scale, ax=panels, shrink=0.8, label="times an even share")
    return figure


def outline(axes: Axes, size: int, left: int = 0, top: int = 0) -> None:
    """The outlines of the regions in a frontal view of `size` pixels, placed at `left`, `top`."""
    across, down = left + np.arange(size), top + np.arange(size)
    for region in pd.Series(masks(size)).drop("outside"):
        axes.contour(across, down, region, levels=[0.5], colors="white", linewidths=0.7)
