"""A model whose prediction follows from one known patch, and pictures for it."""

import numpy as np
import torch

from paincore.training.backbones import load_encoder
from paincore.training.vit import PainTransformer

SIZE = 48


class OnePatch(PainTransformer):
    """Pain is how bright one patch is: the logits are -z and z of its mean pixel z times four."""

    place: tuple[int, int, int]  # frame, row, column

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        frame, row, column = self.place
        patch = self.encoder.config.patch_size
        side = 2 if self.frames == 4 else 1
        top = (frame // side) * self.image_size + row * patch
        left = (frame % side) * self.image_size + column * patch
        z = 4 * pixels[:, :, top : top + patch, left : left + patch].mean((1, 2, 3))
        return torch.stack([-z, z], dim=1)


def model_of(frames: int, encoder=None, place: tuple[int, int, int] | None = None):
    """A model of random weights, or `OnePatch` where a place is named."""
    kind = PainTransformer if place is None else OnePatch
    encoder = encoder or load_encoder("random", 0)
    model = kind(encoder, frames, torch.Generator().manual_seed(0)).eval()
    model.place = place
    return model


def pictures(count: int, frames: int, seed: int = 0) -> np.ndarray:
    """Noise, uint8 (count, frames, SIZE, SIZE, 3)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, frames, SIZE, SIZE, 3), np.uint8)
