"""A synthetic face that follows its sliders: action units, person, pose and light."""

import cv2
import numpy as np
from matplotlib.figure import Figure

from paincore.attention.explained import Explained, probabilities
from paincore.attention.interventions import backend_named, shrunk
from paincore.data import facs
from paincore.data.facs import LID_AUS, PSPI_AUS
from paincore.explore.explorer import Explorer, Shown, slider
from paincore.manifest import dataset_named
from paincore.registration.backends import TAKE_LANDMARKS
from paincore.registration.faces import Face, Picture, find_faces
from paincore.style import MUTED, new_figure, show_face, styled
from synthpain.avatar import PEOPLE, SIDE, draw_face, landmarks_of
from synthpain.behaviour import DRAWN
from synthpain.head import View

# Degrees to both sides.
SLIDER_ANGLES = {"yaw": 60, "pitch": 40, "roll": 30, "light_yaw": 80, "light_pitch": 80}
FORMULA = "AU4 {au4} + max(AU6 {au6}, AU7 {au7}) + max(AU9 {au9}, AU10 {au10}) + AU43 {au43}"
NO_VIEW = np.full((SIDE, SIDE, 3), 241, np.uint8)


def register_face(explained: Explained, state: dict[str, float]) -> Face:
    """The face of a state, registered as the model's training data were.

    A backend that looks at landmarks gets those of the rendered face, as a corpus has them. Raises
    AssetError or CheckpointError where the backend's files are missing.
    """
    meta = explained.store.meta
    landmarks = landmarks_of(**state) if meta["backend"] in TAKE_LANDMARKS else None
    image = Picture("the face of the sliders", draw_face(**state), landmarks)
    return find_faces([image], backend_named(meta["backend"]), meta["size"])[0]


def pain_probability(explained: Explained, view: np.ndarray) -> float:
    """The model's probability of pain for one registered view (S, S, 3), which ViViT gets four
    times."""
    frames = [shrunk(view, explained.model.image_size)] * explained.model.frames
    return float(probabilities(explained.model, np.stack(frames)[None])[0])


def explore_face(explained: Explained) -> Explorer:
    """Sliders for a synthetic face; beside it its registered view, below it PSPI and the model's
    probability of pain."""

    def show(**state: float) -> Shown:
        face = register_face(explained, state)
        units = {f"au{au}": round(state[f"au{au}"]) for au in PSPI_AUS}  # as a coder writes them
        text = f"PSPI {facs.pspi(**units):.0f} = {FORMULA.format(**units)}; "
        if face.view is None:
            view, text = NO_VIEW, text + face.problem
        else:
            view = cv2.resize(face.view.image, (SIDE, SIDE))
            text += f"probability of pain {pain_probability(explained, face.view.image):.2f}"
        return Shown(text, lambda: np.hstack([face.picture.image, view]))

    units = [*PSPI_AUS, *(au for au in DRAWN if au not in PSPI_AUS)]
    controls = {f"au{au}": slider(f"AU{au}", 0, 1 if au in LID_AUS else 5, 0.1, 0) for au in units}
    controls["person"] = slider("person", 0, PEOPLE - 1, 1, 0)
    for name, most in SLIDER_ANGLES.items():
        label = name.replace("_", " ") + ", degrees"
        controls[name] = slider(label, -most, most, 1, round(getattr(View(), name)))
    controls["light_strength"] = slider("light strength", 0, 1, 0.05, View().light_strength)
    return Explorer(controls, show)


@styled
def units_figure(explained: Explained) -> Figure:
    """One person at rest and with each of PSPI's action units, with the model's probability of
    pain."""
    dataset = dataset_named("synthetic")
    figure = new_figure(dataset, "A face of no corpus", 4.1)
    states = {"at rest": {}}
    states |= {f"AU{au}": {f"au{au}": 1.0 if au in LID_AUS else 4.0} for au in PSPI_AUS}
    for place, (name, state) in enumerate(states.items(), start=1):
        axes, face = figure.add_subplot(2, 4, place), register_face(explained, state)
        show_face(axes, face.picture.image, dataset, "")
        score = f": {pain_probability(explained, face.view.image):.2f}" if face.view else ""
        axes.set_title(name + score, color=MUTED, fontsize=8)
    return figure
