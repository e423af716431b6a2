"""A synthetic face that redraws while its sliders move: action units, person, pose and light.

Chapter 08.
"""

from functools import lru_cache

import cv2
import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from paincore.attention.explained import Explained, probabilities
from paincore.attention.interventions import shrunk
from paincore.data import facs
from paincore.data.facs import LID_AUS, PSPI_AUS
from paincore.explore.explorer import Explorer, slider
from paincore.manifest import dataset_named
from paincore.registration.backends import TAKE_LANDMARKS, Backend, load_backend
from paincore.registration.faces import Face, Picture, find_faces
from paincore.style import MUTED, new_figure, show_face, styled
from synthpain.avatar import PEOPLE, SIDE, draw_face, landmarks_of
from synthpain.behaviour import DRAWN, HALF_CLOSED
from synthpain.head import View

POSE = {"yaw": 60, "pitch": 40, "roll": 30}  # degrees, to both sides
LIGHT = {"light_yaw": 80, "light_pitch": 80}
NOTHING = np.full((SIDE, SIDE, 3), 241, np.uint8)


def coded(**state: float) -> dict[str, int]:
    """What a coder would write down of the action units of PSPI: whole intensities, lids shut or
    not."""
    return {
        f"au{au}": int(state[f"au{au}"] >= HALF_CLOSED)
        if au in LID_AUS
        else int(np.round(state[f"au{au}"]))
        for au in PSPI_AUS
    }


@lru_cache(maxsize=16)
def register_face(backend: str, size: int, **state: float) -> Face:
    """The face of a state as `backend` registers it, its view `size` pixels square.

    A backend that looks at landmarks gets those of the drawn face, as a corpus has them. Raises
    AssetError or CheckpointError where the backend's files are missing.
    """
    landmarks = landmarks_of(**state) if backend in TAKE_LANDMARKS else None
    picture = Picture("the face of the sliders", draw_face(**state), landmarks)
    (face,) = find_faces([picture], _backend(backend), size)
    return face


def registered_for(explained: Explained | None, state: dict[str, float]) -> Face:
    """The face of a state as the model's training data were registered; without a model, as the
    landmarker does."""
    if explained is None:
        return register_face("landmarker", SIDE, **state)
    meta = explained.store.meta
    return register_face(meta["backend"], meta["size"], **state)


def pain_probability(explained: Explained, view: np.ndarray) -> float:
    """What a model says to one registered view (S, S, 3); ViViT gets it four times."""
    small = shrunk(view, explained.model.image_size)
    frames = np.stack([small] * explained.model.frames)[None]
    return float(probabilities(explained.model, frames)[0])


@lru_cache
def _backend(name: str) -> Backend:
    return load_backend(name)


def explore_face(explained: Explained | None = None) -> Explorer:
    """Sliders for a synthetic face, its registered view beside it and, with a model, the
    probability of pain. Chapter 08."""

    def say(**state) -> str:
        face = registered_for(explained, state)
        return " ".join([_pspi_sentence(state), _prediction_sentence(face, explained)])

    def draw(**state) -> np.ndarray:
        face = registered_for(explained, state)
        view = NOTHING if face.view is None else cv2.resize(face.view.image, (SIDE, SIDE))
        return np.hstack([face.picture.image, np.full((SIDE, 12, 3), 255, np.uint8), view])

    controls = _controls()
    return Explorer(controls, draw, say, lambda: still(explained), _arranged(controls))


def _pspi_sentence(state: dict) -> str:
    units = coded(**state)
    value = int(facs.pspi(**units))
    return (
        f"PSPI {value} = AU4 {units['au4']} + the larger of AU6 {units['au6']} and AU7 "
        f"{units['au7']} + the larger of AU9 {units['au9']} and AU10 {units['au10']} + AU43 "
        f"{units['au43']}."
    )


def _prediction_sentence(face: Face, explained: Explained | None) -> str:
    if face.view is None:
        return f"No registered view: {face.problem}."
    pose = f"Registered from a yaw of {face.view.yaw:z.0f} degrees."
    if explained is None:
        return f"{pose} There is no trained model to ask."
    probability = pain_probability(explained, face.view.image)
    fold = explained.run.predictions["fold"].iloc[0]
    return f"{pose} The model of fold {fold} gives pain a probability of {probability:.2f}."


def _controls() -> dict[str, ipywidgets.ValueWidget]:
    controls = {
        f"au{au}": slider(f"AU{au}", 0, 1.0 if au in LID_AUS else 5.0, 0.1, 0.0) for au in DRAWN
    }
    controls["person"] = slider("person", 0, PEOPLE - 1, 1, 0)
    for name, most in POSE.items():
        controls[name] = slider(f"{name}, degrees", -most, most, 1, 0)
    defaults = View()
    for name, most in LIGHT.items():
        words = name.replace("light_", "light's ")
        controls[name] = slider(words, -most, most, 1, round(getattr(defaults, name)))
    controls["light_strength"] = slider("light, directed", 0.0, 1.0, 0.05, defaults.light_strength)
    return controls


def _arranged(controls: dict[str, ipywidgets.ValueWidget]) -> ipywidgets.Widget:
    """PSPI's action units first, then the others, then everything that is not expression."""
    of_pspi = [f"au{au}" for au in PSPI_AUS]
    others = [name for name in controls if name.startswith("au") and name not in of_pspi]
    rest = [name for name in controls if not name.startswith("au")]
    titles = {"of PSPI": of_pspi, "other action units": others, "person, pose, light": rest}
    columns = [
        ipywidgets.VBox([ipywidgets.HTML(f"<b>{title}</b>"), *(controls[n] for n in names)])
        for title, names in titles.items()
    ]
    return ipywidgets.Box(columns, layout={"flex_flow": "row wrap"})


@styled
def still(explained: Explained | None = None) -> Figure:
    """One person at rest and with each of PSPI's action units, as the sliders draw them.

    With a model, what it says to each.
    """
    figure = new_figure(dataset_named("synthetic"), "A face of no corpus", 4.1)
    states = {"at rest": {}} | {
        f"AU{au}": {f"au{au}": 1.0 if au in LID_AUS else 4.0} for au in PSPI_AUS
    }
    row = list(figure.subplots(2, 4).flat)
    for axes in row:
        axes.set_axis_off()
    for axes, (name, state) in zip(row, states.items(), strict=False):
        picture = draw_face(**state)
        show_face(axes, picture, dataset_named("synthetic"), "")
        view = registered_for(explained, state).view if explained else None
        said = f": {pain_probability(explained, view.image):.2f}" if view else ""
        axes.set_title(name + said, color=MUTED, fontsize=8)
    return figure
