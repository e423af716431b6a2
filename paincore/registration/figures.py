"""The figures of chapter 02, and which frames they show.

Frames are rows of a frame store; their index is the image's number there. Where several frames fit
a rule equally well, the first in the table is taken. A mesh is drawn only over a face that may be
shown.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paincore import paper, style
from paincore.data.figures import show_frame
from paincore.registration.accuracy import ANGLES, find, pose_errors, turned_table
from paincore.registration.faces import EXTREME_YAW
from paincore.registration.frontal import FaceMesh, crop

PATCHES = 14  # a side, of 16 pixels at 224
NO_FACE = "No face was found in this corpus, so there is nothing to show."
NO_CLIP = "No four frames with a face follow one another in this corpus."
NO_HEADS = "Only synthetic people can be asked to turn, and this corpus has none."
NO_LANDMARKS = "No registered frame has landmarks to compare with."
MESH = "#56B4E9"
READERS_OWN = {"synthetic": False, "faces_may_be_shown": True, "shown_subjects": ()}
YAW_BINS = (0, 10, 20, 30, 45, 60, 90)  # degrees, either way
MARKED = {  # row and column of a patch, and its colour
    "inner brow": (2, 5, "#F0E442"),
    "eye": (4, 9, "#56B4E9"),
    "wing of the nose": (6, 5, "#CC79A7"),
    "corner of the mouth": (9, 8, "#009E73"),
}


def rising_clip(frames: pd.DataFrame) -> pd.DataFrame:
    """Of the registered frames, the four subsequent ones over which PSPI rises most.

    No row where no four frames follow one another. Section 3.1 of the paper.
    """
    back, sequences = paper.CLIP_FRAMES - 1, frames.groupby("sequence")
    rise = sequences["pspi"].diff(back).fillna(-np.inf)[sequences["frame"].diff(back) == back]
    if rise.empty:
        return frames.iloc[:0]
    last = frames.index.get_loc(rise.idxmax())
    return frames.iloc[last - back : last + 1]


def turning_person(frames: pd.DataFrame) -> pd.DataFrame:
    """The registered frames, by yaw, of the subject whose yaw varies most."""
    ranges = frames.groupby("subject")["yaw"].agg(np.ptp)
    widest = ranges.idxmax() if len(ranges) else None
    return frames[frames["subject"] == widest].sort_values("yaw", kind="stable")


def spread_over_yaw(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` rows of frames sorted by yaw, nearest to evenly spaced angles."""
    yaw = frames["yaw"].to_numpy()
    angles = np.linspace(yaw[0], yaw[-1], count)
    return frames.iloc[np.unique(np.abs(yaw[None] - angles[:, None]).argmin(1))]


