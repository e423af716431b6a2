"""The figures of chapter 02, and which frames they show.

Frames are rows of a frame store; their index is the image's number there. Where several frames fit
a rule equally well, the first in the table is taken. A mesh is drawn only over a face that may be
shown.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paincore import paper, style
from paincore.data.figures import show_frame
from paincore.data.tables import evenly_spaced
from paincore.registration.accuracy import ANGLES, find, pose_errors, turned_table
from paincore.registration.faces import EXTREME_YAW
from paincore.registration.frontal import FaceMesh, crop

PATCHES = 14  # a side, of 16 pixels at 224
NO_CLIP = "No four frames with a face follow one another in this corpus."
NO_HEADS = "Only synthetic people can be asked to turn, and this corpus has none."
NO_LANDMARKS = "No registered frame has landmarks to compare with."
MESH = "#56B4E9"
READERS_OWN = {"synthetic": False, "faces_may_be_shown": True, "shown_subjects": ()}
YAW_BINS = (0, 10, 20, 30, 45, 60, 90)  # degrees, either way
# Row, column and colour of a patch: inner brow, eye, wing of the nose, corner of the mouth.
MARKED = ((2, 5, "#F0E442"), (4, 9, "#56B4E9"), (6, 5, "#CC79A7"), (9, 8, "#009E73"))


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
    widest = frames.groupby("subject")["yaw"].agg(np.ptp).idxmax()
    return frames[frames["subject"] == widest].sort_values("yaw", kind="stable")


def spread_over_yaw(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` rows of frames sorted by yaw, nearest to evenly spaced angles."""
    yaw = frames["yaw"].to_numpy()
    angles = np.linspace(yaw[0], yaw[-1], count)
    return frames.iloc[np.unique(np.abs(yaw[None] - angles[:, None]).argmin(1))]


