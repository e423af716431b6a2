"""Known numbers of small trainings: a change that moves them needs another ENGINE_VERSION."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from paincore.files import ENGINE_VERSION
from paincore.training.configuration import configure
from paincore.training.train import train_fold
from tests.helpers.trainable import fold_of, write_store_with_a_signal

KNOWN = Path(__file__).with_name("known_numbers.json")
TRAINED = {
    "ViT": {"backbone": "movement", "unfrozen_layers": 6, "learning_rate": 2e-4},
    "ViViT with SAM and Mixup": {
        "model": "vivit",
        "backbone": "random",
        "unfrozen_layers": 2,
        "learning_rate": 2e-4,
        "sam": True,
        "mixup_alpha": 0.8,
    },
    "released": {"backbone": "random", "learning_rate": 2e-5, "protocol": "released"},
}


def numbers_of(folder: Path, settings: dict) -> dict[str, list[float]]:
    """Losses by step, probabilities of some test samples, and the scores of a training."""
    store = write_store_with_a_signal(folder / "store", subjects=6)
    configuration = configure(**settings)
    run = train_fold(store, configuration, fold_of(store, 1), 0, folder, "cpu", False, False)
    scores = ("f1", "auc", "weight_change", "mixed", "steps")
    found = {
        "loss": run.history["loss"],
        "probability": run.predictions["probability"][::4],
        "corrected": run.predictions["corrected"][::4],
        "scores": [run.metrics[name] for name in scores],
    }
    return {name: [round(float(value), 6) for value in values] for name, values in found.items()}


@pytest.mark.parametrize("name", TRAINED)
def test_no_number_of_a_training_moves_without_another_engine(tmp_path, name):
    """Kinds of processors differ by 1e-6 here, a SAM radius of 0.045 for 0.05 makes 4e-5."""
    known = json.loads(KNOWN.read_text())
    said = (
        "A training gives other numbers than before. If it should not, find what moved them. If it "
        "should, raise ENGINE_VERSION in paincore/files.py, so that no run and no cache of before "
        "is taken for one of now, and write the numbers anew: python -m tests.training.test_engine"
    )
    assert known["engine"] == ENGINE_VERSION, said
    for part, values in numbers_of(tmp_path, TRAINED[name]).items():
        expected = known[name][part]
        assert len(values) == len(expected), said
        np.testing.assert_allclose(values, expected, atol=5e-6, rtol=0, err_msg=said)


def write_known(folder: Path) -> None:
    """Write the numbers of this engine to KNOWN."""
    found = {name: numbers_of(folder / name, settings) for name, settings in TRAINED.items()}
    KNOWN.write_text(json.dumps({"engine": ENGINE_VERSION} | found) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_known(Path(folder))
