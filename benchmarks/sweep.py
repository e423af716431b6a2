"""What a sweep costs beside its trainings, what a second worker gains, and whether kills hurt.

`python benchmarks/sweep.py [--quick]` prints its figures as one JSON object on the last line; it
takes about half an hour. Overhead and kills are on the smoke profile: 300 synthetic frames, 14
configurations of each model, five folds. `--quick` takes ViT alone, two kills, and the smoke
profile for all.

- `two_worker_speedup`: the demo's whole search on one worker of one thread over that on two, each
  in a fresh process and into an empty folder. The clock runs from before the workers are started
  until the last run is there. `two_worker_speedup_smoke` is the same on the smoke profile, where
  starting them weighs most.
- `overhead_ms`: on one worker that has been started and has trained before, with frozen states in
  the cache: the wall time of trainings less what they spent in training and testing, a run.
- `kills`: `paincore sweep` on two workers is killed (SIGKILL, the whole process group) at random
  moments, and started again each time. A kill is recovered from if every run that it leaves equals
  the uninterrupted one to the bit; none is if the runs at the end do not.
"""

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from paincore.ablations.search import ablate
from paincore.data.corpus import Corpus, open_corpus
from paincore.folds.designs import Fold, make_folds
from paincore.profiles import DEFAULT_PROFILE, profile_named
from paincore.registration.frame_store import FrameStore
from paincore.registration.store import registered
from paincore.study import open_study
from paincore.training.configuration import configure
from paincore.training.runs import open_run, read_runs
from paincore.training.sweep import Sweep

PROFILE = "smoke"
EXAMPLES = 40  # runs over which overhead is averaged
START = 15  # seconds within which a sweep starts, and its first run ends


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="ViT alone, two kills")
    quick = arguments.parse_args().quick
    model, kills = ("vit", 2) if quick else (None, 20)
    corpus = open_corpus(profile=PROFILE)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = registered(corpus, results=root / "killed")
        folds = make_folds(store.frames, "balanced", store.usable)
        smoke, two = speedup(root, PROFILE, model)
        figures = {"two_worker_speedup": smoke if quick else speedup(root, DEFAULT_PROFILE)[0]}
        figures |= {"two_worker_speedup_smoke": smoke}
        figures |= {"overhead_ms": round(overhead(root / "overhead", store, folds), 1)}
        reference = root / f"{PROFILE}-2"
        recovered = kill_and_resume(corpus, root / "killed", reference, model, kills, two)
    print(json.dumps(figures | {"kills": kills, "kills_recovered": recovered}))


def speedup(root: Path, profile: str, model: str | None = None) -> tuple[float, float]:
    """One worker's time over two workers', and two workers' seconds."""
    seconds = []
    for workers in (1, 2):
        results = root / f"{profile}-{workers}"
        # A process of its own: whoever comes second would find worker processes half started.
        fresh = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        with fresh as process:
            search = process.submit(search_seconds, results, profile, model, workers)
            seconds.append(search.result())
    one, two = seconds
    same = differing(*(root / f"{profile}-{workers}" for workers in (1, 2))) == 0
    print(f"{profile}: one worker {one:.0f} s, two {two:.0f} s; the same numbers: {same}")
    return round(one / two, 2), two


def search_seconds(results: Path, profile: str, model: str | None, workers: int) -> float:
    """Wall time of the greedy search, from before the workers start."""
    study = open_study(profile)
    parts = {"store": study.store, "folds": study.folds, "starts": study.starts, "seeds": 1}
    start = time.perf_counter()
    with Sweep(results, "cpu", workers=workers) as sweep:
        ablate(SimpleNamespace(sweep=sweep, **parts), model=model)
        seconds = time.perf_counter() - start
    runs = read_runs(results)[0]
    print(f"{workers} workers: {len(runs)} runs, {sum(run.seconds for run in runs):.0f} s in them")
    return seconds


def overhead(results: Path, store: FrameStore, folds: list[Fold]) -> float:
    """Milliseconds a run beside training and testing; its parts are printed."""
    small = configure(unfrozen_layers=2, backbone=profile_named(PROFILE).backbone)
    seeds = EXAMPLES // len(folds)
    with Sweep(results, "cpu", workers=1) as sweep:
        sweep.train(store, [small], folds)
        start = time.perf_counter()
        found, _ = sweep.train(store, [small], folds, 1 + seeds)
        wall = time.perf_counter() - start
    clocks = pd.DataFrame([run.environment for run in found[small] if run.rests_on["seed"]])
    each = 1000 * wall / len(clocks)
    prepare, train, test = (
        1000 * clocks[f"{part}_seconds"].mean() for part in ("prepare", "train", "test")
    )
    rest = each - prepare - train - test
    print(
        f"a run of {each:.0f} ms: training {train:.0f}, testing {test:.0f}, {rest:.0f} around it,"
    )
    print(f"{prepare:.0f} before it: samples, encoder, model, cache")
    return prepare + rest


def kill_and_resume(
    corpus: Corpus, results: Path, reference: Path, model: str | None, kills: int, seconds: float
) -> int:
    """How many kills were recovered from."""
    command = [sys.executable, "-m", "paincore", "sweep", "--profile", PROFILE]
    command += ["--data-root", corpus.root, "--results", results, "--device", "cpu"]
    command += ["--workers", "2", *(["--model", model] if model else [])]
    rng = np.random.default_rng([0, *b"kills"])
    count = len(read_runs(reference)[0])
    recovered = 0
    for number in range(1, kills + 1):
        # Some while workers start, most while they train; all of them before the end.
        new = rng.integers(count // (2 * kills))
        begun, process = time.perf_counter(), start(command)
        wait_for_runs(process, results, finished(results) + new)
        time.sleep(rng.uniform(0, 2 * seconds / count if new else START))
        kill(process)
        wrong, there = differing(results, reference), finished(results)
        recovered += wrong == 0
        moment = time.perf_counter() - begun
        print(f"kill {number} after {moment:.1f} s: {there} runs, {wrong} differ", flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    one, other = (read_runs(folder)[0] for folder in (results, reference))
    same = len(one) == len(other) and differing(results, reference) == 0
    print(f"the {len(one)} runs equal those of the uninterrupted sweep: {same}")
    return recovered if same else 0


def finished(results: Path) -> int:
    """How many runs there are."""
    return len(list((results / "runs").glob("[!.]*")))


def wait_for_runs(process: subprocess.Popen, results: Path, count: int) -> None:
    """Until so many runs are there, or the process has ended."""
    while finished(results) < count and process.poll() is None:
        time.sleep(0.02)


def start(command: list) -> subprocess.Popen:
    """The sweep, in a process group of its own."""
    return subprocess.Popen(
        [str(part) for part in command],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to the process and its workers; one that has ended before is an error."""
    if process.poll() is not None:
        sys.exit(f"the sweep ended with status {process.returncode} before it was killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def differing(results: Path, reference: Path) -> int:
    """How many runs of one folder are not, to the bit, those of the other."""
    found = 0
    for one in read_runs(results)[0]:
        other = open_run(reference / "runs" / one.folder.name)
        same = (
            (one.folder / "metrics.json").read_bytes()
            == (other.folder / "metrics.json").read_bytes()
            and one.predictions.equals(other.predictions)
            and one.history.equals(other.history)
        )
        found += not same
    return found


if __name__ == "__main__":
    main()
