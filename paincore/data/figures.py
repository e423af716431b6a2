"""The figures of the book, in one style.

Each function takes what it draws and returns a matplotlib `Figure` made without pyplot, so that a
notebook shows it once and nothing stays open. Blue is this corpus, grey the paper, vermilion pain;
the palette is Okabe and Ito's, which colour-blind readers can tell apart. A figure of a synthetic
corpus says so in its upper right corner. Faces are drawn by `show_face` alone.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Patch
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler
from PIL import Image

from paincore import paper
from paincore.data import tables as description
from paincore.data import facs
from paincore.style import MUTED, PAIN, PAPER, THIS, WIDTH, new_figure, sentence_instead, show_face, styled
from paincore.data.labels import read_landmarks

INTENSITIES = matplotlib.colormaps["YlOrBr"]


def show_frame(axes: Axes, corpus, frame) -> None:
    """A row of the frames table, cropped to the face where landmarks say where that is."""
    around = None
    if isinstance(frame.landmarks, str):
        # A landmarks file that cannot be read costs the crop alone.
        with contextlib.suppress(ValueError):
            around = read_landmarks((corpus.root / frame.landmarks).read_bytes())
    image = corpus.root / frame.image
    show_face(axes, image, corpus.dataset, frame.subject, around, units_of(frame))


def units_of(frame) -> dict[str, float]:
    """The action units of a row of the frames table, for `show_face`."""
    return {f"au{au}": float(getattr(frame, f"au{au}")) for au in facs.AUS}


@styled
def faces_by_pspi(corpus, count: int = 8, columns: int = 4) -> Figure:
    """Example frames of rising PSPI, after Figure 1 of the paper. Chapter 01 and the title page."""
    examples = description.example_frames(corpus.frames, count)
    rows = -(-len(examples) // columns)
    figure = new_figure(
        corpus.dataset, "Frames and their PSPI", 0.3 + (WIDTH / columns + 0.2) * rows
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, frame in zip(grid.flat, examples.itertuples(), strict=False):
        show_frame(axes, corpus, frame)
        axes.set_title(f"PSPI {frame.pspi:.0f}  ({frame.subject})", color=MUTED, fontsize=8)
    return figure


@styled
def pspi_histogram(corpus) -> Figure:
    """Frames at each PSPI, and the shares of 0, 1-2 and 3-16 beside the paper's (section 3.1)."""
    figure = new_figure(corpus.dataset, "PSPI, frame by frame", 3.0)
    each, groups = figure.subplots(1, 2, width_ratios=(1.25, 1))
    pspi = description.labelled(corpus.frames)["pspi"]
    levels = np.arange(paper.PSPI_MAXIMUM + 1)
    counts = np.bincount(pspi.astype(int), minlength=len(levels))
    each.bar(levels, counts, color=[THIS, *[PAIN] * paper.PSPI_MAXIMUM])
    each.set(xlabel="PSPI", ylabel="frames (logarithmic)", yscale="log", xticks=levels[::2])
    each.set_title("each PSPI")
    each.grid(axis="y")
    here, printed = description.pspi_shares(corpus.frames), paper.pspi_shares()
    for values, offset, colour, label in (
        (here, -0.2, THIS, "this corpus"),
        (printed, 0.2, PAPER, "the paper's (UNBC-McMaster)"),
    ):
        bars = groups.bar(np.arange(3) + offset, list(dict(values).values()), 0.38, color=colour)
        groups.bar_label(bars, fmt="%.1f", padding=2, color=MUTED, fontsize=8)
        bars.set_label(label)
    groups.set(xlabel="PSPI", ylabel="frames (%)", ylim=(0, 118), xticks=range(3))
    groups.set_xticklabels(printed)
    groups.set_title("in three groups")
    groups.legend(loc="upper right", fontsize=8, borderaxespad=0)
    return figure


