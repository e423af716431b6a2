"""Players: images computed beforehand, which a reader of the rendered book moves through.

A rendered page has no kernel behind it, so the controls are linked in the browser (`jslink`).
"""

from base64 import b64encode
from html import escape
from io import BytesIO

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from paincore.data.figures import show_frame, units_of
from paincore.data.tables import evenly_spaced, telling_sequence
from paincore.explore.explorer import Shown
from paincore.style import MUTED, new_figure, show_face, styled


def watch_sequence(corpus, most: int = 40) -> ipywidgets.VBox:
    """Play the sequence that chapter 01 shows, up to `most` evenly spaced frames of it."""
    frames = telling_sequence(corpus.frames).query("state == 'ok'")
    shown = []
    for frame in evenly_spaced(frames, most).itertuples():
        units = [f"AU{au[2:]}: {value:.0f}" for au, value in units_of(frame).items() if value > 0]
        title = f"frame {frame.frame}, PSPI {frame.pspi:.0f}"
        shown.append(_frame_shown(corpus, frame, title, ", ".join(units) or "no action unit"))
    return player(shown)


def turn_head(corpus, store, frames, most: int = 30) -> ipywidgets.VBox:
    """Turn a head: frames of a store, sorted by yaw, beside their frontal views; up to `most`,
    evenly spaced."""
    shown = []
    for frame in evenly_spaced(frames, most).itertuples():
        title = f"{frame.subject}, yaw {frame.yaw:z.0f}°"
        visible = f"{100 * frame.visible_share:.0f} % visible"
        shown.append(_frame_shown(corpus, frame, title, visible, store.images[frame.Index]))
    return player(shown)


@styled
def _frame_shown(corpus, frame, title: str, below: str, *views: np.ndarray) -> Shown:
    """A frame, and beside it registered views of it."""
    figure = new_figure(corpus.dataset, title, 3.1)
    figure.set_figwidth(2.9 * (1 + len(views)))
    first, *others = figure.subplots(1, 1 + len(views), squeeze=False)[0]
    show_frame(first, corpus, frame)
    for axes, view in zip(others, views, strict=True):
        show_face(axes, view, corpus.dataset, frame.subject)
    figure.supxlabel(below, fontsize=7.5, color=MUTED)
    return Shown(f"{title}, {below}", lambda: figure)


def player(shown: list[Shown], what: str = "image", first: int = 0) -> ipywidgets.VBox:
    """One image at a time of what is shown, with a button that plays them and a slider."""
    images = [_image(one.render(), one.text) for one in shown]
    stack = ipywidgets.Stack(images, selected_index=first)
    last = len(images) - 1
    play = ipywidgets.Play(first, min=0, max=last, interval=200, description="Play")
    slider = ipywidgets.IntSlider(first, min=0, max=last, description=what, readout=False)
    ipywidgets.jslink((play, "value"), (slider, "value"))
    ipywidgets.jslink((slider, "value"), (stack, "selected_index"))
    return ipywidgets.VBox([ipywidgets.HBox([play, slider]), stack])


def _image(figure: Figure, alt: str) -> ipywidgets.HTML:
    """A figure as an image; `alt` says what it shows to those who cannot see it."""
    data = BytesIO()
    figure.savefig(data, format="jpeg", dpi=110, pil_kwargs={"quality": 85})
    source = f"data:image/jpeg;base64,{b64encode(data.getvalue()).decode()}"
    # Not ipywidgets.Image, which has no alternative text.
    look = 'class="widget-image" style="max-width: 100%"'
    return ipywidgets.HTML(f'<img {look} alt="{escape(alt)}" src="{source}">')
