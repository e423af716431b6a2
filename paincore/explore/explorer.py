"""What the widgets of JupyterLab are made of: controls, a live picture and a sentence below it.

A live picture travels in a message of its own, and only to a browser that asks for it. It is never
in a widget's state, nor in the output of a cell, which are what a notebook keeps: so it may show
the faces of a restricted corpus, and an executed notebook, which no browser has looked at, holds
none. What the output holds instead is a still, drawn under the corpus's rules. Chapter 08.
"""

import html
import textwrap
from collections.abc import Callable, Mapping
from functools import lru_cache

import anywidget
import cv2
import ipywidgets
import numpy as np
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from paincore import PaincoreError
from paincore.style import MUTED, WIDTH, live, styled

Drawing = Figure | np.ndarray
SCREEN = 100  # dots per inch of a live figure
PRINT = 200  # of a still
SLIDERS = (ipywidgets.IntSlider, ipywidgets.FloatSlider)

SCRIPT = """
function render({ model, el }) {
  const image = document.createElement("img");
  image.className = "paincore-live";
  let url = "";
  const describe = () => { image.alt = model.get("alt"); };
  const receive = (message, buffers) => {
    if (message.kind !== "picture") return;
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([buffers[0]], { type: message.type }));
    image.src = url;
  };
  model.on("msg:custom", receive);
  model.on("change:alt", describe);
  describe();
  el.appendChild(image);
  // Else JupyterLab takes the arrow keys of a drop-down list for its cells.
  const keep = ({ target }) => target.matches("select") &&
    target.setAttribute("data-lm-suppress-shortcuts", "true");
  const listen = () => el.isConnected ?
    el.closest(".paincore-explorer")?.addEventListener("focusin", keep) :
    requestAnimationFrame(listen);
  listen();
  model.send({ kind: "show" });
  return () => {
    model.off("msg:custom", receive);
    model.off("change:alt", describe);
    URL.revokeObjectURL(url);
  };
}
export default { render };
"""
STYLE = ".paincore-live { max-width: 100%; height: auto; background: white; }"


class LivePicture(anywidget.AnyWidget):
    """A picture that is drawn when a browser asks for it; `alt` is what a screen reader says.

    `draw` returns a figure or RGB pixels, uint8 (H, W, 3).
    """

    _esm = SCRIPT
    _css = STYLE
    alt = traitlets.Unicode().tag(sync=True)

    def __init__(self, draw: Callable[[], Drawing], alt: str = "") -> None:
        super().__init__(alt=alt)
        self.draw = draw
        self.asked_for, self.places = False, []
        self.on_msg(self._answer)

    def _answer(self, widget, message: dict, buffers: list) -> None:
        if message.get("kind") == "show":
            self.asked_for = True
            self.redraw()

    def redraw(self, moved: bool = False) -> None:
        """Send the picture anew, if a browser has ever asked for it.

        `moved` says that the last picture's layout still fits: laying out takes as long as drawing.
        """
        if not self.asked_for:
            return
        with live():
            drawing = self.draw()
            plotted = drawing.axes if isinstance(drawing, Figure) else []
            if moved and plotted and len(self.places) == len(plotted):
                drawing.set_layout_engine("none")
                for axes, place in zip(plotted, self.places, strict=True):
                    axes.set_position(place)
            kind, data = encoded(drawing)
        self.places = [axes.get_position(original=True) for axes in plotted]
        self.send({"kind": "picture", "type": kind}, [data])


def encoded(drawing: Drawing, dpi: int = SCREEN) -> tuple[str, bytes]:
    """A figure as PNG, pixels as JPEG: the MIME type and the file."""
    kind, options = "jpeg", (cv2.IMWRITE_JPEG_QUALITY, 92)
    if isinstance(drawing, Figure):
        # Not savefig, which draws twice.
        kind, options = "png", (cv2.IMWRITE_PNG_COMPRESSION, 1)
        drawing.set_dpi(dpi)
        canvas = FigureCanvasAgg(drawing)
        canvas.draw()
        drawing = np.asarray(canvas.buffer_rgba())[..., :3]
    bgr = cv2.cvtColor(drawing, cv2.COLOR_RGB2BGR)
    return f"image/{kind}", cv2.imencode(f".{kind}", bgr, options)[1].tobytes()


@styled
def drawn_or_said(draw: Callable[[], Drawing]) -> Drawing:
    """What `draw` returns; where it raises a `PaincoreError`, that sentence as a figure."""
    try:
        return draw()
    except PaincoreError as fault:
        figure = Figure(figsize=(WIDTH, 1))
        figure.text(0.02, 0.5, textwrap.fill(str(fault), 100), va="center", color=MUTED)
        return figure


