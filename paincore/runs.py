"""Runs on disk: one trained fold each, written whole or not at all, and named by what decides it.

A run is a folder `<results>/runs/<key>` with `config.json` (what was trained on what),
`metrics.json`, `predictions.parquet` (a row for each test sample, as `paincore.metrics` takes it),
`history.parquet` (a row for each step: loss and accuracy of its batch), `environment.json`
(versions, processor, seconds) and, for models that are kept, `weights.safetensors` with the trained
tensors. Two runs of one key hold the same numbers, to the bit on one kind of processor;
`environment.json` alone differs.
"""

import json
import math
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from safetensors.torch import save_file

from paincore import PaincoreError
from paincore.configuration import Configuration
from paincore.manifest import ROOT

VERSION = 1
CONFIG, METRICS, ENVIRONMENT = "config.json", "metrics.json", "environment.json"
PREDICTIONS, HISTORY, WEIGHTS = "predictions.parquet", "history.parquet", "weights.safetensors"


class RunError(PaincoreError):
    """A folder that is not a whole run of this version, or cannot become one."""


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
        return _table(self.folder / PREDICTIONS)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each step: step, loss, accuracy of the batch."""
        return _table(self.folder / HISTORY)

    @property
    def weights(self) -> Path | None:
        """The file of the trained tensors, None if they were not kept."""
        path = self.folder / WEIGHTS
        return path if path.exists() else None


def runs_folder(results: str | Path | None) -> Path:
    """Where runs lie; `results` None means the repository's own folder."""
    return Path(results or ROOT / "results") / "runs"


def open_run(folder: str | Path) -> Run:
    """Open a finished run. Raises RunError naming what is missing, damaged or of another version.

    Used by chapter 04.
    """
    folder = Path(folder)
    missing = [
        name
        for name in (CONFIG, METRICS, PREDICTIONS, HISTORY, ENVIRONMENT)
        if not (folder / name).is_file()
    ]
    if missing:
        raise RunError(f"{folder} is not a whole run: {', '.join(missing)} missing. Delete it.")
    try:
        config, metrics, environment = (
            json.loads((folder / name).read_text("utf-8"))
            for name in (CONFIG, METRICS, ENVIRONMENT)
        )
        version = config["version"]
        if version != VERSION:
            raise RunError(
                f"{folder} was written by version {version} of runs, this is version {VERSION}. "
                "Delete it and train again, or read it with the paincore that wrote it."
            )
        configuration = Configuration(**config["configuration"])
        metrics = {name: math.nan if value is None else value for name, value in metrics.items()}
        return Run(folder, configuration, config["rests_on"], metrics, environment)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise RunError(f"{folder} is damaged ({fault}). Delete it and train again.") from fault


def write_run(
    folder: Path,
    configuration: Configuration,
    rests_on: dict,
    metrics: dict,
    environment: dict,
    tables: dict[str, pd.DataFrame],
    weights: dict | None = None,
) -> Run:
    """Write a run under a temporary name and give it its own when it is whole.

    `tables` maps PREDICTIONS and HISTORY to their tables, `weights` names to tensors. Where another
    process was faster its run stands, since it holds the same numbers. Raises RunError if the disk
    refuses.
    """
    config = {
        "version": VERSION,
        "configuration": configuration.model_dump(mode="json"),
        "rests_on": rests_on,
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            for name, content in (
                (CONFIG, config),
                (METRICS, {name: _plain(value) for name, value in metrics.items()}),
                (ENVIRONMENT, environment),
            ):
                (partial / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
            for name, table in tables.items():
                table.to_parquet(partial / name)
            if weights is not None:
                save_file(weights, partial / WEIGHTS)
            partial.chmod(0o755)  # mkdtemp's folders are for their owner alone
            _give_name(partial, folder, replace=weights is not None)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as fault:
        raise RunError(
            f"{folder} cannot be written ({fault.strerror}). Free the disk or name another results "
            "folder."
        ) from fault
    return open_run(folder)


def _give_name(partial: Path, folder: Path, replace: bool) -> None:
    """Rename to `folder`; a run that is there is replaced only by one that has its weights too."""
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if replace and not (folder / WEIGHTS).exists():
            (partial / WEIGHTS).replace(folder / WEIGHTS)


def _plain(value: float) -> float | None:
    """A number as JSON has it, which knows no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as fault:
        raise RunError(
            f"{path} is damaged ({fault}). Delete its folder and train again."
        ) from fault
