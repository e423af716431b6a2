"""What the models are held against, on their folds: two logistic regressions, and two that see no
face.

- `66 landmarks`: the corpus's own landmarks, moved, turned in the plane and scaled onto the
  canonical face, which is the same for everybody; x and y in cm.
- `52 blendshapes`: what FaceLandmarker reads from the image, `paincore.registration.blendshapes`.
- `always pain`: probability 1 for every frame.
- `chance`: a uniform random probability for every frame.

Nothing is tuned. Features are standardised by the training frames; the regression is scikit-learn's
with C = 1 and balanced classes. The models train on balanced classes too, so all probabilities are
corrected alike. A frame without a baseline's input is neither trained on nor predicted.
"""

import zlib
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from threading import get_ident

import cv2
import numpy as np
import pandas as pd
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from paincore import cluster
from paincore.data.unbc import LANDMARKS
from paincore.files import digest_of, key_of, making, whole_file
from paincore.folds.designs import Fold
from paincore.manifest import fetch
from paincore.registration.blendshapes import BLENDSHAPES, BlendshapeReader
from paincore.registration.faces import read_picture, usable_landmarks
from paincore.registration.frontal import similarity
from paincore.registration.landmarker import PosedCanonicalFace
from paincore.training.train import predictions_table

FEATURES_VERSION = 1  # raised when the same frame would get other features
SHARD = 64  # frames that a worker takes at a time

FEATURES = {
    "66 landmarks": [f"{axis}{point}" for point in range(LANDMARKS) for axis in "xy"],
    "52 blendshapes": list(BLENDSHAPES),
}
"""The features of each regression, as columns of one table."""


def predictions(study) -> dict[str, pd.DataFrame]:
    """Out-of-fold predictions of each baseline by its name, with the columns `PREDICTIONS`.

    A baseline that has no input for any tested frame is missing. Raises as `features`.
    """
    frames, known = study.store.frames, features(study)
    tables = defaultdict(list)
    for fold in study.folds:
        tested, prevalence = frames.iloc[fold.test], float(frames["pain"].iloc[fold.train].mean())
        for name, values in known.items():
            tables[name].append(regression(frames, fold, values))
        rng = np.random.default_rng([0, zlib.crc32(b"chance"), fold.number])
        blind = {"always pain": np.ones(len(fold.test)), "chance": rng.random(len(fold.test))}
        for name, probability in blind.items():
            tables[name].append(predictions_table(tested, fold, probability, prevalence))
    found = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    return {name: table for name, table in found.items() if len(table)}


def regression(frames: pd.DataFrame, fold: Fold, values: np.ndarray) -> pd.DataFrame:
    """A fold's predictions by logistic regression on `values`, float (N, K).

    Rows with a NaN in `values` are left out. Empty where no test row remains, or training rows of
    one class only.
    """
    known = np.isfinite(values).all(1)
    train, test = fold.train[known[fold.train]], fold.test[known[fold.test]]
    pain = frames["pain"].iloc[train].to_numpy(bool)
    if not len(test) or not 0 < pain.sum() < len(pain):
        return predictions_table(frames[:0], fold, np.zeros(0), 0.5)
    logistic = LogisticRegression(C=1.0, class_weight="balanced", max_iter=10_000)
    model = make_pipeline(StandardScaler(), logistic).fit(values[train], pain)
    probability = model.predict_proba(values[test])[:, 1]
    return predictions_table(frames.iloc[test], fold, probability, pain.mean())


def features(study) -> dict[str, np.ndarray]:
    """Features of each frame of a study's store, float64 (N, K) under the names of `FEATURES`.

    Rows are NaN where a frame has no landmark file, or no image in which FaceLandmarker finds a
    face. They are computed once, from the corpus's own files, and kept as
    <results>/baselines/<key>.parquet. Raises FileError if that cannot be written.
    """
    corpus = study.corpus
    key = key_of(
        version=FEATURES_VERSION,
        store=study.store.fingerprint,
        corpus=corpus.fingerprint,
        landmarks=corpus.landmarks_sha256,
        landmarker=digest_of(fetch("landmarker")).hexdigest(),
    )
    path = study.results / "baselines" / f"{key}.parquet"
    with making(path) as missing:
        if missing:
            with whole_file(path) as partial:
                _measure(study).to_parquet(partial)
    table = pd.read_parquet(path)
    return {name: table[columns].to_numpy(np.float64) for name, columns in FEATURES.items()}


def _measure(study) -> pd.DataFrame:
    """The table of features of all frames, by workers, with a progress bar in frames."""
    frames = study.store.frames[["image", "landmarks", "state", "problem"]]
    starts = range(0, len(frames), SHARD)
    tasks = ((f"frames from {s}", (study.corpus.root, s, frames[s : s + SHARD])) for s in starts)
    columns = [column for group in FEATURES.values() for column in group]
    values = np.full((len(frames), len(columns)), np.nan)
    with cluster.connect(study.scheduler, study.workers) as client, Progress() as progress:
        bar = progress.add_task("Measuring faces", total=len(frames))
        for start, measured in cluster.run(client, measure_shard, tasks):
            values[start : start + len(measured)] = measured
            progress.advance(bar, len(measured))
    return pd.DataFrame(values, columns=columns)


def measure_shard(task: tuple[Path, int, pd.DataFrame]) -> tuple[int, np.ndarray]:
    """On a worker: the first row of some frames and their features (n, K), NaN where there are
    none."""
    root, start, frames = task
    cv2.setNumThreads(1)
    reader, canonical = _loaded(get_ident())
    values = np.full((len(frames), 2 * LANDMARKS + len(BLENDSHAPES)), np.nan)
    for own, row in zip(values, frames.itertuples(), strict=True):
        picture = read_picture(root, row, "landmarker")
        landmarks, _ = usable_landmarks(root, row.landmarks, picture.name)
        if landmarks is not None:
            own[: 2 * LANDMARKS] = normalised(landmarks, canonical).ravel()
        movements = None if picture.image is None else reader(picture.image)
        if movements is not None:
            own[2 * LANDMARKS :] = movements
    return start, values


@lru_cache
def _loaded(thread: int) -> tuple[BlendshapeReader, np.ndarray]:
    """The networks and the canonical 66 points (66, 3), loaded once for each thread of a worker,
    because networks hold state."""
    reader = BlendshapeReader(fetch("landmarker"))
    return reader, PosedCanonicalFace(reader.landmarker).points


def normalised(landmarks: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """Landmarks (66, 2) in pixels, y down, brought to canonical points (66, 3) in cm, y up.

    Shift, rotation in the plane and scale are those of least squares. What remains is shape,
    movement and rotation out of the plane.
    """
    upright = landmarks * [1, -1]
    scale, turn, shift = similarity(upright, canonical[:, :2], np.ones(len(upright)))
    return scale * upright @ turn.T + shift
