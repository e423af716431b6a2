"""Any frame of the corpus, or of the reader's own image or video, as registration sees it.

Chapter 08.
"""

import contextlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import ipywidgets
from matplotlib.figure import Figure

from paincore import PaincoreError
from paincore.data.corpus import Corpus
from paincore.explore.explorer import Explorer, played, remembered, sequence_choice, slider
from paincore.registration.backends import TAKE_LANDMARKS, Backend
from paincore.registration.faces import Face, Picture, find_faces, read_picture
from paincore.registration.figures import READERS_OWN, draw_mesh, label, say
from paincore.registration.video import sampled
from paincore.style import may_be_shown, new_figure, show_face, styled


class NoFrameError(PaincoreError):
    """A frame that there is not."""


def register_with(picture: Picture, backends: Mapping[str, Backend]) -> dict[str, Face]:
    """What each backend finds in one picture, by its name."""
    return {name: find_faces([picture], backend)[0] for name, backend in backends.items()}


@styled
def registration_figure(
    dataset, subject: str, faces: Mapping[str, Face], backends: Mapping[str, Backend]
) -> Figure:
    """A frame with its mesh, what of the face is visible, and the view of each backend.

    `faces` come from `register_with` with the same `backends`. Chapter 08.
    """
    first = next(iter(faces.values()))
    figure = new_figure(dataset, first.picture.name, 2.3)
    panels = figure.subplots(1, 2 + len(faces))
    if first.picture.image is None:
        say(panels[0], first.state)
    else:
        show_face(panels[0], first.picture.image, dataset, subject)
    meshed = [name for name, face in faces.items() if face.view and name != "none"]
    if meshed and may_be_shown(dataset, subject):
        name = meshed[0]
        draw_mesh(panels[0], faces[name].mesh, backends[name].topology.triangles)
    label(panels[0], "frame and mesh" if meshed else "frame")
    panels[1].set_axis_off()
    if meshed:
        panels[1].imshow(faces[meshed[0]].view.visible, cmap="Greys_r", vmin=-0.5, vmax=1)
    label(panels[1], "visible")
    for axes, (name, face) in zip(panels[2:], faces.items(), strict=True):
        if face.view is None:
            say(axes, face.state)
        else:
            show_face(axes, face.view.image, dataset, subject)
        label(axes, name)
    return figure


def explore_registration(
    corpus: Corpus, backends: Mapping[str, Backend | str], path: str | Path | None = None
) -> Explorer:
    """Walk through the frames of a sequence, or of a file of one's own, and see them registered.

    `backends` is `backends_here`; those that cannot run are left out, and
    named. `path` is an image or video to begin with. Chapter 08.
    """
    ready = {name: each for name, each in backends.items() if not isinstance(each, str)}
    missing = sorted(set(backends) - set(ready))
    subject, sequence = sequence_choice(corpus.frames)
    number = slider("frame", 0, 1, 1, 0, continuous_update=True)
    own = ipywidgets.Text(
        str(path or ""), description="own file", placeholder="path of an image or video",
        continuous_update=False, style={"description_width": "8.5em"}, layout={"width": "28em"},
    )  # fmt: skip

    def fit(change=None) -> None:
        with contextlib.suppress(PaincoreError):  # the explorer says it
            *_, pictures = _pictures(corpus, subject.value, sequence.value, own.value)
            number.max = len(pictures) - 1

    @remembered
    def found(subject: str, sequence: str, frame: int, file: str):
        dataset, whose, pictures = _pictures(corpus, subject, sequence, file)
        picture = pictures[min(frame, len(pictures) - 1)]
        if not isinstance(picture, Picture):
            picture = read_picture(corpus.root, picture, next(iter(TAKE_LANDMARKS)))
        able = {n: b for n, b in ready.items() if n != "landmarks" or picture.landmarks is not None}
        if not able:
            raise NoFrameError(f"{picture.name}: no backend that is here can register it.")
        return dataset, whose, register_with(picture, able), able

    def say_it(subject: str, sequence: str, frame: int, file: str) -> str:
        faces = found(subject, sequence, frame, file)[2]
        lacking = f" Not here: {', '.join(missing)}." if missing else ""
        return " ".join(map(_sentence, faces.items())) + lacking

    def draw(subject: str, sequence: str, frame: int, file: str) -> Figure:
        return registration_figure(*found(subject, sequence, frame, file))

    fit()
    sequence.observe(fit, "value")
    own.observe(fit, "value")
    controls = {"subject": subject, "sequence": sequence, "frame": number, "file": own}
    lines = [ipywidgets.HBox([subject, sequence]), played(number), own]
    return Explorer(controls, draw, say_it, arranged=ipywidgets.VBox(lines))


def _sentence(item: tuple[str, Face]) -> str:
    name, face = item
    if face.view is None:
        return f"{name}: {face.problem}."
    view = face.view
    return (
        f"{name}: yaw {round(view.yaw)}, pitch {round(view.pitch)}, roll {round(view.roll)} "
        f"degrees, {100 * view.visible_share:.0f} % visible."
    )


def _pictures(corpus: Corpus, subject: str, sequence: str, file: str):
    """The entry and the person whose faces they are, and the frames of the sequence (rows) or file
    (pictures); whose face a file shows is not known."""
    if file:
        path = Path(file).expanduser()
        inside = path.resolve().is_relative_to(corpus.root.resolve())
        dataset = corpus.dataset if inside else corpus.dataset.model_copy(update=READERS_OWN)
        return dataset, "", _film(str(path))
    own = (corpus.frames["subject"] == subject) & (corpus.frames["sequence"] == sequence)
    frames = corpus.frames[own]
    if frames.empty:
        raise NoFrameError(f"{subject} has no sequence {sequence}: choose one of the list.")
    return corpus.dataset, subject, list(frames.itertuples())


@lru_cache(maxsize=1)
def _film(path: str) -> list[Picture]:
    return [
        Picture(f"{Path(path).name}, {seconds:.2f} s", image) for seconds, image in sampled(path)
    ]
