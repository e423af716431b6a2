from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure

from paincore import style
from paincore.data import figures
from paincore.data.corpus import Corpus, open_corpus
from paincore.manifest import dataset_named
from paincore.explore import players
from tests.helpers.miniature import Miniature

NOWHERE, GREY = Path("no/such/picture.png"), np.full((4, 4, 3), 128, np.uint8)

CHAPTER_01 = [
    figures.faces_by_pspi,
    figures.pspi_histogram,
    figures.pain_by_subject,
    figures.timeline,
    figures.agreement,
    figures.felt_pain,
    figures.blink_lengths,
]


@pytest.fixture
def unbc(miniature: Miniature, tmp_path) -> Corpus:
    return open_corpus("unbc", miniature.root, results=tmp_path / "results")


@pytest.fixture
def synthetic(unbc: Corpus) -> Corpus:
    truth = unbc.frames[["subject", "sequence", "frame"]].assign(
        felt_pain=unbc.frames["pain"].astype(bool), blink=unbc.frames["frame"] == 2
    )
    return replace(unbc, dataset=dataset_named("synthetic"), truth=truth)


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))


def is_sentence(figure: Figure) -> bool:
    """Whether a figure holds words alone, and a notebook shows it."""
    drawn = any(axes.axison or axes.images for axes in figure.axes)
    return not drawn and print_figure(figure) is not None


@pytest.mark.parametrize("draw", CHAPTER_01)
def test_a_figure_of_a_synthetic_corpus_says_so_and_of_a_real_one_does_not(draw, synthetic, unbc):
    assert "synthetic corpus" in texts(draw(synthetic))
    assert "synthetic corpus" not in texts(draw(unbc))


@pytest.mark.parametrize("draw", CHAPTER_01[1:])
def test_axes_say_what_they_measure(draw, synthetic):
    shown = [axes for axes in draw(synthetic).axes if axes.axison]
    assert all(axes.get_ylabel() for axes in shown if not axes.images)
    assert any(axes.get_xlabel() for axes in shown)


@pytest.mark.parametrize("draw", [figures.felt_pain, figures.blink_lengths])
def test_without_truth_a_sentence_stands_where_the_figure_would(draw, unbc):
    figure = draw(unbc)
    assert "This corpus does not say" in texts(figure)
    assert is_sentence(figure)


@pytest.mark.parametrize("draw", [figures.faces_by_pspi, figures.timeline, players.watch_sequence])
def test_a_licensed_picture_is_not_even_opened(draw, unbc, miniature):
    for picture in miniature.root.rglob("*.png"):
        picture.unlink()
    draw(unbc)


@pytest.mark.parametrize(
    ("may", "listed", "drawn"),
    [(True, (), True), (True, ("ll042",), True), (True, ("tv095",), False), (False, (), False)],
)
def test_show_face_obeys_the_manifest(may, listed, drawn):
    unbc = dataset_named("unbc")
    entry = unbc.model_copy(update={"faces_may_be_shown": may, "shown_subjects": listed})
    axes = Figure().subplots()
    style.show_face(axes, np.zeros((4, 4, 3), np.uint8), entry, "ll042")
    assert bool(axes.images) is drawn
    assert bool(axes.patches) is not drawn


def test_an_avatar_moves_as_coded_and_is_drawn_only_where_it_is_asked_for():
    def pixels(stand_in, units, shown=False):
        dataset = dataset_named("unbc").model_copy(
            update={"stand_in": stand_in, "faces_may_be_shown": shown}
        )
        axes = Figure().subplots()
        style.show_face(axes, NOWHERE if not shown else GREY, dataset, "ll042", units=units)
        return [image.get_array() for image in axes.images]

    rest, brow = {"au4": 0.0, "au27": 3.0}, {"au4": 4.0, "au43": np.nan}
    (drawn,), (again,), (moved,) = (pixels("avatar", units) for units in (rest, rest, brow))
    assert (drawn == again).all()
    assert (drawn != moved).any(axis=2).sum() > 100
    assert pixels("outline", brow) == pixels("avatar", None) == []
    (own,) = pixels("avatar", brow, shown=True)
    assert (own == GREY).all()


def test_a_crop_keeps_every_point_in_sight():
    points = np.array([[10.0, 20.0], [30.0, 60.0]])
    axes = Figure().subplots()
    picture = np.zeros((80, 80, 3), np.uint8)
    style.show_face(axes, picture, dataset_named("synthetic"), "sy001", points)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 10 and right > 30 and top < 20 and bottom > 60
    assert right - left == pytest.approx(bottom - top)


def test_unbc_shows_no_face_as_it_comes():
    assert not style.may_be_shown(dataset_named("unbc"), "ll042")


def test_show_face_is_the_only_place_of_a_figure_that_opens_an_image():
    package = Path(figures.__file__).parents[1]
    drawing = [*package.glob("*/*figures.py"), *package.glob("explore/*.py")]
    drawing += package.glob("book/*.py")
    for file in drawing:
        assert "Image.open" not in file.read_text() and "imread" not in file.read_text(), file
    assert (package / "style.py").read_text().count("Image.open") == 1


def test_a_figure_is_the_same_to_the_byte_when_drawn_again(synthetic):
    def png() -> bytes:
        data = BytesIO()
        figures.pspi_histogram(synthetic).savefig(data)
        return data.getvalue()

    assert png() == png()


def test_the_sequence_to_play_has_a_picture_for_every_frame_of_a_short_one(synthetic):
    controls, stack = players.watch_sequence(synthetic).children
    assert len(stack.children) == 5
    assert [control.max for control in controls.children] == [4, 4]


def test_a_long_sequence_is_thinned_to_what_a_page_can_carry(synthetic):
    _, stack = players.watch_sequence(synthetic, most=3).children
    assert len(stack.children) == 3
