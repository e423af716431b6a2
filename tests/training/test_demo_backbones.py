import hashlib
import json
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
import torch
from transformers import ViTModel

from paincore.training.backbones import BACKBONES, DEMO
from synthpain.people import draw_people
from tools import make_backbones as making
from tools.make_backbones import MOVEMENTS, MOVES, TARGETS, Plan

NAMES = ("movement", "general")
TINY = Plan(people=4, pictures=2, held_out=2, epochs=(1, 1), batch=4)


@pytest.fixture
def one_thread():
    """The script sets torch's threads; other tests get back what they had."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_is_the_stated_small_vit_and_loads_whole(name):
    encoder, found = ViTModel.from_pretrained(
        BACKBONES / name, add_pooling_layer=False, use_safetensors=True, output_loading_info=True
    )
    assert not any(found.values()), "no tensor is missing, extra or of another shape"
    assert {part: getattr(encoder.config, part) for part in DEMO} == DEMO
    assert {weights.dtype for weights in encoder.parameters()} == {torch.float32}
    assert all(weights.isfinite().all() for weights in encoder.parameters())
    log = json.loads(((BACKBONES / name) / "log.json").read_text("utf-8"))
    weights = ((BACKBONES / name) / "model.safetensors").read_bytes()
    assert len(weights) < 3_000_000
    assert log["sha256"] == hashlib.sha256(weights).hexdigest()
    assert log["plan"] == json.loads(json.dumps(asdict(Plan())))
    assert log["targets"] == ["person", *TARGETS[name]]
    assert set(MOVEMENTS) & set(TARGETS[name]) == (set(MOVEMENTS) if name == "movement" else set())


def test_units_move_independently_of_each_other():
    rng = np.random.default_rng(0)
    movements = np.array([list(making.draw_movements(rng).values()) for _ in range(20_000)])
    moved = movements > 0
    assert moved.mean(0) == pytest.approx(MOVES, abs=0.01)
    for one, other in combinations(range(len(MOVEMENTS)), 2):
        together = (moved[:, one] & moved[:, other]).mean()
        assert together == pytest.approx(MOVES**2, abs=0.006), (MOVEMENTS[one], MOVEMENTS[other])
    correlation = np.corrcoef(movements.T) - np.eye(len(MOVEMENTS))
    assert abs(correlation).max() < 4.5 / np.sqrt(len(movements))


def test_pretraining_people_are_in_no_corpus():
    """Other textures and other shapes than those of people.draw_people."""
    ours = [making.pretraining_person(number) for number in range(12)]
    theirs = [person for seed in (0, 1, 4) for person in draw_people(12, seed)]
    for one in ours:
        for other in theirs:
            assert one.texture_seed != other.texture_seed
            assert abs(one.neutral - other.neutral).max() > 1e-3


def test_the_same_pictures_give_the_same_weights_to_the_bit(tmp_path, one_thread):
    """On a worker and here, whatever the state of torch's own generator, which stays as it is."""
    making.make_backbones(TINY, tmp_path / "worker", tmp_path / "cache", workers=1)
    state, images = torch.get_rng_state(), sorted(tmp_path.glob("cache/*/*.npz"))
    for kind in NAMES:
        making.make_backbone((kind, TINY, images, tmp_path / "here"))
        once, again = (tmp_path / at / kind / "model.safetensors" for at in ("worker", "here"))
        assert once.read_bytes() == again.read_bytes()
    assert (torch.get_rng_state() == state).all()
