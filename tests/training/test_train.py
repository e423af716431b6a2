import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import nn

from paincore import files
from paincore.folds.designs import Fold, LeakageError
from paincore.training.backbones import load_encoder
from paincore.training.configuration import configure
from paincore.training.runs import open_run
from paincore.training.samples import Task, TrainingError, balanced_sample
from paincore.training.sweep import Sweep
from paincore.training.train import optimizer_of, train_fold, trained_model, training_step
from paincore.training.vit import PainTransformer
from tests.helpers.trainable import QUICK, fold_of, write_store_with_a_signal

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("training") / "store")


@pytest.fixture(scope="module")
def fold(store):
    return fold_of(store, 1)


@pytest.fixture(scope="module")
def trained(store, fold, tmp_path_factory):
    """A run of ViT with its weights."""
    return train(store, fold, tmp_path_factory.mktemp("results"))


def train(store, fold, results, seed=0, **settings):
    configuration = configure(**QUICK | settings)
    return train_fold(store, configuration, fold, seed, results, "cpu", False)


def equal(one, other) -> bool:
    return one.metrics == other.metrics and one.predictions.equals(other.predictions)


def test_it_learns_what_there_is_to_learn_and_nothing_from_shuffled_labels(tmp_path):
    store = write_store_with_a_signal(tmp_path / "store", subjects=50)
    fold = fold_of(store, 1, 10)
    run = train(store, fold, tmp_path, learning_rate=2e-3)
    assert run.metrics["auc"] > 0.95
    assert run.history["loss"].tail(5).mean() < 0.9 * run.history["loss"].head(5).mean()
    control = train(store, fold, tmp_path, learning_rate=2e-3, shuffled_labels="all")
    assert control.history["loss"].tail(5).mean() > 0.9 * control.history["loss"].head(5).mean()
    assert control.metrics["auc"] < run.metrics["auc"]
    assert (control.predictions["pain"] == run.predictions["pain"]).all()


@pytest.mark.parametrize("model", ["vit", "vivit"])
def test_losses_and_probabilities_equal_a_plain_loop(store, fold, tmp_path, model):
    """A plain loop over whole images: full forward, unfused Adam, no cache, no read ahead."""
    run = train(store, fold, tmp_path, model=model, unfrozen_layers=3)
    length = {"vit": 1, "vivit": 4}[model]
    task = Task(store, run.configuration, fold, 0, CPU)
    module = PainTransformer(load_encoder("random"), length, task.torch_generator("model"))
    module.requires_grad_(False)
    trained = [*module.head.parameters()]
    for block in module.encoder.layers[-3:]:
        trained += block.attention.parameters()
    for parameter in trained:
        parameter.requires_grad_(True)
    frames, images = store.frames, np.asarray(store.images)
    ends = [row for row in range(len(frames)) if frames["frame"][row] >= length]
    train_ends = np.array([row for row in ends if row in set(fold.train)])
    pain = frames["pain"].to_numpy(bool)
    order = train_ends[balanced_sample(pain[train_ends], task.generator("draws 0"))]
    adam = torch.optim.Adam(trained, lr=1e-3)
    losses = []
    torch.set_num_threads(1)

    def logits(rows):
        clips = np.stack([images[row - length + 1 : row + 1] for row in rows])
        pixels = module.pixels(torch.from_numpy(clips))
        hidden = module.encoder(pixels).last_hidden_state
        return module.head(module.dropout(hidden[:, 0]))

    module.train()
    for start in range(0, len(order), 16):
        rows = order[start : start + 16]
        target = torch.from_numpy(pain[rows].astype(np.int64))
        loss = torch.nn.functional.cross_entropy(logits(rows), target)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    module.eval()
    test = [row for row in ends if row in set(fold.test)]
    with torch.inference_mode():
        probability = logits(test).softmax(1)[:, 1].numpy()
    np.testing.assert_allclose(run.history["loss"], losses, atol=2e-4)
    np.testing.assert_allclose(run.predictions["probability"], probability, atol=2e-3)
    assert run.metrics["auc"] == pytest.approx(roc_auc_score(pain[test], probability), abs=2e-3)


def test_a_fold_alone_equals_the_fold_in_a_sweep_to_the_bit(store, fold, tmp_path):
    folds = [fold, fold_of(store, 2)]
    configurations = [
        configure(**QUICK),
        configure(**QUICK, mixup_alpha=0.8),
        configure(**QUICK, model="vivit", sam=True),
    ]
    with Sweep(tmp_path / "sweep", "cpu", workers=2) as sweep:
        runs = sweep.train_all(store, configurations, folds)
    assert [(run.configuration, run.rests_on["fold"]) for run in runs] == [
        (configuration, number) for configuration in configurations for number in (1, 2)
    ]
    torch.set_num_threads(2)
    torch.manual_seed(99)
    for run in runs[1::2]:
        alone = train(store, folds[1], tmp_path / "alone", **run.configuration.model_dump())
        assert equal(alone, run)
        assert alone.history.equals(run.history)
    assert torch.get_num_threads() == 2


