import inspect
import os
import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from paincore.book import chapters
from paincore.book.chapters import ChapterError, build_book, execute_chapters
from paincore.book.pages import SYNTHETIC, banner, write_build, write_title
from paincore.cluster import SHARED
from paincore.data.corpus import open_corpus
from paincore.study import open_study

NOTEBOOKS = sorted(chapters.NOTEBOOKS.glob("*.ipynb"))
SETTINGS = [*inspect.signature(open_study).parameters][:11]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one notebook, which prints its parameter, twice."""
    write_notebook(tmp_path / "notebooks" / "01-echo.ipynb", "print(2 * word)")
    return tmp_path


def write_notebook(path: Path, code: str) -> None:
    parameters = new_code_cell(
        'word = "a"  # type: str  what to print', metadata={"tags": ["parameters"]}
    )
    cells = [new_markdown_cell("# Echo\n\nTwice."), parameters, new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


def execute(folder: Path, *, data: str = "fingerprint", banner: str = "", **parameters):
    where = folder / "notebooks", folder / "book"
    return execute_chapters(*where, parameters, data, banner, kernel=None)[-1]


def printed(executed: Path) -> str:
    return nbformat.read(executed, as_version=4).cells[-1].outputs[0].text.strip()


def test_chapters_find_one_set_of_workers(folder):
    asked = f"import os; print(os.environ[{SHARED!r}])"
    for name in ("01-echo", "02-echo"):
        write_notebook(folder / "notebooks" / f"{name}.ipynb", asked)
    other = execute(folder)
    assert printed(other) == printed(other.with_name("01-echo.ipynb"))
    assert printed(other).startswith("tcp://127.0.0.1:")
    assert SHARED not in os.environ


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_takes_the_same_settings_explains_each_and_holds_no_output(notebook):
    known = papermill.inspect_notebook(notebook)
    assert list(known)[: len(SETTINGS)] == SETTINGS
    assert all(parameter["help"] for parameter in known.values())
    code = [c for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert not any(cell.outputs or cell.execution_count for cell in code)


def test_the_table_of_contents_has_every_chapter_in_order():
    toc = yaml.safe_load((chapters.BOOK / "_toc.yml").read_text())
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    listed = [file for file in files if file.startswith("chapters/0")]
    assert listed == [f"chapters/{notebook.stem}" for notebook in NOTEBOOKS]


def test_a_parameter_that_a_chapter_does_not_have_is_refused_before_anything_runs(folder):
    with pytest.raises(ChapterError, match=r"01-echo.ipynb has no parameter wrod"):
        execute(folder, wrod="b")
    assert not (folder / "book").exists()


def test_a_chapter_is_executed_again_only_when_something_it_reads_has_changed(folder):
    executed = execute(folder, word="b")
    assert printed(executed) == "bb"
    first = executed.stat().st_mtime_ns
    (folder / "book" / "01-echo.partial.ipynb").write_text("left by a kill")
    assert execute(folder, word="b").stat().st_mtime_ns == first
    assert printed(execute(folder, word="c")) == "cc"
    second = executed.stat().st_mtime_ns
    assert execute(folder, word="c", data="another corpus").stat().st_mtime_ns > second
    write_notebook(folder / "notebooks" / "01-echo.ipynb", "print(3 * word)")
    assert printed(execute(folder, word="c", data="another corpus")) == "ccc"


def test_a_second_build_of_one_checkout_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(chapters, "BOOK", tmp_path)
    (tmp_path / "_build").mkdir()
    building = FileLock(tmp_path / "_build" / ".build.lock")
    with building, pytest.raises(ChapterError, match="Another process builds this book"):
        build_book()


def test_a_failed_chapter_names_its_cell_and_keeps_the_last_whole_one(folder):
    executed = execute(folder, word="b")
    write_notebook(folder / "notebooks" / "01-echo.ipynb", "1 / 0")
    with pytest.raises(ChapterError) as failure:
        execute(folder, word="b")
    partial = folder / "book" / "01-echo.partial.ipynb"
    assert "ZeroDivisionError" in partial.read_text()
    for said in ("01-echo.ipynb, cell 4: ZeroDivisionError: division", "1 / 0", str(partial)):
        assert said in str(failure.value)
    assert printed(executed) == "bb"


def test_a_chapter_opens_with_its_title_and_the_banner(folder):
    first = nbformat.read(execute(folder, banner=SYNTHETIC), as_version=4).cells[0].source
    assert first.startswith(f"# Echo\n\n{SYNTHETIC}")
    assert first.endswith("Twice.")


def test_a_change_in_the_module_or_in_the_weights_that_it_brings_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    source, weights = tmp_path / "paincore/data/facs.py", tmp_path / "synthpain/head.npz"
    seen = set()
    for file in (tmp_path / "requirements.txt", source, weights):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("changed")
        seen.add(str(chapters.chapter_inputs(NOTEBOOKS[0], {}, None, "")))
    assert len(seen) == 3


def test_chapters_run_unchanged_on_a_corpus_in_unbcs_layout_until_it_shows_no_face(
    miniature, tmp_path
):
    (tmp_path / "notebooks").mkdir()
    for chapter in NOTEBOOKS[:2]:
        shutil.copy(chapter, tmp_path / "notebooks")
    where = {"data_root": str(miniature.root), "results": str(tmp_path / "results")}
    with pytest.raises(ChapterError, match=r"02-registration.*unbc-landmarker-.* holds no face"):
        # Its images are grey areas.
        execute(tmp_path, profile="demo", dataset="unbc", **where)
    (executed,) = tmp_path.rglob("book/01-data.ipynb")
    text = executed.read_text()
    assert "16.7 % [0.0, 22.2]" in text
    assert "Synthetic data" not in text


def test_the_title_page_calls_no_other_corpus_the_archive(miniature, tmp_path):
    corpus = open_corpus("unbc", miniature.root, results=tmp_path)
    assert corpus.label in banner(corpus) and "Synthetic" not in banner(corpus)
    write_title(corpus, "smoke", tmp_path)
    _, caption = (tmp_path / "title.md").read_text().split("{figure}")
    assert "12 frames of 2 people" in caption and corpus.label in caption
    assert corpus.dataset.title not in caption


def test_the_page_on_this_build_has_a_row_for_each_chapter(folder):
    executed = execute(folder)
    write_build([executed])
    page = executed.with_name("build.md").read_text()
    assert page.count("{download}") == 1
    assert "cores" in page and "torch" in page
