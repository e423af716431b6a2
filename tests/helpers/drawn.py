"""What holds for every figure."""

from matplotlib.figure import Figure


def assert_on_canvas(figure: Figure) -> None:
    """Nothing of any axes lies outside the canvas."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        box, canvas = axes.get_tightbbox(), figure.bbox
        assert canvas.x0 <= box.x0 and box.x1 <= canvas.x1
        assert canvas.y0 <= box.y0 and box.y1 <= canvas.y1
