"""Runs on disk: one trained fold each, written whole or not at all, and named by what decides it.

A run is a folder `<results>/runs/<key>` with `config.json` (what was trained on what),
`metrics.json`, `predictions.parquet` (a row for each test sample, as `paincore.statistics.scores`
takes it), `history.parquet` (a row for each step: loss and accuracy of its batch),
`environment.json` (versions, processor, seconds) and, for models that are kept,
`weights.safetensors` with the trained tensors. Two runs of one key hold the same numbers, to the
bit on one kind of processor; `environment.json` alone differs.

`<results>/runs.parquet` is an index that makes `read_runs` fast: a copy of what the folders say,
made anew where it is missing, old or damaged.
"""

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from filelock import FileLock

from paincore import PaincoreError
from paincore.manifest import ROOT
from paincore.training.configuration import Configuration

VERSION = 2
CONFIG, METRICS, ENVIRONMENT = "config.json", "metrics.json", "environment.json"
INDEX = "runs.parquet"
INDEX_VERSION = 2  # of its columns and what they mean
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
    """Open a finished run. Raises RunError naming what is missing, damaged or of other version."""
    folder = Path(folder)
    try:
        return _open(folder)
    except RunError:
        if not folder.parent.is_dir():
            raise
    with suppress(OSError), _naming(folder):
        pass  # who replaces it just now is waited for
    return _open(folder)


def _open(folder: Path) -> Run:
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
    process was faster its run stands, unless this one has weights and that one has none: then the
    whole folder is replaced. Raises RunError if the disk refuses.
    """
    config = {
        "version": VERSION,
        "configuration": configuration.model_dump(mode="json"),
        "rests_on": rests_on,
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scrap = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        partial = scrap / "new"
        try:
            partial.mkdir()
            for name, content in (
                (CONFIG, config),
                (METRICS, {name: _plain(value) for name, value in metrics.items()}),
                (ENVIRONMENT, environment),
            ):
                (partial / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
            for name, table in tables.items():
                table.to_parquet(partial / name)
            if weights is not None:
                from safetensors.torch import save_file  # torch: reading runs does without

                save_file(weights, partial / WEIGHTS)
            _give_name(partial, folder, replace=weights is not None)
        finally:
            shutil.rmtree(scrap, ignore_errors=True)
    except OSError as fault:
        raise RunError(
            f"{folder} cannot be written ({fault.strerror}). Free the disk or name another results "
            "folder."
        ) from fault
    return open_run(folder)


def _give_name(partial: Path, folder: Path, replace: bool) -> None:
    """Rename to `folder`; a run that is there is replaced, whole, only by one with more: weights.

    A kill between the two renames leaves no run, and both in what is reported as half-written.
    """
    with _naming(folder):
        if folder.is_dir():
            if not replace or (folder / WEIGHTS).exists():
                return
            folder.rename(partial.with_name("old"))
        partial.rename(folder)


def _naming(folder: Path) -> FileLock:
    """Held by who gives runs their names, one at a time."""
    return FileLock(folder.parent.with_name(f".{folder.parent.name}.lock"))


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


def predictions_of(runs: Iterable[Run]) -> pd.DataFrame:
    """The predictions of runs of one configuration as one table, with their `seed`. Chapter 04."""
    parts = [run.predictions.assign(seed=run.rests_on["seed"]) for run in runs]
    return pd.concat(parts, ignore_index=True)


def by_setting(runs: Iterable[Run], name: str) -> dict[str, pd.DataFrame]:
    """`predictions_of` the runs for each value of a setting, such as "model". Chapter 04."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(getattr(run.configuration, name), []).append(run)
    return {value: predictions_of(group) for value, group in groups.items()}


SECONDS = ("prepare_seconds", "train_seconds", "test_seconds")
SETTINGS = {
    name: {bool: "bool", int: "int64", str: "str"}.get(type(field.default), "float64")
    for name, field in Configuration.model_fields.items()
}
"""The types of the settings' columns."""

RESTS_ON = {
    "design": "str",
    "fold": "int64",
    "seed": "int64",
    "store": "str",
    "device": "str",
    "engine": "int64",
    "torch": "str",
    "transformers": "str",
}
HEAD = {"key": "str"} | SETTINGS | RESTS_ON
TAIL = {"seconds": "float64", "weights": "bool", "started": "datetime64[us, UTC]", "stamp": "str"}


class RunTable(NamedTuple):
    """All runs of a results folder, and a sentence for each thing in it that is none."""

    runs: pd.DataFrame
    left_out: list[str]


