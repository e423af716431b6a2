"""Execute the chapters in order, each only when something it depends on has changed.

A chapter is a notebook in `notebooks/` whose first code cell is tagged `parameters` and holds one
assignment a line, its type in a comment: `frames = None  # type: int|None  what it means`. The
executed chapter lies in `book/chapters/` and carries, in its metadata under `paincore`, what it
was made from; when that is still true, it is not executed again.
"""

import ast
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nbformat
import papermill
from filelock import FileLock, Timeout
from papermill.exceptions import PapermillExecutionError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from traitlets.config import Config

from paincore import PaincoreError
from paincore.book import pages
from paincore.book.pages import banner, made_in, prepare_for_reading, write_build, write_title
from paincore.book.rendering import VENDORED, render, vendor
from paincore.cluster import shared_workers
from paincore.data.corpus import open_corpus
from paincore.folds.designs import DESIGNS
from paincore.manifest import ROOT, fetch
from paincore.profiles import DEFAULT_PROFILE, check_device, profile_named

NOTEBOOKS = ROOT / "notebooks"
BOOK = ROOT / "book"
CHAPTERS = BOOK / "chapters"

TYPES = {"str": str, "int": int, "float": float, "bool": bool, "None": type(None)}

PACKAGES = ("paincore", "synthpain")
SHIPPED = (".npz", ".safetensors")  # what the module brings beside its source: a head, backbones

# Sockets that only this user can open, where the default is TCP in plain text.
LOCAL_KERNEL = Config({"KernelManager": {"transport": "ipc"}})


class ParameterError(PaincoreError):
    """A parameter that a chapter does not have, or a value of the wrong type."""


class ChapterError(PaincoreError):
    """A chapter whose execution failed; the message names its cell and the partial notebook."""


def check_parameters(notebooks: list[Path], given: dict) -> None:
    """Compare parameter names and types with each notebook's `parameters` cell.

    Raises `ParameterError` at the first name a notebook lacks or value it does not take. Used
    before any chapter is executed.
    """
    for notebook in notebooks:
        known = papermill.inspect_notebook(notebook)
        for name, value in given.items():
            if name not in known:
                raise ParameterError(
                    f"{notebook.name} has no parameter {name!r}, only {', '.join(known) or 'none'}"
                )
            declared = known[name]["inferred_type_name"]
            if not _is_of_type(value, declared):
                raise ParameterError(
                    f"{notebook.name}: parameter {name!r} takes {declared}, "
                    f"not {value!r} ({type(value).__name__})"
                )


def _is_of_type(value: object, declared: str) -> bool:
    allowed = {TYPES.get(name.strip()) for name in declared.split("|")}
    # An exact comparison, since a bool is an int to isinstance.
    return type(value) in allowed or (float in allowed and type(value) is int)


def imported_modules(source: str, root: Path = ROOT) -> set[Path]:
    """Files of the packages here that Python source imports, directly or through one another.

    Used to tell whether code that a chapter runs has changed.
    """
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        for name in _own_imports(waiting.pop()):
            stem = root.joinpath(*name.split("."))
            for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                if file.is_file() and file not in found:
                    found.add(file)
                    waiting.append(file.read_text("utf-8"))
    return found


