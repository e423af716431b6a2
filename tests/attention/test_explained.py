import numpy as np
import pandas as pd
import pytest
import torch

from paincore.attention import explained
from paincore.attention.explained import PRETRAINED, RANDOM_WEIGHTS, SHUFFLED, TRAINED
from paincore.training.configuration import configure
from paincore.training.train import train_fold
from tests.helpers.trainable import fold_of, write_store_with_a_signal


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("explained") / "store", subjects=6)


@pytest.fixture(scope="module", params=[("vit", 1), ("vivit", 2)])
def opened(request, signal, tmp_path_factory):
    model, stride = request.param
    quick = {"backbone": "movement", "unfrozen_layers": 2, "learning_rate": 1e-3}
    one = configure(model=model, clip_stride=stride, **quick)
    results = tmp_path_factory.mktemp("results")
    how = {"device": "cpu", "show_progress": False}
    run = train_fold(signal, one, fold_of(signal, 2), results=results, **how)
    return explained.explain(run, signal)


def test_an_opened_model_predicts_what_its_run_says_of_samples_that_end_where_its_run_says(opened):
    predictions, frames = opened.run.predictions, opened.store.frames
    found = explained.probabilities(opened.model, opened.frames())
    np.testing.assert_allclose(found, predictions["probability"], atol=1e-5)
    keys = ["sequence", "frame"]
    last = frames.iloc[opened.rows[:, -1]][keys].reset_index(drop=True)
    assert last.equals(predictions[keys]) and last.equals(opened.samples[keys])
    assert (np.diff(opened.rows, axis=1) == 1).all()
    part = opened.only(np.array([3, 1]))
    np.testing.assert_array_equal(part.frames(), opened.frames(np.array([3, 1])))
    assert part.samples["frame"].tolist() == predictions["frame"].iloc[[3, 1]].tolist()


def test_controls_are_the_same_each_time_and_differ_from_the_trained_model(opened):
    one, again = (explained.with_controls([opened], [opened]) for _ in range(2))
    assert list(one) == [TRAINED, SHUFFLED, PRETRAINED, RANDOM_WEIGHTS]
    given = opened.frames(np.arange(3))
    for which in (PRETRAINED, RANDOM_WEIGHTS):
        states = [each[which][0].model.state_dict() for each in (one, again)]
        torch.testing.assert_close(*states)
        found = explained.probabilities(one[which][0].model, given)
        assert abs(found - explained.probabilities(opened.model, given)).max() > 1e-3
    before, after = (one[which][0].model.state_dict() for which in (PRETRAINED, TRAINED))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    top = tuple(f"encoder.layers.{layer}.attention." for layer in (10, 11))
    assert moved and all(name.startswith(("head.", *top)) for name in moved)


def test_another_store_is_refused(opened, tmp_path):
    other = write_store_with_a_signal(tmp_path / "other", subjects=6, seed=1)
    with pytest.raises(explained.ExplanationError, match="other"):
        explained.explain(opened.run, other)


def test_samples_are_spaced_evenly_over_each_subject():
    table = pd.DataFrame({"subject": ["a"] * 8 + ["b"] * 2 + ["c"] * 3, "pain": True})
    table.loc[10:, "pain"] = False
    all_of_them = explained.Explained(None, None, None, np.arange(13), table, None)
    assert all_of_them.some(2).rows.tolist() == [2, 6, 8, 9]
    assert all_of_them.some(1, labels=(True, False)).rows.tolist() == [4, 9, 11]
    assert all_of_them.some(5, labels=(False,)).rows.tolist() == [10, 11, 12]
    assert all_of_them.only(np.array([], int)).some(2).rows.tolist() == []
