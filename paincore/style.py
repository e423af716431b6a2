"""One look for the whole book: colours, figures, the face gate, tables and number formats.

A figure is a matplotlib `Figure` made without pyplot, so that a notebook shows it once and nothing
stays open. Blue is this run, grey the paper, vermilion pain: Okabe and Ito's palette, which
colour-blind readers can tell apart. A figure of a synthetic corpus says so in its upper right
corner. Every face is drawn by `show_face`.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from IPython.display import Code
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from pandas.io.formats.style import Styler
from PIL import Image

THIS, PAPER, PAIN, MUTED = "#0072B2", "#8A8F98", "#D55E00", "#5A5F69"
WIDTH = 7.2  # inches, for every figure

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # else each title is measured against all tick labels, which takes long
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#C4C8CF",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": "#E6E8EC",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

styled: Callable = matplotlib.rc_context(STYLE)


def new_figure(dataset, title: str, height: float) -> Figure:
    """An empty figure of the book's width and `height` inches, with its title and its tag.

    `dataset` is the corpus's entry in the data manifest.
    """
    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(title, x=0.008, ha="left", fontsize=10.5, fontweight="bold")
    if dataset.synthetic:
        figure.text(0.995, 0.99, "synthetic corpus", ha="right", va="top", fontsize=7.5, color=PAIN)
    return figure


_LIVE: ContextVar[bool] = ContextVar("live", default=False)


@contextlib.contextmanager
def live() -> Iterator[None]:
    """Within it any face may be drawn: for pictures that a browser gets and nothing keeps."""
    token = _LIVE.set(True)
    try:
        yield
    finally:
        _LIVE.reset(token)


def may_be_shown(dataset, subject: str) -> bool:
    """Whether this subject's face may be drawn: by the data set's entry in the manifest, or since
    what is drawn is not kept (`live`)."""
    shown = dataset.shown_subjects
    return _LIVE.get() or (dataset.faces_may_be_shown and (not shown or subject in shown))


def show_face(
    axes: Axes, image: Path | np.ndarray, dataset, subject: str, around=None, units=None
) -> None:
    """Draw a frame, or what stands in for it where the subject's face may not be shown.

    `image` is a file, opened only if it may be shown, or an array (H, W, 3) of uint8; `around`,
    float (n, 2), are points in its pixels: only a square around them is shown. A neutral outline
    stands in, or, where the data set's entry asks for it and `units` maps action units ("au4" and
    so on) to intensities, a drawn face that moves alike. The one place of the book that draws a
    face.
    """
    axes.set_axis_off()
    if may_be_shown(dataset, subject):
        pixels = np.asarray(Image.open(image) if isinstance(image, Path) else image)
        axes.imshow(pixels)
        if around is not None:
            height, width = pixels.shape[:2]
            half = min(0.72 * np.ptp(around, axis=0).max(), width / 2, height / 2)
            x, y = (around.max(axis=0) + around.min(axis=0)) / 2 - [0, 0.1 * half]
            x, y = np.clip([x, y], half, [width - half, height - half])  # never beyond the picture
            axes.set(xlim=(x - half, x + half), ylim=(y + half, y - half))
        return
    if dataset.stand_in == "avatar" and units is not None:
        from synthpain.avatar import avatar  # compiles kernels: only where it is drawn

        axes.imshow(avatar(units))
        axes.text(0.5, 0.02, "avatar", transform=axes.transAxes, ha="center", color="white")
        return
    axes.set(xlim=(0, 4), ylim=(0, 3), aspect="equal")
    axes.add_patch(Ellipse((2, 1.5), 1.7, 2.4, facecolor="#F1F2F4", edgecolor=PAPER))
    axes.text(2, 1.5, "not\nshown", ha="center", va="center", fontsize=7, color=MUTED)


def sentence_instead(dataset, title: str, sentence: str) -> Figure:
    """In place of a figure, why there is none."""
    figure = new_figure(dataset, title, 0.8)
    axes = figure.subplots()  # a notebook shows no figure without axes
    axes.set_axis_off()
    axes.text(0, 0.5, sentence, va="center", color=MUTED)
    return figure


def draw_interval(axes: Axes, value, low, high, y: float, colour=THIS, mark="D") -> None:
    """An estimate and its interval, horizontal, at the height `y`; NaN draws nothing."""
    axes.plot([low, high], [y, y], color=colour, lw=2, solid_capstyle="butt")
    axes.plot([value], [y], mark, color=colour, ms=5)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """A row for each name, the first at the top."""
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_yticks(range(len(names)), names, color="black")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def table(rows: pd.DataFrame) -> Styler:
    """A table of the book: no index, the text of every column as it is."""
    return rows.style.hide(axis="index").set_table_attributes('class="dataframe"')


def show_source(function: Callable) -> Code:
    """The source of a function, for a chapter to show."""
    return Code(inspect.getsource(function), language="python")


MINUS = "\N{MINUS SIGN}"


def number(value: float) -> str:
    """A score as the book prints it; a dash where it is not defined."""
    return "-" if np.isnan(value) else f"{value:.2f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A difference of scores, with its sign."""
    rounded = round(value, 2) + 0.0  # no minus before a zero
    return "-" if np.isnan(value) else f"{rounded:+.2f}".replace("-", MINUS)


def with_interval(value: float, low: float, high: float, write: Callable = signed) -> str:
    """A difference and its interval; of a score with `write=number`."""
    return f"{write(value)} [{write(low)}, {write(high)}]"


def mean_sd(values: pd.Series) -> str:
    """Mean ± sample standard deviation over the folds in which a score is defined."""
    return f"{number(values.mean())} ± {number(values.std())}"


def scientific(value: float) -> str:
    """A small number, such as a learning rate, as 2e-4."""
    return np.format_float_scientific(value, trim="-", exp_digits=1)


def from_to(values: Sequence[float], form: str = "{:,.0f}") -> str:
    """The lowest and the highest of some numbers, as "97 to 102"; a dash where there are none."""
    if not len(values):
        return "-"
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


class Finding(NamedTuple):
    """A row of a chapter's last table, as text."""

    question: str
    estimate: str
    verdict: str


def finding(question: str, value, low, high, write: Callable = signed, null=0.0) -> Finding:
    """An estimate, its interval, and what this says of `null`; `write` makes text of a number."""
    return Finding(question, with_interval(value, low, high, write), verdict(low, high, null))


def findings_table(findings: Iterable[Finding]) -> Styler:
    """What a chapter found: question, estimate with its 95 % interval, verdict."""
    names = ["question", "estimate [95 % interval]", "verdict"]
    return table(pd.DataFrame(list(findings), columns=names))


def verdict(low: float, high: float, null: float = 0.0) -> str:
    """What an interval says of `null`: "higher", "lower", or "undecided" where it holds it."""
    if low > null:
        return "higher"
    return "lower" if high < null else "undecided"
