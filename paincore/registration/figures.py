"""The figures of chapter 02 that show registered faces, in the style of `paincore.data.figures`.

Where a corpus has no registered frame, or no truth, a sentence stands in place of the figure. A
mesh is drawn only over a face that may be shown.
"""

from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paincore import paper
from paincore.data.figures import show_frame
from paincore.registration import register_file
from paincore.registration.accuracy import find
from paincore.registration.faces import EXTREME_YAW, Face
from paincore.registration.frontal import crop
from paincore.registration.mesh import FaceMesh
from paincore.registration.tables import (
    most_turned,
    rising_clip,
    spread_over_yaw,
    turning_person,
)
from paincore.style import (
    MUTED,
    PAPER,
    THIS,
    may_be_shown,
    new_figure,
    sentence_instead,
    show_face,
    styled,
)

PATCHES = 14  # a side, of 16 pixels at 224
NO_FACE = "No face was found in this corpus, so there is nothing to show."
NO_CLIP = "No four frames with a face follow one another in this corpus."
MESH = "#56B4E9"
READERS_OWN = {"synthetic": False, "faces_may_be_shown": True, "shown_subjects": ()}
MARKED = {  # row and column of a patch that all frontal views share, and its colour
    "inner brow": (2, 5, "#F0E442"),
    "eye": (4, 9, "#56B4E9"),
    "wing of the nose": (6, 5, "#CC79A7"),
    "corner of the mouth": (9, 8, "#009E73"),
}


def draw_mesh(axes: Axes, mesh: FaceMesh, triangles: np.ndarray) -> None:
    """A mesh over its frame; of a dense one, points instead of lines."""
    x, y = mesh.vertices[:, :2].T
    if len(triangles) < 5000:
        axes.triplot(x, y, triangles, color=MESH, linewidth=0.3)
    else:
        axes.plot(x[::16], y[::16], ".", color=MESH, markersize=0.5)


def draw_patches(axes: Axes, size: int, count: int) -> None:
    """The borders of `count` x `count` patches over a picture of `size` pixels."""
    places = np.linspace(-0.5, size - 0.5, count + 1)
    axes.vlines(places, -0.5, size - 0.5, color="white", linewidth=0.4, alpha=0.6)
    axes.hlines(places, -0.5, size - 0.5, color="white", linewidth=0.4, alpha=0.6)


def label(axes: Axes, text: str) -> None:
    """What one picture shows, above it."""
    axes.set_title(text, color=MUTED, fontsize=8)


def label_row(axes: Axes, text: str) -> None:
    """What a row of pictures shows, at the left of its first one."""
    axes.text(-0.06, 0.5, text, transform=axes.transAxes, rotation=90, ha="right", va="center",
              color=MUTED, fontsize=8)  # fmt: skip


@styled
def steps(corpus, store, backend) -> Figure:
    """A frame, its mesh, the frontal view and its patches: Figure 2a and 2b of the paper.

    The frame is the last of `registration_description.rising_clip`, or of all where there is no
    clip. Chapter 02.
    """
    title = "From a frame to patches"
    frames = store.frames[store.usable]
    if frames.empty:
        return sentence_instead(corpus.dataset, title, NO_FACE)
    last = (rising_clip(frames) if len(rising_clip(frames)) else frames).iloc[-1:]
    (face,) = find(corpus, last, backend, store.images.shape[1])
    if face.view is None:
        return sentence_instead(corpus.dataset, title, face.problem)
    subject = last["subject"].item()
    height, width = face.picture.image.shape[:2]
    figure = new_figure(corpus.dataset, title, 2.05)
    row = figure.subplots(1, 4, width_ratios=(width / height, width / height, 1, 1))
    show_face(row[0], face.picture.image, corpus.dataset, subject)
    show_face(row[1], face.picture.image, corpus.dataset, subject)
    show_face(row[2], face.view.image, corpus.dataset, subject)
    show_face(row[3], face.view.image, corpus.dataset, subject)
    if may_be_shown(corpus.dataset, subject):
        draw_mesh(row[1], face.mesh, backend.topology.triangles)
        draw_patches(row[3], len(face.view.image), PATCHES)
    mesh = f"mesh of {len(face.mesh.vertices):,} points"
    names = ("frame", mesh, "frontal view", f"{PATCHES} x {PATCHES} patches")
    for number, (axes, name) in enumerate(zip(row, names, strict=True), start=1):
        label(axes, f"{number}  {name}")
    return figure


