"""A drawn person of no corpus, with action units, pose and light as they are asked for.

The people come from the corpus's generator with another seed, so that no model has been trained on
them. They move with the sliders of chapter 08, and can stand in for a face that may not be shown.
"""

import numpy as np

from synthpain.behaviour import DRAWN
from synthpain.corpus import renderer_of
from synthpain.head import View, landmarks66, project
from synthpain.people import face_vertices

SIDE = 256  # pixels of the picture
PEOPLE, SEED = 25, 1  # the embedded corpus has seed 0


def draw_face(person: int = 0, size: int = SIDE, **state: float) -> np.ndarray:
    """A person of no corpus, RGB uint8 (size, size, 3), without the noise of a camera.

    `state` has action units as `au4` (0 to 5; AU43 and AU45 0 to 1), and fields of
    `synthpain.head.View`; what is left out is at rest. Chapter 08.
    """
    face, view = _posed(size, state)
    return renderer_of(PEOPLE, SEED, person).render(face, view, None)


def landmarks_of(person: int = 0, size: int = SIDE, **state: float) -> np.ndarray:
    """The 66 landmarks, float (66, 2) in pixels, of the face that `draw_face` draws."""
    face, view = _posed(size, state)
    vertices = face_vertices(renderer_of(PEOPLE, SEED, person).person, face)
    return landmarks66(project(vertices, view))


def _posed(size: int, state: dict[str, float]) -> tuple[dict[str, float], View]:
    face = {f"au{au}": state.get(f"au{au}", 0.0) for au in DRAWN}
    view = {name: value for name, value in state.items() if name not in face}
    return face, View(width=size, height=size, **view)


def avatar(units: dict[str, float]) -> np.ndarray:
    """The first person with coded action units, as `draw_face` draws it.

    `units` has intensities under names such as `au4`; NaN is not coded, and what the drawn head
    cannot do (AU27, AU50) is left out. Used by `paincore.data.figures.show_face`.
    """
    known = {f"au{au}" for au in DRAWN}
    return draw_face(**{k: v for k, v in units.items() if k in known and not np.isnan(v)})
