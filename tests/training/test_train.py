import re
import shutil
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from paincore import files
from paincore.folds.designs import Fold, LeakageError
from paincore.training import feed as inputs
from paincore.training.backbones import load_encoder
from paincore.training.configuration import configure
from paincore.training.runs import open_run
from paincore.training.samples import balanced_draws
from paincore.training.sweep import Sweep
from paincore.training.task import Task, TrainingError
from paincore.training.train import train_fold, trained_model
from paincore.training.vit import PainTransformer
from tests.helpers.trainable import write_store_with_a_signal

QUICK = {"backbone": "random", "unfrozen_layers": 2, "learning_rate": 1e-3}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store_with_a_signal(tmp_path_factory.mktemp("training") / "store")


def fold_of(store, number: int, tested: tuple[str, ...]) -> Fold:
    test = store.frames["subject"].isin(tested).to_numpy()
    return Fold("balanced", number, np.flatnonzero(~test), np.flatnonzero(test))


@pytest.fixture(scope="module")
def fold(store):
    return fold_of(store, 1, ("aa000", "aa001"))


@pytest.fixture(scope="module")
def trained(store, fold, tmp_path_factory):
    """A run of ViT with its weights, and the results folder it lies in."""
    results = tmp_path_factory.mktemp("results")
    quick = configure(**QUICK)
    return train_fold(store, quick, fold, 0, results, "cpu", True, False), results


def train(store, fold, results, **settings):
    configuration = configure(**QUICK | settings)
    return train_fold(store, configuration, fold, 0, results, "cpu", show_progress=False)


def equal(one, other) -> bool:
    return one.metrics == other.metrics and one.predictions.equals(other.predictions)


def test_it_learns_what_there_is_to_learn_and_nothing_from_shuffled_labels(tmp_path):
    store = write_store_with_a_signal(tmp_path / "store", subjects=50)
    fold = fold_of(store, 1, tuple(f"aa{number:03d}" for number in range(10)))
    run = train(store, fold, tmp_path, learning_rate=2e-3)
    assert run.metrics["auc"] > 0.95
    assert run.history["loss"].tail(5).mean() < 0.9 * run.history["loss"].head(5).mean()
    control = train(store, fold, tmp_path, learning_rate=2e-3, shuffled_labels="all")
    assert control.history["loss"].tail(5).mean() > 0.9 * control.history["loss"].head(5).mean()
    assert control.metrics["auc"] < run.metrics["auc"]
    assert (control.predictions["pain"] == run.predictions["pain"]).all()


@pytest.mark.parametrize("model", ["vit", "vivit"])
def test_losses_and_probabilities_equal_a_plain_loop(store, fold, tmp_path, model):
    """A plain loop over whole pictures: full forward, unfused Adam, no cache, no read ahead."""
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
    draws = train_ends[balanced_draws(pain[train_ends], task.generator("draws 0"))]
    adam = torch.optim.Adam(trained, lr=1e-3)
    losses = []
    torch.set_num_threads(1)

    def logits(rows):
        clips = np.stack([images[row - length + 1 : row + 1] for row in rows])
        pixels = module.pixels(torch.from_numpy(clips))
        hidden = module.encoder(pixels).last_hidden_state
        return module.head(module.dropout(hidden[:, 0]))

    module.train()
    for start in range(0, len(draws), 16):
        rows = draws[start : start + 16]
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
    folds = [fold, fold_of(store, 2, ("aa002", "aa003"))]
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
        alone = train_fold(
            store, run.configuration, folds[1], 0, tmp_path / "alone", "cpu", show_progress=False
        )
        assert equal(alone, run)
        assert alone.history.equals(run.history)
    assert torch.get_num_threads() == 2


def test_a_training_is_the_same_in_any_thread_and_beside_another(store, fold, tmp_path):
    names = ["one", "other"]
    found = {}

    def work(name):
        found[name] = train(store, fold, tmp_path / name, mixup_alpha=0.4)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal(found["one"], found["other"])


