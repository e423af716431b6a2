from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from dask.distributed import LocalCluster
from scipy.special import expit

from paincore.data.frames import KEYS
from paincore.data.unbc import read_landmarks
from paincore.folds.designs import Fold
from paincore.manifest import fetch
from paincore.registration.blendshapes import BlendshapeReader
from paincore.registration.landmarker import Landmarker, PosedCanonicalFace
from paincore.statistics.scores import PREDICTIONS
from paincore.training.baselines import (
    FEATURES,
    BaselineError,
    features,
    normalised,
    predictions,
    regression,
)


@pytest.fixture(scope="module")
def scheduler():
    """A scheduler whose one worker is this process."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as here:
        yield here.scheduler_address


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def store(drawn_store):
    """The 24 drawn frames; they show no pain, so some are said to."""
    pain = pd.array(np.arange(24) % 5 < 2, "boolean")
    return replace(drawn_store, frames=drawn_store.frames.assign(pain=pain))


@pytest.fixture(scope="module")
def known(drawn_corpus, store, results, scheduler):
    """The features of these frames."""
    return features(drawn_corpus, store, results, scheduler)


@pytest.fixture
def halves(store):
    """Two folds of every other usable frame: the drawn people are too few for subject folds."""
    rows = np.flatnonzero(store.usable)
    return [Fold("halves", k, rows[1 - k :: 2], rows[k::2]) for k in (0, 1)]


@pytest.fixture
def study(drawn_corpus, store, halves, results, scheduler, known):
    """A study of these frames, whose features are known."""
    parts = {"corpus": drawn_corpus, "store": store, "folds": halves, "results": results}
    return SimpleNamespace(**parts, scheduler=scheduler, workers=None)


def test_features_are_the_landmark_files_and_what_the_network_says_of_the_picture(
    drawn_corpus, store, known
):
    reader = BlendshapeReader(fetch("landmarker"))
    canonical = PosedCanonicalFace(Landmarker(fetch("landmarker"))).points
    row = int(np.flatnonzero(store.usable)[5])
    frame = store.frames.iloc[row]
    picture = cv2.imread(str(drawn_corpus.root / frame["image"]))[..., ::-1]
    assert np.array_equal(known["52 blendshapes"][row], reader(np.ascontiguousarray(picture)))
    points = normalised(read_landmarks(drawn_corpus.root, frame["landmarks"]), canonical)
    assert np.array_equal(known["66 landmarks"][row].reshape(66, 2), points)


def test_frames_without_a_picture_have_no_blendshapes(store, known):
    assert not store.usable.all()
    assert np.isfinite(known["52 blendshapes"]).all(1).tolist() == store.usable.tolist()
    assert [values.shape[1] for values in known.values()] == [132, 52]


def test_features_are_computed_once_and_again_for_a_damaged_file_or_corrected_landmarks(
    drawn_corpus, store, known, results, scheduler
):
    (path,) = (results / "baselines").glob("*.parquet")
    written = path.stat().st_mtime_ns
    again = features(drawn_corpus, store, results, scheduler)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(path.read_bytes()[:100])
    mended = features(drawn_corpus, store, results, scheduler)
    for name in FEATURES:
        assert np.array_equal(known[name], again[name], equal_nan=True)
        assert np.array_equal(known[name], mended[name], equal_nan=True)
    features(replace(drawn_corpus, landmarks_sha256="corrected"), store, results, scheduler)
    assert len(list((results / "baselines").glob("*.parquet"))) == 2


def test_a_store_of_another_corpus_and_a_folder_that_is_a_file_are_errors(
    drawn_corpus, store, tmp_path
):
    other = replace(store, frames=store.frames[::-1].reset_index(drop=True))
    with pytest.raises(BaselineError, match=str(store.folder)):
        features(drawn_corpus, other, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BaselineError, match="file/baselines/"):
        features(drawn_corpus, store, tmp_path / "file")


def test_normalised_landmarks_are_the_nearest_similarity_of_the_complex_plane():
    rng = np.random.default_rng(0)
    canonical = rng.normal(0, 4, (66, 3))
    pixels = rng.normal((160, 120), 50, (66, 2))
    source, target = pixels @ [1, -1j], canonical[:, :2] @ [1, 1j]
    source, centre = source - source.mean(), target.mean()
    factor = np.vdot(source, target - centre) / np.vdot(source, source)  # least squares
    expected = factor * source + centre
    found = normalised(pixels, canonical)
    assert found @ [1, 1j] == pytest.approx(expected)
    turned = pixels @ [[0.6, -0.8], [0.8, 0.6]] * 2.5 + [7, -30]
    assert normalised(turned, canonical) == pytest.approx(found)


@pytest.fixture
def measured():
    """Frames of 200 rows, a fold, and values (200, 3) of which the first goes with pain."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3)) * [1, 20, 0.1] + [0, 100, 3]
    pain = rng.random(200) < expit(2 * values[:, 0] - 1)
    frames = pd.DataFrame(
        {
            "subject": "aa000",
            "sequence": "aa000t1aaaff",
            "frame": np.arange(200) + 1,
            "pain": pd.array(pain, "boolean"),
        }
    )
    return frames, Fold("halves", 3, np.arange(120), np.arange(120, 200)), values


