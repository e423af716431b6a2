"""What training, testing and attention cost on a GPU at the paper's size, and what they compute.

`python benchmarks/gpu.py [--quick] [--carried FOLDER]` prints its figures as one JSON object on the
last line. It needs torch, transformers, numpy, pandas, pyarrow, scipy, scikit-learn, safetensors,
pydantic, filelock and OpenCV, and no file but those it makes: images are noise and weights random,
since neither changes what a step costs. `--quick` runs each part once at the demo's size, on a CPU
too, to see that the script is right. `--prepare FOLDER` writes what `--carried` compares with: the
demo's images at the size of its backbone and the predictions of one fold, trained on this
machine's CPU.

The baseline, in the same process on the same GPU, is the released notebook's loop: the same model
in float32, attention written out, everything that its freezing leaves differentiated, batches of
16. It reads images from memory, where the notebook decodes files: the ratios are of computing
alone.
"""

import argparse
import copy
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTForImageClassification, ViTModel

from paincore.attention.maps import last_layer_and_rollout
from paincore.folds.designs import Fold
from paincore.registration.frame_store import FrameStore, open_store
from paincore.statistics.scores import score
from paincore.training.backbones import DEMO, random_encoder
from paincore.training.configuration import ADAM, BATCH_SIZE, Configuration, configure
from paincore.training.gpu import computing
from paincore.training.samples import CLIP_LENGTH, Task, TrainingOrder, fold_samples
from paincore.training.train import build_model, feed_of, optimise, pain_probabilities, train_fold
from paincore.training.vit import PainTransformer, freeze, frozen_depth

FRAMES, SUBJECTS, SEQUENCES = 48_398, 25, 8  # UNBC-McMaster's, but for its uneven sequences
PAIN = 0.17
CARRIED = {"vit": configure(model="vit", backbone="movement")}
LAYERS = (12, 6)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="the demo's size, one step of each")
    arguments.add_argument("--carried", type=Path, help="a folder that --prepare wrote")
    arguments.add_argument("--prepare", type=Path, help="write the folder for --carried, and stop")
    asked = arguments.parse_args()
    if asked.prepare:
        prepare(asked.prepare)
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
        if not asked.quick:
            raise SystemExit("There is no GPU here. See that the script is right with --quick.")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), device, asked.quick)
        figures = {"device": bench.name, "quick": asked.quick, "torch": torch.__version__}
        figures |= bench.plain_rates()  # before TF32 is allowed
        with computing(device, deterministic=False):
            for part in (bench.rates, bench.compiled, bench.folds, bench.attention):
                figures |= part(figures)
        figures |= carried_fold(asked.carried, bench.results, device) if asked.carried else {}
        figures |= projected(figures)
    print(json.dumps(figures))


