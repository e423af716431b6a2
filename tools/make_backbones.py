"""Make paincore/training/weights: two small ViTs that stand where the paper has ImageNet weights.

People who are in no corpus are drawn by the corpus's own renderer, each picture with pose, light,
gaze and face movements of its own. Every action unit is drawn for itself: it is at rest, or has an
intensity, whatever the others do; there is no PSPI here, no pain and no smile. Each picture is seen
as the corpus's are, as a frontal view (backend `landmarker`) and as a plain crop (`none`).

`movement` learns from these who it is, how head and light are turned, and the intensity of every
single unit; `general` learns person, pose and light only. Both learn through the final layer norm
and the CLS token, by linear heads that are thrown away. Nothing was chosen by looking at a corpus.

    python tools/make_backbones.py

Pictures are kept under results/backbones and drawn once. On one kind of processor the weights are
the same to the bit: a training has one thread, and every draw a seed of its own.
"""

import hashlib
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
import typer
from dask.distributed import Client
from rich.progress import track
from sklearn.metrics import pairwise_distances
from torch import nn
from torch.nn import functional
from transformers import ViTConfig, ViTModel

from paincore.cluster import connect, run
from paincore.manifest import ROOT
from paincore.registration.backends import Backend, backend_fingerprint, load_backend
from paincore.registration.faces import Picture, find_faces
from paincore.training.backbones import DEMO
from synthpain.behaviour import AUS
from synthpain.corpus import GENERATOR_VERSION
from synthpain.head import View
from synthpain.people import Person, draw_person
from synthpain.render import Renderer
from synthpain.temperament import generator

SEED = 4
SPREAD = 0.08  # of the first weights: at the usual 0.02, narrow tokens hardly see each other
PLACE = 0.5  # standard deviation of the first position embeddings: a face's parts have places
VIEWS = ("landmarker", "none")
STORED = 224  # side of a stored frame, from which the model's pictures are averaged down
MOVEMENTS = tuple(f"au{au}" for au in (*AUS, 43))  # AU45 is AU43 for a shorter time
MOVES = 0.15  # how often each of them moves
POSE = ("yaw", "pitch", "roll")
LIGHT = ("light_yaw", "light_pitch", "light_strength", "warmth")
TARGETS = {"movement": (*MOVEMENTS, *POSE, *LIGHT), "general": (*POSE, *LIGHT)}
ROOMS = 1000  # backdrops of one person: more than can be learnt in place of the face


@dataclass(frozen=True)
class Plan:
    """How many people, pictures of each, and how to train; the last `held_out` people only test.

    Twelve narrow layers learn slowly from nothing. So a shallow encoder learns first, with a stage
    for each of `layers`, `epochs` and peak learning `rates`, and grows into the deep one.
    """

    people: int = 600
    pictures: int = 20
    held_out: int = 40
    layers: tuple[int, ...] = (4, 12)
    epochs: tuple[int, ...] = (8, 4)
    rates: tuple[float, ...] = (2e-3, 1e-3)
    batch: int = 32
    decay: float = 0.05
    identity: float = 0.1  # weight of the person beside the values


@dataclass(frozen=True)
class Pictures:
    """images uint8 (N, 2, S, S, 3), a view each of VIEWS; values float32 (N, T), the columns of
    `movement`'s targets; people int64 (N,)."""

    images: torch.Tensor
    values: torch.Tensor
    people: torch.Tensor

    def of(self, chosen: torch.Tensor) -> "Pictures":
        return Pictures(self.images[chosen], self.values[chosen], self.people[chosen])


def pretraining_person(number: int) -> Person:
    """A person of no corpus, of whatever seed: a corpus's people come from other generators."""
    return draw_person(generator(SEED, "pretraining person", number))