def penalised(values, pain):
    """Balanced logistic regression with an L2 penalty of C = 1, by plain Newton iterations."""
    design = np.column_stack([np.ones(len(values)), values])
    weight = np.where(pain, 0.5 / pain.mean(), 0.5 / (1 - pain.mean()))
    penalty = np.diag([0.0] + [1.0] * values.shape[1])
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = expit(design @ beta)
        slope = design.T @ (weight * (p - pain)) + penalty @ beta
        bend = (design * (weight * p * (1 - p))[:, None]).T @ design + penalty
        beta -= np.linalg.solve(bend, slope)
    return beta


def test_regression_agrees_with_newton_iterations_on_standardised_training_rows(measured):
    frames, fold, values = measured
    pain = frames["pain"].to_numpy(bool)
    scaled = (values - values[:120].mean(0)) / values[:120].std(0)
    beta = penalised(scaled[:120], pain[:120])
    table = regression(frames, fold, values)
    assert tuple(table) == PREDICTIONS and table["frame"].tolist() == list(range(121, 201))
    assert (table["fold"] == 3).all() and (table["pain"] == pain[120:]).all()
    expected = expit(beta[0] + scaled[120:] @ beta[1:])
    assert table["probability"].to_numpy() == pytest.approx(expected, abs=1e-3)
    odds = expected / (1 - expected) * pain[:120].mean() / (1 - pain[:120].mean())
    assert table["corrected"].to_numpy() == pytest.approx(odds / (1 + odds), abs=1e-3)


def test_no_tested_frame_changes_the_prediction_of_another(measured):
    frames, fold, values = measured
    before = regression(frames, fold, values)["probability"]
    values[150] = 1e6
    after = regression(frames, fold, values)["probability"]
    assert (before.drop(30) == after.drop(30)).all() and before[30] != after[30]


def test_rows_without_input_are_neither_trained_on_nor_predicted(measured):
    frames, fold, values = measured
    values[[0, 7, 130, 140], [0, 1, 2, 0]] = np.nan
    table = regression(frames, fold, values)
    less = replace(fold, train=np.setdiff1d(fold.train, [0, 7]))
    assert set(range(121, 201)) - set(table["frame"]) == {131, 141}
    kept = np.nan_to_num(values)
    expected = regression(frames, less, kept).set_index("frame")["probability"]
    assert (table.set_index("frame")["probability"] == expected.drop([131, 141])).all()
    pain = frames["pain"].to_numpy(bool)
    values[pain] = np.nan
    assert regression(frames, fold, values).empty


def test_every_baseline_predicts_each_tested_frame_once(study):
    tables = predictions(study)
    tested = study.store.frames[study.store.usable].sort_values(KEYS)
    assert list(tables) == ["66 landmarks", "52 blendshapes", "always pain", "chance"]
    for table in tables.values():
        together = table.sort_values(KEYS)
        assert tuple(table) == PREDICTIONS
        assert together["frame"].tolist() == tested["frame"].tolist()
        assert together["pain"].tolist() == tested["pain"].tolist()
        assert together["fold"].nunique() == 2
    assert (tables["always pain"]["probability"] == 1).all()


def test_a_fold_alone_has_the_predictions_that_it_has_among_others(study):
    both = predictions(study)
    study.folds = study.folds[1:]
    alone, other = predictions(study), predictions(study, seed=1)
    for name, table in alone.items():
        among = both[name][both[name]["fold"] == 1].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, among)
    assert (other["chance"]["probability"] != alone["chance"]["probability"]).all()


def test_frames_without_landmark_files_are_missing_from_that_baseline_alone(study, tmp_path):
    bare = study.store.frames.copy()
    bare.loc[study.folds[0].test[:3], "landmarks"] = None
    study.store, study.results = replace(study.store, frames=bare), tmp_path / "some"
    tables = predictions(study)
    frames = {name: table.groupby("fold").size() for name, table in tables.items()}
    assert (frames["52 blendshapes"] - frames["66 landmarks"]).tolist() == [3, 0]
    study.store = replace(study.store, frames=bare.assign(landmarks=None))
    study.results = tmp_path / "none"
    assert list(predictions(study)) == ["52 blendshapes", "always pain", "chance"]


def test_a_fold_that_trains_on_one_class_is_an_error(study):
    pain = study.store.frames["pain"].fillna(False).to_numpy(bool)
    study.folds = [replace(study.folds[0], train=np.flatnonzero(study.store.usable & ~pain))]
    with pytest.raises(BaselineError, match=r"fold 0 of halves.*0 pain"):
        predictions(study)
