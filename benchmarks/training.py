"""How much faster the engine trains and tests ViT-B/16 than the loop one would write first.

`python benchmarks/training.py [--quick]` prints its figures as one JSON object on the last line.
The baseline, in the same process, on the same frames and one thread, is what the released notebook
does: PNG files decoded one by one, float32, attention written out, everything its freezing lets
train differentiated, and tests of one frame at a time that return all attentions. Weights are
random, since their values cost nothing. The engine runs in bf16 where the processor multiplies in
it and in fp32; the named ratios are bf16's there, else fp32's.
"""

import argparse
import json
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from gpu import multiply_rate, operations, released_network
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from paincore.data.corpus import open_corpus
from paincore.folds.designs import make_folds
from paincore.registration.store import registered
from paincore.training.configuration import BATCH_SIZE, configure
from paincore.training.feed import Feed, keep_states
from paincore.training.samples import FoldSamples, Task, TrainingOrder
from paincore.training.train import TEST_BATCH, optimise, pain_probabilities, train_fold
from paincore.training.vit import PainTransformer, freeze, frozen_depth

CPU = torch.device("cpu")
SIZE = 224


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="two steps of each")
    quick = arguments.parse_args().quick
    torch.set_num_threads(1)
    bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    precisions = ["fp32", "bf16"] if bf16 else ["fp32"]
    print(f"bf16 on this processor: {'yes' if bf16 else 'no: the ratios are of fp32'}")
    steps = 2 if quick else 4
    with tempfile.TemporaryDirectory() as folder:
        files, pictures = write_frames(Path(folder), steps * BATCH_SIZE * 5 // 4)
        plain = plain_rates(files, steps)
        for precision in precisions:
            figures = ratios(plain, pictures, steps, precision, Path(folder))
    figures |= demo_seconds()
    print(json.dumps(figures))


def write_frames(folder: Path, count: int) -> tuple[list[Path], np.ndarray]:
    """`count` pictures of noise as PNG files, and the same as an array (N, 224, 224, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (count, SIZE // 8, SIZE // 8, 3), np.uint8)
    pictures = np.stack([cv2.resize(small, (SIZE, SIZE)) for small in noise])
    files = [folder / f"{number}.png" for number in range(count)]
    for file, picture in zip(files, pictures, strict=True):
        cv2.imwrite(str(file), picture[..., ::-1])
    return files, pictures


@contextmanager
def clock():
    """An object whose `seconds` are those between entering and leaving."""
    measured = SimpleNamespace(seconds=0.0)
    start = time.perf_counter()
    yield measured
    measured.seconds = time.perf_counter() - start


def plain_rates(files: list[Path], steps: int) -> dict[str, float]:
    """Samples a second of the released notebook's loop in training and in testing."""
    model, adam = released_network(ViTConfig(num_labels=2), CPU)

    def decoded(file: Path) -> torch.Tensor:
        pixels = cv2.imread(str(file))[..., ::-1].astype(np.float32)
        return torch.from_numpy(((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1).copy())

    def step(start: int) -> None:
        pixels = torch.stack([decoded(file) for file in files[start : start + BATCH_SIZE]])
        labels = torch.arange(BATCH_SIZE) % 2
        loss = torch.nn.functional.cross_entropy(model(pixels).logits, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()

    step(0)  # warms caches
    with clock() as training:
        for number in range(steps):
            step(number * BATCH_SIZE)
    with torch.no_grad():
        model(decoded(files[0])[None])
        with clock() as testing:
            for file in files[: 2 * BATCH_SIZE]:
                model(decoded(file)[None], output_attentions=True)
    rates = {
        "train": steps * BATCH_SIZE / training.seconds,
        "test": 2 * BATCH_SIZE / testing.seconds,
    }
    print(f"plain loop: {rates['train']:.2f} trained, {rates['test']:.2f} tested a second")
    return rates


def ratios(
    plain: dict, pictures: np.ndarray, steps: int, precision: str, folder: Path
) -> dict[str, float]:
    """The engine's rates over the plain loop's, and its share of the matrix-multiply rate."""
    top = multiply_rate(CPU, precision, 2048)
    print(f"{precision}: matrix products of 2048, {top / 1e9:.0f} GFLOP/s on one thread")
    twelve = engine_rates(pictures, steps, 12, precision, folder)
    six = engine_rates(pictures, steps, 6, precision, folder)
    reached = twelve["train"] * operations(ViTConfig(), "vit", 12, kept=True) / top
    config = ViTConfig()
    shares = {
        "train, 12 layers": reached,
        "train, 6 layers, states kept": six["train"]
        * operations(config, "vit", 6, kept=True)
        / top,
        "test": twelve["test"] * operations(config, "vit", None) / top,
    }
    for name, share in shares.items():
        print(f"{precision}: {name}: {share:.2f} of that rate")
    figures = {
        "train_ratio_12_layers": twelve["train"] / plain["train"],
        "train_ratio_6_layers": six["fold"] / plain["train"],
        "train_ratio_6_layers_cached": six["train"] / plain["train"],
        "evaluate_ratio": twelve["test"] / plain["test"],
        "matmul_fraction": reached,
    }
    figures = {name: round(value, 2) for name, value in figures.items()} | {"precision": precision}
    print(f"{precision}: {figures}")
    return figures


def engine_rates(
    pictures: np.ndarray, steps: int, layers: int, precision: str, folder: Path
) -> dict[str, float]:
    """Samples a second of the engine: `train`, `test`, and `fold`, with the cache's filling."""
    encoder = ViTModel._from_config(
        ViTConfig(), attn_implementation="sdpa", add_pooling_layer=False
    )
    model = PainTransformer(encoder, 1, torch.Generator())
    freeze(model, layers, "attention")
    rows = np.arange(len(pictures))[:, None]
    config = configure(unfrozen_layers=layers, precision=precision)
    task = Task(None, config, None, 0, CPU)
    feed = Feed(model, pictures, rows, frozen_depth(model), precision)
    with clock() as filling:
        store = SimpleNamespace(fingerprint="noise")
        feed.kept = keep_states(feed, store, "random", folder / f"{layers}")
    count = steps * BATCH_SIZE
    pain = np.arange(len(rows)) % 2 == 0
    train, test = np.arange(count), np.arange(count, len(rows))
    samples = FoldSamples(rows, pain, train, test, pain[:count])
    whole = np.ones(count, np.float32)
    warm, order = (
        TrainingOrder(one, one, whole[: len(one)]) for one in (train[:BATCH_SIZE], train)
    )
    optimise(task, feed, samples, warm, show_progress=False)
    with clock() as training:
        optimise(task, feed, samples, order, show_progress=False)
    feed.kept = None  # every frame is tested once: its states come from nowhere else
    tested = np.resize(test, TEST_BATCH["cpu"])
    pain_probabilities(task, feed, tested[:2])
    with clock() as testing:
        pain_probabilities(task, feed, tested)
    return {
        "train": count / training.seconds,
        "fold": count / (training.seconds + filling.seconds),
        "test": len(tested) / testing.seconds,
    }


def demo_seconds() -> dict[str, float]:
    """Seconds of one fold of the demo corpus, from an empty results folder, on one thread."""
    corpus = open_corpus()
    store = registered(corpus)
    fold = make_folds(store.frames, "balanced", store.usable)[0]
    figures = {}
    for model, stride in (("vit", 1), ("vivit", 2)):
        config = configure(model=model, clip_stride=stride)
        with tempfile.TemporaryDirectory() as results, clock() as training:
            run = train_fold(store, config, fold, 0, results, "cpu", show_progress=False)
        figures[f"demo_{model}_fold_seconds"] = round(training.seconds, 1)
        print(f"{config.title}: {run.environment['train_seconds']:.0f} s")
    return figures


if __name__ == "__main__":
    main()