def _own_imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from paincore import facs` names a module, `from paincore.data.facs import pspi` does
            # not: a name without a file is passed over by the caller.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] in PACKAGES:
                yield from (".".join(parts[: depth + 1]) for depth in range(len(parts)))


def chapter_inputs(notebook: Path, parameters: dict, kernel: str | None, data: object) -> dict:
    """What an executed chapter depends on, as a dictionary that JSON can hold.

    `data` is whatever tells the corpus from another. Hashes are SHA-256. Kept in the executed
    notebook.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    plain = "\n".join(
        line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))
    )
    shipped = {
        file for name in PACKAGES for file in (ROOT / name).rglob("*") if file.suffix in SHIPPED
    }
    modules = imported_modules(plain) | shipped | {Path(__file__), Path(pages.__file__)}
    return {
        "notebook": _sha256(notebook),
        "parameters": parameters,
        "kernel": kernel,
        "requirements": _sha256(ROOT / "requirements.txt"),
        "modules": {file.relative_to(ROOT).as_posix(): _sha256(file) for file in sorted(modules)},
        "data": data,
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def what_changed(executed: Path, inputs: dict) -> list[str]:
    """Names of the inputs that differ from those the executed chapter was made from."""
    if not executed.is_file():
        return ["not executed yet"]
    made_from = nbformat.read(executed, as_version=4).metadata.get("paincore", {})
    return [name for name, value in inputs.items() if made_from.get(name) != value]


def execute_chapter(
    notebook: Path,
    executed: Path,
    parameters: dict,
    *,
    inputs: dict,
    banner: str,
    kernel: str | None = None,
    on_cell: Callable[..., None] = lambda **_: None,
) -> None:
    """Execute one notebook and move it to `executed` when it is whole.

    `on_cell` is called after each cell. A failure raises `ChapterError` and leaves the partial
    notebook, with the traceback in it, beside `executed`.
    """
    begun = time.monotonic()
    partial = executed.with_name(f"{executed.stem}.partial.ipynb")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        book = papermill.execute_notebook(
            notebook,
            partial,
            parameters,
            kernel_name=kernel,
            progress_bar=False,
            cwd=ROOT,
            on_cell_complete=on_cell,
            config=LOCAL_KERNEL,
        )
    except PapermillExecutionError as error:
        raise ChapterError(
            f"{notebook.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}\n"
            f"  {error.source.strip().splitlines()[0]}\n"
            f"The notebook up to there, with the traceback: {partial}"
        ) from error
    prepare_for_reading(book, inputs, banner)
    book.metadata["paincore_made"] = made_in(time.monotonic() - begun)
    nbformat.write(book, partial)
    partial.replace(executed)


def execute_chapters(
    parameters: dict,
    *,
    data: object,
    banner: str,
    kernel: str | None = None,
    notebooks: Path = NOTEBOOKS,
    chapters: Path = CHAPTERS,
    console: Console | None = None,
) -> list[Path]:
    """Execute every notebook of a folder, in the order of its name, that is not up to date.

    Returns the executed notebooks. Raises `ParameterError` before anything runs, `ChapterError` at
    the first chapter that fails. Local workers are started once for all chapters, but not for those
    of another environment.
    """
    sources = sorted(notebooks.glob("*.ipynb"))
    check_parameters(sources, parameters)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
    )
    alone = kernel is not None or parameters.get("scheduler") is not None
    shown = Progress(*columns, TimeElapsedColumn(), console=console)
    with ExitStack() as workers, shown as progress:
        for notebook in sources:
            executed = chapters / notebook.name
            inputs = chapter_inputs(notebook, parameters, kernel, data)
            changed = what_changed(executed, inputs)
            if not changed:
                progress.console.print(f"{notebook.stem}: up to date")
                continue
            progress.console.print(f"{notebook.stem}: to execute ({', '.join(changed)})")
            if not alone:
                workers.enter_context(shared_workers())  # those of the chapter before, if any
            task = progress.add_task(notebook.stem, total=_code_cells(notebook, parameters))
            start = time.monotonic()
            execute_chapter(
                notebook,
                executed,
                parameters,
                inputs=inputs,
                banner=banner,
                kernel=kernel,
                on_cell=lambda task=task, **_: progress.advance(task),
            )
            progress.console.print(f"{notebook.stem}: {time.monotonic() - start:.0f} s")
    return [chapters / notebook.name for notebook in sources]


def _code_cells(notebook: Path, parameters: dict) -> int:
    """How many there are to execute; papermill adds one, the injected parameters."""
    cells = nbformat.read(notebook, as_version=4).cells
    return sum(cell.cell_type == "code" for cell in cells) + bool(parameters)


def build_book(
    profile: str = DEFAULT_PROFILE,
    dataset: str | None = None,
    data_root: str | None = None,
    results: str | None = None,
    device: str | None = None,
    scheduler: str | None = None,
    seeds: int | None = None,
    design: str | None = None,
    kernel: str | None = None,
    console: Console | None = None,
) -> Path:
    """Open or make the corpus, execute the chapters, render the book; returns its `index.html`.

    None means the profile's value; `kernel` names the Jupyter kernel of the chapters. Only what
    has changed is done again. A second build of this checkout waits for the first. Raises
    `PaincoreError` with what to do.
    """
    profile_named(profile)
    check_device(device)
    if design not in (None, *DESIGNS):
        raise ParameterError(f"unknown fold design {design!r}; there are {', '.join(DESIGNS)}")
    folders = {"data_root": data_root, "results": results}
    # Chapters run in the repository's root, whatever folder the command was given in.
    given = {name: str(Path(path).resolve()) for name, path in folders.items() if path is not None}
    named = {"dataset": dataset, "device": device, "scheduler": scheduler, "seeds": seeds}
    named |= {"design": design}
    given |= {"profile": profile} | {k: v for k, v in named.items() if v is not None}
    check_parameters(sorted(NOTEBOOKS.glob("*.ipynb")), given)
    with one_build(BOOK / "_build", console or Console()):
        corpus = open_corpus(
            dataset, given.get("data_root"), profile=profile, results=given.get("results")
        )
        execute_chapters(
            given,
            # The manifest's entry too: it says whose face may be shown.
            data=[
                corpus.fingerprint,
                corpus.landmarks_sha256,
                corpus.dataset.model_dump(mode="json"),
            ],
            banner=banner(corpus),
            kernel=kernel,
            console=console,
        )
        write_title(corpus, profile, CHAPTERS)
        write_build(CHAPTERS)
        for name in VENDORED:
            vendor(name, fetch(name), BOOK / "assets" / "vendor")
        return render(BOOK, BOOK / "_build" / "jupyter-book.log")


@contextmanager
def one_build(folder: Path, console: Console) -> Iterator[None]:
    """Wait for another build that is at work in `folder`, saying whose it is, then hold it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, builder = FileLock(folder / ".build.lock"), folder / ".builder"
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        who = builder.read_text("utf-8") if builder.is_file() else "another process"
        console.print(f"This book is being built by {who}. Waiting for it; Ctrl-C gives up.")
        held = lock.acquire()
    with held:
        builder.write_text(f"process {os.getpid()} since {time.strftime('%H:%M:%S')}", "utf-8")
        try:
            yield
        finally:
            builder.unlink(missing_ok=True)
