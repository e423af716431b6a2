"""The command line: `paincore VERB`, each verb a thin call of a function of the module.

What a user can put right is printed as one line on standard error, with exit status 1.
"""

import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from paincore import PaincoreError
from paincore.data.corpus import Corpus, compare_counts, differences, open_corpus, read_generator
from paincore.data.unbc import CorpusError, read_landmarks
from paincore.manifest import ROOT, Asset, DataSet, asset_state, fetch, load_manifest
from paincore.profiles import DEFAULT_PROFILE, PROFILES
from synthpain import SynthesisError

STYLES = {"here": "green", "missing": "yellow", "damaged": "red"}

app = typer.Typer(
    help="An executable book on pain detection with vision transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
data_app = typer.Typer(help="List data sets and assets, or verify a corpus.")
app.add_typer(data_app, name="data")
console = Console()

Profile = Annotated[str, typer.Option(help=f"Size of the book: {', '.join(PROFILES)}.")]
DataRoot = Annotated[Path | None, typer.Option(help="The corpus folder.")]
Results = Annotated[Path | None, typer.Option(help="Where results go (default: results).")]


def main() -> None:
    """Run the command line; an error that the user can put right ends it with one line."""
    try:
        app()
    except (PaincoreError, SynthesisError) as error:
        Console(stderr=True).print(f"Error: {error}", style="red", soft_wrap=True, markup=False)
        sys.exit(1)


@app.command()
def book(
    profile: Profile = DEFAULT_PROFILE,
    dataset: Annotated[str | None, typer.Option(help="A data set of the manifest.")] = None,
    data_root: DataRoot = None,
    results: Results = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1, for networks.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of each run.")] = None,
    design: Annotated[str | None, typer.Option(help="How people are shared out.")] = None,
    kernel: Annotated[str | None, typer.Option(help="Jupyter kernel of the chapters.")] = None,
) -> None:
    """Execute the chapters and render the book; what has not changed is kept."""
    from paincore.book.chapters import build_book  # Jupyter's libraries: only for this verb

    page = build_book(
        profile=profile,
        dataset=dataset,
        data_root=data_root,
        results=results,
        device=device,
        scheduler=scheduler,
        seeds=seeds,
        design=design,
        kernel=kernel,
        console=console,
    )
    console.print(f"The book: {page}", soft_wrap=True)


@app.command()
def synthesize(
    out: Annotated[Path, typer.Option(help="The corpus folder to make.")],
    frames: Annotated[int, typer.Option(min=25, help="Frames in all.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another corpus.")] = 0,
    size: Annotated[str, typer.Option(help="Width and height of a picture.")] = "320x240",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: cores).")] = None,
) -> None:
    """Make a synthetic corpus in the layout of UNBC-McMaster; resumes after a kill."""
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{size!r} is not like 320x240", param_hint="--size")
    from synthpain.corpus import synthesize as make  # compiles kernels: only for this verb

    make(out, frames=frames, seed=seed, width=int(width), height=int(height), workers=workers)
    console.print(f"The corpus: {out}", soft_wrap=True)
    console.print("A few of its pictures are black or cut short on purpose, as in UNBC-McMaster.")


@app.command()
def register(
    dataset: Annotated[str | None, typer.Option(help="A data set of the manifest.")] = None,
    data_root: DataRoot = None,
    profile: Profile = DEFAULT_PROFILE,
    backend: Annotated[
        str | None, typer.Option(help="landmarker, prnet, landmarks or none (default: profile's).")
    ] = None,
    size: Annotated[int, typer.Option(min=16, help="Side of a stored picture, in pixels.")] = 224,
    results: Results = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: cores).")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, or slurm, pbs, lsf, sge.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, for prnet.")] = "cpu",
) -> None:
    """Register a corpus into a frame store: every face frontal; resumes after a kill."""
    from paincore.registration.store import states_table  # Dask, LiteRT: only for this verb
    from paincore.study import open_study

    where = (profile, dataset, data_root, results, device, scheduler)
    store = open_study(*where, backend=backend, size=size, workers=workers).store
    states = Table("state", "meaning", "frames", Column("first problem", overflow="fold"))
    for row in states_table(store.frames).itertuples():
        states.add_row(row.state, row.meaning, str(row.frames), row.first_problem)
    console.print(states)
    console.print(f"The store: {store.folder}", soft_wrap=True)


