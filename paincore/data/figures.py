"""The figures of chapter 01. Faces are drawn by `paincore.style.show_face` alone."""

import contextlib

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from paincore import paper, style
from paincore.data import facs, tables
from paincore.data.unbc import CorpusError, read_landmarks
from paincore.style import MUTED, PAIN, PAPER, THIS, new_figure, sentence_instead, styled


def show_frame(axes: Axes, corpus, frame) -> None:
    """A row of the frames table, cropped to the face where landmarks say where that is."""
    around = None
    if isinstance(frame.landmarks, str):
        with contextlib.suppress(CorpusError):  # a damaged file costs the crop alone
            around = read_landmarks(corpus.root, frame.landmarks)
    image = corpus.root / frame.image
    style.show_face(axes, image, corpus.dataset, frame.subject, around, units_of(frame))


def units_of(frame) -> dict[str, float]:
    """The action units of a row of the frames table, for `show_face`."""
    return {f"au{au}": float(getattr(frame, f"au{au}")) for au in facs.AUS}


def _show_frames(grid: np.ndarray, corpus, frames: pd.DataFrame, title: str) -> None:
    """Frames in a grid of axes, each under its title."""
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, frame in zip(grid.flat, frames.itertuples(), strict=False):
        show_frame(axes, corpus, frame)
        axes.set_title(title.format(frame), color=MUTED, fontsize=8)


