import io
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from rich.console import Console

from paincore.book import chapters
from paincore.book.chapters import (
    ChapterError,
    ParameterError,
    check_parameters,
    execute_chapters,
    one_build,
)
from paincore.book.pages import SYNTHETIC, banner, write_build, write_title
from paincore.cluster import SHARED
from paincore.data.corpus import compare_counts, open_corpus
from paincore.manifest import Expected

NOTEBOOKS = sorted(chapters.NOTEBOOKS.glob("*.ipynb"))
SETTINGS = ["profile", "dataset", "data_root", "results", "device", "scheduler", "seeds"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one notebook, which prints its parameter, twice."""
    write_notebook(tmp_path / "notebooks" / "01-echo.ipynb", "print(2 * word)")
    return tmp_path


def write_notebook(path: Path, code: str) -> None:
    parameters = new_code_cell(
        'word = "a"  # type: str  what to print\n'
        "seeds = None  # type: int|None  how many\n"
        "rate = 0.1  # type: float  how fast",
        metadata={"tags": ["parameters"]},
    )
    cells = [new_markdown_cell("# Echo\n\nTwice."), parameters, new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


def execute(folder: Path, *, data: str = "fingerprint", synthetic: bool = True, **parameters):
    places = {"notebooks": folder / "notebooks", "chapters": folder / "book"}
    (executed,) = execute_chapters(
        parameters, data=data, banner=SYNTHETIC if synthetic else "", **places
    )
    return executed


def printed(executed: Path) -> str:
    return nbformat.read(executed, as_version=4).cells[-1].outputs[0].text.strip()


def test_chapters_find_one_set_of_workers(folder):
    asked = f"import os; print(os.environ[{SHARED!r}])"
    for name in ("01-echo", "02-echo"):
        write_notebook(folder / "notebooks" / f"{name}.ipynb", asked)
    places = {"notebooks": folder / "notebooks", "chapters": folder / "book"}
    one, other = execute_chapters({}, data="", banner="", **places)
    assert printed(one) == printed(other)
    assert printed(one).startswith("tcp://127.0.0.1:")
    assert SHARED not in os.environ


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_takes_the_same_settings_and_explains_each(notebook):
    known = papermill.inspect_notebook(notebook)
    assert list(known)[: len(SETTINGS)] == SETTINGS
    assert all(parameter["help"] for parameter in known.values())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs_and_open_with_their_parameters(notebook):
    code = [c for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert not any(cell.outputs or cell.execution_count for cell in code)


def test_the_table_of_contents_has_every_chapter_in_order():
    toc = yaml.safe_load((chapters.BOOK / "_toc.yml").read_text())
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    assert [f for f in files if f.startswith("chapters/0")] == [
        f"chapters/{notebook.stem}" for notebook in NOTEBOOKS
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"wrod": "b"}, "01-echo.ipynb has no parameter 'wrod', only word, seeds, rate"),
        ({"word": 3}, r"'word' takes str, not 3 \(int\)"),
        ({"seeds": "3"}, r"'seeds' takes int\|None, not '3' \(str\)"),
        ({"seeds": True}, r"'seeds' takes int\|None, not True \(bool\)"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(folder, given, message):
    with pytest.raises(ParameterError, match=message):
        execute(folder, **given)
    assert not (folder / "book").exists()


def test_a_whole_number_will_do_for_a_float_and_none_where_it_is_allowed(folder):
    notebooks = [folder / "notebooks" / "01-echo.ipynb"]
    check_parameters(notebooks, {"rate": 1, "seeds": None})


def test_a_chapter_is_executed_again_only_when_something_it_reads_has_changed(folder):
    executed = execute(folder, word="b")
    assert printed(executed) == "bb"
    first = executed.stat().st_mtime_ns

    assert execute(folder, word="b").stat().st_mtime_ns == first
    (folder / "book" / "01-echo.partial.ipynb").write_text("left by a kill")
    assert execute(folder, word="b").stat().st_mtime_ns == first

    assert printed(execute(folder, word="c")) == "cc"
    second = executed.stat().st_mtime_ns
    assert execute(folder, word="c", data="another corpus").stat().st_mtime_ns > second

    write_notebook(folder / "notebooks" / "01-echo.ipynb", "print(3 * word)")
    assert printed(execute(folder, word="c", data="another corpus")) == "ccc"


def test_a_second_build_waits_for_the_first_and_says_whose_it_is(tmp_path):
    said, order = io.StringIO(), []
    console = Console(file=said, width=200)

    def build_again():
        with one_build(tmp_path, console):
            order.append("second")

    with one_build(tmp_path, console):
        assert said.getvalue() == ""
        second = threading.Thread(target=build_again)
        second.start()
        while not said.getvalue():
            time.sleep(0.01)
        order.append("first")
    second.join(timeout=60)
    assert order == ["first", "second"]
    assert f"being built by process {os.getpid()} since" in said.getvalue()


def test_a_failed_chapter_names_its_cell_and_keeps_the_last_whole_one(folder):
    executed = execute(folder, word="b")
    write_notebook(folder / "notebooks" / "01-echo.ipynb", "1 / 0")
    with pytest.raises(ChapterError) as failure:
        execute(folder, word="b")
    partial = folder / "book" / "01-echo.partial.ipynb"
    assert "01-echo.ipynb, cell 4: ZeroDivisionError: division by zero" in str(failure.value)
    assert "1 / 0" in str(failure.value)
    assert str(partial) in str(failure.value)
    assert "ZeroDivisionError" in partial.read_text()
    assert printed(executed) == "bb"


@pytest.mark.parametrize("synthetic", [True, False])
def test_only_a_chapter_on_synthetic_data_opens_with_the_banner(folder, synthetic):
    executed = execute(folder, synthetic=synthetic)
    first = nbformat.read(executed, as_version=4).cells[0].source
    assert first.startswith("# Echo\n")
    assert first.endswith("Twice.")
    assert ("Synthetic data" in first) is synthetic


def test_modules_are_found_through_one_another(tmp_path):
    package = tmp_path / "paincore"
    package.mkdir()
    for name, source in {
        "__init__": "",
        "a": "from paincore import b\nimport numpy",
        "b": "def late():\n    import paincore.c as c",
        "c": "from paincore.a import something",
        "unused": "",
    }.items():
        (package / f"{name}.py").write_text(source)
    found = chapters.imported_modules("from paincore.a import b", root=tmp_path)
    assert {file.stem for file in found} == {"__init__", "a", "b", "c"}


def test_a_change_in_a_module_that_chapter_01_only_reaches_through_another_is_seen():
    inputs = chapters.chapter_inputs(NOTEBOOKS[0], {}, None, "")
    assert {"paincore/data/corpus.py", "paincore/data/facs.py", "paincore/data/figures.py"} <= set(
        inputs["modules"]
    )


def test_a_change_in_the_weights_that_models_start_from_is_seen():
    modules = chapters.chapter_inputs(NOTEBOOKS[0], {}, None, "")["modules"]
    assert "paincore/training/weights/movement/model.safetensors" in modules


@pytest.mark.parametrize(
    ("chapter", "sentences"),
    [
        (0, ["12 frames of 2 people in 3 sequences", "this corpus does not say"]),
        # Its pictures are grey areas: no face, and nothing to draw, in any of them.
        (1, ["0 of 12 frames were registered", "12 no face"]),
    ],
    ids=["01", "02"],
)
def test_a_chapter_runs_unchanged_on_a_corpus_in_unbcs_layout(
    miniature, tmp_path, chapter, sentences
):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(NOTEBOOKS[chapter], tmp_path / "notebooks")
    executed = execute(
        tmp_path,
        synthetic=False,
        dataset="unbc",
        data_root=str(miniature.root),
        results=str(tmp_path / "results"),
    )
    text = executed.read_text()
    assert all(sentence in text for sentence in sentences)
    assert "Synthetic data" not in text


def test_a_page_on_real_data_says_what_it_was_computed_on(miniature, tmp_path):
    corpus = open_corpus("unbc", miniature.root, results=tmp_path)
    said = banner(corpus)
    assert corpus.label in said
    counts = compare_counts(corpus.frames, corpus.dataset.expected)
    assert f"Of the {len(counts)} counts" in said
    assert "Synthetic" not in said
    entry = corpus.dataset.model_copy(update={"expected": Expected()})
    assert "counts" not in banner(replace(corpus, dataset=entry))


def test_the_title_page_calls_no_other_corpus_the_archive(miniature, tmp_path):
    corpus = open_corpus("unbc", miniature.root, results=tmp_path)
    write_title(corpus, "smoke", tmp_path)
    _, caption = (tmp_path / "title.md").read_text().split("{figure}")
    assert "12 frames of 2 people" in caption and corpus.label in caption
    assert corpus.dataset.title not in caption


def test_the_page_on_this_build_has_a_row_for_each_chapter_and_stays_the_same(folder):
    execute(folder)
    write_build(folder / "book")
    page = (folder / "book" / "build.md").read_text()
    assert page.count("{download}") == len(list((folder / "notebooks").glob("*.ipynb")))
    assert "cores" in page and "torch" in page
    execute(folder)  # nothing has changed
    write_build(folder / "book")
    assert (folder / "book" / "build.md").read_text() == page
