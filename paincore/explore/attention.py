"""Attention of any test sample: layer, head or rollout, with pain and prediction over time."""

from functools import partial

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from paincore.attention import maps
from paincore.attention.explained import Explained
from paincore.attention.figures import MAP_COLOURS, NO_SAMPLE, THRESHOLD, overlay, tiled
from paincore.data.corpus import Corpus
from paincore.data.tables import evenly_spaced
from paincore.explore.explorer import Explorer, Shown, choice, sequence_controls, slider
from paincore.explore.players import player
from paincore.style import PAIN, THIS, new_figure, styled

ROLLOUT = "rollout"
MOST = 36  # images of a sequence that a page carries


def attention_map(explained: Explained, number: int, layer: int | str, heads: str) -> np.ndarray:
    """The map (F, P, P) of one sample, from 0 at its lowest value to 1 at its highest.

    `layer` is a number or "rollout", which takes all heads; `heads` is one of `maps.FUSIONS` or a
    head's number.
    """
    frames, model = explained.frames([number]), explained.model
    if layer == ROLLOUT:
        values = maps.rollout(model, frames, heads)
    else:
        each = maps.cls_attention(model, frames, layer)
        values = getattr(each, heads)(axis=1) if heads in maps.FUSIONS else each[:, int(heads)]
    return maps.scaled(maps.to_maps(values, model))[0]


@styled
def course_figure(
    corpus, title: str, subject: str, face: np.ndarray, values: np.ndarray, course: pd.DataFrame,
    now: float, threshold: float = THRESHOLD,
) -> Figure:  # fmt: skip
    """A face with its map, coloured from `threshold` on; at the right each column of `course` over
    its index, with a line at `now`.

    `corpus` has the manifest entry whose rules hold for the subject's face.
    """
    figure = new_figure(corpus.dataset, title, 3.0)
    grid = figure.add_gridspec(len(course.columns), 2, width_ratios=(1, 1.4))
    axes, norm = figure.add_subplot(grid[:, 0]), Normalize(threshold, 1)
    overlay(axes, corpus, face, subject, maps.above(values, threshold), norm)
    scale, ticks = ScalarMappable(norm, MAP_COLOURS), (threshold, 1)
    figure.colorbar(scale, ax=axes, shrink=0.7, ticks=ticks, label="attention, min-max")
    for row, (name, over_time) in enumerate(course.items()):
        axes = figure.add_subplot(grid[row, 1])
        axes.plot(over_time, ".-", color=PAIN if name == "PSPI" else THIS, lw=1.3, ms=3)
        axes.axvline(now, color="black", lw=1)
        top = max(4, 1.1 * over_time.max()) if name == "PSPI" else 1
        axes.set(ylabel=name, ylim=(0, top))
    axes.set_xlabel(course.index.name)
    return figure


def sample_shown(
    corpus, explained: Explained, number: int, layer: int | str, heads: str, threshold: float
) -> Shown:
    """A test sample: what is known of it, and its map beside PSPI and prediction along its
    sequence."""
    samples, own = explained.samples, explained.samples.iloc[number]
    values = attention_map(explained, number, layer, heads)
    course = samples[samples["sequence"] == own["sequence"]].set_index("frame")
    course = course[["pspi", "probability"]].rename(columns={"pspi": "PSPI"})
    face = tiled(explained.store.images[explained.rows[number]])
    title = f"{own['sequence']}, frame {own['frame']}; layer: {layer}, heads: {heads}"
    text = f"{title}; PSPI {own['pspi']:.0f}, probability of pain {own['probability']:.2f}"
    figure = partial(course_figure, corpus, title, own["subject"], face, values, course,
                     own["frame"], threshold)  # fmt: skip
    return Shown(text, figure, len(course))


def watch_attention(corpus: Corpus, chosen: maps.ChosenSample | None) -> ipywidgets.VBox:
    """For the rendered book: rollout along the sequence of a sample, as the paper's Figure 10 reads
    it; up to `MOST` evenly spaced samples."""
    if chosen is None:
        return ipywidgets.VBox([ipywidgets.Label(NO_SAMPLE)])
    samples = chosen.explained.samples
    own = samples[samples["sequence"] == samples["sequence"].iloc[chosen.number]]
    numbers = evenly_spaced(own, MOST).index
    reading = (ROLLOUT, "max", THRESHOLD)
    shown = [sample_shown(corpus, chosen.explained, number, *reading) for number in numbers]
    return player(shown, "sample", int(np.argmin(abs(numbers - chosen.number))))


def explore_attention(corpus: Corpus, models: list[Explained]) -> Explorer:
    """Any test sample of any fold: which layer and head, or rollout, and from where on to colour.

    `models` are the folds of one configuration; each person is shown by the model that was tested
    on them.
    """
    model_of = {s: one for one in models for s in one.run.predictions["subject"].unique()}
    config = models[0].model.encoder.config
    controls = sequence_controls(pd.concat([one.run.predictions for one in models])) | {
        "layer": choice("layer", [ROLLOUT, *range(config.num_hidden_layers)]),
        "heads": choice("heads", [*maps.FUSIONS, *map(str, range(config.num_attention_heads))]),
        "threshold": slider("coloured from", 0, 0.95, 0.05, THRESHOLD),
    }

    def show(subject: str, sequence: str, place: int, **reading) -> Shown:
        numbers = np.flatnonzero(model_of[subject].samples["sequence"] == sequence)
        number = int(numbers[min(place, len(numbers) - 1)])
        return sample_shown(corpus, model_of[subject], number, **reading)

    return Explorer(controls, show)
