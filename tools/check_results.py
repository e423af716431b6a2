"""Compare this machine's results with the reference in the repository: `make check-results`.

The search of chapter 05 is opened, or trained where it is missing, and its scores are set beside
reference/<profile>.json. Exits with 1 where a figure differs by more than its tolerance.

    python tools/check_results.py [--write]
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from paincore import PaincoreError, reference
from paincore.corpus import open_corpus
from paincore.experiments import Ablation, ablate, start_configurations
from paincore.folds import make_folds
from paincore.profiles import DEFAULT_PROFILE, profile_named
from paincore.registration import registered
from paincore.sweep import Sweep

console = Console()


def searched(profile: str, results: Path | None) -> dict[str, Ablation]:
    """Both models' searches as chapter 05 makes them, with the profile's own settings."""
    settings = profile_named(profile)
    corpus = open_corpus(profile=profile, results=results)
    store = registered(corpus, results=results, profile=profile)
    folds = make_folds(store.frames, "balanced", store.usable)
    starts = start_configurations(settings)
    with Sweep(results, "cpu") as sweep:
        return ablate(sweep, store, folds, starts, seeds=settings.seeds)


def check(ablations: dict[str, Ablation], path: Path) -> bool:
    """Print what differs from the reference; whether nothing does."""
    known = reference.read_reference(path)
    for note in reference.notes(ablations, known):
        console.print(note, markup=False)
    figures = reference.compare(ablations, known)
    differing = figures[~figures["within"]]
    same = int((figures["here"] == figures["reference"]).sum())
    if len(differing):
        table = Table("configuration", "score", "fold", "here", "reference", "tolerance")
        for row in differing.itertuples():
            values = (row.here, row.reference, row.tolerance)
            table.add_row(row.configuration, row.score, row.fold, *(f"{v:.4f}" for v in values))
        console.print(table)
    console.print(
        f"{len(figures)} figures of {figures['configuration'].nunique()} configurations: {same} "
        f"equal, {len(differing)} beyond tolerance."
    )
    return len(differing) == 0 and len(figures) > 0


def main(
    profile: str = DEFAULT_PROFILE,
    results: Annotated[Path | None, typer.Option(help="Where runs lie (default: results).")] = None,
    file: Annotated[Path | None, typer.Option(help="The reference, if another.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Make the reference anew.")] = False,
) -> None:
    """Compare, or with --write make the reference anew."""
    try:
        path = file or reference.reference_file(profile)
        ablations = searched(profile, results)
        if write:
            reference.write_reference(ablations, path)
            console.print(f"The reference: {path}", soft_wrap=True)
        elif not check(ablations, path):
            raise typer.Exit(1)
    except PaincoreError as error:
        Console(stderr=True).print(f"Error: {error}", style="red", soft_wrap=True, markup=False)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
