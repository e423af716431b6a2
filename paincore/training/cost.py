"""What the paper's trainings would take on this machine's processor, measured there."""

import os
import time
from functools import partial

import torch
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from paincore import paper
from paincore.training import vit
from paincore.training.configuration import LAYERS, configure
from paincore.training.gpu import computing, precision_on
from paincore.training.train import optimizer_of, training_step

VIVIT_OVER_VIT = 4.5  # operations of a sample: 785 tokens over 197, attention by their square
TRAININGS = 15  # of a model on each fold: 14 configurations, one of which, SAM, costs two


def days_of_the_paper(frames: int) -> float:
    """Days that all trainings of the paper take on all cores, for a corpus of so many frames.

    From the seconds of one step of ViT-B/16 on one image, in the precision that the processor has.
    An upper end: a search trains fewer than all layers, which takes less.
    """
    cpu = torch.device("cpu")
    with torch.device("meta"):
        encoder = ViTModel(ViTConfig(), add_pooling_layer=False)
    encoder = encoder.to_empty(device=cpu)
    for parameter in encoder.parameters():
        torch.nn.init.constant_(parameter, 0.01)  # no value costs more than another
    model = vit.PainTransformer(encoder, 1, torch.Generator())
    vit.freeze(model, LAYERS, "attention")
    optimizer = optimizer_of(configure(), model)
    forward = partial(model, torch.zeros(1, 3, model.image_size, model.image_size))
    with computing(cpu, deterministic=False):
        for _ in range(2):  # the first step also sets up memory
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, precision_on(cpu, "bf16") == "bf16"):
                training_step(forward, torch.ones(1), optimizer)
    sample = (time.perf_counter() - start) * (1 + VIVIT_OVER_VIT)
    samples = frames * (paper.FOLDS - 1)  # of all folds
    return sample * samples * TRAININGS / (os.cpu_count() or 1) / 86_400
