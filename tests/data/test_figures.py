from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paincore import style
from paincore.data import figures
from paincore.data.corpus import Corpus, open_corpus
from paincore.explore import players
from paincore.manifest import dataset_named
from tests.helpers.drawn import assert_drawn_for, texts
from tests.helpers.miniature import Miniature

GREY = np.full((80, 80, 3), 128, np.uint8)
UNBC = dataset_named("unbc")
NEED_TRUTH = [figures.felt_pain, figures.blink_lengths]
WITH_FACES = [figures.faces_by_pspi, figures.timeline, players.watch_sequence]
OTHERS = [figures.pspi_histogram, figures.pain_by_subject, figures.agreement]


@pytest.fixture
def restricted(miniature: Miniature, tmp_path) -> Corpus:
    return open_corpus("unbc", miniature.root, results=tmp_path / "results")


@pytest.fixture
def synthetic(restricted: Corpus) -> Corpus:
    frames = restricted.frames
    felt, blink = frames["pain"].astype(bool), frames["frame"] == 2
    truth = frames[["subject", "sequence", "frame"]].assign(felt_pain=felt, blink=blink)
    return replace(restricted, dataset=dataset_named("synthetic"), truth=truth)


@pytest.mark.parametrize("draw", [*OTHERS, *NEED_TRUTH, *WITH_FACES[:2]])
def test_a_figure_fits_its_canvas_names_its_axes_and_says_what_is_synthetic(
    draw, synthetic, restricted
):
    figure, licensed = draw(synthetic), draw(restricted)
    assert_drawn_for(synthetic, figure)
    assert_drawn_for(restricted, licensed)
    assert all(axes.get_ylabel() for axes in figure.axes if axes.axison and not axes.images)
    assert ("This corpus does not say" in texts(licensed)) == (draw in NEED_TRUTH)


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
    units = figures.timeline(synthetic).axes[-2].collections[0].get_array()
    assert units[0].tolist() == [0, 2, 1, 0, 0]  # AU4
    assert units[4].tolist() == [0, 0, 5, 0, 0]  # AU43, closed


def face(entry: dict, image=GREY, **drawn) -> Axes:
    """The axes of a face of ll042, its data set's entry changed."""
    axes = Figure().subplots()
    style.show_face(axes, image, UNBC.model_copy(update=entry), "ll042", **drawn)
    return axes


@pytest.mark.parametrize(
    ("may", "listed", "drawn"),
    [(True, (), True), (True, ("ll042",), True), (True, ("tv095",), False), (False, (), False)],
)
def test_show_face_obeys_the_manifest(may, listed, drawn):
    axes = face({"faces_may_be_shown": may, "shown_subjects": listed})
    assert bool(axes.images) is drawn
    assert bool(axes.patches) is not drawn
    assert not style.may_be_shown(UNBC, "ll042")


def test_an_avatar_moves_as_coded_and_is_drawn_only_where_it_is_asked_for():
    def pixels(units, entry, image=GREY):
        return [image.get_array() for image in face(entry, image, units=units).images]

    rest, brow = {"au4": 0.0, "au27": 3.0}, {"au4": 4.0, "au43": np.nan}
    asked = {"stand_in": "avatar"}, Path("no/such/image.png")
    (drawn,), (again,), (moved,) = (pixels(units, *asked) for units in (rest, rest, brow))
    assert (drawn == again).all()
    assert (drawn != moved).any(axis=2).sum() > 100
    assert pixels(brow, {}) == pixels(None, *asked) == []
    (own,) = pixels(brow, {"stand_in": "avatar", "faces_may_be_shown": True})
    assert (own == GREY).all()


def test_show_face_is_the_only_place_of_a_figure_that_opens_an_image():
    package = Path(figures.__file__).parents[1]
    for file in [*package.glob("*/*figures.py"), *package.glob("explore/*.py")]:
        assert "Image.open" not in file.read_text() and "imread" not in file.read_text(), file
    assert (package / "style.py").read_text().count("Image.open") == 1


@pytest.mark.parametrize(("most", "frames"), [(40, 5), (3, 3)])
def test_the_sequence_to_play_has_its_frames_up_to_what_a_page_can_carry(synthetic, most, frames):
    controls, stack = players.watch_sequence(synthetic, most=most).children
    assert len(stack.children) == frames
    assert [control.max for control in controls.children] == [frames - 1, frames - 1]
