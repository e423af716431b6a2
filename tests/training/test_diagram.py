import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from paincore.style import THIS
from paincore.training import diagram as model_diagram
from paincore.training.configuration import configure
from tests.data.test_figures import texts
from tests.training.test_figures import FILMS, SYNTHETIC


def blue(figure) -> list[str]:
    """Names of what the diagram draws as trained."""
    names = []
    for axes in figure.axes:
        boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        trained = [box.get_bbox() for box in boxes if to_hex(box.get_facecolor()).upper() == THIS]
        names += [
            text.get_text()
            for text in axes.texts
            if any(box.contains(*text.get_position()) for box in trained)
        ]
    return names


@pytest.fixture
def diagram(drawn_store):
    def draw(corpus, **setting):
        return model_diagram.models(corpus, drawn_store, [configure(backbone="random", **setting)])

    return draw


def test_the_diagram_shows_what_trains(diagram):
    assert blue(diagram(SYNTHETIC, unfrozen_layers=6)) == ["attention"] * 6 + ["head"]
    released = blue(diagram(SYNTHETIC, unfrozen_layers=3, protocol="released"))
    assert sorted(set(released)) == ["LayerNorm", "MLP", "attention", "embeddings", "head"]
    assert released.count("MLP") == 3


def test_the_diagram_has_the_shapes_of_the_model(diagram):
    assert "37 tokens,\nwidth 64" in texts(diagram(SYNTHETIC))
    vivit = texts(diagram(SYNTHETIC, model="vivit"))
    assert "96 x 96 px,\n12 x 12 patches" in vivit
    assert "145 tokens,\nwidth 64" in vivit
    assert "attention 199,680 trained" in vivit


def test_the_diagram_shows_no_face_that_may_not_be_shown(diagram):
    shown = [axes.images for axes in all_axes(diagram(SYNTHETIC))]
    assert any(shown)
    assert not any(axes.images for axes in all_axes(diagram(FILMS)))


def all_axes(figure) -> list:
    return [each for axes in figure.axes for each in (axes, *axes.child_axes)]