def test_a_finished_run_is_opened_and_another_seed_is_another_run(trained, store, fold):
    run, results = trained
    process = run.environment["started"]
    again = train(store, fold, results)
    assert again.folder == run.folder
    assert again.environment["started"] == process
    other = train_fold(store, run.configuration, fold, 1, results, "cpu", show_progress=False)
    assert other.folder != run.folder
    assert not equal(run, other)


def test_kept_weights_give_the_stored_probabilities(trained, store):
    run, _ = trained
    model = trained_model(run)
    rows = run.predictions.merge(store.frames.reset_index(), on=["subject", "sequence", "frame"])
    frames = torch.from_numpy(np.asarray(store.images)[rows["index"]])[:, None]
    with torch.inference_mode():
        probability = model(model.pixels(frames)).softmax(1)[:, 1]
    np.testing.assert_allclose(probability, run.predictions["probability"], atol=1e-5)


def test_weights_are_the_trained_tensors_alone(trained):
    run, _ = trained
    tensors = load_file(run.weights)
    assert sum(tensor.numel() for tensor in tensors.values()) == 2 * 4 * (64 * 64 + 64) + 2 * 65
    assert 0 < run.metrics["weight_change"] < 1


@pytest.mark.parametrize("change", ["renamed", "missing", "too much", "of another size"])
def test_weights_that_are_not_all_of_the_trained_tensors_are_refused(trained, tmp_path, change):
    run, _ = trained
    shutil.copytree(run.folder, tmp_path / "run")
    tensors = load_file(run.weights)
    name = "encoder.layers.11.attention.q_proj.weight"
    tensor = tensors[name]
    if change in ("renamed", "missing"):
        del tensors[name]
    if change == "renamed":
        tensors["encoder.layers.11.attention.query.weight"] = tensor
    if change == "too much":
        tensors["encoder.layers.9.attention.q_proj.weight"] = tensor.clone()
    if change == "of another size":
        tensors[name] = tensor[:1].clone()
    save_file(tensors, tmp_path / "run" / "weights.safetensors")
    with pytest.raises(
        TrainingError, match=r"weights\.safetensors does not hold what ViT 2 layers"
    ):
        trained_model(open_run(tmp_path / "run"))


def test_damaged_weights_are_named(trained, tmp_path):
    run, _ = trained
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "weights.safetensors").write_bytes(b"cut short")
    with pytest.raises(TrainingError, match=r"weights\.safetensors is damaged"):
        trained_model(open_run(tmp_path / "run"))


def test_dropout_is_live_at_test_in_the_released_protocol_alone(store, fold, tmp_path):
    folder = tmp_path / "results"
    settings = {**QUICK, "protocol": "released", "learning_rate": 1e-5}
    run = train_fold(store, configure(**settings), fold, 0, folder, "cpu", True, False)
    model = trained_model(run)
    frames = torch.from_numpy(np.asarray(store.images)[fold.test])[:, None]
    with torch.inference_mode():
        probability = model(model.pixels(frames)).softmax(1)[:, 1].numpy()
    assert np.abs(probability - run.predictions["probability"]).max() > 1e-3


def test_a_cache_of_frozen_states_changes_no_decision(store, fold, tmp_path, monkeypatch):
    cached = train(store, fold, tmp_path / "cached")
    monkeypatch.setattr(inputs, "LIMIT", 0)
    live = train(store, fold, tmp_path / "live")
    assert list((tmp_path / "cached" / "cache").glob("hidden-*.npy"))
    assert not list((tmp_path / "live" / "cache").glob("hidden-*.npy"))
    probabilities = cached.predictions["probability"], live.predictions["probability"]
    np.testing.assert_allclose(*probabilities, atol=1e-3)