@styled
def pain_by_subject(corpus) -> Figure:
    """The share of frames with PSPI above 0 of each subject, with the paper's overall share."""
    table = description.pain_by_subject(corpus.frames)
    figure = new_figure(corpus.dataset, "Pain by subject", 0.9 + 0.17 * len(table))
    axes = figure.subplots()
    axes.barh(table.index, table["share"], color=PAIN, height=0.7)
    for row, (share, frames) in enumerate(zip(table["share"], table["frames"], strict=True)):
        axes.annotate(
            f"{share:.0f} % of {frames}", (share, row), (4, 0), textcoords="offset points",
            va="center", fontsize=7, color=MUTED, bbox={"fc": "white", "ec": "none", "pad": 0.8},
        )  # fmt: skip
    overall = paper.pain_share()
    axes.axvline(
        overall, color=PAPER, linestyle="--", zorder=0, label=f"paper, all frames: {overall:.1f} %"
    )
    axes.set(xlabel="frames with PSPI above 0 (% of the subject's frames)", ylabel="subject")
    axes.margins(x=0.14, y=0.01)
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    return figure


@styled
def timeline(corpus, faces: int = 6) -> Figure:
    """One sequence: a few frames, its PSPI, and every action unit that occurs in it.

    The sequence is `description.telling_sequence`; AUs outside PSPI are marked. Chapter 01.
    """
    frames = description.telling_sequence(corpus.frames)
    present = [c for c in frames if c.startswith("au") and (frames[c] > 0).any()]
    present.sort(key=lambda name: (int(name[2:]) not in facs.PSPI_AUS, int(name[2:])))
    title = f"Sequence {frames['sequence'].iloc[0]}"
    figure = new_figure(corpus.dataset, title, 3.35 + 0.19 * len(present))
    pictures, lines = figure.subfigures(2, 1, height_ratios=(1.25, 2.0 + 0.17 * len(present)))
    usable = frames[frames["state"] == "ok"]
    places = np.linspace(0, len(usable) - 1, min(faces, len(usable))).round().astype(int)
    chosen = usable.iloc[places]
    row = pictures.subplots(1, len(chosen), squeeze=False)[0]
    for axes, frame in zip(row, chosen.itertuples(), strict=True):
        show_frame(axes, corpus, frame)
        axes.set_title(f"{frame.frame}: PSPI {frame.pspi:.0f}", color=MUTED, fontsize=7.5)
    pspi, units = lines.subplots(2, 1, sharex=True, height_ratios=(1.6, 0.26 * len(present)))
    pspi.fill_between(frames["frame"], frames["pspi"], step="mid", color=PAIN, alpha=0.25)
    pspi.step(frames["frame"], frames["pspi"], where="mid", color=PAIN)
    pspi.plot(
        chosen["frame"], chosen["pspi"], "o", color="white", markeredgecolor=PAIN, clip_on=False
    )
    pspi.set(ylabel="PSPI", ylim=(0, None))
    pspi.yaxis.set_major_locator(MaxNLocator(integer=True))
    pspi.grid(axis="y")
    _draw_units(units, frames, present)
    return figure