def read_runs(results: str | Path | None = None) -> RunTable:
    """A row for each run, sorted by settings, design, fold and seed.

    Columns: `key`; the settings of `Configuration` (no Mixup is NaN); `design`, `fold`, `seed`;
    `store`, a SHA-256, `device`, `engine` (ENGINE_VERSION), `torch` and `transformers`, which it
    rests on; its metrics, float64, the one named as a setting is as `precision_score`; `seconds`
    in all; `weights`, whether they were kept; `started`, UTC. What is half-written, damaged, of
    another version or foreign is left alone and has a sentence instead. Other processes may
    write runs meanwhile. `paincore runs`.
    """
    folder = runs_folder(results)
    index = _read_index(folder.parent / INDEX)
    stamps = dict(zip(index["key"], index["stamp"], strict=True))
    kept, rows, left_out = [], [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if foreign := _why_no_run(path):
            left_out.append(foreign)
            continue
        with suppress(FileNotFoundError):  # somebody has deleted it since
            stamp = _stamp(path)
            if stamps.get(path.name) == stamp:
                kept.append(path.name)
                continue
            try:
                rows.append({"stamp": stamp} | _row(open_run(path)))
            except RunError as fault:
                left_out.append(str(fault))
    parts = [index[index["key"].isin(kept)]] if kept else []
    table = _typed([*parts, pd.DataFrame(rows)])
    if rows or len(kept) < len(index):
        _write_index(folder.parent / INDEX, table)
    return RunTable(table.drop(columns="stamp"), left_out)


def _why_no_run(path: Path) -> str:
    """A sentence on what cannot be a run by its name; empty for what can."""
    if re.fullmatch(r"\.[0-9a-f]{16}-.*", path.name):
        return (
            f"{path} is half-written. If no training is at work, one was killed there: delete it."
        )
    if not re.fullmatch("[0-9a-f]{16}", path.name) or not path.is_dir():
        return f"{path} is no run; it is left alone."
    return ""


def _stamp(folder: Path) -> str:
    """What changes when a file in the folder does, or the meaning of the index."""
    with os.scandir(folder) as entries:
        found = sorted((one.name, one.stat()) for one in entries)
    files = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in found]
    content = [VERSION, INDEX_VERSION, sorted(SETTINGS), files]
    return sha256(json.dumps(content).encode()).hexdigest()[:16]


def _row(run: Run) -> dict:
    """A run as a row of the table. Raises RunError for what is no value of its column."""
    try:
        clock = {name: float(run.environment[name]) for name in ("started", *SECONDS)}
        metrics = {
            f"{name}_score" if name in HEAD else name: float(value)
            for name, value in run.metrics.items()
        }
        return {
            "key": run.folder.name,
            **run.configuration.model_dump(),
            **{name: run.rests_on[name] for name in RESTS_ON},
            "fold": int(run.rests_on["fold"]),
            "seed": int(run.rests_on["seed"]),
            **metrics,
            "seconds": sum(clock[name] for name in SECONDS),
            "weights": run.weights is not None,
            "started": datetime.fromtimestamp(clock["started"], UTC),
        }
    except (KeyError, ValueError, TypeError) as fault:
        raise RunError(
            f"{run.folder} is damaged ({fault!r}). Delete it and train again."
        ) from fault


def _typed(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The parts as one table, whose columns are of the same types wherever they come from."""
    names = dict.fromkeys(name for part in parts for name in part)
    metrics = {name: "float64" for name in names if name not in HEAD | TAIL}
    kinds = HEAD | metrics | TAIL
    typed = [part.reindex(columns=list(kinds)).astype(kinds) for part in parts]
    order = [*SETTINGS, "design", "fold", "seed", "key"]
    return pd.concat(typed).sort_values(order, kind="stable", ignore_index=True)


def _read_index(path: Path) -> pd.DataFrame:
    with suppress(OSError, ValueError):  # pyarrow's errors are ValueErrors
        index = pd.read_parquet(path)
        if {"key", "stamp"} <= set(index):
            return index
    return pd.DataFrame({"key": [], "stamp": []})


def _write_index(path: Path, table: pd.DataFrame) -> None:
    """Replace the index. Of two processes the later wins: either has read the folders."""
    writing = None
    try:
        handle, writing = tempfile.mkstemp(dir=path.parent, prefix=f".{INDEX}-")
        os.close(handle)
        table.to_parquet(writing)
        Path(writing).chmod(0o644)  # mkstemp's files are for their owner alone
        Path(writing).replace(path)
    except OSError:  # a folder that can only be read is read without an index
        if writing:
            Path(writing).unlink(missing_ok=True)
