import numpy as np
import pytest
import torch

from paincore.attention.explained import ExplanationError, control, explain, probabilities
from paincore.training.configuration import configure
from paincore.training.samples import TrainingError
from paincore.training.train import train_fold
from tests.helpers.trainable import fold_of, write_store_with_a_signal

QUICK = {"backbone": "movement", "unfrozen_layers": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("explained") / "store", subjects=6)


def trained(store, results, model="vit", stride=1, keep_weights=True):
    one = configure(model=model, clip_stride=stride, **QUICK)
    how = {"results": results, "device": "cpu", "show_progress": False}
    return train_fold(store, one, fold_of(store, 2), **how, keep_weights=keep_weights)


@pytest.fixture(scope="module", params=[("vit", 1), ("vivit", 2)])
def explained(request, store, tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    return explain(trained(store, results, *request.param), store, results)


def test_an_opened_model_predicts_what_its_run_says(explained):
    found = probabilities(explained.model, explained.frames(), batch=7)
    np.testing.assert_allclose(found, explained.run.predictions["probability"], atol=1e-5)
    assert probabilities(explained.model, explained.frames(np.zeros(0, int))).shape == (0,)


def test_a_sample_ends_at_the_frame_of_its_prediction(explained):
    frames, predictions = explained.store.frames, explained.run.predictions
    for number in (0, len(predictions) - 1):
        row = predictions.iloc[number]
        last = frames.iloc[explained.rows[number, -1]]
        assert (last["sequence"], last["frame"]) == (row["sequence"], row["frame"])
        assert explained.number(row["sequence"], row["frame"]) == number
        np.testing.assert_array_equal(np.diff(explained.rows[number]), 1)
    table = explained.samples
    assert list(table["frame"]) == list(predictions["frame"])
    assert list(table["pain"]) == list(predictions["pain"])


def test_a_frame_that_ends_no_sample_says_why(explained):
    sequence = explained.run.predictions["sequence"].iloc[0]
    with pytest.raises(ExplanationError, match=r"a sample needs \d subsequent frames"):
        explained.number(sequence, 99)
    with pytest.raises(ExplanationError, match="its people are aa002, aa003"):
        explained.number("aa000t1aaaff", 5)


def test_controls_differ_from_the_trained_model_and_are_the_same_each_time(explained):
    given = explained.frames(np.arange(3))
    trained = probabilities(explained.model, given)
    for which in ("random", "pretrained"):
        one, again = (control(explained, which) for _ in range(2))
        assert abs(probabilities(one.model, given) - trained).max() > 1e-3
        torch.testing.assert_close(one.model.state_dict(), again.model.state_dict())
        assert one.rows is explained.rows
    with pytest.raises(ExplanationError, match="no control 'shuffled'"):
        control(explained, "shuffled")


def test_the_pretrained_control_differs_in_what_was_trained_alone(explained):
    before = control(explained, "pretrained").model.state_dict()
    after = explained.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    top = tuple(f"encoder.layers.{layer}.attention." for layer in (10, 11))
    assert moved
    assert all(name.startswith(("head.", *top)) for name in moved)


def test_what_cannot_be_explained_is_refused(store, tmp_path):
    run = trained(store, tmp_path, keep_weights=False)
    with pytest.raises(TrainingError, match="keep_weights"):
        explain(run, store, tmp_path)
    run = trained(store, tmp_path)
    other = write_store_with_a_signal(tmp_path / "other", subjects=6, seed=1)
    with pytest.raises(ExplanationError, match="was trained on another store"):
        explain(run, other, tmp_path)
    small = type(store)(store.folder, store.images[:, :32, :32], store.frames, store.meta)
    with pytest.raises(ExplanationError, match="pictures of 32 px, this model takes 48"):
        explain(run, small, tmp_path)
