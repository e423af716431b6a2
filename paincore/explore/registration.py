"""Any frame of the corpus, as every backend registers it."""

from functools import partial

import numpy as np

from paincore.data.corpus import Corpus
from paincore.explore.explorer import Explorer, Shown, sequence_controls
from paincore.registration.backends import TAKE_LANDMARKS, Backend
from paincore.registration.faces import Face, Picture, find_faces, read_picture
from paincore.registration.figures import draw_mesh, show
from paincore.style import may_be_shown, new_figure, styled


@styled
def registration_figure(corpus, subject: str, image: Picture, faces: dict, here: dict):
    """An image with its mesh, what of the face is visible, and the view of each backend.

    `faces` are what each backend finds in the image, or why it cannot look, by its name; `here` are
    the backends.
    """
    figure = new_figure(corpus.dataset, image.name, 2.3)
    panels = figure.subplots(1, 2 + len(faces))
    views = {name: face.view for name, face in faces.items() if getattr(face, "view", None)}
    shown = {"image, mesh": image.state if image.image is None else image.image}
    shown["visible part"] = "no_face"
    for name in [name for name in views if name != "none"][:1]:
        shown["visible part"] = np.tile(255 * np.uint8(views[name].visible)[..., None], 3)
        if may_be_shown(corpus.dataset, subject):
            draw_mesh(panels[0], faces[name].mesh, here[name].topology.triangles)
    for name, face in faces.items():
        shown[name] = views[name].image if name in views else getattr(face, "state", "not here")
    for axes, (name, one) in zip(panels, shown.items(), strict=True):
        show(axes, corpus, subject, one, name)
    return figure


def explore_registration(corpus: Corpus, backends: dict[str, Backend | str]) -> Explorer:
    """Walk through the frames of a sequence, and see them registered.

    `backends` has each backend, or the reason why it cannot run, by name.
    """

    def show(subject: str, sequence: str, place: int) -> Shown:
        frames = corpus.frames[corpus.frames["sequence"] == sequence]
        row = frames.iloc[min(place, len(frames) - 1)]
        image = read_picture(corpus.root, row, TAKE_LANDMARKS[0])
        here = backends | ({} if image.landmarks is not None else {"landmarks": "no landmarks"})
        faces = {
            name: one if isinstance(one, str) else find_faces([image], one)[0]
            for name, one in here.items()
        }
        text = "; ".join(f"{name}: {pose_text(face)}" for name, face in faces.items())
        figure = partial(registration_figure, corpus, subject, image, faces, here)
        return Shown(text, figure, len(frames))

    return Explorer(sequence_controls(corpus.frames), show)


def pose_text(face: Face | str) -> str:
    """Pose and visibility of a registered face, or in short why there is none."""
    if isinstance(face, str) or face.view is None:
        return face.partition(". ")[0] if isinstance(face, str) else face.problem
    pose = f"yaw {face.view.yaw:z.0f}°, pitch {face.view.pitch:z.0f}°, roll {face.view.roll:z.0f}°"
    return f"{pose}, {100 * face.view.visible_share:.0f} % visible"