class Bench:
    """A corpus of noise of the paper's size, the backbone, and what is measured with them."""

    def __init__(self, folder: Path, device: torch.device, quick: bool):
        self.results, self.device, self.quick = folder / "results", device, quick
        cuda = device.type == "cuda"
        self.name = torch.cuda.get_device_name(device) if cuda else platform.machine()
        architecture = ViTConfig(**DEMO) if quick else ViTConfig()
        self.frames = 2400 if quick else FRAMES
        self.steps = 2 if quick else 600
        self.precision = "bf16" if cuda and torch.cuda.get_device_capability()[0] >= 8 else "fp32"
        self.backbone = write_backbone(folder / "backbone", architecture)
        self.architecture = architecture
        self.store = noise_store(folder / "store", self.frames, architecture.image_size)
        self.fold = fold_of(self.store.frames)

    def configuration(self, model: str, **settings: object) -> Configuration:
        """A configuration of the bench's backbone and precision."""
        own = {"backbone": str(self.backbone), "precision": self.precision}
        return configure(model=model, **own | settings)

    def plain_rates(self) -> dict:
        """Samples a second of the released notebook's loop, of both models."""
        return {
            f"{model}_plain_samples_per_second": self.plain_rate(model) for model in CLIP_LENGTH
        }

    def rates(self, before: dict) -> dict:
        """Samples a second in training, over those of the plain loop, and of testing."""
        side = 1024 if self.quick else 8192
        top, figures = multiply_rate(self.device, self.precision, side), {}
        say(f"dense matrix products: {top / 1e12:.1f} TFLOP/s in {self.precision}")
        figures["matmul_tflops"] = top / 1e12
        for model in CLIP_LENGTH:
            plain = before[f"{model}_plain_samples_per_second"]
            say(f"{model}, plain loop: {plain:.1f} samples a second")
            for layers in LAYERS:
                name = f"{model}_train_samples_per_second" + ("" if layers == 12 else f"_{layers}")
                figures[name], tested = self.engine_rate(model, layers)
                figures[f"{name}_ratio"] = figures[name] / plain
                kept = self.device.type == "cpu"  # where frozen states are read, not computed
                counted = operations(self.architecture, model, layers, kept)
                used = figures[name] * counted / top
                figures[f"{model}_mfu" + ("" if layers == 12 else f"_{layers}")] = used
                say(f"{name}: {figures[name]:.1f}, {used:.2f} of the matrix products' rate")
            figures[f"{model}_test_samples_per_second"] = tested
        figures["mfu"] = figures["vit_mfu"]
        figures["test_samples_per_second"] = figures["vit_test_samples_per_second"]
        return figures

    def engine_rate(self, model: str, layers: int) -> tuple[float, float]:
        """Samples a second of the engine, trained and tested, after a warm-up."""
        task = Task(self.store, self.configuration(model, unfrozen_layers=layers), self.fold, 0,
                    self.device)  # fmt: skip
        samples, built = fold_samples(task), build_model(task)
        feed = feed_of(task, built, samples, self.results / "cache")
        train = partial(optimise, task, feed, samples, show_progress=False)
        steps = self.steps if model == "vit" else max(2, self.steps // 3)
        order = unmixed(np.arange(steps * BATCH_SIZE) % len(samples.train))
        train(unmixed(order.first[: 2 * BATCH_SIZE]))
        trained = len(order.first) / self.seconds(lambda: train(order))
        tested = samples.test[: 64 if self.quick else 2048 // CLIP_LENGTH[model]]
        pain_probabilities(task, feed, tested[:8])
        return trained, len(tested) / self.seconds(lambda: pain_probabilities(task, feed, tested))

    def plain_rate(self, model: str) -> float:
        """Samples a second of the released notebook's loop."""
        side = self.architecture.image_size * (1 if model == "vit" else 2)
        config = ViTConfig(**self.architecture.to_dict() | {"image_size": side, "num_labels": 2})
        network, adam = released_network(config, self.device)
        images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, side, side, 3), np.uint8)
        labels = torch.arange(BATCH_SIZE, device=self.device) % 2

        def step() -> None:
            pixels = torch.from_numpy((images / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).float()
            loss = cross_entropy(network(pixels.to(self.device)).logits, labels)
            adam.zero_grad()
            loss.backward()
            adam.step()

        step()
        steps = max(2, self.steps // 6)
        return steps * BATCH_SIZE / self.seconds(lambda: [step() for _ in range(steps)])

    def compiled(self, before: dict) -> dict:
        """What torch.compile would gain on the engine's step, and how long compiling takes."""
        task = Task(self.store, self.configuration("vit"), self.fold, 0, self.device)
        samples, seconds = fold_samples(task), {}
        order = unmixed(np.arange(self.steps * BATCH_SIZE) % len(samples.train))
        for way in ("engine", "compiled"):
            built = build_model(task)
            feed = feed_of(task, built, samples, self.results / "cache")
            if way == "compiled":
                # On a CPU its compiler takes minutes and nothing is learnt of a GPU.
                backend = "aot_eager" if self.quick else "inductor"
                built.cls = torch.compile(PainTransformer.cls.__get__(built), backend=backend)
            train = partial(optimise, task, feed, samples, show_progress=False)
            first = unmixed(order.first[: 2 * BATCH_SIZE])
            warming = self.seconds(lambda train=train, first=first: train(first))
            seconds[way] = warming, self.seconds(lambda train=train: train(order)) / self.steps
        gain = seconds["engine"][1] - seconds["compiled"][1]
        figures = {
            "compiled_gain": seconds["engine"][1] / seconds["compiled"][1],
            "compile_seconds": seconds["compiled"][0] - seconds["engine"][0],
        }
        steps = figures["compile_seconds"] / gain if gain > 0 else float("inf")
        say(f"torch.compile: {figures['compiled_gain']:.2f} times as fast; pays from {steps:.0f} "
            "steps on")  # fmt: skip
        return figures

    def folds(self, before: dict) -> dict:
        """A whole fold of ViT, a tenth of one of ViViT, and one fold twice."""
        small = replace(self.fold, train=self.fold.train[::10], test=self.fold.test[::10])
        tenth = tenth_of(self.fold, self.store.frames)
        figures, probabilities = {}, []
        figures["fold_seconds"] = self.seconds(lambda: self.trained("vit", self.fold, 0))
        figures["vivit_tenth_fold_seconds"] = self.seconds(lambda: self.trained("vivit", tenth, 0))
        for folder in ("once", "again"):
            run = self.trained("vit", small, 1, folder)
            probabilities.append(run.predictions["probability"].to_numpy())
        once, again = probabilities
        figures["repeat_difference"] = float(np.abs(once - again).max())
        say(f"one ViT fold {figures['fold_seconds']:.0f} s")
        return figures

    def trained(self, model: str, fold: Fold, seed: int, folder: str = "runs"):
        """One run from an empty folder."""
        results, device = self.results / folder, self.device.type
        return train_fold(self.store, self.configuration(model), fold, seed, results, device,
                          show_progress=False)  # fmt: skip

    def attention(self, before: dict) -> dict:
        """Seconds for heads of the last layer and rollout of 1,000 frames."""
        task = Task(self.store, self.configuration("vit"), self.fold, 0, self.device)
        model = build_model(task).eval()
        frames = np.array(self.store.images[: 64 if self.quick else 1000, None])
        last_layer_and_rollout(model, frames[:8])
        seconds = self.seconds(lambda: last_layer_and_rollout(model, frames))
        return {"attention_1000_seconds": seconds * 1000 / len(frames)}

    def seconds(self, work: Callable[[], object]) -> float:
        """How long work takes until the device has done it."""
        wait = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        work()
        wait()
        return time.perf_counter() - start


def unmixed(first: np.ndarray) -> TrainingOrder:
    """Samples in an order, without Mixup."""
    return TrainingOrder(first, first, np.ones(len(first), np.float32))


def say(text: str) -> None:
    print(text, flush=True)


def write_backbone(folder: Path, config: ViTConfig) -> Path:
    """A backbone of random weights, as a folder."""
    folder.mkdir(parents=True)
    save_file(random_encoder(config, 0).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(config.to_json_string(use_diff=False), "utf-8")
    return folder


def noise_store(folder: Path, frames: int, size: int) -> FrameStore:
    """A store of noise with as many people, sequences and painful frames as the paper's corpus."""
    folder.mkdir(parents=True)
    shape = (frames, size, size, 3)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    block = np.random.default_rng(0).integers(0, 256, (256, size, size, 3), np.uint8)
    for start in range(0, frames, len(block)):
        images[start : start + len(block)] = block[: frames - start]
    images.flush()
    place = np.arange(frames) * SUBJECTS * SEQUENCES // frames
    table = pd.DataFrame(
        {
            "subject": np.char.add("nn", np.char.zfill((place // SEQUENCES).astype(str), 3)),
            "sequence": np.char.add("s", np.char.zfill(place.astype(str), 3)),
            "frame": pd.Series(place).groupby(place).cumcount() + 1,
            "pain": pd.array(np.random.default_rng(1).random(frames) < PAIN, "boolean"),
            "state": "ok",
        }
    )
    images = np.load(folder / "images.npy", mmap_mode="r")
    return FrameStore(folder, images, table, {"fingerprint": f"noise-{frames}", "size": size})


def fold_of(frames: pd.DataFrame) -> Fold:
    """The last fifth of the people is tested, the others train."""
    tested = frames["subject"] > sorted(frames["subject"].unique())[SUBJECTS * 4 // 5 - 1]
    return Fold("bench", 1, np.flatnonzero(~tested), np.flatnonzero(tested))


def tenth_of(fold: Fold, frames: pd.DataFrame) -> Fold:
    """Every tenth sequence of a fold."""
    chosen = pd.factorize(frames["sequence"])[0] % 10 == 0
    return replace(fold, train=fold.train[chosen[fold.train]], test=fold.test[chosen[fold.test]])


def released_network(
    config: ViTConfig, device: torch.device
) -> tuple[ViTForImageClassification, torch.optim.Adam]:
    """The released notebook's network with its freezing, attention written out, and its Adam."""
    network = ViTForImageClassification._from_config(config, attn_implementation="eager")
    for block in network.vit.layers:
        block.attention.o_proj.requires_grad_(False)
        block.mlp.fc2.requires_grad_(False)
    network.to(device).train()
    trained = [one for one in network.parameters() if one.requires_grad]
    return network, torch.optim.Adam(trained, lr=2e-4, **ADAM)


def operations(config: ViTConfig, model: str, layers: int | None, kept: bool = False) -> int:
    """Counted operations of one sample: of a training step, or where `layers` is None of a test.

    `kept` leaves out the frozen part of a step, whose states are read.
    """
    own = copy.deepcopy(config)  # a model of clips doubles the image's size in it
    with torch.device("meta"):
        encoder = ViTModel._from_config(own, attn_implementation="sdpa", add_pooling_layer=False)
    module = PainTransformer(encoder, CLIP_LENGTH[model], torch.Generator()).eval()
    side, depth = module.encoder.config.image_size, 0
    if layers:
        freeze(module, layers, "attention")
        depth = frozen_depth(module)
    below, above = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with below, torch.no_grad():
        hidden = module.below(torch.empty(1, 3, side, side, device="meta"), depth)
    with above, torch.set_grad_enabled(layers is not None):
        found = module.above(hidden, depth).sum()
        if layers:
            found.backward()
    return above.get_total_flops() + (0 if kept else below.get_total_flops())


def multiply_rate(device: torch.device, precision: str, side: int) -> float:
    """Operations a second of matrix products of this side, the best of six."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    one, other = (torch.rand(side, side, dtype=dtype, device=device) for _ in range(2))
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        (one @ other)[0, 0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def carried_fold(folder: Path, results: Path, device: torch.device) -> dict:
    """The demo's fold on this device against the CPU's, from a folder that `prepare` wrote."""
    store = open_store(folder / "store")
    rows = json.loads((folder / "fold.json").read_text("utf-8"))
    fold = Fold("carried", 1, *(np.array(rows[side]) for side in ("train", "test")))
    there = pd.read_parquet(folder / "predictions.parquet")
    run = train_fold(store, CARRIED["vit"], fold, 0, results, device.type, show_progress=False)
    here = run.predictions
    auc = [score(table["pain"], table["probability"])["auc"] for table in (there, here)]
    say(f"demo fold: AUC {auc[0]:.4f} on the CPU, {auc[1]:.4f} on {device.type}")
    return {
        "cpu_auc": auc[0],
        "gpu_auc": auc[1],
        "cpu_gpu_auc_difference": auc[1] - auc[0],
        "cpu_gpu_probability_difference": float(
            np.abs(here["probability"] - there["probability"]).max()
        ),
    }


def prepare(folder: Path) -> None:
    """Write the demo's store at the backbone's size, its first fold and the CPU's predictions."""
    from paincore.registration.frame_store import write_store
    from paincore.study import open_study
    from paincore.training.feed import images_at

    study = open_study("demo")
    images = images_at(study.store, DEMO["image_size"], study.results / "cache")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "store").mkdir(parents=True)
    np.save(folder / "store" / "images.npy", images)
    meta = study.store.meta | {"size": DEMO["image_size"]}
    write_store(folder / "store", study.store.frames, meta)
    fold = study.folds[0]
    rows = {"train": fold.train.tolist(), "test": fold.test.tolist()}
    (folder / "fold.json").write_text(json.dumps(rows), "utf-8")
    fold = Fold("carried", 1, fold.train, fold.test)
    with tempfile.TemporaryDirectory() as results:
        store = open_store(folder / "store")
        run = train_fold(store, CARRIED["vit"], fold, 0, results, "cpu")
        run.predictions.to_parquet(folder / "predictions.parquet")


def projected(figures: dict) -> dict:
    """Hours of the paper's 140 trainings and of the book's others, from the rates above.

    Not measured: a training takes its samples over the rate at its number of layers, which lies on
    the line through those at 6 and 12, twice that with SAM, and its test samples. After the search
    of the layers all train 12. Chapters 04 and 07 add five folds of three controls. The samples of
    a fold are the four fifths of the frames on average.
    """
    train, test = FRAMES * 4 // 5, FRAMES // 5
    hours = {}
    for model in CLIP_LENGTH:
        rate = figures[f"{model}_train_samples_per_second"]
        twelve, six = 1 / rate, 1 / figures[f"{model}_train_samples_per_second_6"]
        searched = [twelve + (six - twelve) * (12 - layers) / 6 for layers in range(2, 13, 2)]
        others = 4 + 2 + 3  # rates, SAM, Mixup
        tests = 14 * test / figures[f"{model}_test_samples_per_second"]
        hours[model] = 5 * (train * (sum(searched) + others * twelve) + tests) / 3600
    controls = 15 * train / figures["vivit_train_samples_per_second"] / 3600
    return {
        "projected_hours": hours["vit"] + hours["vivit"],
        "projected_hours_by_model": hours,
        "projected_hours_of_book": hours["vit"] + hours["vivit"] + controls,
    }


if __name__ == "__main__":
    main()
