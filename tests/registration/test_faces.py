from dataclasses import replace

import numpy as np
import pytest

from paincore.registration.faces import Picture, RegistrationError, find_faces, read_picture
from synthpain.head import rotation
from tests.registration.conftest import BAD


@pytest.mark.parametrize(
    "content",
    [None, "1 2\n", "nan nan\n" * 66, "5 5\n" * 66, "".join(f"{n} {n}\n" for n in range(66))],
    ids=["absent", "short", "nan", "a point", "a line"],
)
def test_landmarks_that_fit_no_face_are_a_state(small_corpus, content):
    path = small_corpus.root / "odd.txt"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    (row,) = small_corpus.frames.assign(landmarks="odd.txt").iloc[[len(BAD)]].itertuples()
    picture = read_picture(small_corpus.root, row, "landmarks")
    assert picture.state == "bad_landmarks"
    assert "odd.txt" in picture.problem
    assert read_picture(small_corpus.root, row, "landmarker").state == "ok"


def test_a_weak_face_is_a_state_and_an_extreme_yaw_a_flag(landmarker, faces):
    picture = Picture("me.png", faces[0])
    mesh = landmarker.find([picture.image], [None])[0]

    def face(**changes):
        found = replace(mesh, **changes)
        return find_faces([picture], replace(landmarker, find=lambda *_: [found]))[0]

    weak = face(score=0.3)
    assert weak.state == "low_presence" and weak.view is None and "0.300" in weak.problem
    assert weak.measures["score"] == 0.3
    assert face(score=np.nan).state == "low_presence"
    assert not face().measures["extreme_yaw"]
    points = mesh.vertices - mesh.vertices.mean(0)
    turned = points @ rotation(50, 0, 0).T.astype(np.float32) + mesh.vertices.mean(0)
    assert face(vertices=turned).measures["extreme_yaw"]


def test_an_error_of_a_backend_names_the_image(landmarker, faces):
    with pytest.raises(RegistrationError, match=r"landmarker.*two\.png"):
        find_faces([Picture("two.png", faces[0][..., :2])], landmarker)
