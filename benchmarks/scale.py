"""Seconds and memory of all chapters on a corpus of UNBC-McMaster's size, with the demo's backbone.

`python benchmarks/scale.py [--frames 48398] [--folder data/scale] [--only 03 07]` prints its
figures as one JSON object on the last line. The folder keeps corpus and store, which are made once.

Registration, the folds and one training of each model are whole. All other trainings that chapters
04 to 08 ask for are made up: their predictions are the labels with noise and their weights those
before training, so that a chapter does all its own work without the days that 200 trainings take
on two cores. Each chapter runs its cells in a process of its own. Memory is what cannot be dropped
(anonymous pages) of that process and all that it starts, at its highest; files that are read, such
as a store's images, are not in it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
import psutil

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 48_398
EVERY = 0.5  # seconds between two looks at the memory
PARTS = ("corpus", "register", "folds", "vit", "vivit")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--frames", type=int, default=FRAMES)
    arguments.add_argument("--folder", type=Path, default=ROOT / "data" / "scale")
    arguments.add_argument("--only", nargs="*", help="parts, such as register or 07")
    arguments.add_argument("--part", help=argparse.SUPPRESS)  # what a process of its own does
    asked = arguments.parse_args()
    if asked.part:
        do(asked.part, asked.folder / str(asked.frames), asked.frames)
        return
    folder = asked.folder / str(asked.frames)
    chapters = sorted(path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb"))
    parts = asked.only or [*PARTS, *chapters]
    seconds, memory = {}, {}
    for part in parts:
        command = [sys.executable, __file__, "--part", part, "--folder", str(asked.folder)]
        seconds[part], memory[part] = measured([*command, "--frames", str(asked.frames)])
        print(f"{part}: {seconds[part]:.0f} s, {memory[part]:.0f} MB", flush=True)
    figures = {"frames": asked.frames}
    if "register" in seconds:
        figures["register_fps"] = asked.frames / seconds["register"]
    for part in set(PARTS[2:]) & seconds.keys():
        name = "folds_seconds" if part == "folds" else f"{part}_fold_seconds"
        figures[name] = json.loads((folder / f"{part}.json").read_text("utf-8"))
    figures["chapter_seconds"] = {one: seconds[one] for one in chapters if one in seconds}
    figures["memory_mb"] = memory
    figures["peak_memory_mb"] = max(memory.values())
    print(json.dumps(figures))


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds of a command, and the highest anonymous memory of its processes in MB."""
    highest, over = [0.0], Event()
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)

    def watch() -> None:
        while not over.wait(EVERY):
            highest[0] = max(highest[0], anonymous(process.pid))

    watcher = Thread(target=watch)
    watcher.start()
    status = process.wait()
    over.set()
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, highest[0]


def anonymous(pid: int) -> float:
    """Anonymous memory of a process and its descendants, in MB; shared pages count once each."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for one in processes:
        try:
            fields = Path(f"/proc/{one.pid}/smaps_rollup").read_text().split("\n")
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in fields if line.startswith("Pss_Anon:"))
    return total / 1024


def do(part: str, folder: Path, frames: int) -> None:
    """One part, in this process."""
    from paincore.folds.designs import DESIGNS, make_folds
    from paincore.study import open_study
    from paincore.training.train import train_fold
    from synthpain.corpus import synthesize

    root, results = folder / "corpus", folder / "results"
    if part == "corpus":
        synthesize(root, frames)
        return
    study = open_study(data_root=root, results=results)
    if part == "register":
        _ = study.store
    elif part == "folds":
        took = {}
        for design in set(DESIGNS) - {"published"}:  # those are names of UNBC-McMaster's people
            start = time.perf_counter()
            make_folds(study.store.frames, design, study.store.usable)
            took[design] = time.perf_counter() - start
            print(f"  {design}: {took[design]:.1f} s", flush=True)
        keep(folder, part, max(took.values()))
    elif part in PARTS:
        start = study.configuration(part, clip_stride=1)
        run = train_fold(study.store, start, study.folds[0], 0, results / "trained", "cpu")
        keep(folder, part, run.seconds)
    else:
        make_up_trainings()
        execute(part, {"data_root": str(root), "results": str(results)})


def keep(folder: Path, part: str, seconds: float) -> None:
    """Leave a part's seconds, without those of starting Python, to the process that asked."""
    (folder / f"{part}.json").write_text(json.dumps(seconds), "utf-8")


def execute(chapter: str, parameters: dict) -> None:
    """Run the cells of a chapter, with these parameters, in this process."""
    import matplotlib
    from IPython.core.interactiveshell import InteractiveShell

    matplotlib.use("agg")
    (path,) = (ROOT / "notebooks").glob(f"{chapter}-*.ipynb")
    shell = InteractiveShell.instance()
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = [line for line in cell["source"] if not line.startswith("%")]
            start = time.perf_counter()
            shell.run_cell("".join(lines), silent=True).raise_error()
            if (took := time.perf_counter() - start) > 5:
                print(f"  {took:.0f} s: {lines[0].strip()}", flush=True)
            if "parameters" in cell["metadata"].get("tags", []):
                shell.push(parameters)


def make_up_trainings() -> None:
    """From now on a sweep of this process writes made-up runs instead of training."""
    from paincore.training import sweep, train

    def history(task, feed, samples, order, show_progress) -> pd.DataFrame:
        steps = np.arange(1, 1 + -(-len(order.first) // train.BATCH_SIZE))
        return pd.DataFrame({"step": steps, "loss": np.log(2), "accuracy": 0.5})

    def noisy(task, feed, samples) -> np.ndarray:
        frames = task.store.frames
        pain = frames["pain"].fillna(False).to_numpy(float)[feed.rows[samples, -1]]
        noise = task.generator("made up").normal(size=len(samples))
        return (1 / (1 + np.exp(-(1.5 * pain + noise - 1)))).astype(np.float32)

    def write_runs(self, jobs) -> dict:
        for job in jobs.values():
            train.train_task(job.task, job.results, False, False)
        return {}

    train.optimise, train.pain_probabilities = history, noisy
    train.keep_states = lambda *_: None
    sweep.Sweep._train = write_runs


if __name__ == "__main__":
    main()