def most_turned(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Each subject's most turned frame, by yaw; `count` of them, evenly spaced."""
    each = frames.loc[frames["yaw"].abs().groupby(frames["subject"]).idxmax()].sort_values("yaw")
    return each.iloc[np.linspace(0, len(each) - 1, min(count, len(each))).round().astype(int)]


def draw_mesh(axes: Axes, mesh: FaceMesh, triangles: np.ndarray = ()) -> None:
    """A mesh over its frame; points where it is dense or `triangles` are not given."""
    x, y = mesh.vertices[:, :2].T
    if 0 < len(triangles) < 5000:
        axes.triplot(x, y, triangles, color=MESH, linewidth=0.3)
    else:
        every = 1 + len(x) // 3000
        axes.plot(x[::every], y[::every], ".", color=MESH, markersize=0.6)


def draw_patches(axes: Axes, size: int, count: int) -> None:
    """The borders of `count` x `count` patches over an image of `size` pixels."""
    places = np.linspace(-0.5, size - 0.5, count + 1)
    axes.vlines(places, -0.5, size - 0.5, color="white", linewidth=0.4, alpha=0.6)
    axes.hlines(places, -0.5, size - 0.5, color="white", linewidth=0.4, alpha=0.6)


def mark_patches(axes: Axes, size: int) -> None:
    """The patches of `MARKED` on an image of `size` pixels."""
    side = size / PATCHES
    for row, column, colour in MARKED.values():
        corner = (column * side - 0.5, row * side - 0.5)
        axes.add_patch(Rectangle(corner, side, side, fc="none", ec=colour, lw=1.4))


def label(axes: Axes, text: str) -> None:
    """What one image shows, above it."""
    axes.set_title(text, color=style.MUTED, fontsize=7.5)


def say(axes: Axes, text: str) -> None:
    """In place of an image, why there is none."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.add_patch(Rectangle((0, 0), 1, 1, fc="#F1F2F4", ec="none"))
    text = text.replace("_", "\n")
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7.5, color=style.MUTED)


class Cell(NamedTuple):
    """One face of a figure: a registered image, a row of the frames table, or why there is none;
    the text above it; what is laid over a face that may be shown; whose face it is."""

    image: np.ndarray | tuple | str
    text: str = ""
    over: Callable[[Axes], None] | None = None
    subject: str | None = None


def face_grid(figure, corpus, subject: str, rows: dict[str, list[Cell]], **options) -> None:
    """Rows of faces, each with its name at the left; `subject` is whose they are unless a cell
    says otherwise."""
    grid = figure.subplots(len(rows), len(next(iter(rows.values()))), squeeze=False, **options)
    for line, (name, cells) in zip(grid, rows.items(), strict=True):
        for axes, (image, text, over, whose) in zip(line, cells, strict=True):
            if isinstance(image, str):
                say(axes, image)
            elif isinstance(image, tuple):
                show_frame(axes, corpus, image)
            else:
                style.show_face(axes, image, corpus.dataset, whose or subject)
                if over and style.may_be_shown(corpus.dataset, whose or subject):
                    over(axes)
            label(axes, text)
        line[0].annotate(name.strip(), (-0.06, 0.5), xycoords="axes fraction", rotation=90,
                         ha="right", va="center", color=style.MUTED, fontsize=8)  # fmt: skip


def faces_figure(corpus, title: str, height: float, subject: str, rows, **options) -> Figure:
    """A figure that is one `face_grid`, `height` inches high."""
    figure = style.new_figure(corpus.dataset, title, height)
    face_grid(figure, corpus, subject, rows, **options)
    return figure


@style.styled
def steps(corpus, store, backend) -> Figure:
    """A frame, its mesh, the frontal view and its patches: Figure 2a and 2b of the paper.

    The frame is the last of `rising_clip`, or of all where there is no clip.
    """
    title, frames = "From a frame to patches", store.frames[store.usable]
    if frames.empty:
        return style.sentence_instead(corpus.dataset, title, NO_FACE)
    last = (rising_clip(frames) if len(rising_clip(frames)) else frames).iloc[-1:]
    (face,) = find(corpus, last, backend, store.images.shape[1])
    if face.view is None:
        return style.sentence_instead(corpus.dataset, title, face.problem)
    image, view = face.picture.image, face.view.image
    mesh = partial(draw_mesh, mesh=face.mesh, triangles=backend.topology.triangles)
    cells = [
        Cell(image, "1  frame"),
        Cell(image, f"2  mesh of {len(face.mesh.vertices):,} points", mesh),
        Cell(view, "3  frontal view"),
        Cell(view, "4  14 x 14 patches", partial(draw_patches, size=len(view), count=PATCHES)),
    ]
    widths = (image.shape[1] / image.shape[0],) * 2 + (1, 1)
    subject = last["subject"].item()
    return faces_figure(corpus, title, 2.05, subject, {"": cells}, width_ratios=widths)


@style.styled
def clip(corpus, store) -> Figure:
    """Four subsequent frames, `rising_clip`, and the 2x2 grid they make: the last step of the
    paper's Figure 2."""
    title, frames = "Four subsequent frames, one image", rising_clip(store.frames[store.usable])
    if frames.empty:
        return style.sentence_instead(corpus.dataset, title, NO_CLIP)
    figure, subject = style.new_figure(corpus.dataset, title, 3.75), frames["subject"].iloc[0]
    left, right = figure.subfigures(1, 2, width_ratios=(0.95, 1))
    rows = list(frames.itertuples())
    cells = [Cell(row, f"frame {row.frame}: PSPI {row.pspi:.0f}") for row in rows]
    face_grid(left, corpus, subject, {"": cells[:2], " ": cells[2:]})
    images = store.images[frames.index]
    grid = np.vstack([np.hstack(images[:2]), np.hstack(images[2:])])
    patches = partial(draw_patches, size=len(grid), count=2 * PATCHES)
    text = f"28 x 28 patches, labelled PSPI {rows[-1].pspi:.0f}"
    face_grid(right, corpus, subject, {"": [Cell(grid, text, patches)]})
    return figure


@style.styled
def same_patches(corpus, store, backend, sample, people: int = 5) -> Figure:
    """The same patches on the plain crops and on the frontal views of several people.

    The frames are `most_turned`; at the right the mean of `sample`, `accuracy.inspect`.
    """
    title, frames = "The same patch, the same part of the face", store.frames[store.usable]
    if frames.empty:
        return style.sentence_instead(corpus.dataset, title, NO_FACE)
    frames, size = most_turned(frames, people), store.images.shape[1]
    mark = partial(mark_patches, size=size)
    crops, views = [], []
    for row, face in zip(frames.itertuples(), find(corpus, frames, backend, size), strict=True):
        text = f"{row.subject}, yaw {row.yaw:z.0f}°"
        plain = crop(face.picture.image, face.mesh, backend.topology, size) if face.view else None
        crops.append(Cell(plain.image if plain else face.state, text, mark, row.subject))
        views.append(Cell(store.images[row.Index], "", mark, row.subject))
    crops.append(Cell(sample.mean_crop, f"mean of {sample.count}", mark))
    views.append(Cell(sample.mean_view, "", mark))
    rows = {"plain crop": crops, "frontal view": views}
    figure = faces_figure(corpus, title, 3.15, "all", rows)
    keys = [Rectangle((0, 0), 1, 1, fc="none", ec=c, label=n) for n, (*_, c) in MARKED.items()]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, fontsize=7.5)
    return figure