def draw_movements(rng: np.random.Generator) -> dict[str, float]:
    """Each unit for itself: at rest, or from 0 to its maximum (5; 1 for the lids of AU43)."""
    moves, level = rng.random(len(MOVEMENTS)) < MOVES, rng.random(len(MOVEMENTS))
    most = [1.0 if name == "au43" else 5.0 for name in MOVEMENTS]
    return dict(zip(MOVEMENTS, (moves * level * most).tolist(), strict=True))


def draw_view(rng: np.random.Generator) -> View:
    """Pose, gaze, light and room of one picture, over the range of what a corpus may show."""
    return View(
        yaw=float(np.clip(rng.normal(0, 14), -50, 50)),
        pitch=rng.normal(0, 6),
        roll=rng.normal(0, 4),
        x=rng.normal(0, 0.03),
        y=rng.normal(0, 0.015),
        scale=rng.uniform(0.85, 1.05),
        gaze_yaw=rng.normal(0, 8),
        gaze_pitch=rng.normal(-3, 5),
        light_yaw=rng.uniform(-55, 55),
        light_pitch=rng.uniform(10, 50),
        light_strength=rng.uniform(0.35, 0.8),
        warmth=rng.uniform(-0.6, 0.6),
        backdrop=int(rng.integers(ROOMS)),
    )


