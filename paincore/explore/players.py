"""What a reader can move, in JupyterLab and in the rendered book alike.

A rendered page has no kernel behind it: every state is computed beforehand, and the widgets are
linked in the browser (`jslink`). Faces are drawn under the corpus's rules.
"""

from base64 import b64encode
from html import escape
from io import BytesIO

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paincore.data import facs
from paincore.data import tables as description
from paincore.data.figures import show_frame, units_of
from paincore.style import MUTED, PAIN, show_face, styled


@styled
def watch_sequence(corpus, most: int = 40) -> ipywidgets.VBox:
    """Play `description.telling_sequence`, up to `most` evenly spaced frames of it. Chapter 01."""
    frames = description.telling_sequence(corpus.frames).query("state == 'ok'")
    return player([_picture(corpus, frame) for _, frame in spread(frames, most).iterrows()])


@styled
def turn_head(corpus, store, frames, most: int = 30) -> ipywidgets.VBox:
    """Turn a head: frames of a store, sorted by yaw, beside their frontal views; up to `most`,
    evenly spaced. Chapter 02."""
    if frames.empty:
        return ipywidgets.VBox([ipywidgets.Label("No face was found in this corpus.")])
    return player(
        [_turned(corpus, frame, store.images[i]) for i, frame in spread(frames, most).iterrows()]
    )


def spread(frames: pd.DataFrame, most: int) -> pd.DataFrame:
    """Up to `most` of the rows, evenly spaced from the first to the last."""
    return frames.iloc[np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]


def player(
    pictures: list[ipywidgets.HTML], what: str = "picture", first: int = 0
) -> ipywidgets.VBox:
    """One of the pictures at a time, with a button that plays them and a slider."""
    stack = ipywidgets.Stack(pictures, selected_index=first)
    last = len(pictures) - 1
    play = ipywidgets.Play(first, min=0, max=last, interval=200, description="Play")
    slider = ipywidgets.IntSlider(first, min=0, max=last, description=what, readout=False)
    ipywidgets.jslink((play, "value"), (slider, "value"))
    ipywidgets.jslink((slider, "value"), (stack, "selected_index"))
    return ipywidgets.VBox([ipywidgets.HBox([play, slider]), stack])


def _picture(corpus, frame) -> ipywidgets.HTML:
    figure = Figure(figsize=(4, 3.3))
    axes = figure.subplots()
    image, subject = corpus.root / frame["image"], frame["subject"]
    show_face(axes, image, corpus.dataset, subject, units=units_of(frame))
    units = [f"AU{au}: {frame[f'au{au}']:.0f}" for au in facs.AUS if frame[f"au{au}"] > 0]
    title = f"frame {frame['frame']}, PSPI {frame['pspi']:.0f}"
    axes.set_title(title, fontweight="bold")
    figure.supxlabel(", ".join(units) or "no action unit", fontsize=7.5, color=MUTED)
    return picture_of(figure, corpus.dataset, ", ".join([title, *units]))


def _turned(corpus, frame, view: np.ndarray) -> ipywidgets.HTML:
    figure = Figure(figsize=(5.4, 2.9))
    before, after = figure.subplots(1, 2)
    show_frame(before, corpus, frame)
    show_face(after, view, corpus.dataset, frame["subject"])
    titles = (
        f"{frame['subject']}, yaw {frame['yaw']:z.0f}°",
        f"{100 * frame['visible_share']:.0f} % visible",
    )
    before.set_title(titles[0], fontweight="bold")
    after.set_title(titles[1], color=MUTED)
    return picture_of(figure, corpus.dataset, ", ".join(titles))


def picture_of(figure: Figure, dataset, words: str) -> ipywidgets.HTML:
    """A figure as a picture of a player, labelled where it is synthetic; `words` say what it shows
    to who cannot see it."""
    if dataset.synthetic and figure.get_suptitle() == "":  # `new_figure` has labelled it
        figure.text(0.99, 0.99, "synthetic corpus", ha="right", va="top", fontsize=7, color=PAIN)
    data = BytesIO()
    figure.savefig(data, format="jpeg", dpi=110, pil_kwargs={"quality": 85})
    source = f"data:image/jpeg;base64,{b64encode(data.getvalue()).decode()}"
    # Not ipywidgets.Image, which has no alternative text.
    return ipywidgets.HTML(
        f'<img class="widget-image" alt="{escape(words)}" src="{source}" style="max-width: 100%">'
    )
