"""Runs on disk: one trained fold each, written whole or not at all, and named by what decides it.

A run is a folder `<results>/runs/<key>` with `config.json` (what was trained on what),
`metrics.json`, `predictions.parquet` (a row for each test sample, as `paincore.statistics.scores`
takes it), `history.parquet` (a row for each step: loss and accuracy of its batch),
`environment.json` (torch, processor, digest of the labels, seconds) and `weights.safetensors`
(the trained tensors: under 1 MB of a demo model, 113 MB of ViT-B/16 with 12 layers). Two runs of
one key hold the same numbers, to the bit on one kind of processor; only `environment.json` differs.
"""

import json
import math
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from paincore import PaincoreError
from paincore.files import writing
from paincore.manifest import ROOT
from paincore.training.configuration import Configuration

RUN_VERSION = 2
CONFIG_FILE, METRICS_FILE, ENVIRONMENT_FILE = "config.json", "metrics.json", "environment.json"
PREDICTIONS_FILE, HISTORY_FILE = "predictions.parquet", "history.parquet"
WEIGHTS_FILE = "weights.safetensors"


class RunError(PaincoreError):
    """A folder that is not a whole run of this version."""


@dataclass(frozen=True)
class Run:
    """A finished run; its tables are read when they are asked for."""

    folder: Path
    configuration: Configuration
    rests_on: dict
    metrics: dict
    environment: dict

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row for each test sample: fold, frame keys, pain, probability, corrected."""
        with _reading(self.folder):
            return pd.read_parquet(self.folder / PREDICTIONS_FILE)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each step: step, loss, accuracy of the batch."""
        with _reading(self.folder):
            return pd.read_parquet(self.folder / HISTORY_FILE)

    @property
    def weights(self) -> Path:
        """The file of the trained tensors."""
        return self.folder / WEIGHTS_FILE

    @property
    def seconds(self) -> float:
        """How long preparing, training and testing took."""
        return sum(self.environment[f"{part}_seconds"] for part in ("prepare", "train", "test"))


def runs_folder(results: str | Path | None) -> Path:
    """Where runs lie; `results` None means the repository's own folder."""
    return Path(results or ROOT / "results") / "runs"


def open_run(folder: str | Path) -> Run:
    """Open a finished run. Raises RunError for one that is missing, damaged or of other version;
    its tables do so when they are read."""
    folder = Path(folder)
    with _reading(folder):
        config, metrics, environment = (
            json.loads((folder / name).read_text("utf-8"))
            for name in (CONFIG_FILE, METRICS_FILE, ENVIRONMENT_FILE)
        )
        if config["version"] != RUN_VERSION:
            version = f"version {config['version']} of runs, not {RUN_VERSION}"
            raise RunError(f"{folder} is of {version}. Delete it and train again.")
        configuration = Configuration(**config["configuration"])
        metrics = {name: math.nan if value is None else value for name, value in metrics.items()}
        return Run(folder, configuration, config["rests_on"], metrics, environment)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Raise RunError, with what to do, where a run's files do not hold what they should."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as fault:
        said = f"{type(fault).__name__}: {fault}"
        raise RunError(f"{folder} is damaged ({said}). Delete it and train again.") from fault


def write_run(run: Run, predictions: pd.DataFrame, history: pd.DataFrame, weights: dict) -> Run:
    """Write a run under a temporary name and give it its own when it is whole; it is opened.

    `weights` maps names to tensors. Where another process was faster its run stands. Raises
    FileError if the disk refuses.
    """
    from safetensors.torch import save_file  # torch: reading runs does without

    settings = run.configuration.model_dump(mode="json")
    config = {"version": RUN_VERSION, "configuration": settings, "rests_on": run.rests_on}
    # JSON knows no NaN.
    metrics = {name: None if math.isnan(value) else value for name, value in run.metrics.items()}
    texts = {CONFIG_FILE: config, METRICS_FILE: metrics, ENVIRONMENT_FILE: run.environment}
    with writing(run.folder):
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        scrap = Path(tempfile.mkdtemp(dir=run.folder.parent, prefix=f".{run.folder.name}-"))
        try:
            partial = scrap / "new"  # mkdtemp's own folder is closed to others
            partial.mkdir()
            for name, content in texts.items():
                (partial / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
            predictions.to_parquet(partial / PREDICTIONS_FILE)
            history.to_parquet(partial / HISTORY_FILE)
            save_file(weights, partial / WEIGHTS_FILE)
            if not run.folder.exists():
                partial.rename(run.folder)
        except OSError:
            if not run.folder.is_dir():  # named meanwhile by who was faster
                raise
        finally:
            shutil.rmtree(scrap, ignore_errors=True)
    return open_run(run.folder)


def predictions_of(runs: Iterable[Run]) -> pd.DataFrame:
    """The predictions of runs of one configuration as one table, with their `seed`."""
    parts = [run.predictions.assign(seed=run.rests_on["seed"]) for run in runs]
    return pd.concat(parts, ignore_index=True)


def by_setting(runs: Iterable[Run], name: str) -> dict[str, pd.DataFrame]:
    """`predictions_of` the runs for each value of a setting, such as "model"."""
    groups = defaultdict(list)
    for run in runs:
        groups[getattr(run.configuration, name)].append(run)
    return {value: predictions_of(group) for value, group in groups.items()}


def read_runs(results: str | Path | None = None) -> tuple[list[Run], list[str]]:
    """All runs, in the order of their keys, and a sentence for each thing that is none.

    That is half-written, damaged, of another version or foreign, and is left alone. Other processes
    may write runs meanwhile.
    """
    folder, runs, left_out = runs_folder(results), [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if re.fullmatch(r"\.[0-9a-f]{16}-.*", path.name):
            left_out.append(f"{path} is half-written: delete it, unless a training is at work.")
        elif not re.fullmatch("[0-9a-f]{16}", path.name):
            left_out.append(f"{path} is no run; it is left alone.")
        else:
            try:
                runs.append(open_run(path))
            except RunError as fault:
                if path.exists():  # nobody has deleted it meanwhile
                    left_out.append(str(fault))
    return runs, left_out