@styled
def faces_by_pspi(corpus, count: int = 8, columns: int = 4) -> Figure:
    """Example frames of rising PSPI, after Figure 1 of the paper."""
    examples = tables.example_frames(corpus.frames, count)
    rows = -(-len(examples) // columns)
    height = 0.3 + (style.WIDTH / columns + 0.2) * rows
    figure = new_figure(corpus.dataset, "Frames and their PSPI", height)
    grid = figure.subplots(rows, columns, squeeze=False)
    _show_frames(grid, corpus, examples, "PSPI {0.pspi:.0f}  ({0.subject})")
    return figure


@styled
def pspi_histogram(corpus) -> Figure:
    """Frames at each PSPI, and per cent at 0, 1-2 and 3-16 beside the paper's (section 3.1)."""
    figure = new_figure(corpus.dataset, "PSPI, frame by frame", 3.0)
    each, groups = figure.subplots(1, 2, width_ratios=(1.25, 1))
    pspi = tables.labelled(corpus.frames)["pspi"].astype(int)
    counts = np.bincount(pspi, minlength=facs.PSPI_MAXIMUM + 1)
    each.bar(range(len(counts)), counts, color=[THIS, *[PAIN] * facs.PSPI_MAXIMUM])
    each.set(xlabel="PSPI", ylabel="frames (logarithmic)", yscale="log", title="each PSPI")
    each.set_xticks(range(0, len(counts), 2))
    each.grid(axis="y")
    here, printed = tables.percent_by_pspi(corpus.frames), paper.PSPI_SHARES
    at, theirs = np.arange(len(here)), [printed[levels] for levels in here.index]
    groups.bar(at - 0.2, here, 0.38, color=THIS, label="this corpus")
    groups.bar(at + 0.2, theirs, 0.38, color=PAPER, label="the paper (UNBC-McMaster)")
    for bars in groups.containers:
        groups.bar_label(bars, fmt="%.1f", padding=2, color=MUTED, fontsize=8)
    groups.set(xlabel="PSPI", ylabel="frames (%)", ylim=(0, 118), title="in three groups")
    groups.set_xticks(at, here.index)
    groups.legend(loc="upper right", fontsize=8, borderaxespad=0)
    return figure


@styled
def pain_by_subject(corpus) -> Figure:
    """Per cent of each subject's frames with PSPI above 0, with the paper's overall value."""
    table = tables.pain_counts(corpus.frames)
    axes = new_figure(corpus.dataset, "Pain by subject", 0.9 + 0.17 * len(table)).subplots()
    overall = paper.PAIN_SHARE
    bars = axes.barh(table.index, table["percent"], color=PAIN, height=0.7)
    labels = [f"{row.percent:.0f} % of {row.frames}" for row in table.itertuples()]
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    axes.bar_label(bars, labels, padding=4, fontsize=7, color=MUTED, bbox=box)
    axes.axvline(overall, color=PAPER, ls="--", zorder=0, label=f"the paper, all: {overall:.1f} %")
    axes.set(xlabel="frames with PSPI above 0 (% of the subject's frames)", ylabel="subject")
    axes.margins(x=0.14, y=0.01)
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    return axes.figure


@styled
def timeline(corpus, faces: int = 6) -> Figure:
    """One sequence: a few frames, its PSPI, and every action unit that occurs in it.

    The sequence is `tables.telling_sequence`; AUs outside PSPI are marked.
    """
    frames = tables.telling_sequence(corpus.frames)
    coded = [int(name[2:]) for name in frames if name.startswith("au") and (frames[name] > 0).any()]
    coded.sort(key=lambda au: (au not in facs.PSPI_AUS, au))
    title, height = f"Sequence {frames['sequence'].iloc[0]}", 2.0 + 0.17 * len(coded)
    figure = new_figure(corpus.dataset, title, 1.35 + height)
    images, lines = figure.subfigures(2, 1, height_ratios=(1.25, height))
    chosen = tables.evenly_spaced(frames[frames["state"] == "ok"], faces)
    row = images.subplots(1, len(chosen), squeeze=False)
    _show_frames(row, corpus, chosen, "{0.frame}: PSPI {0.pspi:.0f}")
    pspi, units = lines.subplots(2, 1, sharex=True, height_ratios=(1.6, 0.26 * len(coded)))
    pspi.fill_between(frames["frame"], frames["pspi"], step="mid", color=PAIN, alpha=0.25)
    pspi.plot(chosen["frame"], chosen["pspi"], "o", color=PAIN, mfc="white", clip_on=False)
    pspi.set(ylabel="PSPI", ylim=(0, None))
    pspi.yaxis.get_major_locator().set_params(integer=True)
    _draw_units(units, frames, coded)
    return figure


def _draw_units(axes: Axes, frames: pd.DataFrame, aus: list[int]) -> None:
    """A row of coloured cells for each action unit; closed lids have the darkest colour."""
    cells = np.array([frames[f"au{au}"] * (5 if au in facs.LID_AUS else 1) for au in aus])
    mesh = axes.pcolormesh(frames["frame"], range(len(aus)), cells, cmap="YlOrBr", vmin=0, vmax=5)
    axes.set_yticks(range(len(aus)), [f"AU{au}" + " *" * (au not in facs.PSPI_AUS) for au in aus])
    axes.set(xlabel="frame (* not part of PSPI)", ylabel="action unit")
    axes.invert_yaxis()
    axes.figure.colorbar(mesh, ax=axes, label="intensity")


@styled
def agreement(corpus) -> Figure:
    """PSPI of the label files against PSPI recomputed from FACS."""
    counts = np.ma.masked_equal(tables.recomputed(corpus.frames).to_numpy(), 0)
    axes = new_figure(corpus.dataset, "PSPI as labelled and as recomputed", 3.4).subplots()
    norm = LogNorm(vmin=1, vmax=max(10, counts.max()))
    image = axes.imshow(counts, cmap="Blues", norm=norm, origin="lower", aspect="auto")
    axes.axline((0, 0), slope=1, color=PAPER, linewidth=0.6, linestyle="--")
    axes.set(xlabel="recomputed from FACS", ylabel="in the label file")
    axes.figure.colorbar(image, ax=axes, label="frames (logarithmic)")
    return axes.figure


@styled
def felt_pain(corpus) -> Figure:
    """At each PSPI, per cent of frames in which pain was felt; a sentence without truth."""
    title = "Coded PSPI and felt pain"
    if corpus.truth is None:
        return sentence_instead(corpus.dataset, title, "This corpus does not say what people felt.")
    frames = tables.with_felt_pain(corpus)
    felt = frames.groupby(frames["pspi"].astype(int))["felt_pain"].agg(["size", "mean"])
    axes = new_figure(corpus.dataset, title, 2.9).subplots()
    bars = axes.bar(felt.index, 100, color="#DDE1E7", label="no pain felt")
    axes.bar_label(bars, [f"n={n}" for n in felt["size"]], padding=2, fontsize=7, color=MUTED)
    axes.bar(felt.index, 100 * felt["mean"], color=PAIN, label="pain felt")
    axes.set(xlabel="coded PSPI", ylabel="frames (%)", ylim=(0, 108), xticks=felt.index)
    axes.figure.legend(loc="outside lower right", ncols=2)
    return axes.figure


@styled
def blink_lengths(corpus) -> Figure:
    """How many frames the lids stay closed in a blink, and which of them four frames can tell."""
    title = "Blinks, by the frames that the lids stay closed"
    if corpus.truth is None:
        return sentence_instead(corpus.dataset, title, "This corpus does not say what is a blink.")
    lengths = tables.blinks(corpus.truth).groupby("closed")["told"].agg(["size", "first"])
    axes = new_figure(corpus.dataset, title, 2.7).subplots()
    colours = [THIS if told else PAPER for told in lengths["first"]]
    bars = axes.bar(lengths.index, lengths["size"], color=colours)
    axes.bar_label(bars, fontsize=8, color=MUTED)
    axes.set(xlabel="frames with closed lids", ylabel="blinks", xticks=lengths.index)
    return axes.figure
