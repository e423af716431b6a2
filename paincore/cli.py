"""The command line: `paincore VERB`, each verb a thin call of a function of the module.

What a user can put right is printed as one line on standard error, with exit status 1.
"""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from paincore import PaincoreError
from paincore.data.corpus import Corpus, compare_counts, differences, open_corpus
from paincore.data.tables import states_of_frames
from paincore.data.unbc import CorpusError, read_landmarks
from paincore.manifest import DataSet, asset_state, fetch, load_manifest
from paincore.profiles import PROFILES
from paincore.training import runs_tables
from paincore.training.runs import read_runs
from synthpain import SynthesisError

app = typer.Typer(
    help="An executable book on pain detection with vision transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
data_app = typer.Typer(help="List data sets and assets, or verify a corpus.")
app.add_typer(data_app, name="data")
console = Console()
say = partial(console.print, soft_wrap=True, markup=False)


def option(kind: type, words: str, *names: str, **bounds: int) -> object:
    """The type of an option of the command line, with its help."""
    return Annotated[kind, typer.Option(*names, help=words, **bounds)]


def argument(kind: type, words: str) -> object:
    """The type of an argument of the command line, with its help."""
    return Annotated[kind, typer.Argument(help=words)]


OPTIONS = {
    "profile": (option(str | None, f"Size of the book: {', '.join(PROFILES)}."), None),
    "dataset": (option(str | None, "A data set of the manifest."), None),
    "data_root": (option(Path | None, "The corpus folder."), None),
    "results": (option(Path | None, "Where results go (default: results)."), None),
    "device": (option(str | None, "cpu, cuda or cuda:1, for networks."), None),
    "scheduler": (option(str | None, "Address of a Dask scheduler."), None),
    "seeds": (option(int | None, "Seeds of each training.", min=1), None),
    "design": (option(str | None, "How people are put into folds."), None),
    "protocol": (option(str, "paper, or released: the authors' notebook."), "paper"),
    "backbone": (option(str | None, "What models start from."), None),
    "deterministic": (option(bool, "On a GPU, the same bits each time.", "--deterministic"), False),
    "kernel": (option(str | None, "Jupyter kernel of the chapters."), None),
    "backend": (option(str | None, "landmarker, prnet, landmarks or none."), None),
    "size": (option(int, "Side of a stored image, in pixels.", min=16), 224),
    "workers": (option(int | None, "Processes (default: cores).", min=1), None),
    "model": (option(str | None, "vit or vivit (default: both)."), None),
    "path": (option(str, "greedy, or paper: its own best values."), "greedy"),
    "each": (option(bool, "A line for each run.", "--each"), False),
    "every": (option(bool, "All of them, not the usual ones alone.", "--all"), False),
}
STUDY = ("profile", "dataset", "data_root", "results", "device", "scheduler")
TRAINED = ("seeds", "design", "protocol", "backbone", "deterministic")


def verb(*options: str, on: typer.Typer = app) -> Callable:
    """Make a function a verb of the command line, which takes these of `OPTIONS` too."""

    def make(function: Callable) -> Callable:
        own = inspect.signature(function).parameters.values()
        parameters = [one for one in own if one.name not in options and one.kind != one.VAR_KEYWORD]
        for name in options:
            kind, default = OPTIONS[name]
            key = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(name, key, default=default, annotation=kind))
        function.__signature__ = inspect.Signature(parameters)
        return on.command()(function)

    return make


def main() -> None:
    """Run the command line; an error that the user can put right ends it with one line."""
    try:
        app()
    except (PaincoreError, SynthesisError) as error:
        Console(stderr=True).print(f"Error: {error}", style="red", soft_wrap=True, markup=False)
        sys.exit(1)


def print_table(values: pd.DataFrame) -> None:
    """Print a table."""
    whole = ("key", "configuration")  # what a reader copies or reads first
    columns = [Column(name, no_wrap=name in whole, overflow="fold") for name in values.columns]
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1))
    for row in values.astype(str).itertuples(index=False):
        table.add_row(*map(escape, row))
    console.print(table)


@verb(*STUDY, *TRAINED, "kernel")
def book(kernel, **study) -> None:
    """Execute the chapters and render the book; what has not changed is kept."""
    from paincore.book.chapters import build_book  # Jupyter's libraries: only for this verb

    say(f"The book: {build_book(kernel, **study)}")


@verb("workers")
def synthesize(
    out: option(Path, "The corpus folder to make."),
    frames: option(int, "Frames in all.", min=25) = 2000,
    seed: option(int, "Another seed, another corpus.", min=0) = 0,
    size: option(str, "Width and height of an image.") = "320x240",
    workers=None,
) -> None:
    """Make a synthetic corpus in the layout of UNBC-McMaster; resumes after a kill."""
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{size!r} is not like 320x240", param_hint="--size")
    from synthpain.corpus import synthesize as make  # compiles kernels: only for this verb

    make(out, frames=frames, seed=seed, width=int(width), height=int(height), workers=workers)
    say(f"The corpus: {out}")
    say("A few of its images are black or cut short on purpose, as in UNBC-McMaster.")


