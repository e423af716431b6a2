"""The two models: a vision transformer that reads one frame, and the same on a 2x2 grid of four.

Both are a Hugging Face ViT encoder, dropout and a linear head of two classes on the CLS token;
class 1 is pain. Images enter as uint8 RGB and become (x/255 - 0.5)/0.5 on the model's device.
Tokens are ordered CLS first, then the patches row by row. What trains is chosen by module, never by
a parameter's name: names change between releases of transformers.
"""

import pandas as pd
import torch
from torch import nn
from torch.nn import functional
from transformers.models.vit.modeling_vit import ViTLayer, ViTModel

from paincore import PaincoreError

DROPOUT = 0.10
CLASSES = 2
PARTS = ["embeddings", "attention", "mlp", "layernorms", "head"]  # of the model, for a table


class ModelError(PaincoreError, ValueError):
    """Frames that a model does not take."""


class OwnDropout(nn.Module):
    """Dropout whose masks come from a generator of its own, on the generator's device.

    A mask made on the CPU moves to where the values are, so that a GPU drops what a CPU drops.
    """

    def __init__(self, p: float, generator: torch.Generator):
        super().__init__()
        self.p, self.generator = p, generator

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The values, a proportion `p` of them 0 and the others scaled; in evaluation unchanged."""
        if not self.training:
            return values
        source = self.generator
        kept = torch.rand(values.shape, generator=source, device=source.device) >= self.p
        return values * kept.to(values.device, non_blocking=True) / (1 - self.p)


class PainTransformer(nn.Module):
    """ViT (frames=1) or ViViT (frames=4): encoder, dropout 0.10 and a head of two classes.

    The encoder is taken over: for four frames its position embeddings are repeated 2x2 and its
    image size doubles. The head's weights and then every dropout mask come from `generator`.
    `image_size` is the side of one frame in pixels.
    Source: sections 3 and 3.1 of the paper.
    """

    def __init__(self, encoder: ViTModel, frames: int, generator: torch.Generator):
        super().__init__()
        self.frames = frames
        self.image_size = encoder.config.image_size
        self.encoder = encoder
        if frames == 4:
            _tile_positions(encoder)
        self.dropout = OwnDropout(DROPOUT, generator)
        # Not initialised by the layer itself, which would use the global generator.
        self.head = nn.utils.skip_init(
            nn.Linear, encoder.config.hidden_size, CLASSES, device=encoder.device
        )
        weight = torch.empty(self.head.weight.shape, device=generator.device)
        nn.init.trunc_normal_(weight, std=0.02, generator=generator)
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.zero_()

    def pixels(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames uint8 (B, F, S, S, 3) as the encoder's images, float32 (B, 3, H, W), -1 to 1.

        Four frames become one image of twice the side: the first top left, the second top right,
        the third bottom left, the last bottom right. Raises ModelError for another shape or type.
        """
        size = self.image_size
        if frames.dtype != torch.uint8 or frames.shape[1:] != (self.frames, size, size, 3):
            raise ModelError(
                f"frames are {frames.dtype} {tuple(frames.shape)}; this model takes torch.uint8 "
                f"(B, {self.frames}, {size}, {size}, 3)"
            )
        side = 2 if self.frames == 4 else 1
        grid = frames.reshape(-1, side, side, size, size, 3).permute(0, 5, 1, 3, 2, 4)
        return (grid.reshape(-1, 3, side * size, side * size).float() / 255 - 0.5) / 0.5

    def below(self, pixels: torch.Tensor, depth: int) -> torch.Tensor:
        """Hidden states (B, T, D) after the embeddings and the lowest `depth` blocks."""
        hidden = self.encoder.embeddings(pixels)
        for block in self.encoder.layers[:depth]:
            hidden = block(hidden)
        return hidden

    def cls(self, hidden: torch.Tensor, depth: int) -> torch.Tensor:
        """The CLS token (B, D) at the top, of hidden states as `above` takes them.

        The last block is computed for this token alone, the only one that the head reads.
        """
        blocks = self.encoder.layers[depth:]
        for block in blocks[:-1]:
            hidden = block(hidden)
        cls = _cls_after(blocks[-1], hidden) if blocks else hidden[:, 0]
        return self.encoder.layernorm(cls)

    def above(self, hidden: torch.Tensor, depth: int) -> torch.Tensor:
        """Logits (B, 2) of hidden states (B, T, D) that have passed the lowest `depth` blocks."""
        return self.head(self.dropout(self.cls(hidden, depth)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) of images from `pixels`."""
        return self.above(self.below(pixels, 0), 0)


def freeze(model: PainTransformer, unfrozen_layers: int, freezing: str) -> None:
    """Choose what trains, by module; the head always does.

    "attention" (the paper): query, key, value and output projections of the top `unfrozen_layers`
    blocks. "released" (the authors' notebook): all of these blocks except the output projections
    and the second MLP layers; the embeddings and the final LayerNorm too. Source: sections 3 and
    3.3 of the paper.
    """
    layers = model.encoder.layers
    frozen = len(layers) - unfrozen_layers
    if freezing == "attention":
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        for block in layers[frozen:]:
            block.attention.requires_grad_(True)
    else:
        model.requires_grad_(True)
        layers[:frozen].requires_grad_(False)
        for block in layers[frozen:]:
            block.attention.o_proj.requires_grad_(False)
            block.mlp.fc2.requires_grad_(False)


def frozen_depth(model: PainTransformer) -> int | None:
    """How many blocks lie below the lowest trained parameter; None if the embeddings train.

    What `below` gives at this depth stays the same during a run, and can be computed once.
    """
    if _trains(model.encoder.embeddings):
        return None
    depths = (depth for depth, block in enumerate(model.encoder.layers) if _trains(block))
    return next(depths, len(model.encoder.layers))


def parameter_counts(model: PainTransformer) -> pd.DataFrame:
    """Numbers of trained and of frozen parameters: a row for each part of the model."""
    table = pd.DataFrame(0, index=PARTS, columns=["trained", "frozen"])
    for name, parameter in model.named_parameters():
        part = next((part for part in PARTS if part in name), "layernorms")
        table.loc[part, "trained" if parameter.requires_grad else "frozen"] += parameter.numel()
    return table


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _cls_after(block: ViTLayer, hidden: torch.Tensor) -> torch.Tensor:
    """The CLS token (B, D) after a block: keys and values of all tokens, the rest of CLS alone."""
    attention = block.attention
    normed = block.layernorm_before(hidden)
    query, key, value = (
        projection(tokens).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for projection, tokens in (
            (attention.q_proj, normed[:, :1]),
            (attention.k_proj, normed),
            (attention.v_proj, normed),
        )
    )
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=attention.scaling)
    cls = hidden[:, 0] + attention.o_proj(mixed.transpose(1, 2).flatten(1))
    return cls + block.mlp(block.layernorm_after(cls))


def _tile_positions(encoder: ViTModel) -> None:
    """Make a one-frame encoder one of 2x2 frames, each quarter with the positions of one frame."""
    config, embeddings = encoder.config, encoder.embeddings
    cls, patches = embeddings.position_embeddings.detach().split(
        [1, embeddings.patch_embeddings.num_patches], dim=1
    )
    side = config.image_size // config.patch_size
    grid = patches.unflatten(1, (side, side)).repeat(1, 2, 2, 1)
    embeddings.position_embeddings = nn.Parameter(torch.cat([cls, grid.flatten(1, 2)], dim=1))
    config.image_size *= 2
    embeddings.image_size = (config.image_size, config.image_size)
    embeddings.patch_embeddings.image_size = embeddings.image_size
    embeddings.patch_embeddings.num_patches *= 4