def test_kept_weights_give_the_stored_probabilities_but_where_dropout_is_live(
    trained, store, fold, tmp_path
):
    def moved(run):
        model, frames = trained_model(run), np.asarray(store.images)[fold.test]
        with torch.inference_mode():
            pixels = model.pixels(torch.from_numpy(frames)[:, None])
            probability = model(pixels).softmax(1)[:, 1].numpy()
        return np.abs(probability - run.predictions["probability"]).max()

    assert moved(trained) < 1e-5
    released = {"protocol": "released", "learning_rate": 1e-5}
    assert moved(train(store, fold, tmp_path, **released)) > 1e-3


def test_the_name_of_a_run_follows_everything_that_decides_it(store, fold, monkeypatch):
    base = {"store": store, "configuration": configure(**QUICK), "fold": fold, "seed": 0}
    relabelled = store.frames.assign(pain=~store.frames["pain"])
    changes = [
        {},
        {"configuration": configure(**QUICK, sam=True)},
        {"fold": fold_of(store, 2)},
        {"seed": 1},
        {"store": type(store)(store.folder, store.images, relabelled, store.meta)},
        {"store": type(store)(store.folder, store.images, store.frames, {"fingerprint": "x"})},
    ]
    keys = [Task(**base | change, device=CPU).key for change in changes]
    monkeypatch.setattr(files, "ENGINE_VERSION", -1)
    keys.append(Task(**base, device=CPU).key)
    assert len(set(keys)) == len(keys)


def test_a_finished_run_is_opened_and_another_seed_is_another_run(trained, store, fold):
    results = trained.folder.parents[1]
    again, other = (train(store, fold, results, seed=seed) for seed in (0, 1))
    assert (again.folder, again.environment) == (trained.folder, trained.environment)
    assert other.folder != trained.folder
    assert not equal(trained, other)


def test_weights_that_are_not_the_trained_tensors_are_refused(trained, tmp_path):
    run = open_run(shutil.copytree(trained.folder, tmp_path / "run"))
    tensors = load_file(run.weights)
    assert sum(tensor.numel() for tensor in tensors.values()) == 2 * 4 * (64 * 64 + 64) + 2 * 65
    name = "encoder.layers.11.attention.q_proj.weight"
    one = tensors.pop(name)
    more = {"encoder.layers.9.attention.q_proj.weight": one.clone()}
    for wrong in (tensors, tensors | {name: one} | more, tensors | {name: one[:1].clone()}):
        save_file(wrong, run.weights)
        with pytest.raises(TrainingError, match=r"weights\.safetensors is damaged"):
            trained_model(run)
    run.weights.write_bytes(b"cut short")
    with pytest.raises(TrainingError, match=r"weights\.safetensors is damaged"):
        trained_model(run)


def test_predictions_name_every_test_sample_once_and_are_corrected_to_the_prevalence(
    trained, store, fold
):
    predictions, keys = trained.predictions, ["subject", "sequence", "frame"]
    expected = store.frames.iloc[fold.test][keys].reset_index(drop=True)
    pd.testing.assert_frame_equal(predictions[keys], expected)
    prevalence = store.frames["pain"].to_numpy(bool)[fold.train].mean()
    raw = predictions["probability"]
    odds = raw / (1 - raw) * prevalence / (1 - prevalence)
    np.testing.assert_allclose(predictions["corrected"], odds / (1 + odds), rtol=1e-4)


def test_a_fold_that_leaks_and_clips_that_there_are_not_are_refused(store, fold, tmp_path):
    leaking = Fold("balanced", 1, fold.train, np.concatenate([fold.test, fold.train[:10]]))
    with pytest.raises(LeakageError, match="aa00"):
        train(store, leaking, tmp_path)
    gaps = replace(store, frames=store.frames.assign(frame=store.frames["frame"] * 2))
    with pytest.raises(TrainingError, match="no sample for vivit"):
        train(gaps, fold, tmp_path, model="vivit")


TARGETS = torch.tensor([1.0, 0.25, 0.0], dtype=torch.float64)
INPUTS = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 0.9]], dtype=torch.float64)


def gradient(weight: np.ndarray) -> np.ndarray:
    """Of the mean cross-entropy with soft labels, by hand."""
    inputs, pain = INPUTS.numpy(), TARGETS.numpy()
    scores = np.exp(inputs @ weight.T)
    parts = scores / scores.sum(1, keepdims=True)
    return (parts - np.stack([1 - pain, pain], 1)).T @ inputs / len(pain)


@pytest.mark.parametrize("sam", [False, True])
def test_steps_equal_the_published_algorithms(sam):
    """Adam, Kingma & Ba 2015, algorithm 1; SAM, Foret et al. 2021, algorithm 1.

    SAM takes the gradient at the weights + rho g/|g|. Two logits from two inputs, the bias frozen.
    """
    model = nn.Linear(2, 2, dtype=torch.float64)
    nn.init.zeros_(model.bias).requires_grad_(False)
    expected, m, v = model.weight.detach().numpy().copy(), 0.0, 0.0
    optimizer = optimizer_of(configure(learning_rate=0.1, sam=sam), model)
    for step in range(1, 6):
        training_step(lambda: model(INPUTS), TARGETS, optimizer)
        g = gradient(expected)
        g = gradient(expected + 0.05 * g / np.linalg.norm(g)) if sam else g
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected -= 0.1 * m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-6)
    assert (model.bias == 0).all()