@app.command()
def sweep(
    model: Annotated[str | None, typer.Option(help="vit or vivit (default: both).")] = None,
    profile: Profile = DEFAULT_PROFILE,
    dataset: Annotated[str | None, typer.Option(help="A data set of the manifest.")] = None,
    data_root: DataRoot = None,
    results: Results = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, or slurm, pbs, lsf, sge.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: cores).")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of each run.")] = None,
    path: Annotated[str, typer.Option(help="greedy, or paper: its own best values.")] = "greedy",
    design: Annotated[str, typer.Option(help="How people are shared out.")] = "balanced",
) -> None:
    """Train the paper's 14 configurations of each model; resumes after a kill."""
    from paincore.ablations.search import ablate
    from paincore.ablations.tables import failures_table, trials_table
    from paincore.study import open_study

    study = open_study(
        profile, dataset, data_root, results, device, scheduler, seeds, design, workers=workers
    )
    starts = study.starts(model)
    try:
        with study.sweep as trainings:
            found = ablate(trainings, study.store, study.folds, starts, path, study.seeds)
    except KeyboardInterrupt:
        console.print("Stopped. What is trained is kept: the same command goes on from there.")
        raise typer.Exit(130) from None
    console.print(_table_of(trials_table(found)))
    if any(ablation.failures for ablation in found.values()):
        console.print(_table_of(failures_table(found)))
        raise typer.Exit(1)


