"""Attention of any test sample: layer, head or rollout, with pain and prediction over time.

Chapter 08.
"""

from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paincore.attention.explained import Explained, ExplanationError
from paincore.attention.figures import MAP_COLOURS, NO_SAMPLE, THRESHOLD, overlay, tiled
from paincore.attention.maps import (
    FUSIONS,
    ChosenSample,
    above,
    cls_attention,
    fuse,
    rollout,
    scaled,
    to_maps,
)
from paincore.data.corpus import Corpus
from paincore.explore.explorer import Explorer, choice, played, sequence_choice, slider
from paincore.explore.players import picture_of, player, spread
from paincore.style import MUTED, PAIN, THIS, new_figure, styled

ROLLOUT = "rollout"  # in the list of layers, where None would read as nothing chosen


class Reading(NamedTuple):
    """How attention is read: `layer` None is rollout, where `head` is the fusion of heads; else
    `head` is a head's number or the fusion of them all. `discard` is the rollout's."""

    layer: int | None = None
    head: str = "mean"
    discard: float = 0.0

    def __str__(self) -> str:
        if self.layer is None:
            return f"rollout, {self.head} of heads"
        return f"layer {self.layer}, " + (
            f"{self.head} of heads" if self.head in FUSIONS else f"head {self.head}"
        )


def attention_map(explained: Explained, number: int, reading: Reading) -> np.ndarray:
    """The map (F, P, P) of one sample, from 0 at its least value to 1 at its greatest.

    Raises AttentionError for a layer, head or discard that there is not.
    """
    frames, model = explained.frames(np.array([number])), explained.model
    if reading.layer is None:
        row = rollout(model, frames, reading.head, discard=reading.discard)
    elif reading.head in FUSIONS:
        row = fuse(cls_attention(model, frames, reading.layer), reading.head)
    else:
        row = cls_attention(model, frames, reading.layer, [int(reading.head)])[:, 0]
    return scaled(to_maps(row, model))[0]


@styled
def attention_figure(
    corpus: Corpus,
    explained: Explained,
    number: int,
    reading: Reading,
    threshold: float = THRESHOLD,
) -> Figure:
    """A sample with its map, and PSPI and predicted probability of its whole sequence.

    `number` is the sample's, as in `Explained`; the map is coloured from `threshold` on. Chapter 08
    and, frame by frame, chapter 07.
    """
    samples = explained.samples
    own = samples.iloc[number]
    sequence = samples[samples["sequence"] == own["sequence"]]
    title = f"{own['sequence']}, frame {own['frame']}"
    figure = new_figure(corpus.dataset, title, 3.0)
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.4))
    axes = figure.add_subplot(grid[:, 0])
    axes.set_axis_off()
    norm = Normalize(threshold, 1)
    values = above(attention_map(explained, number, reading), threshold)
    face = tiled(explained.store.images[explained.rows[number]])
    overlay(axes, corpus, face, own["subject"], values, norm)
    axes.set_title(str(reading), color=MUTED, fontsize=8)
    figure.colorbar(
        matplotlib.cm.ScalarMappable(norm, MAP_COLOURS),
        ax=axes,
        shrink=0.7,
        pad=0.02,
        ticks=(threshold, 1),
        label="of the sample's range",
    )
    panels = [figure.add_subplot(grid[row, 1]) for row in range(2)]
    draw_course(panels, sequence, own["frame"])
    return figure


def draw_course(panels: Sequence[Axes], sequence: pd.DataFrame, now: int) -> None:
    """PSPI above and predicted probability below, over the frames of a sequence; a line at `now`.

    `sequence` has the columns frame, pspi, pain and probability.
    """
    pspi, probability = panels
    pspi.fill_between(sequence["frame"], sequence["pspi"], step="mid", color=PAIN, alpha=0.35)
    pspi.set(ylabel="PSPI", ylim=(0, max(4, sequence["pspi"].max() * 1.1)))
    probability.plot(sequence["frame"], sequence["probability"], color=THIS, lw=1.3)
    probability.axhline(0.5, color=MUTED, lw=0.6, linestyle="--")
    probability.set(ylabel="probability", xlabel="frame", ylim=(0, 1), yticks=(0, 0.5, 1))
    pspi.tick_params(labelbottom=False)
    for axes in panels:
        axes.axvline(now, color="black", lw=1)
        axes.set_xlim(sequence["frame"].min(), sequence["frame"].max())
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    pspi.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def sample_sentence(explained: Explained, number: int, reading: Reading) -> str:
    """The sample, its label and prediction, and what its map is of."""
    own = explained.samples.iloc[number]
    return (
        f"{own['subject']}, fold {own['fold']}, frame {own['frame']}: PSPI {own['pspi']:.0f}, "
        f"probability of pain {own['probability']:.2f}. The map: {reading}."
    )


