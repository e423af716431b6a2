from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from paincore.cluster import shared_workers
from paincore.data.frames import KEYS
from paincore.data.unbc import read_landmarks
from paincore.folds.designs import Fold
from paincore.manifest import fetch
from paincore.registration.blendshapes import BlendshapeReader
from paincore.registration.faces import read_picture
from paincore.registration.landmarker import PosedCanonicalFace
from paincore.statistics.scores import PREDICTIONS
from paincore.training import baselines
from tests.helpers.regression import newton


@pytest.fixture(scope="module", autouse=True)
def workers():
    with shared_workers():
        yield


@pytest.fixture
def study(drawn_corpus, drawn_store, tmp_path_factory):
    """The 24 drawn frames; they show no pain, so some are said to, in two folds of every other."""
    pain = pd.array(np.arange(24) % 5 < 2, "boolean")
    store = replace(drawn_store, frames=drawn_store.frames.assign(pain=pain))
    rows = np.flatnonzero(store.usable)
    folds = [Fold("halves", k, rows[1 - k :: 2], rows[k::2]) for k in (0, 1)]
    results = tmp_path_factory.getbasetemp() / "baselines of the drawn frames"
    parts = {"corpus": drawn_corpus, "store": store, "folds": folds, "results": results}
    return SimpleNamespace(**parts, scheduler=None, workers=None)


def test_features_are_the_landmark_files_and_what_the_network_says_of_the_image(study):
    known, usable, root = baselines.features(study), study.store.usable, study.corpus.root
    reader = BlendshapeReader(fetch("landmarker"))
    canonical = PosedCanonicalFace(reader.landmarker).points
    row = int(np.flatnonzero(usable)[5])
    frame = next(study.store.frames[row : row + 1].itertuples())
    image = read_picture(root, frame, "landmarker").image
    assert np.array_equal(known["52 blendshapes"][row], reader(image))
    points = baselines.normalised(read_landmarks(root, frame.landmarks), canonical)
    assert np.array_equal(known["66 landmarks"][row].reshape(66, 2), points)
    assert not usable.all()
    assert np.isfinite(known["52 blendshapes"]).all(1).tolist() == usable.tolist()


def test_features_are_computed_once_and_again_for_corrected_landmarks(study, tmp_path):
    known = baselines.features(study)
    (path,) = (study.results / "baselines").glob("*.parquet")
    written = path.stat().st_mtime_ns
    again = baselines.features(study)
    assert path.stat().st_mtime_ns == written
    assert all(np.array_equal(known[name], again[name], equal_nan=True) for name in known)
    study.results, study.corpus = tmp_path, replace(study.corpus, landmarks_sha256="corrected")
    baselines.features(study)
    assert [one.name for one in (tmp_path / "baselines").glob("*.parquet")] != [path.name]


def test_normalised_landmarks_are_the_nearest_similarity_of_the_complex_plane():
    rng = np.random.default_rng(0)
    canonical = rng.normal(0, 4, (66, 3))
    pixels = rng.normal((160, 120), 50, (66, 2))
    source, target = pixels @ [1, -1j], canonical[:, :2] @ [1, 1j]
    source, centre = source - source.mean(), target.mean()
    factor = np.vdot(source, target - centre) / np.vdot(source, source)  # least squares
    found = baselines.normalised(pixels, canonical)
    assert found @ [1, 1j] == pytest.approx(factor * source + centre)
    turned = pixels @ [[0.6, -0.8], [0.8, 0.6]] * 2.5 + [7, -30]
    assert baselines.normalised(turned, canonical) == pytest.approx(found)


@pytest.fixture
def measured():
    """Frames of 200 rows, a fold, and values (200, 3) of which the first goes with pain."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3)) * [1, 20, 0.1] + [0, 100, 3]
    pain = rng.random(200) < expit(2 * values[:, 0] - 1)
    frames = pd.DataFrame({"frame": np.arange(200) + 1, "pain": pd.array(pain, "boolean")})
    frames = frames.assign(subject="aa000", sequence="aa000t1aaaff")
    return frames, Fold("halves", 3, np.arange(120), np.arange(120, 200)), values


def test_regression_agrees_with_newton_iterations_on_standardised_training_rows(measured):
    frames, fold, values = measured
    pain = frames["pain"].to_numpy(bool)
    scaled = (values - values[:120].mean(0)) / values[:120].std(0)
    trained, prevalence = pain[:120], pain[:120].mean()
    balanced = np.where(trained, 0.5 / prevalence, 0.5 / (1 - prevalence))
    design = np.insert(scaled[:120], 0, 1, axis=1)
    beta = newton(design, trained, weight=balanced, penalty=[0, 1, 1, 1])  # C = 1
    table = baselines.regression(frames, fold, values)
    assert tuple(table) == PREDICTIONS and table["frame"].tolist() == list(range(121, 201))
    assert (table["fold"] == 3).all() and (table["pain"] == pain[120:]).all()
    expected = expit(beta[0] + scaled[120:] @ beta[1:])
    assert table["probability"].to_numpy() == pytest.approx(expected, abs=1e-3)
    odds = expected / (1 - expected) * prevalence / (1 - prevalence)
    assert table["corrected"].to_numpy() == pytest.approx(odds / (1 + odds), abs=1e-3)
    values[150] = 1e6  # no tested frame changes the prediction of another
    after = baselines.regression(frames, fold, values)["probability"]
    assert (after != table["probability"]).to_numpy().nonzero()[0].tolist() == [30]


def test_rows_without_input_are_neither_trained_on_nor_predicted(measured):
    frames, fold, values = measured
    values[[0, 7, 130, 140], [0, 1, 2, 0]] = np.nan
    table = baselines.regression(frames, fold, values)
    less = replace(fold, train=np.setdiff1d(fold.train, [0, 7]))
    expected = baselines.regression(frames, less, np.nan_to_num(values)).set_index("frame")
    expected = expected["probability"].drop([131, 141])
    pd.testing.assert_series_equal(table.set_index("frame")["probability"], expected)
    values[frames["pain"].to_numpy(bool)] = np.nan
    assert baselines.regression(frames, fold, values).empty


def test_every_baseline_predicts_each_tested_frame_once_and_a_fold_alone_the_same(study):
    tables = baselines.predictions(study)
    tested = study.store.frames[study.store.usable].sort_values(KEYS)
    assert list(tables) == ["66 landmarks", "52 blendshapes", "always pain", "chance"]
    for table in tables.values():
        together = table.sort_values(KEYS)
        assert together["frame"].tolist() == tested["frame"].tolist()
        assert together["pain"].tolist() == tested["pain"].tolist()
    assert (tables["always pain"]["probability"] == 1).all()
    study.folds = study.folds[1:]
    for name, table in baselines.predictions(study).items():
        among = tables[name][tables[name]["fold"] == 1].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, among)


def test_frames_without_landmark_files_are_missing_from_that_baseline_alone(study, tmp_path):
    frames = study.store.frames
    bare = frames["landmarks"].mask(frames.index.isin(study.folds[0].test[:3]))
    study.store = replace(study.store, frames=frames.assign(landmarks=bare))
    study.results = tmp_path / "some"
    tables = baselines.predictions(study)
    counts = {name: table.groupby("fold").size() for name, table in tables.items()}
    assert (counts["52 blendshapes"] - counts["66 landmarks"]).tolist() == [3, 0]
    study.store = replace(study.store, frames=frames.assign(landmarks=None))
    study.results = tmp_path / "none"
    assert list(baselines.predictions(study)) == ["52 blendshapes", "always pain", "chance"]
