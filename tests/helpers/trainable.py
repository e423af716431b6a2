"""A small store whose label can be learnt: noise, with a bright square in the frames of pain."""

from pathlib import Path

import numpy as np
import pandas as pd

from paincore.folds.designs import Fold
from paincore.registration.store import (
    FrameStore,
    open_store,
    reserve_images,
    write_images,
    write_store,
)

SIZE = 48


def write_store_with_a_signal(
    folder: Path, subjects: int = 10, sequences: int = 2, frames: int = 10, seed: int = 0
) -> FrameStore:
    """A store of subjects aa000, aa001 ... in whose sequences the last frames are pain."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"aa{subject:03d}", f"aa{subject:03d}t{sequence + 1}aaaff", frame, frame > 0.7 * frames)
        for subject in range(subjects)
        for sequence in range(sequences)
        for frame in range(1, frames + 1)
    ]
    table = pd.DataFrame(rows, columns=["subject", "sequence", "frame", "pain"])
    table = table.assign(pain=table["pain"].astype("boolean"), state="ok")
    images = rng.integers(0, 160, (len(table), SIZE, SIZE, 3), np.uint8)
    images[table["pain"].to_numpy(bool), 8:24, 8:24] += 90
    folder.mkdir(parents=True)
    reserve_images(folder, len(table), SIZE)
    write_images(folder, 0, images)
    write_store(folder, table, {"size": SIZE, "fingerprint": f"signal {seed} {len(table)}"})
    return open_store(folder)


def fold_of(store: FrameStore, number: int) -> Fold:
    """A fold that tests on two subjects: the first two for number 1, and so on."""
    people = sorted(store.frames["subject"].unique())[2 * number - 2 : 2 * number]
    test = store.frames["subject"].isin(people).to_numpy()
    return Fold("balanced", number, np.flatnonzero(~test), np.flatnonzero(test))
