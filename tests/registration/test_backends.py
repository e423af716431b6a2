import numpy as np
import pytest

from paincore import PaincoreError
from paincore.data.corpus import open_corpus
from paincore.registration import registered
from paincore.registration.backends import BackendError, load_backend
from paincore.registration.framestore import reserve_images, write_store
from paincore.registration.pipeline import fingerprint, read_by
from paincore.registration.prnet import FACE_VERTEX_COUNT
from tests.registration.test_prnet import released_size  # noqa: F401 (a fixture)


def test_prnet_looks_around_landmarks_or_else_around_the_detected_face(
    faces,
    released_size,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setattr("paincore.registration.backends.ASSETS", released_size)
    with pytest.raises(BackendError, match=r"SHA-256.*face_ind\.txt"):
        load_backend("prnet")  # drawn weights, and another face
    monkeypatch.setattr("paincore.registration.backends.check_prnet", lambda index: None)
    backend = load_backend("prnet")
    room = np.full_like(faces[0], 90)
    marks = np.array([[10.0, 20], [60, 20], [60, 70], [10, 70]])
    images, landmarks = [room, faces[0], room, faces[1]], [None, None, marks, marks]
    meshes = backend.find(images, landmarks)
    assert [mesh is not None for mesh in meshes] == [False, True, True, True]
    assert meshes[1].vertices.shape == (FACE_VERTEX_COUNT, 3)
    (alone,) = backend.find([faces[0]], [None])
    assert np.allclose(alone.vertices, meshes[1].vertices, atol=1e-2)
    assert not np.allclose(meshes[1].vertices.mean(0), meshes[3].vertices.mean(0), atol=5)
    assert backend.find([room], [None]) == [None]


def test_the_paper_profile_stops_for_want_of_weights_and_says_what_to_do(
    miniature, tmp_path, monkeypatch
):
    monkeypatch.setattr("paincore.registration.backends.ASSETS", tmp_path)
    corpus = open_corpus("unbc", miniature.root, results=tmp_path / "index")
    with pytest.raises(PaincoreError, match="PRNet"):
        registered(corpus, profile="paper", results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_whole_prnet_store_is_opened_without_prnet_s_weights(miniature, tmp_path, monkeypatch):
    monkeypatch.setattr("paincore.registration.backends.ASSETS", tmp_path)
    corpus = open_corpus("unbc", miniature.root, results=tmp_path)
    key = fingerprint(read_by(corpus, "prnet"), "prnet", 16)
    folder = tmp_path / "stores" / f"unbc-prnet-{key[:12]}"
    folder.mkdir(parents=True)
    reserve_images(folder, len(corpus.frames), 16)
    write_store(folder, corpus.frames, {"size": 16, "backend": "prnet", "fingerprint": key})
    assert registered(corpus, "prnet", tmp_path, size=16).folder == folder


def test_an_unknown_backend_is_refused_with_the_known_ones():
    with pytest.raises(PaincoreError, match=r"'mediapipe'.*landmarker, prnet, landmarks, none"):
        load_backend("mediapipe")
