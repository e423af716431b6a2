from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from paincore.manifest import dataset_named
from paincore.registration import accuracy, figures
from paincore.registration.frame_store import StoreError
from tests.helpers.drawn import assert_drawn_for, is_sentence, texts


def sample(corpus, store, backend):
    return accuracy.inspect(corpus, store, backend, most=3)


def heads(corpus, backend):
    return accuracy.turned_heads(backend, 1, (0, 85)) if corpus.dataset.synthetic else None


HERE = {"prnet": "no weights"}
FIGURES = {
    "steps": figures.steps,
    "clip": lambda c, s, b: figures.clip(c, s),
    "same_patches": lambda c, s, b: figures.same_patches(c, s, b, sample(c, s, b)),
    "yaw": lambda c, s, b: figures.yaw(c, s),
    "before_and_after": lambda c, s, b: figures.before_and_after(c, s),
    "backends": lambda c, s, b: figures.before_and_after(c, s, HERE | {"landmarker": b}),
    "same_expression": lambda c, s, b: figures.same_expression(c, heads(c, b)),
    "corpus_accuracy": lambda c, s, b: figures.corpus_accuracy(c, s, sample(c, s, b)),
}
FACELESS = ("yaw", "corpus_accuracy")


@pytest.fixture
def films(drawn_corpus):
    """The same corpus as one whose faces may not be shown."""
    return replace(drawn_corpus, dataset=dataset_named("unbc"), truth=None)


def images(figure) -> list[np.ndarray]:
    return [image.get_array() for axes in figure.axes for image in axes.images]


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_shows_faces_of_a_free_corpus_alone_and_words_where_there_are_none(
    name, drawn_corpus, films, drawn_store, landmarker
):
    draw = FIGURES[name]
    free = draw(drawn_corpus, drawn_store, landmarker)
    assert bool(images(free)) is (name not in FACELESS)
    assert_drawn_for(drawn_corpus, free)
    closed = draw(films, drawn_store, landmarker)
    assert_drawn_for(films, closed)
    assert images(closed) == []
    if name not in FACELESS:
        assert not any(axes.lines or axes.collections for axes in closed.axes)
    nobody = replace(drawn_store, frames=drawn_store.frames.assign(state="no_face"))
    if name != "same_expression":
        with pytest.raises(StoreError, match="holds no face"):
            draw(drawn_corpus, nobody, landmarker)


def test_the_grid_holds_the_four_views_the_first_at_the_top_left(drawn_corpus, drawn_store):
    views = drawn_store.images[figures.rising_clip(drawn_store.frames[drawn_store.usable]).index]
    grid = max(images(figures.clip(drawn_corpus, drawn_store)), key=len)
    for view, (row, column) in zip(views, np.ndindex(2, 2), strict=True):
        assert (grid[224 * row :, 224 * column :][:224, :224] == view).all()


def test_a_face_that_is_not_found_leaves_its_place_empty(drawn_corpus, drawn_store, landmarker):
    blind = replace(landmarker, find=lambda images, landmarks: [None] * len(images))
    here = HERE | {"landmarker": blind}
    figure = figures.before_and_after(drawn_corpus, drawn_store, here, columns=3)
    assert texts(figure).count("weights\nnot here") == texts(figure).count("no\nface") == 3
    assert len(images(figure)) == 3
    assert is_sentence(figures.steps(drawn_corpus, drawn_store, blind))
    sample = accuracy.inspect(drawn_corpus, drawn_store, blind)
    assert sample.count == 0 and not sample.mean_view.any()
    assert "no\nface" in texts(figures.same_patches(drawn_corpus, drawn_store, blind, sample))


# Which frames are shown


def frames(**columns) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    return table.assign(sequence=table.get("sequence", "a")).set_index(np.arange(len(table)) + 10)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"frame": range(1, 9), "pspi": [0, 0, 5, 5, 5, 12, 12, 12]}, [12, 13, 14, 15]),
        ({"frame": [1, 2, 3, 5, 6, 7], "pspi": range(6)}, []),
        ({"frame": range(1, 7), "pspi": range(6), "sequence": list("aaabbb")}, []),
        ({"frame": range(1, 6), "pspi": [None, 0.0, 0.0, 0.0, 0.0]}, [11, 12, 13, 14]),
    ],
    ids=["steepest", "a gap", "two sequences", "without pspi last"],
)
def test_the_clip_is_where_pspi_rises_most_over_four_subsequent_frames(columns, expected):
    assert figures.rising_clip(frames(**columns)).index.tolist() == expected