def watch_attention(corpus: Corpus, chosen: ChosenSample | None, most: int = 36) -> ipywidgets.VBox:
    """For the rendered book: the sequence of a telling sample, as the paper's Figure 10 reads it.

    `chosen` is `maps.choose_sample`; up to `most` evenly spaced samples. Chapter
    07.
    """
    if chosen is None:
        return ipywidgets.VBox([ipywidgets.Label(NO_SAMPLE)])
    explained, samples = chosen.explained, chosen.explained.samples
    own = samples[samples["sequence"] == samples["sequence"].iloc[chosen.number]]
    reading, pictures, shown = Reading(None, "max"), [], spread(own, most).index
    for number in shown:
        figure = attention_figure(corpus, explained, number, reading)
        words = sample_sentence(explained, number, reading)
        pictures.append(picture_of(figure, corpus.dataset, words))
    return player(pictures, "sample", int(np.argmin(abs(shown - chosen.number))))


def explore_attention(corpus: Corpus, models: Sequence[Explained]) -> Explorer:
    """Any test sample of any fold: which layer and head, or rollout, and from where on to colour.

    `models` are the folds of one configuration; who is chosen decides which of them is asked, that
    which has not seen this person. Chapter 08.
    """
    of = {s: one for one in models for s in one.run.predictions["subject"].unique()}
    samples = pd.concat([one.run.predictions[["subject", "sequence"]] for one in models])
    subject, sequence = sequence_choice(samples)
    layers = len(models[0].model.encoder.layers)
    heads = models[0].model.encoder.config.num_attention_heads
    controls = {
        "subject": subject,
        "sequence": sequence,
        "place": slider("sample", 0, 1, 1, 0),
        "layer": choice("layer", [ROLLOUT, *range(layers)]),
        "head": choice("heads", [*FUSIONS, *map(str, range(heads))]),
        "discard": slider("rollout drops", 0.0, 0.95, 0.05, 0.0),
        "threshold": slider("coloured from", 0.0, 0.95, 0.05, THRESHOLD),
    }

    def numbers(subject: str, sequence: str) -> np.ndarray:
        predictions = of[subject].run.predictions
        own = (predictions["subject"] == subject) & (predictions["sequence"] == sequence)
        return np.flatnonzero(own)

    def fit(change=None) -> None:
        controls["place"].max = max(0, len(numbers(subject.value, sequence.value)) - 1)

    fit()
    sequence.observe(fit, "value")

    def asked(state: dict) -> tuple[Explained, int, Reading]:
        if state["subject"] not in of:
            raise ExplanationError(f"{state['subject']} is tested by none of these models.")
        explained, found = of[state["subject"]], numbers(state["subject"], state["sequence"])
        if not len(found):
            raise ExplanationError(f"{state['subject']} has no sample in {state['sequence']}.")
        layer = None if state["layer"] == ROLLOUT else state["layer"]
        reading = Reading(layer, state["head"], state["discard"])
        if reading.layer is None and reading.head not in FUSIONS:
            raise ExplanationError("Rollout takes all heads: choose mean, max or min, or a layer.")
        return explained, int(found[min(state["place"], len(found) - 1)]), reading

    def draw(**state) -> Figure:
        return attention_figure(corpus, *asked(state), state["threshold"])

    def say(**state) -> str:
        return sample_sentence(*asked(state))

    rest = [c for name, c in controls.items() if name not in ("subject", "sequence", "place")]
    row = ipywidgets.Layout(flex_flow="row wrap")
    arranged = ipywidgets.VBox(
        [ipywidgets.Box([subject, sequence], layout=row), played(controls["place"]),
         ipywidgets.Box(rest, layout=row)]
    )  # fmt: skip
    return Explorer(controls, draw, say, arranged=arranged)