class Explorer(ipywidgets.VBox):
    """Controls, a live picture, and a sentence below it that says the same in words.

    `draw` and `say` take the controls' values under the controls' names: `draw` returns the live
    picture, `say` a sentence or two in plain text; neither may rely on the other having been
    called. `still` draws the figure of the book; None means the live picture. A `PaincoreError`
    is shown as the sentence. `arranged` lays the controls out; None means in lines.
    """

    def __init__(
        self,
        controls: Mapping[str, ipywidgets.ValueWidget],
        draw: Callable[..., Drawing],
        say: Callable[..., str],
        still: Callable[[], Figure] | None = None,
        arranged: ipywidgets.Widget | None = None,
    ) -> None:
        self.controls, self.draw, self.say = dict(controls), draw, say
        self.still = still or (lambda: self.draw(**self.state))
        self.picture = LivePicture(lambda: drawn_or_said(lambda: self.draw(**self.state)))
        self.sentence = ipywidgets.HTML()
        line = ipywidgets.Layout(flex_flow="row wrap")
        self.held, self.said = False, ""
        super().__init__(
            [
                arranged or ipywidgets.Box(list(self.controls.values()), layout=line),
                self.picture,
                self.sentence,
            ]
        )
        self.add_class("paincore-explorer")
        for control in self.controls.values():
            control.observe(self._react, "value")
        self.update()

    @property
    def state(self) -> dict:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def _react(self, change) -> None:
        self.update(isinstance(change["owner"], SLIDERS))

    def update(self, moved: bool = False) -> None:
        """Say and draw the state that the controls are in; `moved`: only a slider has."""
        if self.held:
            return
        try:
            said = self.say(**self.state)
        except PaincoreError as fault:
            said = str(fault)
        self.picture.redraw(moved)
        self.picture.alt = self.said = said
        self.sentence.value = f'<div role="status">{html.escape(said)}</div>'

    def set(self, **values) -> None:
        """Move several controls, and draw once."""
        self.held = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self.held = False
        self.update()

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        figure = drawn_or_said(self.still)
        width, height = (round(side * SCREEN) for side in figure.get_size_inches())
        bundle = super()._repr_mimebundle_(**kwargs) | {"image/png": encoded(figure, PRINT)[1]}
        return bundle, {"image/png": {"width": width, "height": height}}


def remembered(function: Callable) -> Callable:
    """The function with its last outcome kept, a `PaincoreError` too: `say` and `draw` of one state
    do their common work once, in either order."""

    @lru_cache(maxsize=1)
    def outcome(*values):
        try:
            return function(*values), None
        except PaincoreError as fault:
            return None, fault

    def once(*values):
        found, fault = outcome(*values)
        if fault:
            raise fault
        return found

    return once


def said_by(explorers: Mapping[str, Explorer]) -> str:
    """What explorers say in the state that they are in, in Markdown: a paragraph each."""
    return "\n\n".join(f"**{name}.** {one.said}" for name, one in explorers.items())


def slider(description: str, low: float, high: float, step: float, value: float, **more):
    """A slider of whole numbers or not, by its step, with a label that is read whole."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(
        value, min=low, max=high, step=step, description=description,
        style={"description_width": "8.5em"}, layout={"width": "26em", "max_width": "100%"}, **more,
    )  # fmt: skip


def choice(description: str, options, value=None, **more) -> ipywidgets.Dropdown:
    """A drop-down list with a label that is read whole."""
    first = [one[1] if isinstance(one, tuple) else one for one in options][:1]
    return ipywidgets.Dropdown(
        options=options, value=value if value is not None else (first or [None])[0],
        description=description, style={"description_width": "8.5em"},
        layout={"width": "26em", "max_width": "100%"}, **more,
    )  # fmt: skip


def sequence_choice(frames) -> tuple[ipywidgets.Dropdown, ipywidgets.Dropdown]:
    """Drop-down lists of the subjects of a table and of the sequences of the one that is chosen."""
    own = frames.groupby("subject")["sequence"].unique()
    subject = choice("person", list(own.index))
    sequence = choice("sequence", list(own[subject.value]))

    def refill(change) -> None:
        sequence.options = list(own[subject.value])

    subject.observe(refill, "value")
    return subject, sequence


def played(position: ipywidgets.IntSlider, interval: int = 250) -> ipywidgets.HBox:
    """The slider with a button that plays it."""
    play = ipywidgets.Play(
        min=position.min, max=position.max, interval=interval, description="Play"
    )
    ipywidgets.link((play, "value"), (position, "value"))
    ipywidgets.link((position, "max"), (play, "max"))
    return ipywidgets.HBox([play, position], layout={"flex_flow": "row wrap"})