def draw_person_pictures(number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Views uint8 (K, 2, S, S, 3) and values float32 (K, T) of one person's pictures, but for
    those of the `count` in which no face is found."""
    renderer = Renderer(pretraining_person(number))
    images, values = [], []
    for picture in range(count):
        rng = generator(SEED, "pretraining picture", number, picture)
        movements, view = draw_movements(rng), draw_view(rng)
        seen = both_views(renderer.render(movements, view, rng))
        if seen is not None:
            images.append(seen)
            shown = movements | asdict(view)
            values.append([shown[name] for name in TARGETS["movement"]])
    return np.array(images, np.uint8), np.array(values, np.float32)


def both_views(image: np.ndarray) -> np.ndarray | None:
    """The picture (H, W, 3) by each of VIEWS, uint8 (2, S, S, 3), or None where there is no face.

    Both views are of one mesh: the backends differ in the view alone.
    """
    first, second = (loaded(name) for name in VIEWS)
    (face,) = find_faces([Picture("pretraining picture", image)], first, STORED)
    if face.view is None:
        return None
    views = face.view, second.view(image, face.mesh, second.topology, STORED)
    return np.stack([shrunk(view.image) for view in views])


def shrunk(image: np.ndarray) -> np.ndarray:
    side = DEMO["image_size"]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


@lru_cache
def loaded(name: str) -> Backend:
    return load_backend(name)


def write_person(task: tuple[int, int, Path]) -> None:
    """Draw one person's pictures into the cache, whole or not at all; on a worker."""
    number, count, path = task
    if path.exists():
        return
    cv2.setNumThreads(1)
    images, values = draw_person_pictures(number, count)
    writing = path.with_suffix(".writing.npz")
    np.savez(writing, images=images, values=values)
    writing.replace(path)


def draw_people(plan: Plan, cache: Path, client: Client) -> list[Path]:
    """Where the pictures of each of the plan's people lie; those that are missing are drawn."""
    side = DEMO["image_size"]
    drawn = [SEED, GENERATOR_VERSION, MOVES, ROOMS, STORED, side, plan.pictures]
    drawn += [backend_fingerprint(name) for name in VIEWS]
    folder = cache / hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.npz" for number in range(plan.people)]
    tasks = [(path.stem, (i, plan.pictures, path)) for i, path in enumerate(paths)]
    for _ in track(run(client, write_person, tasks), "Drawing people", total=len(tasks)):
        pass
    return paths


def read_pictures(paths: list[Path]) -> Pictures:
    """The pictures of people, numbered in the order of their files."""
    parts = []
    for path in paths:
        with np.load(path, allow_pickle=False) as stored:
            parts.append((stored["images"], stored["values"]))
    people = np.repeat(np.arange(len(parts)), [len(values) for _, values in parts])
    images, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Pictures(*map(torch.from_numpy, (images, values, people)))


class Pupil(nn.Module):
    """An encoder with a linear head for values and one for people on its CLS token."""

    def __init__(self, layers: int, values: int, people: int) -> None:
        super().__init__()
        config = ViTConfig(**DEMO | {"num_hidden_layers": layers, "initializer_range": SPREAD})
        with torch.random.fork_rng(devices=[]):  # transformers draws from global state
            torch.manual_seed(SEED + layers)
            self.encoder = ViTModel(config, add_pooling_layer=False)
            self.values = nn.Linear(config.hidden_size, values)
            self.people = nn.Linear(config.hidden_size, people)
            nn.init.normal_(self.encoder.embeddings.position_embeddings, std=PLACE)

    def learnt_from(self, young: "Pupil") -> None:
        """Take over what a shallower one knows: its layers, evenly spread, and between them layers
        that change nothing yet."""
        mine, theirs = self.encoder, young.encoder
        for block in mine.layers:
            for last in (block.attention.o_proj, block.mlp.fc2):
                nn.init.zeros_(last.weight)
        spread = mine.layers[:: len(mine.layers) // len(theirs.layers)]
        pairs = [(mine.embeddings, theirs.embeddings), (mine.layernorm, theirs.layernorm)]
        pairs += [(self.values, young.values), (self.people, young.people)]
        for part, known in [*pairs, *zip(spread, theirs.layers, strict=True)]:
            part.load_state_dict(known.state_dict())

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """CLS token, values and people's logits of pictures float (B, S, S, 3) in 0..255."""
        pixels = (pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        token = self.encoder(pixels).last_hidden_state[:, 0]
        return token, self.values(token), self.people(token)


def augmented(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Pictures (B, S, S, 3) as float, each moved by up to two pixels and a little brighter or
    darker; nothing is mirrored, since yaw and light have a side."""
    count, side = images.shape[:2]
    move = torch.randint(-2, 3, (2, count, 1), generator=rng)
    rows, columns = (torch.arange(side) + move).clamp(0, side - 1)
    images = images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    gain = 1 + 0.1 * (2 * torch.rand(count, 1, 1, 1, generator=rng) - 1)
    return (images * gain).clamp(0, 255)


def batches(count: int, plan: Plan, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Generator]]:
    """Numbers of (picture, view) pairs in an order of the epoch's own, and its generator."""
    rng = torch.Generator().manual_seed(SEED * 1_000_003 + epoch)
    order = torch.randperm(len(VIEWS) * count, generator=rng)
    for part in order.split(plan.batch):
        yield part, rng


def train(kind: str, plan: Plan, pictures: Pictures) -> tuple[Pupil, list[dict]]:
    """Train one backbone on `pictures`, every one in both views in each epoch; losses by epoch."""
    targets = standardised(pictures.values[:, columns(kind)])
    pupil, history = None, []
    for layers, epochs, rate in zip(plan.layers, plan.epochs, plan.rates, strict=True):
        young, pupil = pupil, Pupil(layers, targets.shape[1], plan.people)
        if young is not None:
            pupil.learnt_from(young)
        optimiser = torch.optim.AdamW(pupil.parameters(), rate, weight_decay=plan.decay)
        steps = epochs * -(-len(VIEWS) * len(targets) // plan.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, rate, steps, pct_start=0.1, cycle_momentum=False
        )
        for _ in range(epochs):
            epoch = len(history) + 1
            losses = train_epoch(pupil, optimiser, schedule, plan, pictures, targets, epoch)
            history.append({"epoch": epoch, "layers": layers} | losses)
            print(kind, history[-1], flush=True)
    return pupil, history


def train_epoch(pupil, optimiser, schedule, plan, pictures, targets, epoch) -> dict[str, float]:
    """One pass over pictures and views; the mean losses of `targets` (N, T) and of people."""
    sums, count = torch.zeros(2), len(VIEWS) * len(targets)
    for part, rng in batches(len(targets), plan, epoch):
        picture, view = part // len(VIEWS), part % len(VIEWS)
        _, values, people = pupil(augmented(pictures.images[picture, view], rng))
        values = functional.mse_loss(values, targets[picture])
        people = functional.cross_entropy(people, pictures.people[picture])
        optimiser.zero_grad()
        (values + plan.identity * people).backward()
        nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        sums += torch.stack([values, people]).detach() * len(part)
    values, people = (sums / count).tolist()
    return {"values": round(values, 4), "people": round(people, 4)}


def columns(kind: str) -> list[int]:
    """Which columns of `Pictures.values` a backbone learns."""
    return [TARGETS["movement"].index(name) for name in TARGETS[kind]]


def standardised(values: torch.Tensor) -> torch.Tensor:
    """Mean 0 and variance 1 for each target; one that never moves stays at 0."""
    return (values - values.mean(0)) / values.std(0).clamp(min=1e-6)


def correlation(true: np.ndarray, said: np.ndarray) -> float | None:
    """Pearson's, of two arrays (n,); None of a target that never moves."""
    return round(float(np.corrcoef(true, said)[0, 1]), 3) if true.std() else None


@torch.no_grad()
def scores(kind: str, pupil: Pupil, held: Pictures) -> dict:
    """For each view, on people never trained on: the correlation of each target with what the
    linear head says, and how often the nearest other CLS token (cosine) is the same person's."""
    result = {}
    for view, name in enumerate(VIEWS):
        parts = [pupil(part.float())[:2] for part in held.images[:, view].split(256)]
        tokens, values = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        true = held.values[:, columns(kind)].numpy()
        apart = pairwise_distances(tokens, metric="cosine")
        np.fill_diagonal(apart, np.inf)
        same = held.people[apart.argmin(1)] == held.people
        result[name] = {
            target: correlation(true[:, i], values[:, i]) for i, target in enumerate(TARGETS[kind])
        } | {"person": round(float(same.float().mean()), 3)}
    return result


def make_backbone(task: tuple[str, Plan, list[Path], Path]) -> str:
    """Train, score and save one backbone, on a worker; returns its name."""
    kind, plan, paths, out = task
    torch.set_num_threads(1)
    began = time.perf_counter()
    pictures = read_pictures(paths)
    held = pictures.people >= plan.people - plan.held_out
    pupil, history = train(kind, plan, pictures.of(~held))
    pupil.eval()
    folder = out / kind
    pupil.encoder.save_pretrained(folder)
    weights = folder / "model.safetensors"
    log = {
        "backbone": kind,
        "made_by": "tools/make_backbones.py",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "seed": SEED,
        "plan": asdict(plan),
        "pictures": {"trained": int((~held).sum()), "held_out": int(held.sum())},
        "targets": ["person", *TARGETS[kind]],
        "losses": history,
        "held_out": scores(kind, pupil, pictures.of(held)),
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "made_with": {"torch": torch.__version__, "machine": platform.machine()},
    }
    (folder / "log.json").write_text(json.dumps(log, indent=1) + "\n", "utf-8")
    return kind


def make_backbones(plan: Plan, out: Path, cache: Path, workers: int = 2) -> None:
    """Both backbones into `out`, each in a folder of its name with config, weights and log."""
    with connect(workers=workers) as client:
        paths = draw_people(plan, cache, client)
        tasks = ((kind, (kind, plan, paths, out)) for kind in TARGETS)
        for kind in run(client, make_backbone, tasks):
            print(f"{kind} is in {out / kind}")


def main(
    out: Path = ROOT / "paincore" / "training" / "weights",
    cache: Path = ROOT / "results" / "backbones",
) -> None:
    """Make both backbones, in about an hour on two cores."""
    make_backbones(Plan(), out, cache)


if __name__ == "__main__":
    typer.run(main)
