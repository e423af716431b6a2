from dataclasses import replace

import pandas as pd
import pytest

from paincore.manifest import dataset_named
from paincore.registration import accuracy, accuracy_figures
from paincore.registration.backends import load_backend
from tests.data.test_figures import is_sentence, texts


@pytest.fixture
def films(drawn_corpus):
    return replace(drawn_corpus, dataset=dataset_named("unbc"), truth=None)


@pytest.fixture(scope="module")
def sample(drawn_corpus, drawn_store) -> accuracy.Sample:
    return accuracy.inspect(drawn_corpus, drawn_store, load_backend("landmarker"), most=4)


def test_drawn_heads_are_shown_at_each_angle_also_where_no_face_was_found(drawn_corpus):
    heads = accuracy.turned_heads(load_backend("landmarker"), people=1, turns=(0, 85))
    figure = accuracy_figures.same_expression(drawn_corpus, heads)
    assert sum(len(axes.images) for axes in figure.axes) == 4
    assert texts(figure).count("no face\nfound") == 2


def test_where_nobody_can_be_asked_to_turn_a_sentence_says_so(films):
    for draw in (accuracy_figures.same_expression, accuracy_figures.turning_accuracy):
        figure = draw(films, None)
        assert is_sentence(figure)
        assert "Only a synthetic corpus" in texts(figure)


def test_axes_say_what_they_measure(drawn_corpus, drawn_store, sample):
    row = {"yaw": 30, "inner": 2.0, "yaw_error": 1.0, "view": 5.0, "crop_face": 9.0, "crop": 15.0}
    turned = accuracy_figures.turning_accuracy(drawn_corpus, pd.DataFrame([row]))
    errors = accuracy_figures.corpus_accuracy(drawn_corpus, drawn_store, sample)
    assert all(axes.get_ylabel() for figure in (turned, errors) for axes in figure.axes)


def test_landmarks_of_films_are_compared_and_their_pose_is_not(films, drawn_store, sample):
    figure = accuracy_figures.corpus_accuracy(films, drawn_store, sample)
    assert figure.axes[0].get_ylabel().startswith("landmark error")
    assert "is not known" in texts(figure)


def test_without_landmarks_a_sentence_stands_in_place_of_their_errors(
    drawn_corpus, drawn_store, sample
):
    empty = replace(sample, errors=sample.errors[:0])
    figure = accuracy_figures.corpus_accuracy(drawn_corpus, drawn_store, empty)
    assert is_sentence(figure)
    assert "No registered frame has landmarks" in texts(figure)