def most_turned(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Each subject's most turned frame, by yaw; `count` of them, evenly spaced."""
    each = frames.loc[frames["yaw"].abs().groupby(frames["subject"]).idxmax()].sort_values("yaw")
    return evenly_spaced(each, count)


def draw_mesh(axes: Axes, mesh: FaceMesh, triangles: np.ndarray) -> None:
    """A mesh over its frame; points where it is dense."""
    x, y = mesh.vertices[:, :2].T
    if len(triangles) < 5000:
        axes.triplot(x, y, triangles, color=MESH, linewidth=0.3)
    else:
        axes.plot(x[::15], y[::15], ".", color=MESH, markersize=0.6)


def draw_patches(axes: Axes, size: int, count: int) -> None:
    """The borders of `count` x `count` patches over an image of `size` pixels."""
    places = np.linspace(-0.5, size - 0.5, count + 1)
    for lines in (axes.vlines, axes.hlines):
        lines(places, -0.5, size - 0.5, color="white", linewidth=0.4, alpha=0.6)


def label(axes: Axes, text: str) -> None:
    """What one image shows, above it."""
    axes.set_title(text, color=style.MUTED, fontsize=7.5)


def show(axes: Axes, corpus, subject: str, image: np.ndarray | str, text: str = "") -> bool:
    """A registered image of a subject, or in words why there is none, under its text; whether a
    face is shown, over which more may be drawn."""
    label(axes, text)
    if isinstance(image, str):
        axes.set_axis_off()
        look = {"ha": "center", "va": "center", "fontsize": 7.5, "color": style.MUTED}
        axes.text(0.5, 0.5, image.replace("_", "\n"), transform=axes.transAxes, **look)
        return False
    style.show_face(axes, image, corpus.dataset, subject)
    return style.may_be_shown(corpus.dataset, subject)


def show_marked(axes: Axes, corpus, subject: str, image: np.ndarray | str, text: str = "") -> None:
    """As `show`, with the patches of `MARKED` over a face."""
    if show(axes, corpus, subject, image, text):
        side = len(image) / PATCHES
        for row, column, colour in MARKED:
            corner = (column * side - 0.5, row * side - 0.5)
            axes.add_patch(Rectangle(corner, side, side, fc="none", ec=colour, lw=1.4))


def rows_of_faces(corpus, title: str, height: float, names: tuple, columns: int):
    """A figure `height` inches high, and its axes (names, columns) with each row's name at the
    left."""
    figure = style.new_figure(corpus.dataset, title, height)
    grid = figure.subplots(len(names), columns, squeeze=False)
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.annotate(name, (-0.06, 0.5), xycoords="axes fraction", rotation=90, ha="right",
                      va="center", color=style.MUTED, fontsize=8)  # fmt: skip
    return figure, grid


@style.styled
def steps(corpus, store, backend) -> Figure:
    """A frame, its mesh, the frontal view and its patches: Figure 2a and 2b of the paper.

    The frame is the last of `rising_clip`, or of all where there is no clip.
    """
    title, rising = "From a frame to patches", rising_clip(store.faces)
    last = (rising if len(rising) else store.faces).iloc[-1:]
    (face,) = find(corpus, last, backend, store.images.shape[1])
    if face.view is None:
        return style.sentence_instead(corpus.dataset, title, face.problem)
    image, view = face.picture.image, face.view.image
    figure, subject = style.new_figure(corpus.dataset, title, 2.05), last["subject"].item()
    wide = image.shape[1] / image.shape[0]
    panels = figure.subplots(1, 4, width_ratios=(wide, wide, 1, 1))
    show(panels[0], corpus, subject, image, "1  frame")
    if show(panels[1], corpus, subject, image, f"2  mesh of {len(face.mesh.vertices):,} points"):
        draw_mesh(panels[1], face.mesh, backend.topology.triangles)
    show(panels[2], corpus, subject, view, "3  frontal view")
    if show(panels[3], corpus, subject, view, "4  14 x 14 patches"):
        draw_patches(panels[3], len(view), PATCHES)
    return figure


@style.styled
def clip(corpus, store) -> Figure:
    """Four subsequent frames, `rising_clip`, and the 2x2 grid they make: the last step of the
    paper's Figure 2."""
    title, frames = "Four subsequent frames, one image", rising_clip(store.faces)
    if frames.empty:
        return style.sentence_instead(corpus.dataset, title, NO_CLIP)
    figure = style.new_figure(corpus.dataset, title, 3.75)
    panels = figure.subplot_mosaic("01g;23g", width_ratios=(1, 1, 2.1))
    for place, frame in enumerate(frames.itertuples()):
        show_frame(panels[str(place)], corpus, frame)
        label(panels[str(place)], f"frame {frame.frame}: PSPI {frame.pspi:.0f}")
    images = store.images[frames.index]
    grid = np.vstack([np.hstack(images[:2]), np.hstack(images[2:])])
    text = f"28 x 28 patches, labelled PSPI {frame.pspi:.0f}"
    if show(panels["g"], corpus, frame.subject, grid, text):
        draw_patches(panels["g"], len(grid), 2 * PATCHES)
    return figure


@style.styled
def same_patches(corpus, store, backend, sample, people: int = 5) -> Figure:
    """The same patches on the plain crops and on the frontal views of several people.

    The frames are `most_turned`; at the right the mean of `sample`, `accuracy.inspect`.
    """
    frames, size = most_turned(store.faces, people), store.images.shape[1]
    title, rows = "The same patch, the same part of the face", ("plain crop", "frontal view")
    figure, grid = rows_of_faces(corpus, title, 3.0, rows, len(frames) + 1)
    found = find(corpus, frames, backend, size)
    for (above, below), row, face in zip(grid.T[:-1], frames.itertuples(), found, strict=True):
        image = face.state
        if face.view:
            image = crop(face.picture.image, face.mesh, backend.topology, size).image
        show_marked(above, corpus, row.subject, image, f"{row.subject}, yaw {row.yaw:z.0f}°")
        show_marked(below, corpus, row.subject, store.images[row.Index])
    show_marked(grid[0, -1], corpus, "all", sample.mean_crop, f"mean of {sample.count}")
    show_marked(grid[1, -1], corpus, "all", sample.mean_view)
    return figure


@style.styled
def yaw(corpus, store) -> Figure:
    """How far heads are turned, and how much of the face a frontal view then shows."""
    frames, figure = store.faces, style.new_figure(corpus.dataset, "How far heads are turned", 2.8)
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
    frames = spread_over_yaw(turning_person(store.faces), columns)
    subject = frames["subject"].iloc[0]
    title = "Backends side by side" if here else f"One person, turning: {subject}"
    views = {} if here else {"frontal view": store.images[frames.index]}
    for name, backend in (here or {}).items():
        views[name] = ["weights_not here"] * len(frames)
        if not isinstance(backend, str):
            found = find(corpus, frames, backend)
            views[name] = [face.view.image if face.view else face.state for face in found]
    names, height = ("frame", *views), 1.65 + 1.25 * len(views)
    figure, grid = rows_of_faces(corpus, title, height, names, len(frames))
    for number, row in enumerate(frames.itertuples()):
        show_frame(grid[0, number], corpus, row)
        label(grid[0, number], f"yaw {row.yaw:z.0f}°")
        for axes, images in zip(grid[1:, number], views.values(), strict=True):
            show(axes, corpus, subject, images[number])
        if here is None:
            label(grid[1, number], f"{100 * row.visible_share:.0f} % visible")
    return figure


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
    names = ("frame", "plain crop", "frontal view")
    figure, grid = rows_of_faces(corpus, title, 2.5, names, len(first))
    for column, head in zip(grid.T, first, strict=True):
        show(column[0], corpus, "", head.face.picture.image, f"{head.yaw}°")
        views = {"plain crop": head.crop, "frontal view": head.face.view}
        for axes, (kind, view) in zip(column[1:], views.items(), strict=True):
            image, change = view.image if view else head.face.state, changes[kind].get(head.yaw, "")
            show(axes, corpus, "", image, change)
    return figure


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
    panels = [("error without the jaw (%)", "yaw, either way (°)", by_yaw["error"])]
    if corpus.truth is not None:
        pose = pose_errors(store.faces, corpus.truth)
        panels.append(("measured − true (°)", "angle", pose[ANGLES].items()))
    figure = style.new_figure(corpus.dataset, title, 2.9)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (what, over, groups) in zip(row, panels, strict=True):
        names, values = zip(*groups, strict=True)
        line = {"color": style.THIS, "linewidth": 2}
        axes.boxplot(values, tick_labels=names, whis=(5, 95), showfliers=False, medianprops=line)
        axes.set(title=what, xlabel=over)
        axes.grid(axis="y")
    return figure