@styled
def clip(corpus, store) -> Figure:
    """Four subsequent frames and the 2x2 grid they make: the last step of the paper's Figure 2.

    The frames are `registration_description.rising_clip`. Chapter 02.
    """
    title = "Four subsequent frames, one picture"
    frames = rising_clip(store.frames[store.usable])
    if frames.empty:
        return sentence_instead(corpus.dataset, title, NO_CLIP)
    figure = new_figure(corpus.dataset, title, 3.75)
    left, right = figure.subfigures(1, 2, width_ratios=(0.95, 1))
    images = store.images[frames.index]
    subject = frames["subject"].iloc[0]
    for axes, frame in zip(left.subplots(2, 2).flat, frames.itertuples(), strict=True):
        show_frame(axes, corpus, frame)
        label(axes, f"frame {frame.frame}: PSPI {frame.pspi:.0f}")
    side = int(np.sqrt(paper.CLIP_FRAMES))
    size = images.shape[1]
    grid = images.reshape(side, side, size, size, 3).transpose(0, 2, 1, 3, 4)
    axes = right.subplots()
    show_face(axes, grid.reshape(side * size, side * size, 3), corpus.dataset, subject)
    if may_be_shown(corpus.dataset, subject):
        draw_patches(axes, side * size, side * PATCHES)
    label(
        axes,
        f"{side * PATCHES} x {side * PATCHES} patches, labelled PSPI {frames['pspi'].iloc[-1]:.0f}",
    )
    return figure


@styled
def same_patches(corpus, store, backend, sample, people: int = 5) -> Figure:
    """The same patches on the plain crops and on the frontal views of several people.

    The frames are `registration_description.most_turned`, each subject's most turned one; at the
    right the mean of `sample`, `accuracy.inspect`. Chapter 02.
    """
    title = "The same patch, the same part of the face"
    frames = store.frames[store.usable]
    if frames.empty:
        return sentence_instead(corpus.dataset, title, NO_FACE)
    frames = most_turned(frames, people)
    size = store.images.shape[1]
    faces = find(corpus, frames, backend, size)
    crops = [
        crop(f.picture.image, f.mesh, backend.topology, size).image if f.view else None
        for f in faces
    ]
    rows = (
        ("plain crop", [*crops, sample.mean_crop if sample.count else None]),
        ("frontal view", [*store.images[frames.index], sample.mean_view if sample.count else None]),
    )
    names = [f"{f.subject}, yaw {f.yaw:z.0f}°" for f in frames.itertuples()]
    names.append(f"mean of {sample.count}")
    subjects = [*frames["subject"], "all"]
    figure = new_figure(corpus.dataset, title, 3.15)
    grid = figure.subplots(2, len(names), squeeze=False)
    for line, (kind, images) in zip(grid, rows, strict=True):
        label_row(line[0], kind)
        for axes, image, subject in zip(line, images, subjects, strict=True):
            if image is None:
                say(axes, "no face\nfound")
                continue
            show_face(axes, np.round(image).astype(np.uint8), corpus.dataset, subject)
            if may_be_shown(corpus.dataset, subject):
                _mark_patches(axes, size)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name, color=MUTED, fontsize=7.5)
    keys = [
        Rectangle((0, 0), 1, 1, fc="none", ec=c, lw=1.6, label=n) for n, (*_, c) in MARKED.items()
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, fontsize=7.5)
    return figure


def _mark_patches(axes: Axes, size: int) -> None:
    side = size / PATCHES
    for row, column, colour in MARKED.values():
        corner = (column * side - 0.5, row * side - 0.5)
        axes.add_patch(Rectangle(corner, side, side, fc="none", ec=colour, lw=1.4))


@styled
def yaw(corpus, store) -> Figure:
    """How far heads are turned, and how much of the face a frontal view then shows. Chapter 02."""
    title = "How far heads are turned"
    frames = store.frames[store.usable]
    if frames.empty:
        return sentence_instead(corpus.dataset, title, NO_FACE)
    figure = new_figure(corpus.dataset, title, 2.8)
    counts, shares = figure.subplots(1, 2)
    reach = max(60.0, float(frames["yaw"].abs().max()) + 5)
    counts.hist(frames["yaw"], bins=np.arange(-90, 91, 5), color=THIS, edgecolor="white", lw=0.5)
    counts.set(xlabel="yaw (degrees; 0 faces the camera)", ylabel="frames", xlim=(-reach, reach))
    counts.grid(axis="y")
    shares.plot(frames["yaw"], 100 * frames["visible_share"], ".", color=THIS, ms=3, alpha=0.4)
    shares.set(xlabel="yaw (degrees)", ylabel="visible part of the face (%)", ylim=(0, 100))
    shares.set_xlim(-reach, reach)
    shares.grid(axis="y")
    for axes in (counts, shares):
        for edge in (-EXTREME_YAW, EXTREME_YAW):
            axes.axvline(edge, color=PAPER, linestyle="--", lw=0.8)
    shares.text(EXTREME_YAW, 98, " extreme", color=MUTED, fontsize=7.5, va="top")
    return figure


