"""The frame of every widget: controls, a live image, and a short text below it.

A widget is one function, from the values of its controls to what it shows. The live image travels
in a message of its own, and only to a browser that asks for it (`explorer.js`). It is in no
widget's state and in no output of a cell, which are what a notebook keeps: so it may show the faces
of a restricted corpus. The output keeps a still instead, which is rendered under the corpus's
rules.
"""

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import anywidget
import cv2
import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from paincore import PaincoreError
from paincore.style import live, table

LIVE_DPI, STILL_DPI = 100, 200
LABELLED = {"style": {"description_width": "8.5em"}, "layout": {"width": "26em"}}


class Shown(NamedTuple):
    """What a widget shows of one state: a text, and `render`, which makes a figure or RGB pixels,
    uint8 (H, W, 3). `places` is how many frames or samples the slider `place` walks through."""

    text: str
    render: Callable[[], Figure | np.ndarray] = lambda: np.full((40, 720, 3), 255, np.uint8)
    places: int | None = None


class LiveImage(anywidget.AnyWidget):
    """An image that a browser asks for; `alt` is what a screen reader says."""

    _esm = Path(__file__).with_name("explorer.js")
    alt = traitlets.Unicode().tag(sync=True)


class Explorer(ipywidgets.VBox):
    """Controls, a live image, and below it a text for those who cannot see it.

    `show` takes the controls' values under the controls' names. A `PaincoreError` that it raises is
    shown as the text. `more` stands below the controls.
    """

    def __init__(self, controls: dict, show: Callable[..., Shown], more: Sequence = ()) -> None:
        self.controls, self.show = controls, show
        self.image, self.below = LiveImage(), ipywidgets.HTML()
        self.asked_for = False
        super().__init__([row_of(controls), *more, self.image, self.below])
        self.add_class("paincore-explorer")
        self.image.on_msg(self._ask)
        for control in self.controls.values():
            control.observe(self.update, "value")
        self.update()

    @property
    def state(self) -> dict:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values) -> None:
        """Move several controls."""
        for name, value in values.items():
            self.controls[name].value = value
        self.update()

    def update(self, change=None) -> None:
        """Show the state that the controls are in."""
        try:
            self.shown = self.show(**self.state)
        except PaincoreError as fault:
            self.shown = Shown(str(fault))
        if self.shown.places:
            self.controls["place"].max = self.shown.places - 1
        self.text = self.image.alt = self.shown.text
        self.below.value = f'<div role="status">{html.escape(self.text)}</div>'
        self.send_image()

    def _ask(self, widget, message: str, buffers: list) -> None:
        self.asked_for = True
        self.send_image()

    def send_image(self) -> None:
        """Render the live image and send it, if a browser has ever asked for it."""
        if self.asked_for:
            with live():
                image = png(pixels(self.shown.render()))
            self.image.send("image", [image])

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        still = {"image/png": png(pixels(self.shown.render(), STILL_DPI))}
        return super()._repr_mimebundle_(**kwargs) | still, {"image/png": {"width": 720}}


def pixels(rendered: Figure | np.ndarray, dpi: int = LIVE_DPI) -> np.ndarray:
    """The pixels of a figure, RGB, uint8 (H, W, 3); pixels are returned as they are."""
    if not isinstance(rendered, Figure):
        return rendered
    rendered.set_dpi(dpi)
    canvas = FigureCanvasAgg(rendered)
    canvas.draw()  # not savefig, which renders twice
    return np.asarray(canvas.buffer_rgba())[..., :3]


def png(image: np.ndarray) -> bytes:
    """The PNG file of an image, quickly."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()


def widgets_table(explorers: dict[str, Explorer]):
    """What each widget says of the state that it is in."""
    rows = [(name, explorer.text) for name, explorer in explorers.items()]
    return table(pd.DataFrame(rows, columns=["widget", "what it shows"]))


def row_of(controls: dict[str, ipywidgets.ValueWidget]) -> ipywidgets.Box:
    """The controls in their order; before `place` a button that plays it."""
    widgets = list(controls.values())
    if "place" in controls:
        play, place = ipywidgets.Play(min=0, interval=250), controls["place"]
        ipywidgets.link((play, "value"), (place, "value"))
        ipywidgets.link((place, "max"), (play, "max"))
        widgets.insert(list(controls).index("place"), play)
    return ipywidgets.Box(widgets, layout={"flex_flow": "row wrap"})


def slider(label: str, low: float, high: float, step: float, value: float) -> ipywidgets.Widget:
    """A slider of whole numbers or not, by its step."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(value, min=low, max=high, step=step, description=label, **LABELLED)


def choice(label: str, options: Sequence) -> ipywidgets.Dropdown:
    """A drop-down list, at its first option."""
    return ipywidgets.Dropdown(options=options, description=label, **LABELLED)


def sequence_controls(frames: pd.DataFrame) -> dict[str, ipywidgets.ValueWidget]:
    """`subject`, `sequence` and `place`: the people of a table, the sequences of the one that is
    chosen, and where in the sequence to look."""
    own = frames.groupby("subject")["sequence"].unique()
    subject, sequence = choice("person", list(own.index)), choice("sequence", list(own.iloc[0]))

    def refill(change) -> None:
        sequence.options = list(own[change.new])

    subject.observe(refill, "value")
    return {"subject": subject, "sequence": sequence, "place": slider("frame", 0, 1, 1, 0)}
