from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from paincore import style
from paincore.data import figures
from paincore.data.corpus import Corpus, open_corpus
from paincore.explore import players
from paincore.manifest import dataset_named
from tests.helpers.miniature import Miniature

NOWHERE, GREY = Path("no/such/image.png"), np.full((4, 4, 3), 128, np.uint8)
NEED_TRUTH = [figures.felt_pain, figures.blink_lengths]
WITH_FACES = [figures.faces_by_pspi, figures.timeline, players.watch_sequence]
FIGURES = [
    *(figures.pspi_histogram, figures.pain_by_subject, figures.agreement),
    *(*NEED_TRUTH, *WITH_FACES[:2]),
]


@pytest.fixture
def restricted(miniature: Miniature, tmp_path) -> Corpus:
    return open_corpus("unbc", miniature.root, results=tmp_path / "results")


@pytest.fixture
def synthetic(restricted: Corpus) -> Corpus:
    truth = restricted.frames[["subject", "sequence", "frame"]].assign(
        felt_pain=restricted.frames["pain"].astype(bool), blink=restricted.frames["frame"] == 2
    )
    return replace(restricted, dataset=dataset_named("synthetic"), truth=truth)


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))


@pytest.mark.parametrize("draw", FIGURES)
def test_a_figure_fits_its_canvas_names_its_axes_and_says_what_is_synthetic(
    draw, synthetic, restricted
):
    figure = draw(synthetic)
    figure.draw_without_rendering()
    box, width, height = figure.get_tightbbox(), *figure.get_size_inches()
    assert box.x0 > -0.02 and box.y0 > -0.02
    assert box.x1 < width + 0.02 and box.y1 < height + 0.02
    shown = [axes for axes in figure.axes if axes.axison]
    assert all(axes.get_ylabel() for axes in shown if not axes.images)
    assert draw is figures.faces_by_pspi or any(axes.get_xlabel() for axes in shown)
    assert "synthetic corpus" in texts(figure)
    assert "synthetic corpus" not in texts(draw(restricted))


@pytest.mark.parametrize("draw", NEED_TRUTH)
def test_without_truth_a_sentence_stands_where_the_figure_would(draw, restricted):
    figure = draw(restricted)
    assert "This corpus does not say" in texts(figure)
    assert not any(axes.axison or axes.images for axes in figure.axes)


@pytest.mark.parametrize("draw", WITH_FACES)
def test_a_licensed_image_is_not_even_opened(draw, restricted, miniature):
    for image in miniature.root.rglob("*.png"):
        image.unlink()
    draw(restricted)


def test_figures_hold_the_numbers_of_the_corpus(synthetic):
    each, groups = figures.pspi_histogram(synthetic).axes
    assert [bar.get_height() for bar in each.patches[:7]] == [10, 0, 0, 0, 1, 0, 1]
    assert groups.patches[0].get_height() == pytest.approx(1000 / 12)
    (people,) = figures.pain_by_subject(synthetic).axes
    assert [bar.get_width() for bar in people.patches] == pytest.approx([200 / 9, 0])
    units = figures.timeline(synthetic).axes[-2].images[0].get_array()
    assert units[0].tolist() == [0, 2, 1, 0, 0]  # AU4
    assert units[4].tolist() == [0, 0, 5, 0, 0]  # AU43, closed


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
        changed = {"stand_in": stand_in, "faces_may_be_shown": shown}
        dataset = dataset_named("unbc").model_copy(update=changed)
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
    image = np.zeros((80, 80, 3), np.uint8)
    style.show_face(axes, image, dataset_named("synthetic"), "sy001", points)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 10 and right > 30 and top < 20 and bottom > 60
    assert right - left == pytest.approx(bottom - top)


def test_unbc_shows_no_face_as_it_comes():
    assert not style.may_be_shown(dataset_named("unbc"), "ll042")


def test_show_face_is_the_only_place_of_a_figure_that_opens_an_image():
    package = Path(figures.__file__).parents[1]
    drawing = [*package.glob("*/*figures.py"), *package.glob("explore/*.py")]
    for file in drawing:
        assert "Image.open" not in file.read_text() and "imread" not in file.read_text(), file
    assert (package / "style.py").read_text().count("Image.open") == 1


def test_a_figure_is_the_same_to_the_byte_when_drawn_again(synthetic):
    def png() -> bytes:
        data = BytesIO()
        figures.pspi_histogram(synthetic).savefig(data)
        return data.getvalue()

    assert png() == png()


@pytest.mark.parametrize(("most", "frames"), [(40, 5), (3, 3)])
def test_the_sequence_to_play_has_its_frames_up_to_what_a_page_can_carry(synthetic, most, frames):
    controls, stack = players.watch_sequence(synthetic, most=most).children
    assert len(stack.children) == frames
    assert [control.max for control in controls.children] == [frames - 1, frames - 1]