@styled
def before_and_after(corpus, store, columns: int = 6) -> Figure:
    """One person over a range of yaw: the frames and their frontal views.

    The subject is `registration_description.turning_person`, the frames lie evenly over their yaw.
    Chapter 02.
    """
    frames = turning_person(store.frames[store.usable])
    title = "One person, turning"
    if frames.empty:
        return sentence_instead(corpus.dataset, title, NO_FACE)
    frames = spread_over_yaw(frames, columns)
    figure = new_figure(corpus.dataset, f"{title}: {frames['subject'].iloc[0]}", 3.0)
    grid = figure.subplots(2, len(frames), squeeze=False)
    for column, (number, frame) in zip(grid.T, frames.iterrows(), strict=True):
        show_frame(column[0], corpus, frame)
        show_face(column[1], store.images[number], corpus.dataset, frame["subject"])
        label(column[0], f"yaw {frame['yaw']:z.0f}°")
        label(column[1], f"{100 * frame['visible_share']:.0f} % visible")
    label_row(grid[0, 0], "frame")
    label_row(grid[1, 0], "frontal view")
    return figure


@styled
def backends(corpus, store, here: dict) -> Figure:
    """The same frames through every backend. Chapter 02.

    The frames are the ends and the middle of `registration_description.turning_person`; `here` is
    `registration_description.backends_here`.
    """
    title = "Backends side by side"
    frames = turning_person(store.frames[store.usable])
    if frames.empty:
        return sentence_instead(corpus.dataset, title, NO_FACE)
    frames = spread_over_yaw(frames, 3)
    order = ("none", "landmarks", "landmarker", "prnet")
    figure = new_figure(corpus.dataset, title, 0.35 + 1.42 * len(frames))
    grid = figure.subplots(len(frames), 1 + len(order), squeeze=False)
    for line, (_, frame) in zip(grid, frames.iterrows(), strict=True):
        show_frame(line[0], corpus, frame)
        label_row(line[0], f"yaw {frame['yaw']:z.0f}°")
    label(grid[0, 0], "frame")
    for column, name in zip(grid[:, 1:].T, order, strict=True):
        label(column[0], name)
        missing = isinstance(here[name], str)
        faces = [None] * len(frames) if missing else find(corpus, frames, here[name])
        for axes, subject, face in zip(column, frames["subject"], faces, strict=True):
            if face and face.view:
                show_face(axes, face.view.image, corpus.dataset, subject)
            else:
                say(axes, face.state if face else "weights\nnot here")
    return figure


def say(axes: Axes, text: str) -> None:
    """In place of a picture, why there is none."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.add_patch(Rectangle((0, 0), 1, 1, fc="#F1F2F4", ec="none"))
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7.5, color=MUTED)


@styled
def own_file(path: str | Path, corpus, subject: str = "", every: int = 1, most: int = 3) -> Figure:
    """A photograph or video file, registered: up to `most` of every `every`-th frame. Chapter 02.

    A file of the corpus is drawn if the corpus's entry lets this subject's face be shown; one from
    elsewhere is the reader's own, and drawn.
    """
    path, dataset = Path(path), corpus.dataset
    if not path.resolve().is_relative_to(corpus.root.resolve()):
        dataset = dataset.model_copy(update=READERS_OWN)
    found = list(islice(register_file(path, every=every), most))
    figure = new_figure(dataset, path.name, 0.3 + 1.8 * len(found))
    for line, (seconds, face) in zip(
        figure.subplots(len(found), 3, squeeze=False), found, strict=True
    ):
        points = face.mesh.vertices[:, :2] if face.view else None
        show_face(line[0], face.picture.image, dataset, subject, points)
        for axes in line[1:]:
            axes.set_axis_off()
        line[2].text(0, 0.5, _measures(seconds, face), color=MUTED, va="center", wrap=True)
        if face.view:
            show_face(line[1], face.view.image, dataset, subject)
            if may_be_shown(dataset, subject):
                line[0].plot(*points.T, ".", color=MESH, markersize=0.7)
    return figure


def _measures(seconds: float, face: Face) -> str:
    if not face.view:
        return face.problem
    view = face.view
    return (
        f"at {seconds:.1f} s\n"
        f"yaw {view.yaw:z.0f}°, pitch {view.pitch:z.0f}°, roll {view.roll:z.0f}°\n"
        f"{100 * view.visible_share:.0f} % of the face visible\n"
        f"presence score {face.mesh.score:.2f}"
    )
