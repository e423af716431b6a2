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

from paincore import PaincoreError
from paincore.ablations import reference
from paincore.ablations.search import Ablation, ablate
from paincore.profiles import DEFAULT_PROFILE
from paincore.study import open_study

console = Console()


def searched(profile: str, results: Path | None) -> dict[str, Ablation]:
    """Both models' searches as chapter 05 makes them, with the profile's own settings."""
    study = open_study(profile, results=results, device="cpu")
    with study.sweep as sweep:
        return ablate(sweep, study.store, study.folds, study.starts(), seeds=study.seeds)


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
