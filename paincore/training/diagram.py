"""The two models drawn: shapes, and what of them trains, read from the models themselves."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle
from torch import nn

from paincore.registration.figures import draw_patches
from paincore.registration.figures import rising_clip
from paincore.style import MUTED, THIS, may_be_shown, new_figure, show_face, styled
from paincore.training.configuration import MODELS, Configuration
from paincore.training.samples import CLIP
from paincore.training.tables import count_of, model_of
from paincore.training.vit import PainTransformer

FROZEN, TOKEN, CLS = "#D5D9DF", "#F1F2F4", "#F0E442"
UNITS = 10  # of the drawing to an inch
HEIGHT = 21.0  # of one model
TOP, BOTTOM = 18.0, 4.5  # of the boxes, above the lower edge of their model
MIDDLE = (TOP + BOTTOM) / 2


@styled
def models(corpus, store, configurations: list[Configuration]) -> Figure:
    """A model of each configuration, from the picture to the answer, trained parts in blue.

    The pictures are `paincore.registration.figures.rising_clip`, ViT's is the last of them. Chapter 04.
    """
    figure = new_figure(
        corpus.dataset, "The two models", 0.55 + HEIGHT / UNITS * len(configurations)
    )
    usable = store.frames[store.usable]
    clip = rising_clip(usable)
    for axes, configuration in zip(
        figure.subplots(len(configurations), 1, squeeze=False).flat, configurations, strict=True
    ):
        axes.set(xlim=(0, 74), ylim=(0, HEIGHT), aspect="equal")
        axes.set_axis_off()
        model = model_of(configuration)
        axes.text(0, HEIGHT - 1.2, MODELS[configuration.model], fontweight="bold", va="center")
        frames = (clip if len(clip) else usable)[-CLIP[configuration.model] :]
        _draw_input(axes, corpus, store, frames, model)
        _draw_tokens(axes, model)
        _draw_blocks(axes, model)
        _draw_answer(axes, model)
    keys = [Patch(color=THIS, label="trained"), Patch(color=FROZEN, label="frozen")]
    keys.append(Patch(fc=CLS, ec=MUTED, lw=0.6, label="CLS token"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def _draw_input(axes: Axes, corpus, store, frames, model: PainTransformer) -> None:
    """The picture that the model reads, under the grid of its patches."""
    picture = axes.inset_axes((0, BOTTOM, TOP - BOTTOM, TOP - BOTTOM), transform=axes.transData)
    picture.set_axis_off()
    if len(frames) == model.frames:
        side = int(np.sqrt(model.frames))
        size = store.images.shape[1]
        grid = store.images[frames.index].reshape(side, side, size, size, 3)
        whole = grid.transpose(0, 2, 1, 3, 4).reshape(side * size, side * size, 3)
        subject = frames["subject"].iloc[0]
        show_face(picture, whole, corpus.dataset, subject)
        if may_be_shown(corpus.dataset, subject):
            draw_patches(picture, side * size, _patches(model))
    pixels = model.encoder.config.image_size
    _note(axes, (TOP - BOTTOM) / 2, f"{pixels} x {pixels} px,\n{_patches(model)} x "
          f"{_patches(model)} patches")  # fmt: skip
    _arrow(axes, TOP - BOTTOM + 0.4, 15.6)


def _patches(model: PainTransformer) -> int:
    """Patches a side of the model's picture."""
    return model.encoder.config.image_size // model.encoder.config.patch_size


def _draw_tokens(axes: Axes, model: PainTransformer) -> None:
    """The embeddings, and the tokens that they give."""
    embeddings = model.encoder.embeddings
    _box(axes, 16, 2.6, BOTTOM, TOP, _colour(embeddings), "embeddings")

    step = (TOP - BOTTOM) / 8
    for place in range(8):
        colour = CLS if place == 0 else TOKEN
        _box(axes, 20.6, 1.5, TOP - (place + 0.88) * step, TOP - place * step, colour)
    _note(
        axes, 22.8, f"{_patches(model) ** 2 + 1} tokens,\nwidth {model.encoder.config.hidden_size}"
    )
    _arrow(axes, 22.6, 25.0)


def _draw_blocks(axes: Axes, model: PainTransformer) -> None:
    """Every block as its attention and, above it, its MLP."""
    layers = model.encoder.layers
    step = 30 / len(layers)
    for place, block in enumerate(layers):
        left = 25.5 + place * step
        _box(axes, left, 0.84 * step, BOTTOM, MIDDLE - 0.15, _colour(block.attention), "attention")
        _box(axes, left, 0.84 * step, MIDDLE + 0.15, TOP, _colour(block.mlp), "MLP")
    attention, mlp = ([getattr(block, part) for block in layers] for part in ("attention", "mlp"))
    _note(
        axes,
        25.5 + 15 - 0.08 * step,
        f"{len(layers)} blocks: attention {count_of(attention)},\nMLP {count_of(mlp)}",
    )
    _arrow(axes, 55.4, 57.2)


def _draw_answer(axes: Axes, model: PainTransformer) -> None:
    """Final LayerNorm, the CLS token alone, dropout, head."""
    _box(axes, 57.5, 1.9, BOTTOM, TOP, _colour(model.encoder.layernorm), "LayerNorm")
    _arrow(axes, 59.6, 61.0)
    _box(axes, 61.2, 1.5, MIDDLE - 0.75, MIDDLE + 0.75, CLS)
    _arrow(axes, 62.9, 64.1)
    _box(axes, 64.3, 1.9, MIDDLE - 4, MIDDLE + 4, "white", f"dropout {model.dropout.p:.2f}")
    _arrow(axes, 66.3, 67.5)
    _box(axes, 67.7, 1.9, MIDDLE - 4, MIDDLE + 4, _colour(model.head), "head")
    axes.text(70, MIDDLE + 1.6, "pain", fontsize=7.5, va="center")
    axes.text(70, MIDDLE - 1.6, "no pain", fontsize=7.5, va="center")
    _note(axes, 67.2, f"head\n{count_of([model.head])}")


def _colour(part: nn.Module) -> str:
    return THIS if any(parameter.requires_grad for parameter in part.parameters()) else FROZEN


def _box(
    axes: Axes, left: float, width: float, low: float, high: float, colour: str, name: str = ""
) -> None:
    axes.add_patch(Rectangle((left, low), width, high - low, fc=colour, ec=MUTED, lw=0.5))
    axes.text(
        left + width / 2, (low + high) / 2, name, rotation=90, ha="center", va="center",
        fontsize=7, color="white" if colour == THIS else "black",
    )  # fmt: skip


def _arrow(axes: Axes, start: float, end: float) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 7, "color": MUTED, "lw": 0.9}
    axes.add_patch(FancyArrowPatch((start, MIDDLE), (end, MIDDLE), shrinkA=0, shrinkB=0, **style))


def _note(axes: Axes, x: float, text: str) -> None:
    """What stands below a part."""
    axes.text(x, BOTTOM - 0.7, text, ha="center", va="top", fontsize=7.5, color=MUTED)
