import cv2
import numpy as np
import pytest
import torch

from paincore import files
from paincore.training import feed as feeding
from paincore.training.backbones import load_encoder
from paincore.training.feed import Feed, images_at, keep_states
from paincore.training.samples import sample_rows
from paincore.training.vit import PainTransformer
from tests.helpers.trainable import write_store_with_a_signal

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("feed") / "store", 2, 1, 50)


def fed(store, depth, precision="fp32", model="vit"):
    rows = sample_rows(store.frames, store.usable, model)
    transformer = PainTransformer(load_encoder("random"), rows.shape[1], torch.Generator()).eval()
    return Feed(transformer, np.asarray(store.images), rows, depth, precision)


def kept(feed, store, folder, backbone="weights"):
    feed.kept = keep_states(feed, store, backbone, folder)
    return feed


@pytest.mark.parametrize("model", ["vit", "vivit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kept_states_are_those_computed_live(store, tmp_path, model, precision):
    live, cached = (fed(store, 5, precision, model) for _ in range(2))
    kept(cached, store, tmp_path)
    numbers = np.array([3, 0, 3, 17, len(live.rows) - 1])
    with torch.inference_mode():
        one, other = (feed.hidden(feed.read(numbers)) for feed in (live, cached))
    assert one.dtype == other.dtype == torch.float32
    # The block that a state was computed in moves its last bits.
    tolerance = {"fp32": 1e-5, "bf16": 2e-2}[precision]
    torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("model", ["vit", "vivit"])
def test_mixed_samples_are_mixed_as_images_before_the_first_block(store, tmp_path, cached, model):
    feed = fed(store, 4, model=model)
    if cached:
        kept(feed, store, tmp_path)
    first, second = np.array([5, 9, 30]), np.array([5, 40, 2])
    weight = np.array([1, 0.25, 0.6], np.float32)
    with torch.inference_mode():
        states = feed.hidden(feed.read(first, second, weight))
        images = (torch.from_numpy(feed.images[feed.rows[one]]) for one in (first, second))
        a, b = map(feed.model.pixels, images)
        proportion = torch.from_numpy(weight)[:, None, None, None]
        expected = feed.model.below(proportion * a + (1 - proportion) * b, 4)
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)


def test_frozen_states_carry_no_gradient_and_trained_embeddings_do(store):
    for depth in (3, None):
        feed = fed(store, depth)
        assert feed.hidden(feed.read(np.array([0]))).requires_grad == (depth is None)


def test_what_was_used_longest_ago_makes_room(store, tmp_path, monkeypatch):
    sizes = [kept(fed(store, depth), store, tmp_path).kept.nbytes for depth in (3, 4)]
    third, fourth = sorted(tmp_path.glob("*.npy"), key=lambda file: file.stat().st_mtime_ns)
    open_still = kept(fed(store, 3), store, tmp_path)  # used again: the fourth is now the older
    monkeypatch.setattr(feeding, "CACHE_LIMIT", sum(sizes) + 1000)
    kept(fed(store, 5), store, tmp_path)
    assert third.exists()
    assert not fourth.exists()
    assert np.isfinite(open_still.kept).all()


def test_room_is_claimed_first_and_a_fill_that_fails_leaves_nothing(store, tmp_path, monkeypatch):
    feed, claimed = fed(store, 5), []

    def fail(_):
        claimed.append(next(tmp_path.glob("*.partial")).stat())
        return 1 / 0

    monkeypatch.setattr(feed, "hidden", fail)
    with pytest.raises(ZeroDivisionError):
        kept(feed, store, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}
    assert claimed[0].st_blocks * 512 >= claimed[0].st_size > 100_000


@pytest.mark.parametrize("change", ["backbone", "depth", "samples", "engine"])
def test_states_of_something_else_are_others(store, tmp_path, change, monkeypatch):
    kept(fed(store, 5), store, tmp_path)
    other = fed(store, 4 if change == "depth" else 5)
    if change == "samples":
        other.rows = other.rows[::2]
    if change == "engine":
        monkeypatch.setattr(files, "ENGINE_VERSION", -1)
    kept(other, store, tmp_path, "others" if change == "backbone" else "weights")
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_images_are_shrunk_by_area_and_kept(store, tmp_path):
    small = images_at(store, 16, tmp_path)
    expected = [cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) for image in store.images]
    assert (small == np.stack(expected)).all()
    assert len(list(tmp_path.glob("*.npy"))) == 1
    assert images_at(store, 48, tmp_path) is store.images
