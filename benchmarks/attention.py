"""How long attention rollout takes, and how much memory ViT-B/16 on four frames needs for it.

`python benchmarks/attention.py [--quick]` prints its figures as one JSON object on the last line.
`--quick` takes 32 frames instead of 256.

- `rollout_256_seconds`: max rollout of 256 frames through the demo ViT, on all cores, the fastest
  of three. `plain_seconds` is the same by asking transformers for all attentions, a frame at a
  time, and multiplying matrices in numpy; `rollout_ratio` is plain over ours.
- `vivit_448_peak_mb`: the most memory that a process of its own holds during max rollout of two
  clips through ViT-B/16 at 448 x 448 (785 tokens, random weights), all told;
  `vivit_448_growth_mb` is what comes on top of imports and model.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time

import numpy as np
import torch
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from paincore.attention.maps import rollout
from paincore.training import backbones as encoders
from paincore.training.vit import PainTransformer

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 frames instead of 256")
    count = 32 if parser.parse_args().quick else 256
    encoder = encoders.load_encoder("movement")
    model = PainTransformer(encoder, 1, torch.Generator().manual_seed(0)).eval()
    frames = np.random.default_rng([0, *b"frames"]).integers(
        0, 256, (count, 1, 48, 48, 3), np.uint8
    )
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        ours = rollout(model, frames, "max")
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    plain = plain_rollout(model, frames)
    plain_seconds = time.perf_counter() - begun
    print(f"{count} frames: {min(seconds):.2f} s, plain {plain_seconds:.2f} s")
    print(f"largest difference between the two: {abs(ours - plain).max():.1e}")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak, growth = pool.apply(peak_of_vivit)
    print(
        json.dumps(
            {
                "frames": count,
                "rollout_256_seconds": round(min(seconds) * 256 / count, 2),
                "plain_seconds": round(plain_seconds, 2),
                "rollout_ratio": round(plain_seconds / min(seconds), 1),
                "vivit_448_peak_mb": round(peak),
                "vivit_448_growth_mb": round(growth),
            }
        )
    )


def plain_rollout(model: PainTransformer, frames: np.ndarray) -> np.ndarray:
    """Max rollout, frame by frame, of the attentions that transformers returns: (M, T)."""
    model.encoder.set_attn_implementation("eager")
    found = []
    for frame in frames:
        with torch.no_grad():
            pixels = model.pixels(torch.from_numpy(frame[None]))
            layers = model.encoder(pixels, output_attentions=True).attentions
        result = np.eye(layers[0].shape[-1])
        for heads in layers:
            mixed = (heads[0].numpy().max(0) + np.eye(len(result))) / 2
            result = mixed / mixed.sum(1, keepdims=True) @ result
        found.append(result[0])
    model.encoder.set_attn_implementation("sdpa")
    return np.array(found)


def peak_of_vivit() -> tuple[float, float]:
    """Peak memory in MB of this process during the rollout, and how much of it came with it."""
    config = ViTConfig()  # ViT-B/16 at 224
    encoder = ViTModel._from_config(config, attn_implementation="sdpa", add_pooling_layer=False)
    model = PainTransformer(encoder, 4, torch.Generator().manual_seed(0)).eval()
    rng = np.random.default_rng([0, *b"clips"])
    clips = rng.integers(0, 256, (2, 4, 224, 224, 3), np.uint8)
    before = peak_mb()
    rollout(model, clips, "max", discard=0.5)
    return peak_mb(), peak_mb() - before


def peak_mb() -> float:
    """The most memory this process has held, in MB; macOS counts in bytes, Linux in KB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


if __name__ == "__main__":
    main()
