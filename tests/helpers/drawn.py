"""What holds for every figure."""

from types import SimpleNamespace

from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure
from matplotlib.text import Text

from paincore.manifest import dataset_named

SYNTHETIC = SimpleNamespace(dataset=dataset_named("synthetic"))
LICENSED = SimpleNamespace(dataset=dataset_named("unbc"))


def assert_drawn_for(corpus, figure: Figure) -> None:
    """No axes reach beyond the canvas, and the figure says if its corpus is synthetic."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        box, canvas = axes.get_tightbbox(), figure.bbox
        assert canvas.x0 <= box.x0 and box.x1 <= canvas.x1
        assert canvas.y0 <= box.y0 and box.y1 <= canvas.y1
    assert ("synthetic corpus" in texts(figure)) == corpus.dataset.synthetic


def texts(figure: Figure) -> str:
    """All words of a figure."""
    return " ".join(text.get_text() for text in figure.findobj(Text))


def is_sentence(figure: Figure) -> bool:
    """Whether a figure holds words alone, and a notebook shows it."""
    drawn = any(axes.axison or axes.images for axes in figure.axes)
    return not drawn and print_figure(figure) is not None
