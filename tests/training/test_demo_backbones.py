import hashlib
import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ViTModel

from paincore.data.facs import PSPI_AUS, pspi
from paincore.manifest import ROOT
from paincore.registration.backends import load_backend
from paincore.registration.faces import find_faces, read_picture
from synthpain.people import draw_people
from synthpain.temperament import generator
from tools.make_backbones import (
    MOVEMENTS,
    MOVES,
    TARGETS,
    Plan,
    both_views,
    draw_movements,
    draw_person_pictures,
    make_backbone,
    make_backbones,
    pretraining_person,
    read_pictures,
    shrunk,
)

NAMES = ("movement", "general")
TINY = Plan(people=4, pictures=2, held_out=2, epochs=(1, 1), batch=4)


def folder_of(name: str) -> Path:
    return ROOT / "paincore" / "backbones" / name


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The tiny backbones as the script makes them, beside the cache of their pictures."""
    folder = tmp_path_factory.mktemp("made")
    make_backbones(TINY, folder / "backbones", folder / "cache", workers=1)
    return folder


@pytest.fixture
def one_thread():
    """The script sets torch's threads; other tests get back what they had."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def movements() -> np.ndarray:
    """20,000 draws of all units, a column each."""
    rng = np.random.default_rng(0)
    return np.array([list(draw_movements(rng).values()) for _ in range(20_000)])


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_is_the_stated_small_vit_and_loads_whole(name):
    encoder, found = ViTModel.from_pretrained(
        folder_of(name), add_pooling_layer=False, use_safetensors=True, output_loading_info=True
    )
    assert not any(found.values()), "no tensor is missing, extra or of another shape"
    config = encoder.config
    shape = config.hidden_size, config.num_hidden_layers, config.num_attention_heads
    assert shape == (64, 12, 4)
    assert (config.intermediate_size, config.image_size, config.patch_size) == (128, 48, 8)
    assert {weights.dtype for weights in encoder.parameters()} == {torch.float32}
    assert all(weights.isfinite().all() for weights in encoder.parameters())
    assert sum(file.stat().st_size for file in folder_of(name).iterdir()) < 3_000_000


@pytest.mark.parametrize("name", NAMES)
def test_the_log_is_that_of_the_weights_beside_it(name):
    log = json.loads((folder_of(name) / "log.json").read_text("utf-8"))
    weights = (folder_of(name) / "model.safetensors").read_bytes()
    assert log["sha256"] == hashlib.sha256(weights).hexdigest()
    assert log["plan"] == json.loads(json.dumps(asdict(Plan())))
    assert log["targets"] == ["person", *TARGETS[name]]


def test_only_movement_is_taught_action_units_and_neither_pspi_nor_pain():
    assert not set(TARGETS["general"]) & set(MOVEMENTS)
    assert set(MOVEMENTS) < set(TARGETS["movement"])
    others = {*TARGETS["movement"], *TARGETS["general"]} - set(MOVEMENTS)
    assert others == {
        *("yaw", "pitch", "roll"),
        *("light_yaw", "light_pitch", "light_strength", "warmth"),
    }


def test_units_move_independently_of_each_other(movements):
    moved = movements > 0
    assert moved.mean(0) == pytest.approx(MOVES, abs=0.01)
    for one, other in combinations(range(len(MOVEMENTS)), 2):
        together = (moved[:, one] & moved[:, other]).mean()
        assert together == pytest.approx(MOVES**2, abs=0.006), (MOVEMENTS[one], MOVEMENTS[other])
    correlation = np.corrcoef(movements.T) - np.eye(len(MOVEMENTS))
    assert abs(correlation).max() < 4.5 / np.sqrt(len(movements))


def test_pspi_is_what_independent_units_give_by_chance(movements):
    """Units of one picture make the same PSPI as those of six pictures thrown together."""
    rng = np.random.default_rng(1)
    columns = [movements[:, MOVEMENTS.index(f"au{au}")] for au in PSPI_AUS]
    together = pspi(*columns)
    apart = pspi(*(rng.permutation(column) for column in columns))
    assert together.mean() == pytest.approx(apart.mean(), rel=0.02)
    assert together.std() == pytest.approx(apart.std(), rel=0.03)
    assert (together > 0).mean() == pytest.approx(1 - (1 - MOVES) ** len(PSPI_AUS), abs=0.015)


def test_pretraining_people_are_in_no_corpus():
    """Their generators differ from those of people.draw_people, whatever the corpus's seed."""
    ours = [pretraining_person(number) for number in range(12)]
    theirs = [person for seed in (0, 1, 4) for person in draw_people(12, seed)]
    for one in ours:
        for other in theirs:
            assert one.texture_seed != other.texture_seed
            assert abs(one.neutral - other.neutral).max() > 1e-3
    states = {str(np.random.default_rng([4, 0x9E09, i]).bit_generator.state) for i in range(800)}
    assert not states & {
        str(generator(4, "pretraining person", i).bit_generator.state) for i in range(800)
    }


def test_both_views_are_those_that_the_corpus_gets(drawn_corpus):
    """The crop of the landmarker's mesh equals what the backend `none` finds by itself."""
    row = next(drawn_corpus.frames.query("state == 'ok'").iloc[5:].itertuples())
    picture = read_picture(drawn_corpus.root, row, "landmarker")
    seen = both_views(picture.image)
    for view, name in enumerate(("landmarker", "none")):
        (face,) = find_faces([picture], load_backend(name), 224)
        assert (seen[view] == shrunk(face.view.image)).all()


@pytest.mark.parametrize("kind", NAMES)
def test_the_same_pictures_give_the_same_weights_to_the_bit(made, kind, tmp_path, one_thread):
    """On a worker and here, whatever the state of torch's own generator, which stays as it is."""
    state = torch.get_rng_state()
    make_backbone((kind, TINY, sorted(made.glob("cache/*/*.npz")), tmp_path))
    assert (torch.get_rng_state() == state).all()
    once, again = (at / kind / "model.safetensors" for at in (made / "backbones", tmp_path))
    assert once.read_bytes() == again.read_bytes()


def test_pictures_depend_on_the_person_and_the_number_alone(made):
    images, values = draw_person_pictures(3, 1)
    pictures = read_pictures(sorted(made.glob("cache/*/*.npz")))
    at = int((pictures.people == 3).nonzero()[0])
    assert (torch.from_numpy(images[0]) == pictures.images[at]).all()
    assert (torch.from_numpy(values[0]) == pictures.values[at]).all()
