"""The figures of chapter 02 that measure registration, in the style of `paincore.data.figures`."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paincore.registration import accuracy
from paincore.registration.figures import label, label_row, say
from paincore.style import MUTED, PAPER, THIS, new_figure, sentence_instead, show_face, styled

NOT_DRAWN = "Only a synthetic corpus has drawn people, who can be asked to turn."


@styled
def same_expression(corpus, heads) -> Figure:
    """A drawn person who holds one expression while turning, before and after. Chapter 02.

    `heads` are `accuracy.turned_heads`, or None on a corpus of films.
    """
    title = "One expression, turning"
    if heads is None:
        return sentence_instead(corpus.dataset, title, NOT_DRAWN)
    first = [head for head in heads if head.person == heads[0].person]
    figure = new_figure(corpus.dataset, title, 2.75)
    grid = figure.subplots(3, len(first), squeeze=False)
    for column, head in zip(grid.T, first, strict=True):
        show_face(column[0], head.frame, corpus.dataset, "", head.landmarks)
        label(column[0], f"{head.yaw}°")
        if not head.face.view:
            say(column[1], "no face\nfound")
            say(column[2], "no face\nfound")
            continue
        show_face(column[1], head.crop.image, corpus.dataset, "")
        show_face(column[2], head.face.view.image, corpus.dataset, "")
        label(column[2], f"{100 * head.face.view.visible_share:.0f} %")
    for axes, kind in zip(grid[:, 0], ("frame", "plain crop", "frontal view"), strict=True):
        label_row(axes, kind)
    return figure


@styled
def turning_accuracy(corpus, table: pd.DataFrame | None) -> Figure:
    """By yaw, for drawn people: change of the picture, landmark error and error of the yaw.

    `table` is `accuracy.turned_table`, or None on a corpus of films. Chapter 02.
    """
    title = "What turning costs"
    if table is None:
        return sentence_instead(corpus.dataset, title, NOT_DRAWN)
    figure = new_figure(corpus.dataset, title, 2.9)
    change, points, angle = figure.subplots(1, 3)
    turned = table[table["yaw"] != 0]
    for axes, rows, name, colour, text in (
        (change, turned, "crop", PAPER, "plain crop"),
        (change, turned, "crop_face", MUTED, "plain crop, the face only"),
        (change, turned, "view", THIS, "frontal view"),
        (points, table, "inner", THIS, None),
        (angle, table, "yaw_error", THIS, None),
    ):
        axes.plot(rows["yaw"], rows[name], ".", color=colour, ms=4, alpha=0.45)
        mean = rows.groupby("yaw")[name].mean()
        axes.plot(mean.index, mean, color=colour, label=text)
    change.set(title="change of the picture", ylabel="grey levels of 255", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=3, fontsize=7.5)
    points.set(title="landmark error", ylabel="% of the face's size", ylim=(0, None))
    angle.set(title="measured less true yaw", ylabel="degrees")
    angle.axhline(0, color=PAPER, lw=0.8, linestyle="--")
    for axes in (change, points, angle):
        axes.set_xlabel("true yaw (degrees)")
        axes.set_xticks((-60, -30, 0, 30, 60))
        axes.grid(axis="y")
    return figure


@styled
def corpus_accuracy(corpus, store, sample) -> Figure:
    """Landmark error on the corpus's frames by yaw; pose errors where the truth is known.

    The reference are the landmarks that come with the corpus. Chapter 02.
    """
    title = "Against the corpus's own landmarks"
    if sample.errors.empty:
        return sentence_instead(
            corpus.dataset, title, "No registered frame has landmarks to compare with."
        )
    figure = new_figure(corpus.dataset, title, 2.9)
    points, angles = figure.subplots(1, 2, width_ratios=(1.3, 1))
    errors = accuracy.by_yaw(sample.errors)
    for column, offset, colour, name in (("inner", -0.19, THIS, "without the jaw"),
                                         ("all", 0.19, PAPER, "all 66 points")):  # fmt: skip
        _boxes(points, [group for _, group in errors.groupby("bin", observed=True)[column]],
               offset, colour, name)  # fmt: skip
    counts = errors["bin"].value_counts(sort=False)
    points.set_xticks(range(len(counts)), [f"{b}\nn={n}" for b, n in counts.items()])
    points.set(xlabel="yaw, either way", ylabel="landmark error (%)", ylim=(0, None))
    points.grid(axis="y")
    points.margins(y=0.12)
    points.legend(fontsize=7.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.12))
    if corpus.truth is None:
        angles.set_axis_off()
        angles.text(0, 0.5, "The true pose of this\ncorpus's heads is not known.", color=MUTED)
        return figure
    pose = accuracy.pose_errors(store.frames[store.usable], corpus.truth)
    for place, angle in enumerate(accuracy.ANGLES):
        _boxes(angles, [pose[angle]], place, THIS, None)
    angles.axhline(0, color=PAPER, lw=0.8, linestyle="--", zorder=0)
    angles.set_xticks(range(len(accuracy.ANGLES)), accuracy.ANGLES)
    angles.set(ylabel="measured less true (°)")
    angles.grid(axis="y")
    return figure


def _boxes(axes: Axes, groups: list, place: float, colour: str, name: str | None) -> None:
    """Boxes from quartile to quartile, whiskers from the 5th to the 95th percentile."""
    line = {"color": colour, "linewidth": 1.1}
    axes.boxplot(
        groups, positions=place + np.arange(len(groups)), widths=0.3, whis=(5, 95),
        showfliers=False, manage_ticks=False, patch_artist=True,
        boxprops=line | {"facecolor": "white"}, medianprops=line | {"linewidth": 2.2},
        whiskerprops=line, capprops=line,
        label=name,
    )  # fmt: skip
