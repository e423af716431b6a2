"""Frames of a corpus that is there, rendered again with something changed and all else as it was.

A frame is rendered from its row of the truth, with action units (AUs) at the person's resting face
or with the head turned, and with the camera's noise of that frame: the same face, on the same day,
that does not do this. Without a change the image is the corpus's own, to the byte.
"""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from synthpain.behaviour import DRAWN, drawn
from synthpain.corpus import VIEW, Settings, renderer_of, temperaments
from synthpain.head import View, landmarks66, project
from synthpain.people import face_vertices
from synthpain.plan import plan_sequences
from synthpain.render import develop
from synthpain.temperament import generator

DARKNESS = np.zeros((1, 1, 3), np.float32)


class Change(NamedTuple):
    """What is changed: AUs that are put to rest, and degrees by which the head turns to the
    image's right and bows, as `Dials.pain_pose` has it. Without either, nothing is."""

    removed: tuple[int, ...] = ()
    turn: float = 0.0


def rendered_again(
    truth: pd.DataFrame, settings: Settings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The image uint8 (H, W, 3) and landmarks (66, 2), in pixels, of each row, in order.

    `truth` has rows of the corpus's truth, of one person and sorted by sequence and frame, with a
    `Change` each in the column `change`; a frame may stand in several rows.
    """
    planned = plan_sequences(settings.frames, settings.subjects, settings.seed)
    sequences = {sequence.name: sequence for sequence in planned}
    person = sequences[truth["sequence"].iloc[0]].subject
    renderer = renderer_of(settings.subjects, settings.seed, person)
    for name, frames in _changed(truth, settings, person).groupby("sequence", sort=False):
        camera, taken = generator(settings.seed, "camera", person, sequences[name].number), 0
        for frame in frames.to_dict("records"):
            for _ in range(frame["frame"] - 1 - taken):
                develop(DARKNESS, camera)  # noise comes frame after frame: that of those between
            taken = frame["frame"] - 1
            pose = {part: frame[part] for part in VIEW}
            view = View(**pose, width=settings.width, height=settings.height)
            image = renderer.render(frame, view, copy.deepcopy(camera))
            yield image, landmarks66(project(face_vertices(renderer.person, frame), view))


def _changed(truth: pd.DataFrame, settings: Settings, person: int) -> pd.DataFrame:
    """Rows as they are to be rendered: the truth changed, on top of the person's face at rest."""
    turned = np.array([change.turn for change in truth["change"]])
    truth = truth.assign(yaw=truth["yaw"] + turned, pitch=truth["pitch"] - turned)
    for au in DRAWN:
        acts = [au not in change.removed for change in truth["change"]]
        truth[f"au{au}"] = truth[f"au{au}"].where(acts, 0)
    face = drawn(truth, temperaments(settings.subjects, settings.seed)[person].rest)
    truth[face.columns] = face
    return truth