def test_corrected_probabilities_are_as_rare_as_pain(trained, store, fold):
    run, _ = trained
    predictions, share = run.predictions, store.frames["pain"].to_numpy(bool)[fold.train].mean()
    raw, corrected = predictions["probability"], predictions["corrected"]
    odds = raw / (1 - raw) * share / (1 - share)
    np.testing.assert_allclose(corrected, odds / (1 + odds), rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_with_step_and_rate(store, fold, tmp_path):
    said = (
        r"ViT 2 layers, 1e38, fold 1: the loss is (nan|inf) at step \d+ with learning rate 1e\+38"
    )
    with pytest.raises(TrainingError, match=said + r"; the last finite loss was \d") as caught:
        train(store, fold, tmp_path, learning_rate=1e38)
    assert int(re.search(r"step (\d+)", str(caught.value))[1]) >= 2
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True


def test_a_subject_on_both_sides_is_refused(store, fold, tmp_path):
    leaking = Fold("balanced", 1, fold.train, np.concatenate([fold.test, fold.train[:10]]))
    with pytest.raises(LeakageError):
        train(store, leaking, tmp_path)


def test_a_fold_of_another_corpus_is_refused(store, fold, tmp_path):
    other = write_store_with_a_signal(tmp_path / "other", subjects=3)
    with pytest.raises(TrainingError, match=r"fold 1 of balanced names frames that .*other"):
        train(other, fold, tmp_path)


def test_a_fold_without_clips_is_refused(tmp_path):
    short = write_store_with_a_signal(tmp_path / "short", subjects=4, frames=6)
    frames = short.frames.assign(frame=short.frames["frame"] * 2)
    short = type(short)(short.folder, short.images, frames, short.meta)
    with pytest.raises(Exception, match="no sample of 4 subsequent frames for vivit"):
        train(short, fold_of(short, 1, ("aa000",)), tmp_path, model="vivit")


def test_pictures_smaller_than_the_model_takes_are_refused(store, fold, tmp_path):
    small = type(store)(store.folder, store.images[:, ::2, ::2], store.frames, store.meta)
    with pytest.raises(TrainingError, match="holds pictures of 24 px, random takes 48"):
        train(small, fold, tmp_path)


def test_the_name_of_a_run_follows_everything_that_decides_it(store, fold, monkeypatch):
    base = {"store": store, "configuration": configure(**QUICK), "fold": fold, "seed": 0}
    relabelled = store.frames.assign(pain=~store.frames["pain"])
    changes = [
        {},
        {"configuration": configure(**QUICK, sam=True)},
        {"fold": fold_of(store, 1, ("aa000", "aa002"))},
        {"seed": 1},
        {"store": type(store)(store.folder, store.images, relabelled, store.meta)},
        {"store": type(store)(store.folder, store.images, store.frames, {"fingerprint": "x"})},
    ]
    keys = [Task(**base | change, device=CPU).key for change in changes]
    monkeypatch.setattr(files, "ENGINE_VERSION", -1)
    keys.append(Task(**base, device=CPU).key)
    assert len(set(keys)) == len(keys)


def test_predictions_name_every_test_sample_once(trained, store, fold):
    run, _ = trained
    keys = ["subject", "sequence", "frame"]
    expected = store.frames.iloc[fold.test][keys].reset_index(drop=True)
    pd.testing.assert_frame_equal(run.predictions[keys], expected)
    assert (run.predictions["fold"] == 1).all()


def test_a_blend_replaces_a_sample_and_people_of_one_class_have_no_partner(tmp_path):
    store = write_store_with_a_signal(tmp_path / "store")
    pain = store.frames["pain"].mask(store.frames["subject"].isin(["aa008", "aa009"]), False)
    store = replace(store, frames=store.frames.assign(pain=pain))
    fold = fold_of(store, 1, ("aa000", "aa001"))
    plain, mixed = (train(store, fold, tmp_path, mixup_alpha=alpha) for alpha in (None, 0.8))
    picked = round(0.2 * mixed.metrics["train_samples"])
    assert 0 < mixed.metrics["mixed_left_out"] < picked
    assert mixed.metrics["mixed"] == picked - mixed.metrics["mixed_left_out"]
    assert (plain.metrics["mixed"], plain.metrics["mixed_left_out"]) == (0, 0)
    assert mixed.metrics["steps"] == plain.metrics["steps"]
