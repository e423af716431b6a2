"""Made-up predictions."""

import numpy as np
import pandas as pd

FOLDS = 5


def predictions(folds=2, subjects=3, frames=20, signal=1.0, seed=0, grain=10) -> pd.DataFrame:
    """Predictions in steps of 1/`grain`, so that some are equal, of `subjects` in each fold; pain
    has a higher one where `signal` is above 0."""
    rng = np.random.default_rng(seed)
    rows = []
    for subject in range(folds * subjects):
        pain = rng.random(frames) < rng.uniform(0.2, 0.6)
        value = rng.normal(0, 1, frames) + signal * (pain - 0.5) + rng.normal(0, 0.3)
        columns = {
            "fold": subject % folds + 1,
            "subject": f"s{subject}",
            "sequence": f"s{subject}a",
            "frame": range(1, frames + 1),
            "pain": pain,
            "probability": np.round(grain / (1 + np.exp(-value))) / grain,
        }
        rows.append(pd.DataFrame(columns))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(corrected=table["probability"] / 2)


def two_known_folds() -> pd.DataFrame:
    """Two folds of two people: F1 is 1 in the first and 1/2 in the second."""
    fold, subject, frame = np.array(list(np.ndindex(2, 2, 4))).T
    said = np.array([[1, 1, 0, 0], [1, 0, 1, 0]])[fold, frame]
    table = pd.DataFrame({"fold": fold + 1, "subject": np.char.mod("s%d", 2 * fold + subject)})
    table = table.assign(sequence="q", frame=frame, pain=frame < 2, probability=0.2 + 0.7 * said)
    return table.assign(corrected=table["probability"] / 2)


def people(
    rng: np.random.Generator, signals: list[float], subjects: int = 25, frames: int = 40
) -> list[pd.DataFrame]:
    """What one model for each of `signals` predicts for the same unlike people, in five folds.

    One in ten shows no pain; pain comes in episodes of five frames, and so does half of the noise.
    People move the scores of all models alike, and those of each model besides.
    """
    episodes, each = frames // 5, 5
    share = np.where(rng.random(subjects) < 0.1, 0, rng.beta(1, 3, subjects))
    pain = np.repeat(rng.random((subjects, episodes)) < share[:, None], each, axis=1)

    def moved() -> np.ndarray:  # by person and by episode
        person = rng.normal(0, 0.5, (subjects, 1))
        return person + np.repeat(rng.normal(0, 0.55, (subjects, episodes)), each, axis=1)

    alike = moved()
    whose = np.repeat(np.arange(subjects), frames)
    keys = {
        "fold": whose % FOLDS + 1,
        "subject": np.char.mod("s%05d", whose),
        "frame": np.tile(np.arange(frames), subjects) + 1,
        "pain": pain.ravel(),
    }
    tables = []
    for signal in signals:
        value = alike + moved() + rng.normal(0, 0.6, pain.shape) + signal * (pain - 0.5)
        tables.append(pd.DataFrame(keys | {"probability": 1 / (1 + np.exp(-value.ravel()))}))
    return tables