def _draw_units(axes: Axes, frames, names: list[str]) -> None:
    """A row of coloured cells for each action unit; AU43 and AU45 are there or not."""
    levels = ["#F1F2F4", *INTENSITIES(np.linspace(0.2, 1, 5))]
    cells = np.empty((len(names), len(frames), 4))
    for row, name in enumerate(names):
        colours = ["#F1F2F4", THIS] if name in ("au43", "au45") else levels
        known = frames[name].fillna(0).round().astype(int)
        cells[row] = matplotlib.colors.to_rgba_array(colours)[known]
    first, last = frames["frame"].iloc[[0, -1]]
    extent = (first - 0.5, last + 0.5, len(names) - 0.5, -0.5)
    axes.imshow(cells, aspect="auto", interpolation="nearest", extent=extent)
    marked = [f"AU{n[2:]}" + ("" if int(n[2:]) in facs.PSPI_AUS else " *") for n in names]
    axes.set_yticks(range(len(names)), marked)
    axes.set_xlabel("frame (* not part of PSPI)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[:].set_visible(False)
    keys = [Patch(color=c, label=x) for c, x in zip(levels, ["absent", *"ABCDE"], strict=True)]
    keys.append(Patch(color=THIS, label="closed"))
    axes.legend(handles=keys, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7.5)


@styled
def agreement(corpus) -> Figure:
    """PSPI of the label files against PSPI recomputed from FACS, and their difference."""
    table = description.recomputed(corpus.frames)
    figure = new_figure(corpus.dataset, "PSPI as labelled and as recomputed", 3.4)
    pairs, differences = figure.subplots(1, 2, width_ratios=(1.2, 1))
    counts = np.ma.masked_equal(table.to_numpy(), 0)
    norm = matplotlib.colors.LogNorm(vmin=1, vmax=max(10, counts.max()))
    image = pairs.imshow(counts, cmap="Blues", norm=norm, origin="lower")
    pairs.axline((0, 0), slope=1, color=PAPER, linewidth=0.6, linestyle="--")
    pairs.set(xlabel="recomputed from FACS", ylabel="in the label file")
    pairs.set(xticks=range(0, 17, 4), yticks=range(0, 17, 4))
    pairs.set_title("PSPI, frame for frame")
    figure.colorbar(image, ax=pairs, label="frames", shrink=0.85)
    values, frames = np.unique(corpus.frames["pspi_difference"].dropna(), return_counts=True)
    bars = differences.bar(values, frames, color=[THIS if v == 0 else PAIN for v in values])
    differences.bar_label(bars, padding=2, fontsize=8, color=MUTED)
    differences.set(xlabel="label less recomputed", ylabel="frames (logarithmic)", yscale="log")
    differences.set(xlim=(-paper.PSPI_MAXIMUM, paper.PSPI_MAXIMUM), ylim=(0.7, 3 * frames.max()))
    differences.set_title("difference")
    return figure


@styled
def felt_pain(corpus) -> Figure:
    """At each PSPI, the share of frames in which pain was felt; a sentence without truth."""
    title = "Coded PSPI and felt pain"
    if corpus.truth is None:
        return sentence_instead(
            corpus.dataset, title, "This corpus does not say what its people felt."
        )
    table = description.felt_pain_by_pspi(corpus.frames, corpus.truth)
    figure = new_figure(corpus.dataset, title, 2.9)
    axes = figure.subplots()
    bars = axes.bar(table.index, 100, color="#DDE1E7", label="no pain felt")
    axes.bar_label(bars, [f"n={n}" for n in table["frames"]], padding=2, fontsize=7, color=MUTED)
    axes.bar(table.index, table["felt"], color=PAIN, label="pain felt")
    axes.set(xlabel="coded PSPI", ylabel="frames (%)", ylim=(0, 108), xticks=table.index)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return figure


@styled
def blink_lengths(corpus) -> Figure:
    """How many frames the lids stay closed in a blink, and which of them four frames can tell."""
    title = "Blinks, by the frames that the lids stay closed"
    if corpus.truth is None:
        return sentence_instead(
            corpus.dataset, title, "This corpus does not say which closures are blinks."
        )
    blinks = description.blinks(corpus.truth)
    figure = new_figure(corpus.dataset, title, 2.7)
    axes = figure.subplots()
    for told, colour, label in (
        (True, THIS, "open, closed and open again fit in four frames"),
        (False, PAPER, "closed too long for four frames"),
    ):
        lengths, counts = np.unique(
            blinks.loc[blinks["told"] == told, "closed"], return_counts=True
        )
        axes.bar_label(
            axes.bar(lengths, counts, color=colour, label=label), fontsize=8, color=MUTED
        )
    axes.set(xlabel="frames with closed lids", ylabel="blinks")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0.4, right=max(8.6, axes.get_xlim()[1]))
    axes.margins(y=0.12)
    axes.legend()
    return figure
