"""A small corpus of hard-linked synthetic images, drawn once a session, and its store."""

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from paincore.data.corpus import Corpus
from paincore.manifest import dataset_named
from paincore.registration.backends import Backend, load_backend
from paincore.registration.frame_store import FrameStore
from paincore.registration.store import registered
from synthpain.head import View, landmarks66, project
from synthpain.layout import write_landmarks
from synthpain.people import draw_people, face_vertices
from synthpain.render import Renderer

FRAMES = 300  # five shards

BAD = {
    "grey.png": "ok",
    "sixteen_bit.png": "ok",
    "transparent.png": "ok",
    "two_faces.png": "ok",
    "one_pixel.png": "no_face",
    "huge.png": "no_face",
    "room.png": "no_face",
    "black.png": "black",
    "cut_short.png": "undecodable",
    "text.png": "undecodable",
    "empty.png": "undecodable",
    "gone.png": "unreadable",
}
"""Odd images at the end of the corpus, and the state that registration gives them."""


def as_corpus(root: Path, frames: pd.DataFrame) -> Corpus:
    """Images in `root` with the columns that registration reads."""
    return Corpus(dataset_named("synthetic"), root, frames, (), "small", "", None)


@pytest.fixture(scope="session")
def faces() -> list[np.ndarray]:
    """Two people, RGB (240, 320, 3)."""
    rng = np.random.default_rng(0)
    return [Renderer(p).render({}, View(yaw=10), rng) for p in draw_people(2, 0)]


@pytest.fixture(scope="session")
def landmarker() -> Backend:
    return load_backend("landmarker")


@pytest.fixture(scope="session")
def small_corpus(faces, tmp_path_factory) -> Corpus:
    root = tmp_path_factory.mktemp("corpus")
    write_images(root, faces)
    names = [*BAD]
    for number in range(FRAMES - len(BAD)):
        names.append(f"face{number:03d}.png")
        os.link(root / f"original{number % 2}.png", root / names[-1])
    person = face_vertices(draw_people(1, 0)[0], {})
    (root / "marks.txt").write_text(write_landmarks(landmarks66(project(person, View(yaw=10)))))
    frames = pd.DataFrame({"image": names, "landmarks": "marks.txt", "state": "ok", "problem": ""})
    frames.insert(0, "frame", range(1, FRAMES + 1))
    frames.loc[FRAMES - 1, ["image", "state", "problem"]] = [None, "missing_image", "no image"]
    return as_corpus(root, frames)


def write_images(root: Path, faces: list[np.ndarray]) -> None:
    bgr = [np.ascontiguousarray(face[..., ::-1]) for face in faces]
    grey = cv2.cvtColor(bgr[0], cv2.COLOR_BGR2GRAY)
    images = {
        "original0.png": bgr[0],
        "original1.png": bgr[1],
        "grey.png": grey,
        "sixteen_bit.png": grey.astype(np.uint16) * 257,
        "transparent.png": cv2.cvtColor(bgr[0], cv2.COLOR_BGR2BGRA),
        "two_faces.png": np.hstack([cv2.resize(bgr[1], None, fx=0.7, fy=0.7)[:168], bgr[0][:168]]),
        "one_pixel.png": grey[:1, :1],
        "huge.png": np.full((6000, 8000), 90, np.uint8),
        "room.png": cv2.GaussianBlur(grey, (0, 0), 40),
        "black.png": grey // 25,
    }
    for name, image in images.items():
        assert cv2.imwrite(str(root / name), image)
    whole = (root / "original0.png").read_bytes()
    (root / "cut_short.png").write_bytes(whole[: len(whole) // 2] + whole[-12:])
    (root / "text.png").write_text("not an image")
    (root / "empty.png").touch()


@pytest.fixture(scope="session")
def small_store(small_corpus, tmp_path_factory) -> FrameStore:
    """The corpus registered in one go by two local workers."""
    return registered(small_corpus, results=tmp_path_factory.mktemp("whole"), size=64, workers=2)