@app.command()
def runs(
    results: Results = None,
    model: Annotated[str | None, typer.Option(help="vit or vivit.")] = None,
    layers: Annotated[int | None, typer.Option(help="Unfrozen attention layers.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    sam: Annotated[bool | None, typer.Option(help="With SAM, or without.")] = None,
    mixup: Annotated[float | None, typer.Option(help="Mixup's alpha.")] = None,
    backbone: Annotated[str | None, typer.Option(help="What the model started from.")] = None,
    design: Annotated[str | None, typer.Option(help="How people are shared out.")] = None,
    each: Annotated[bool, typer.Option("--each", help="A line for each run.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Also runs of another engine or torch.")
    ] = False,
) -> None:
    """List what has been trained: a line a configuration, F1 and AUC over its folds."""
    from paincore.training import runs_tables as description
    from paincore.training.runs import read_runs

    table, left_out = read_runs(results)
    wanted = {"model": model, "unfrozen_layers": layers, "learning_rate": rate, "sam": sam}
    wanted |= {"mixup_alpha": mixup, "backbone": backbone, "design": design}
    shown = table if every else description.latest_engine(table)
    older = len(table) - len(shown)
    shown = description.selected(shown, wanted)
    if len(shown):
        form = description.each_table if each else description.configurations_table
        console.print(_table_of(form(shown)))
        console.print(f"all of them: {description.what_all_share(shown)}", soft_wrap=True)
    console.print(f"{len(shown)} of {len(table)} runs")
    if older:
        console.print(f"{older} are of another engine or torch: --all lists them")
    for sentence in left_out:
        console.print(f"left out: {sentence}", soft_wrap=True, markup=False)


@app.command("export-results")
def export_results(
    out: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    results: Results = None,
) -> None:
    """Write the scores of each configuration over its folds: aggregates alone, free to pass on."""
    from paincore.training import runs_tables as description
    from paincore.training.runs import read_runs

    table, left_out = read_runs(results)
    path = description.write_results(description.latest_engine(table), out)
    console.print(f"Scores over folds, nothing of a person: {path}", soft_wrap=True)
    for sentence in left_out:
        console.print(f"left out: {sentence}", soft_wrap=True, markup=False)


def _table_of(values: pd.DataFrame) -> Table:
    whole = ("key", "configuration")  # what a reader copies or reads first
    columns = [Column(name, no_wrap=name in whole) for name in values.columns]
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for row in values.astype(str).itertuples(index=False):
        table.add_row(*map(escape, row))
    return table


@app.command("fetch")
def fetch_asset(
    name: Annotated[str, typer.Argument(help="An asset, as `paincore data` lists it.")],
    file: Annotated[Path | None, typer.Option(help="Take this file instead.")] = None,
) -> None:
    """Get an asset into data/assets and check it."""
    console.print(f"{name}: {fetch(name, file)}", soft_wrap=True)


@data_app.callback(invoke_without_command=True)
def list_data(context: typer.Context) -> None:
    """List the data sets and assets of the manifest: what is here, missing or damaged."""
    if context.invoked_subcommand:
        return
    manifest = load_manifest()
    sets = Table(
        "data set", "what", "faces shown", "state", title="Data sets", title_justify="left"
    )
    for entry in manifest.datasets.values():
        sets.add_row(entry.name, entry.title, _faces_shown(entry), _state_of_dataset(entry))
    assets = Table("asset", "what", "licence", "MB", "state", title="Assets", title_justify="left")
    for asset in manifest.assets.values():
        size = f"{asset.bytes / 1e6:.1f}" if asset.bytes else "?"
        assets.add_row(asset.name, asset.title, asset.licence, size, _state_of_asset(asset))
    console.print(sets, assets)


@data_app.command()
def verify(
    dataset: Annotated[str, typer.Argument(help="A data set of the manifest.")],
    data_root: DataRoot = None,
    results: Results = None,
    profile: Profile = DEFAULT_PROFILE,
    every: Annotated[
        bool, typer.Option("--all", help="List every problem, not the first.")
    ] = False,
) -> None:
    """Read a corpus and compare it with the counts that the manifest expects."""
    corpus = open_corpus(dataset, data_root, profile=profile, results=results)
    expected = corpus.dataset.expected
    if corpus.truth is not None:
        expected = expected.model_copy(update={"frames": len(corpus.truth)})
    counts = compare_counts(corpus.frames, expected)
    wrong = counts[counts["expected"] != counts["found"]]
    _print_states(corpus, every)
    for row in wrong.itertuples():
        doubt = "" if row.verified else " (the manifest's own number is not certain)"
        console.print(f"{row.what}: expected {row.expected}, found {row.found}{doubt}")
    console.print(f"{len(counts) - len(wrong)} of {len(counts)} counts as expected")
    faults, oddities = differences(corpus) if corpus.truth is not None else ([], [])
    for sentence in faults + oddities:
        console.print(sentence, soft_wrap=True, markup=False)
    if faults or wrong["verified"].any():
        raise typer.Exit(1)


def _print_states(corpus: Corpus, every: bool) -> None:
    console.print(f"{corpus.root}: {corpus.label}", soft_wrap=True)
    states = Table("state", "frames", Column("first problem", overflow="fold"))
    for state, frames in corpus.frames.groupby("state"):
        states.add_row(state, str(len(frames)), frames["problem"].iloc[0])
    console.print(states)
    problems = corpus.frames["problem"][corpus.frames["state"] != "ok"].tolist()
    problems += _damaged_landmarks(corpus)
    for problem in problems if every else ():
        console.print(problem, soft_wrap=True, markup=False)
    for column in ("landmarks", "vas", "sen", "aff", "opr"):
        if missing := corpus.frames[column].isna().sum():
            console.print(f"frames without {column}: {missing}")
    for sentence in corpus.ignored:
        console.print(f"left out: {sentence}", soft_wrap=True, markup=False)


def _damaged_landmarks(corpus: Corpus) -> list[str]:
    """A sentence for each landmark file that cannot be used; the number of them is printed."""
    faults = []
    for path in corpus.frames["landmarks"].dropna():
        try:
            read_landmarks(corpus.root, path)
        except CorpusError as fault:
            faults.append(str(fault))
    if faults:
        console.print(f"landmark files that cannot be used: {len(faults)}, first {faults[0]}")
    return faults


def _faces_shown(entry: DataSet) -> str:
    if not entry.faces_may_be_shown:
        return "no"
    return ", ".join(entry.shown_subjects) or "yes"


def _state_of_dataset(entry: DataSet) -> str:
    if not entry.synthetic:
        return "yours to bring: --data-root"
    folders = sorted((ROOT / "data").glob("synthetic-*/"))
    return ", ".join(map(_state_of_folder, folders)) or "made on demand"


def _state_of_folder(folder: Path) -> str:
    try:
        state = "here" if read_generator(folder) else "not whole"
    except CorpusError:
        state = "damaged"
    return f"{folder.relative_to(ROOT)} {state}"


def _state_of_asset(asset: Asset) -> str:
    state = asset_state(asset)
    doubt = " (SHA-256 not known)" if asset.sha256 is None and state == "here" else ""
    return f"[{STYLES[state]}]{state}[/]{doubt}"


if __name__ == "__main__":
    main()
