from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from paincore.explore import players
from paincore.manifest import dataset_named
from paincore.registration import accuracy
from paincore.registration import figures as registration_figures
from paincore.registration.backends import load_backend
from paincore.registration.tables import backends_here, rising_clip, turning_person
from tests.data.test_figures import is_sentence, texts


@pytest.fixture(scope="module")
def figures_of(drawn_store):
    """Every figure of registered faces, of a corpus and a store."""
    backend, here = load_backend("landmarker"), backends_here()

    def draw(corpus, store=drawn_store) -> dict:
        sample = accuracy.inspect(corpus, store, backend, most=3)
        return {
            "steps": registration_figures.steps(corpus, store, backend),
            "clip": registration_figures.clip(corpus, store),
            "patches": registration_figures.same_patches(corpus, store, backend, sample),
            "yaw": registration_figures.yaw(corpus, store),
            "before": registration_figures.before_and_after(corpus, store),
            "backends": registration_figures.backends(corpus, store, here),
        }

    return draw


@pytest.fixture
def films(drawn_corpus):
    """The same corpus as one whose faces may not be shown."""
    return replace(drawn_corpus, dataset=dataset_named("unbc"), truth=None)


def pictures(figure) -> list[np.ndarray]:
    return [image.get_array() for axes in figure.axes for image in axes.images]


def test_figures_of_a_synthetic_corpus_say_so_and_show_faces(figures_of, drawn_corpus):
    for name, figure in figures_of(drawn_corpus).items():
        assert "synthetic corpus" in texts(figure), name
        assert bool(pictures(figure)) is (name != "yaw"), name


def test_of_a_face_that_may_not_be_shown_neither_picture_nor_mesh_is_drawn(figures_of, films):
    for name, figure in figures_of(films).items():
        assert "synthetic corpus" not in texts(figure), name
        assert pictures(figure) == [], name
        if name != "yaw":
            assert not any(axes.lines or axes.collections for axes in figure.axes), name


def test_without_a_registered_frame_a_sentence_stands_in_each_place(
    figures_of, drawn_corpus, drawn_store
):
    store = replace(drawn_store, frames=drawn_store.frames.assign(state="no_face"))
    for name, figure in figures_of(drawn_corpus, store).items():
        assert is_sentence(figure), name
        assert "in this corpus" in texts(figure), name


def test_the_grid_holds_the_four_views_the_first_at_the_top_left(drawn_corpus, drawn_store):
    views = drawn_store.images[rising_clip(drawn_store.frames[drawn_store.usable]).index]
    grid = pictures(registration_figures.clip(drawn_corpus, drawn_store))[-1]
    assert (grid[:224, :224] == views[0]).all()
    assert (grid[:224, 224:] == views[1]).all()
    assert (grid[224:, 224:] == views[3]).all()


def test_a_backend_that_is_not_here_leaves_its_places_empty(figures_of, drawn_corpus, drawn_store):
    here = backends_here() | {"prnet": "no weights"}
    figure = registration_figures.backends(drawn_corpus, drawn_store, here)
    assert texts(figure).count("weights\nnot here") == 3
    assert len(pictures(figure)) == 3 * 4


def test_a_file_of_ones_own_is_drawn_with_what_was_found(drawn_corpus):
    frame = drawn_corpus.frames.query("state == 'ok'").iloc[-1]
    path = drawn_corpus.root / frame["image"]
    figure = registration_figures.own_file(path, drawn_corpus, frame["subject"])
    assert len(pictures(figure)) == 2
    assert "of the face visible" in texts(figure)


def test_a_file_of_the_corpus_is_shown_by_its_rules_and_one_from_elsewhere_is_the_readers(
    films, tmp_path: Path
):
    frame = films.frames.query("state == 'ok'").iloc[-1]
    licensed = films.root / frame["image"]
    assert pictures(registration_figures.own_file(licensed, films, frame["subject"])) == []
    own = tmp_path / "me.png"
    own.write_bytes(licensed.read_bytes())
    assert len(pictures(registration_figures.own_file(own, films))) == 2


def test_a_file_without_a_face_says_so(drawn_corpus, tmp_path: Path):
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((90, 120, 3), 128, np.uint8))
    figure = registration_figures.own_file(path, drawn_corpus)
    assert "no face found" in texts(figure)
    assert "synthetic corpus" not in texts(figure)


def test_the_head_to_turn_has_a_picture_for_each_frame_up_to_what_a_page_can_carry(
    drawn_corpus, drawn_store
):
    frames = turning_person(drawn_store.frames[drawn_store.usable])
    _, stack = players.turn_head(drawn_corpus, drawn_store, frames).children
    assert len(stack.children) == len(frames)
    _, stack = players.turn_head(drawn_corpus, drawn_store, frames, most=3).children
    assert len(stack.children) == 3
