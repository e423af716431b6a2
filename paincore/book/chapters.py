"""Execute the chapters in order, each only when something it depends on has changed.

A chapter is a notebook in `notebooks/` whose first code cell is tagged `parameters`. The executed
chapter lies in `book/chapters/` and carries, in its metadata under `paincore`, what it was made
from; when that is still true, it is not executed again.
"""

import time
from contextlib import nullcontext
from pathlib import Path

import nbformat
import papermill
from filelock import FileLock, Timeout
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from paincore import PaincoreError
from paincore.book.pages import banner, made_in, prepare_for_reading, write_build, write_title
from paincore.book.rendering import VENDORED, digest_of_files, render, vendor
from paincore.cluster import shared_workers
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


def execute_chapter(notebook: Path, executed: Path, inputs: dict, banner: str) -> None:
    """Execute one notebook, with what `chapter_inputs` gave, and move it to `executed` when whole.

    Raises `ChapterError` for a parameter that the notebook does not have and for a cell that
    fails; the partial notebook, with the traceback in it, is then left beside `executed`.
    """
    parameters = inputs["parameters"]
    if unknown := parameters.keys() - papermill.inspect_notebook(notebook).keys():
        raise ChapterError(f"{notebook.name} has no parameter {', '.join(sorted(unknown))}")
    begun = time.monotonic()
    partial = executed.with_name(f"{executed.stem}.partial.ipynb")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        where = {"kernel_name": inputs["kernel"], "cwd": ROOT, "config": LOCAL_KERNEL}
        # Of a busy machine; the default of 4 seconds ends a cell whose last output comes late.
        where["iopub_timeout"] = 120
        bar = {"desc": notebook.stem, "leave": False}
        book = papermill.execute_notebook(notebook, partial, parameters, progress_bar=bar, **where)
    except PapermillExecutionError as error:
        raise ChapterError(
            f"{notebook.name}, cell {error.cell_index + 1}: {error.ename}: {error.evalue}\n"
            f"  {error.source.strip().splitlines()[0]}\n"
            f"The notebook up to there, with the traceback: {partial}"
        ) from error
    prepare_for_reading(book, banner)
    book.metadata["paincore"] = inputs
    book.metadata["paincore_made"] = made_in(time.monotonic() - begun)
    nbformat.write(book, partial)
    partial.replace(executed)


def execute_chapters(
    notebooks: Path, chapters: Path, parameters: dict, data: object, banner: str, kernel: str | None
) -> list[Path]:
    """Execute every notebook of a folder, in the order of its name, that is not up to date.

    Returns the executed notebooks, which lie in the folder `chapters`. Local workers are started
    once for all chapters, but not for those of another environment.
    """
    executed, left = [], {}
    for notebook in sorted(notebooks.glob("*.ipynb")):
        executed.append(chapters / notebook.name)
        inputs = chapter_inputs(notebook, parameters, kernel, data)
        changed = what_changed(executed[-1], inputs)
        print(f"{notebook.stem}: {', '.join(changed) or 'up to date'}")
        if changed:
            left[notebook] = inputs
    alone = kernel is not None or parameters.get("scheduler") is not None or not left
    with nullcontext() if alone else shared_workers():
        for notebook, inputs in left.items():
            execute_chapter(notebook, chapters / notebook.name, inputs, banner)
    return executed


def build_book(kernel: str | None = None, **settings: object) -> Path:
    """Open or make the corpus, execute the chapters, render the book; returns its `index.html`.

    `settings` are those of `open_study`, which every chapter has as parameters; `kernel` names the
    Jupyter kernel of the chapters. Only what has changed is done again. A second build of this
    checkout at the same time is refused. Raises `PaincoreError` with what to do.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given.keys() & {"data_root", "results"}:
        # Chapters run in the repository's root, whatever folder the command was given in.
        given[name] = str(Path(given[name]).resolve())
    (BOOK / "_build").mkdir(exist_ok=True)
    try:
        building = FileLock(BOOK / "_build" / ".build.lock").acquire(timeout=0)
    except Timeout:
        raise ChapterError("Another process builds this book: wait for it, or end it.") from None
    with building:
        study = open_study(**given)
        study.check_cost()
        corpus = study.corpus
        # The manifest's entry too: it says whose face may be shown.
        data = [corpus.fingerprint, corpus.landmarks_sha256, corpus.dataset.model_dump(mode="json")]
        executed = execute_chapters(NOTEBOOKS, CHAPTERS, given, data, banner(corpus), kernel)
        write_title(corpus, study.profile.name, CHAPTERS)
        write_build(executed)
        for name in VENDORED:
            vendor(name, fetch(name), BOOK / "assets" / "vendor")
        return render(BOOK)
