"""Execute the chapters in order, each only when something it depends on has changed.

A chapter is a notebook in `notebooks/` whose first code cell is tagged `parameters`. The executed
chapter lies in `book/chapters/` and carries, in its metadata under `paincore`, what it was made
from; when that is still true, it is not executed again.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nbformat
import papermill
from filelock import FileLock, Timeout
from papermill.exceptions import PapermillExecutionError
from rich.console import Console
from traitlets.config import Config

from paincore import PaincoreError
from paincore.book.pages import banner, made_in, prepare_for_reading, write_build, write_title
from paincore.book.rendering import VENDORED, digest_of_files, render, vendor
from paincore.cluster import shared_workers
from paincore.folds.designs import DESIGNS
from paincore.manifest import ROOT, fetch
from paincore.study import open_study

NOTEBOOKS = ROOT / "notebooks"
BOOK = ROOT / "book"
CHAPTERS = BOOK / "chapters"

# Sockets that only this user can open, where the default is TCP in plain text.
LOCAL_KERNEL = Config({"KernelManager": {"transport": "ipc"}})


class ChapterError(PaincoreError):
    """A chapter that cannot be executed; the message names its cell and the partial notebook."""


def chapter_inputs(notebook: Path, parameters: dict, kernel: str | None, data: object) -> dict:
    """What an executed chapter depends on, as a dictionary that JSON can hold.

    `data` is whatever tells the corpus from another. The module is its source and the weights it
    brings: any change in it has all chapters executed again, which open the runs that they find.
    """
    packages = [*(ROOT / "paincore").rglob("*"), *(ROOT / "synthpain").rglob("*")]
    return {
        "notebook": digest_of_files([notebook], ROOT),
        "parameters": parameters,
        "kernel": kernel,
        "requirements": digest_of_files([ROOT / "requirements.txt"], ROOT),
        "module": digest_of_files((one for one in packages if one.suffix != ".pyc"), ROOT),
        "data": data,
    }


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
) -> None:
    """Execute one notebook and move it to `executed` when it is whole.

    Raises `ChapterError` for a parameter that the notebook does not have and for a cell that
    fails; the partial notebook, with the traceback in it, is then left beside `executed`.
    """
    if unknown := parameters.keys() - papermill.inspect_notebook(notebook).keys():
        raise ChapterError(f"{notebook.name} has no parameter {', '.join(sorted(unknown))}")
    begun = time.monotonic()
    partial = executed.with_name(f"{executed.stem}.partial.ipynb")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        book = papermill.execute_notebook(
            notebook,
            partial,
            parameters,
            kernel_name=kernel,
            progress_bar={"desc": notebook.stem, "leave": False},
            cwd=ROOT,
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

    Returns the executed notebooks. Local workers are started once for all chapters, but not for
    those of another environment.
    """
    console = console or Console()
    alone = kernel is not None or parameters.get("scheduler") is not None
    sources = sorted(notebooks.glob("*.ipynb"))
    with ExitStack() as workers:
        for notebook in sources:
            executed = chapters / notebook.name
            inputs = chapter_inputs(notebook, parameters, kernel, data)
            changed = what_changed(executed, inputs)
            console.print(f"{notebook.stem}: {', '.join(changed) or 'up to date'}")
            if not changed:
                continue
            if not alone:
                workers.enter_context(shared_workers())  # those of the chapter before, if any
            where = (notebook, executed, parameters)
            execute_chapter(*where, inputs=inputs, banner=banner, kernel=kernel)
    return [chapters / notebook.name for notebook in sources]


def build_book(
    kernel: str | None = None, console: Console | None = None, **settings: object
) -> Path:
    """Open or make the corpus, execute the chapters, render the book; returns its `index.html`.

    `settings` are those of `open_study`, which every chapter has as parameters; `kernel` names the
    Jupyter kernel of the chapters. Only what has changed is done again. A second build of this
    checkout waits for the first. Raises `PaincoreError` with what to do.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if (design := given.get("design")) not in (None, *DESIGNS):
        raise ChapterError(f"unknown fold design {design!r}; there are {', '.join(DESIGNS)}")
    for name in given.keys() & {"data_root", "results"}:
        # Chapters run in the repository's root, whatever folder the command was given in.
        given[name] = str(Path(given[name]).resolve())
    with one_build(BOOK / "_build", console or Console()):
        study = open_study(**given)
        corpus = study.corpus
        # The manifest's entry too: it says whose face may be shown.
        entry = corpus.dataset.model_dump(mode="json")
        data = [corpus.fingerprint, corpus.landmarks_sha256, entry]
        execute_chapters(given, data=data, banner=banner(corpus), kernel=kernel, console=console)
        write_title(corpus, study.profile.name, CHAPTERS)
        write_build(CHAPTERS)
        for name in VENDORED:
            vendor(name, fetch(name), BOOK / "assets" / "vendor")
        return render(BOOK, BOOK / "_build" / "jupyter-book.log")


@contextmanager
def one_build(folder: Path, console: Console) -> Iterator[None]:
    """Hold a folder; where another build is at work in it, say so and wait."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".build.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        console.print("Another process builds this book. Waiting for it; Ctrl-C gives up.")
        held = lock.acquire()
    with held:
        yield