@style.styled
def yaw(corpus, store) -> Figure:
    """How far heads are turned, and how much of the face a frontal view then shows."""
    title, frames = "How far heads are turned", store.frames[store.usable]
    if frames.empty:
        return style.sentence_instead(corpus.dataset, title, NO_FACE)
    figure = style.new_figure(corpus.dataset, title, 2.8)
    counts, visible = figure.subplots(1, 2, sharex=True)
    counts.hist(frames["yaw"], np.arange(-90, 91, 5), color=style.THIS, edgecolor="white", lw=0.5)
    counts.set(xlabel="yaw (degrees; 0 faces the camera)", ylabel="frames")
    shown = 100 * frames["visible_share"]
    visible.plot(frames["yaw"], shown, ".", color=style.THIS, ms=3, alpha=0.4)
    visible.set(xlabel="yaw (degrees)", ylabel="visible part of the face (%)", ylim=(0, 100))
    for axes in (counts, visible):
        axes.grid(axis="y")
        for edge in (-EXTREME_YAW, EXTREME_YAW):
            axes.axvline(edge, color=style.PAPER, linestyle="--", lw=0.8)
    return figure


@style.styled
def before_and_after(corpus, store, here: dict | None = None, columns: int = 6) -> Figure:
    """One person, `turning_person`, at evenly spaced yaw: the frames and their stored views.

    With `here`, which is `backends.backends_here`, what each backend makes of them instead.
    """
    frames = turning_person(store.frames[store.usable])
    if frames.empty:
        return style.sentence_instead(corpus.dataset, "One person, turning", NO_FACE)
    frames, subject = spread_over_yaw(frames, columns), frames["subject"].iloc[0]
    shown = list(frames.itertuples())
    rows = {"frame": [Cell(row, f"yaw {row.yaw:z.0f}°") for row in shown]}
    for name, backend in (here or {}).items():
        rows[name] = [Cell("weights_not here")] * len(shown)
        if not isinstance(backend, str):
            found = find(corpus, frames, backend)
            rows[name] = [Cell(f.view.image if f.view else f.state) for f in found]
    if here is None:
        rows["frontal view"] = [
            Cell(store.images[row.Index], f"{100 * row.visible_share:.0f} % visible")
            for row in shown
        ]
    title = f"One person, turning: {subject}" if here is None else "Backends side by side"
    return faces_figure(corpus, title, 0.4 + 1.25 * len(rows), subject, rows)


@style.styled
def same_expression(corpus, heads) -> Figure:
    """A synthetic person who holds one expression while turning: the frames, and plain crops and
    frontal views with their change from yaw 0.

    `heads` are `accuracy.turned_heads`, or None on a corpus of real people.
    """
    title = "One expression, turning"
    if heads is None:
        return style.sentence_instead(corpus.dataset, title, NO_HEADS)
    first = [head for head in heads if head.person == heads[0].person]
    changes = turned_table(first).set_index("yaw").map("{:.0f}".format)
    rows = {"frame": [Cell(head.face.picture.image, f"{head.yaw}°") for head in first]}
    for kind in ("plain crop", "frontal view"):
        shown = [head.crop if kind == "plain crop" else head.face.view for head in first]
        rows[kind] = [
            Cell(one.image, changes.loc[head.yaw, kind]) if one else Cell(head.face.state)
            for head, one in zip(first, shown, strict=True)
        ]
    return faces_figure(corpus, title, 2.5, "", rows)


@style.styled
def corpus_accuracy(corpus, store, sample) -> Figure:
    """Landmark errors on the corpus's frames by yaw; pose errors where the truth is known.

    The reference are the landmarks that come with the corpus.
    """
    title, errors = "Against the corpus's own landmarks", sample.errors
    if errors.empty:
        return style.sentence_instead(corpus.dataset, title, NO_LANDMARKS)
    names = [f"{low}-{high}" for low, high in pairwise(YAW_BINS)]
    bins = pd.cut(errors["yaw"].abs(), YAW_BINS, labels=names, right=False)
    by_yaw = errors.groupby(bins, observed=True)
    panels = {"error without jaw (%)": by_yaw["inner"], "error of all points (%)": by_yaw["all"]}
    if corpus.truth is not None:
        pose = pose_errors(store.frames[store.usable], corpus.truth)
        panels["measured − true (°)"] = pose[ANGLES].items()
    figure = style.new_figure(corpus.dataset, title, 2.9)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (what, groups) in zip(row, panels.items(), strict=True):
        names, values = zip(*groups, strict=True)
        line = {"color": style.THIS, "linewidth": 2}
        axes.boxplot(values, tick_labels=names, whis=(5, 95), showfliers=False, medianprops=line)
        axes.set(title=what, xlabel="angle" if "true" in what else "yaw, either way (°)")
        axes.grid(axis="y")
    return figure
