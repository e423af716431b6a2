"""Runs of a search that are not there yet, and the command that makes them."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from paincore import PaincoreError
from paincore.ablations.search import ablate, last_trials, layer_trials, rate_trials
from paincore.folds.designs import Fold
from paincore.registration.store import FrameStore
from paincore.training.configuration import Configuration
from paincore.training.runs import Run, RunError, open_run, runs_folder
from paincore.training.sweep import Failure, Sweep, keeps_weights
from paincore.training.task import Task

STEPS = (layer_trials, rate_trials, last_trials)


class _RunsMissingError(PaincoreError):
    """Ends a search that only opens runs."""


class _Opened:
    """What `ablate` takes for a Sweep, which opens runs and trains none; `found` counts them."""

    def __init__(self, sweep: Sweep):
        self.sweep, self.found = sweep, 0

    def train(
        self,
        store: FrameStore,
        configurations: Iterable[Configuration],
        folds: Sequence[Fold],
        seeds: int = 1,
    ) -> tuple[dict[Configuration, list[Run]], list[Failure]]:
        """As `Sweep.train`; raises _RunsMissingError where a run, or weights of it, are missing."""
        runs: dict[Configuration, list[Run]] = {}
        for one in configurations:
            tasks = [
                Task(store, one, fold, seed, self.sweep.device)
                for seed in range(seeds)
                for fold in folds
            ]
            opened = [_opened(runs_folder(self.sweep.results) / task.key) for task in tasks]
            there = [run for run in opened if run and (run.weights or not keeps_weights(one))]
            self.found += len(there)
            if len(there) == len(opened):
                runs[one] = there
        if len(runs) < len(set(configurations)):
            raise _RunsMissingError("the search goes no further: its next step rests on these runs")
        return runs, []


def _opened(folder: Path) -> Run | None:
    """The run, None if it is not there or damaged; the sweep says what is wrong with it."""
    try:
        return open_run(folder)
    except RunError:
        return None


def count(
    sweep: Sweep,
    store: FrameStore,
    folds: Sequence[Fold],
    starts: Sequence[Configuration],
    path: str,
    seeds: int,
) -> int:
    """How many runs a search still has to make; nothing is trained. Chapter 06.

    Where a step is not whole, nobody knows yet what the next ones will try: all their runs count,
    though some may be there. Arguments are those of `experiments.ablate`.
    """
    opened = _Opened(sweep)
    try:
        ablate(opened, store, folds, starts, path, seeds)
    except _RunsMissingError:
        trials = sum(len(step(start)) for start in starts for step in STEPS)
        return trials * len(folds) * seeds - opened.found
    return 0


def command(**parameters: object) -> str:
    """The command line that makes the runs of a chapter's parameters; None is the profile's."""
    options = [
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in parameters.items()
        if value is not None
    ]
    return " ".join(["paincore sweep", *options])


def sentence(missing: int, **parameters: object) -> str:
    """What a chapter says, in Markdown, before it trains what is missing. Chapter 06."""
    if not missing:
        return "All runs of the search are there; they are opened."
    return (
        f"**Up to {missing} runs of the search are missing.** This chapter trains them now; the "
        f"chapter on ablations does the same, and so does\n\n```\n{command(**parameters)}\n```"
    )