@verb(*STUDY, "backend", "size", "workers")
def register(**study) -> None:
    """Register a corpus into a frame store: every face frontal; resumes after a kill."""
    from paincore.registration.store import states_table  # Dask, LiteRT: only for this verb
    from paincore.study import open_study

    store = open_study(**study).store
    print_table(states_table(store.frames))
    say(f"The store: {store.folder}")


@verb("model", *STUDY, "workers", *TRAINED, "path")
def sweep(model, path, **study) -> None:
    """Train the paper's 14 configurations of each model; resumes after a kill."""
    from paincore.ablations.search import ablate
    from paincore.ablations.tables import failures_table, trials_table
    from paincore.study import open_study

    study = open_study(**study)
    try:
        with study.sweep:
            found = ablate(study, path, model)
    except KeyboardInterrupt:
        say("Stopped. What is trained is kept: the same command goes on from there.")
        raise typer.Exit(130) from None
    print_table(trials_table(found))
    if any(ablation.failures for ablation in found.values()):
        print_table(failures_table(found))
        raise typer.Exit(1)


def _trained(results: Path | None, every: bool = False) -> pd.DataFrame:
    """All runs, or those of the latest engine; what is left out is told."""
    found, left_out = read_runs(results)
    table = runs_tables.runs_table(found)
    shown = table if every else runs_tables.latest_engine(table)
    for sentence in left_out:
        say(f"left out: {sentence}")
    say(f"{len(shown)} of {len(table)} runs")
    if older := len(table) - len(shown):
        say(f"{older} are of another engine or torch: paincore runs --all lists them")
    return shown


@verb("results", "each", "every")
def runs(results, each, every) -> None:
    """List what has been trained: a line a configuration, F1 and AUC over its folds."""
    table = _trained(results, every)
    if len(table):
        print_table((runs_tables.each_run if each else runs_tables.each_configuration)(table))
        say(f"all of them: {runs_tables.what_all_share(table)}")


@verb("results")
def export_results(out: argument(Path, "The CSV file to write."), results) -> None:
    """Write the scores of each configuration over its folds: aggregates alone, free to pass on."""
    path = runs_tables.write_results(_trained(results), out)
    say(f"Scores over folds, nothing of a person: {path}")


@app.command("fetch")
def fetch_one(
    name: argument(str, "An asset, as `paincore data` lists it."),
    file: option(Path | None, "Take this file instead.") = None,
) -> None:
    """Get an asset into data/assets and check it."""
    say(f"{name}: {fetch(name, file)}")


@data_app.callback(invoke_without_command=True)
def list_data(context: typer.Context) -> None:
    """List the data sets and assets of the manifest: what is here, missing or damaged."""
    if context.invoked_subcommand:
        return
    manifest = load_manifest()
    sets = [(one.name, one.title, _whose_faces(one)) for one in manifest.datasets.values()]
    print_table(pd.DataFrame(sets, columns=["data set", "what", "faces shown"]))
    assets = [(a.name, a.title, a.licence, asset_state(a)) for a in manifest.assets.values()]
    print_table(pd.DataFrame(assets, columns=["asset", "what", "licence", "state"]))


def _whose_faces(entry: DataSet) -> str:
    return ", ".join(entry.shown_subjects) or "all" if entry.faces_may_be_shown else "none"


@verb("data_root", "results", "profile", "every", on=data_app)
def verify(dataset: argument(str, "A data set of the manifest."), every, **where) -> None:
    """Read a corpus and compare it with the counts that the manifest expects."""
    corpus = open_corpus(dataset, **where)
    counts = compare_counts(corpus.frames, corpus.dataset.expected)
    wrong = counts[counts["expected"] != counts["found"]]
    say(f"{corpus.root}: {corpus.label}")
    print_table(states_of_frames(corpus.frames, ignored=corpus.ignored))
    landmarks = _damaged_landmarks(corpus)
    say(f"landmark files that cannot be used: {len(landmarks)}")
    say(f"frames without landmarks: {corpus.frames['landmarks'].isna().sum()}")
    if every:
        problems = corpus.frames["problem"][corpus.frames["state"] != "ok"]
        say("\n".join([*problems, *corpus.ignored, *landmarks]))
    if len(wrong):
        print_table(wrong)
    faults = differences(corpus) if corpus.truth is not None else []
    say("\n".join([f"{len(counts) - len(wrong)} of {len(counts)} counts as expected", *faults]))
    if faults or wrong["verified"].any():
        raise typer.Exit(1)


def _damaged_landmarks(corpus: Corpus) -> list[str]:
    """A sentence for each landmark file that cannot be used."""
    faults = []
    for path in corpus.frames["landmarks"].dropna():
        try:
            read_landmarks(corpus.root, path)
        except CorpusError as fault:
            faults.append(str(fault))
    return faults
