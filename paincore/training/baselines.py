"""Baselines on the folds of the models: two logistic regressions, always pain, and chance.

- `landmarks`: the corpus's 66 landmarks, moved, turned in the plane and scaled to the canonical
  face, which is the same for everybody; x and y in cm.
- `blendshapes`: what FaceLandmarker says of the picture, see `paincore.registration.blendshapes`.
- `always_pain`: probability 1 for every frame.
- `chance`: a uniform probability for every frame.

Nothing is tuned. Features are standardised by the training frames; the regression is scikit-learn's
with C = 1 and both classes weighted to one half, as the models are trained, so its probabilities
are corrected in the same way. A frame without a baseline's input is neither trained on nor
predicted, and `left_out` counts it. Tables are `paincore.statistics.scores.PREDICTIONS`.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import get_ident

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from filelock import FileLock
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from paincore import PaincoreError
from paincore.cluster import connect, run
from paincore.data.corpus import Corpus
from paincore.data.frames import KEYS
from paincore.data.labels import LANDMARKS
from paincore.files import digest_of, key_of
from paincore.folds.designs import Fold
from paincore.manifest import ROOT, fetch
from paincore.registration.blendshapes import BLENDSHAPES, BlendshapeReader
from paincore.registration.faces import read_picture, usable_landmarks
from paincore.registration.store import FrameStore
from paincore.registration.frontal import similarity
from paincore.registration.landmarker import PosedCanonicalFace
from paincore.statistics.scores import PREDICTIONS, prior_corrected

VERSION = 1  # raised when the same frame would get other features
SHARD = 64  # frames that a worker takes at a time

FEATURES = {
    "landmarks": [f"{axis}{point}" for point in range(LANDMARKS) for axis in "xy"],
    "blendshapes": list(BLENDSHAPES),
}
"""The features of each regression, as columns of one table."""

BASELINES = (*FEATURES, "always_pain", "chance")


class BaselineError(PaincoreError):
    """Baselines that cannot be computed from what is given."""


def predictions(
    corpus: Corpus,
    store: FrameStore,
    folds: list[Fold],
    results: str | Path | None = None,
    scheduler: str | None = None,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Out-of-fold predictions of each of `BASELINES`, as tables with the columns `PREDICTIONS`.

    A baseline that has input for no tested frame is not among them. `seed` is chance's; the rest is
    as in `features`. Raises BaselineError for a fold that trains on one class. Chapter 04.
    """
    tables = {name: [] for name in BASELINES}
    known = features(corpus, store, results, scheduler)
    for fold in folds:
        pain = store.frames["pain"].iloc[fold.train].to_numpy(bool)
        if pain.all() or not pain.any():
            raise BaselineError(
                f"fold {fold.number} of {fold.design} trains on one class only ({pain.sum()} pain "
                f"frames of {len(pain)}): use another design, or another threshold of pain."
            )
        for name, values in known.items():
            tables[name].append(regression(store.frames, fold, values))
        rng = np.random.default_rng([seed, zlib.crc32(b"chance"), fold.number])
        guesses = {"always_pain": np.ones(len(fold.test)), "chance": rng.random(len(fold.test))}
        for name, probability in guesses.items():
            tables[name].append(_table(store.frames, fold, fold.test, probability, pain.mean()))
    found = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    return {name: table for name, table in found.items() if len(table)}


def left_out(tables: dict[str, pd.DataFrame], folds: list[Fold]) -> pd.DataFrame:
    """Tested frames that a baseline could not predict: baseline, fold, frames, left_out.

    Each is missing from the training of the other folds as well. Chapter 04.
    """
    rows = []
    for name in BASELINES:
        for fold in folds:
            predicted = int((tables[name]["fold"] == fold.number).sum()) if name in tables else 0
            rows.append((name, fold.number, len(fold.test), len(fold.test) - predicted))
    return pd.DataFrame(rows, columns=["baseline", "fold", "frames", "left_out"])


def regression(frames: pd.DataFrame, fold: Fold, values: np.ndarray) -> pd.DataFrame:
    """A fold's predictions, as a table, by logistic regression on `values` float (N, K).

    Rows with a NaN in `values` are left out. Empty where no tested row, or only one class of the
    training rows, is left. Chapter 04.
    """
    known = np.isfinite(values).all(1)
    train, test = fold.train[known[fold.train]], fold.test[known[fold.test]]
    pain = frames["pain"].iloc[train].to_numpy(bool)
    if not len(test) or not 0 < pain.sum() < len(pain):
        return _table(frames, fold, test[:0], np.zeros(0), 0.5)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=1.0, class_weight="balanced", max_iter=10_000)
    )
    probability = model.fit(values[train], pain).predict_proba(values[test])[:, 1]
    return _table(frames, fold, test, probability, pain.mean())


def _table(
    frames: pd.DataFrame, fold: Fold, rows: np.ndarray, probability: np.ndarray, prevalence: float
) -> pd.DataFrame:
    tested = frames.iloc[rows]
    return pd.DataFrame(
        {
            "fold": np.full(len(rows), fold.number),
            **{key: tested[key].to_numpy() for key in KEYS},
            "pain": tested["pain"].to_numpy(bool),
            "probability": probability,
            "corrected": prior_corrected(probability, prevalence),
        }
    )[list(PREDICTIONS)]


def features(
    corpus: Corpus,
    store: FrameStore,
    results: str | Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
) -> dict[str, np.ndarray]:
    """Features of each frame of a store, float64 (N, K) under the names of `FEATURES`.

    Rows are NaN where a frame has no landmark file, or no picture that FaceLandmarker finds a face
    in.
    Computed once, from the corpus's own files, and kept as <results>/baselines/<key>.parquet;
    `scheduler` and `workers` are those of `paincore.cluster.connect`. Raises BaselineError if the
    store is of another corpus, or the folder cannot be written. Chapter 04.
    """
    if not corpus.frames[KEYS].equals(store.frames[KEYS]):
        raise BaselineError(
            f"{store.folder} does not hold the frames of {corpus.root}: register that corpus, or "
            "open the one that the store was made from."
        )
    key = key_of(
        version=VERSION,
        store=store.fingerprint,
        corpus=corpus.fingerprint,
        landmarks=corpus.landmarks_sha256,
        landmarker=digest_of(fetch("landmarker")).hexdigest(),
    )
    path = Path(results or ROOT / "results") / "baselines" / f"{key}.parquet"
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(f"{path}.lock").acquire()
    with held:
        table = _read(path)
        if table is None:
            table = _measure(corpus.root, store.frames, scheduler, workers)
            with _writing(path):
                table.to_parquet(path.with_suffix(".writing"))
                path.with_suffix(".writing").replace(path)
    return {name: table[columns].to_numpy(np.float64) for name, columns in FEATURES.items()}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into an error that says what to do."""
    try:
        yield
    except OSError as fault:
        raise BaselineError(
            f"{path} cannot be written ({fault.strerror or fault}). Name another results folder."
        ) from fault


def _read(path: Path) -> pd.DataFrame | None:
    """The table of features, or None where there is none yet or a damaged one."""
    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowException):
        return None


def _measure(
    root: Path, frames: pd.DataFrame, scheduler: str | None, workers: int | None
) -> pd.DataFrame:
    """The table of features of all frames, by workers, with a progress bar in frames."""
    needed = frames[["image", "landmarks", "state", "problem"]]
    shards = [(start, needed[start : start + SHARD]) for start in range(0, len(frames), SHARD)]
    tasks = ((f"frames from {start}", (root, start, part)) for start, part in shards)
    columns = [column for group in FEATURES.values() for column in group]
    values = np.full((len(frames), len(columns)), np.nan)
    with connect(scheduler, workers) as client, Progress() as progress:
        bar = progress.add_task("Measuring faces", total=len(frames))
        for start, measured in run(client, measure_shard, tasks):
            values[start : start + len(measured)] = measured
            progress.advance(bar, len(measured))
    return pd.DataFrame(values, columns=columns)


def measure_shard(task: tuple[Path, int, pd.DataFrame]) -> tuple[int, np.ndarray]:
    """The row that some frames begin at and their features (n, K), on a worker."""
    root, start, frames = task
    cv2.setNumThreads(1)
    reader, canonical = _loaded(get_ident())
    rows = [_features_of(row, root, reader, canonical) for row in frames.itertuples()]
    return start, np.array(rows)


@lru_cache
def _loaded(thread: int) -> tuple[BlendshapeReader, np.ndarray]:
    """The networks and the canonical 66 points (66, 3), loaded once for each thread of a worker:
    networks hold state."""
    reader = BlendshapeReader(fetch("landmarker"))
    return reader, PosedCanonicalFace(reader.landmarker).points


def _features_of(
    row: object, root: Path, reader: BlendshapeReader, canonical: np.ndarray
) -> np.ndarray:
    """The features (K,) of one row of a store's table, NaN where the frame does not have them."""
    points, movements = np.full(2 * LANDMARKS, np.nan), np.full(len(BLENDSHAPES), np.nan)
    picture = read_picture(root, row, "landmarker")
    if picture.image is not None and (found := reader(picture.image)) is not None:
        movements = found
    landmarks, _ = usable_landmarks(root, row.landmarks, picture.name)
    if landmarks is not None:
        points = normalised(landmarks, canonical).ravel()
    return np.concatenate([points, movements])


def normalised(landmarks: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """Landmarks (66, 2) in pixels, y down, brought to canonical points (66, 3), in cm, y up.

    Shift, turn in the plane and scale are those of least squares; what is left is shape, movement
    and the turn out of the plane. Chapter 04.
    """
    upright = landmarks * [1, -1]
    scale, turn, shift = similarity(upright, canonical[:, :2], np.ones(len(upright)))
    return scale * upright @ turn.T + shift
