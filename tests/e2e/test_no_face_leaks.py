"""A corpus whose faces may not be shown: its book, and what JupyterLab shows and keeps of it."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import nbformat
import numpy as np
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from playwright.sync_api import Page, expect

from paincore.book.chapters import NOTEBOOKS, execute_chapters
from paincore.book.pages import banner, write_build, write_title
from paincore.book.rendering import render
from paincore.data import figures
from paincore.data.corpus import open_corpus
from paincore.manifest import ROOT
from paincore.registration import figures as registration_figures
from paincore.registration.backends import load_backend
from paincore.study import open_study
from tests.e2e.planted import BROWS, CORNER, codes, pictures_in, plant, shown_in
from tests.helpers.workers import free_port, processes

SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="session")
def restricted(tmp_path_factory) -> SimpleNamespace:
    """A planted corpus under UNBC's entry, its executed chapters and its rendered book."""
    folder = tmp_path_factory.mktemp("restricted")
    root = plant(open_corpus(profile="smoke").root, folder / "corpus")
    given = {"profile": "smoke", "dataset": "unbc", "data_root": str(root)}
    given |= {"results": str(folder / "results")}
    corpus = open_corpus("unbc", root, profile="smoke", results=given["results"])
    ignored = shutil.ignore_patterns("_build", "chapters")
    book = Path(shutil.copytree(ROOT / "book", folder / "book", ignore=ignored))
    chapters = book / "chapters"
    write_build(execute_chapters(NOTEBOOKS, chapters, given, "planted", banner(corpus), None))
    write_title(corpus, "smoke", chapters)
    render(book)
    return SimpleNamespace(corpus=corpus, given=given, book=book)


def test_the_search_finds_what_a_figure_of_a_free_corpus_shows(restricted, tmp_path):
    corpus = restricted.corpus
    store = open_study(**restricted.given).store
    views = store.images[np.flatnonzero(store.usable)[::30]]
    assert np.mean([BROWS in codes(view[..., ::-1]) for view in views]) > 0.5
    free = replace(corpus, dataset=corpus.dataset.model_copy(update={"faces_may_be_shown": True}))
    backend = load_backend("landmarks")
    for name, whose in (("free", free), ("closed", corpus)):
        (tmp_path / name).mkdir()
        faces = figures.faces_by_pspi(whose)
        pairs = registration_figures.before_and_after(whose, store)
        steps = registration_figures.steps(whose, store, backend)
        for number, figure in enumerate((faces, pairs, steps)):
            figure.savefig(tmp_path / name / f"{number}.png", dpi=200)
    found, count = shown_in(tmp_path)
    assert count == 6
    assert set(found) == {"free/0.png", "free/1.png", "free/2.png"}
    assert set.union(*found.values()) == {BROWS, CORNER}


def test_no_file_of_the_book_shows_a_face(restricted):
    found, count = shown_in(restricted.book)
    assert count > 100  # figures, players' pictures, and both again in the rendered book
    assert found == {}
    page = (restricted.book / "_build" / "html" / "chapters" / "01-data.html").read_text("utf-8")
    assert "Data of this copy" in page


@pytest.fixture
def lab(restricted, tmp_path):
    """A real JupyterLab, with chapter 08 of the restricted corpus in it."""
    chapter = load_notebook_node(str(ROOT / "notebooks" / "08-explore.ipynb"))
    notebook = tmp_path / "explore.ipynb"
    nbformat.write(parameterize_notebook(chapter, restricted.given), notebook)
    settings = tmp_path / "settings"
    for name, values in SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    port = free_port()
    command = ["-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    env = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(settings)}
    log = (tmp_path / "lab.log").open("w")
    with log, processes(command, stdout=log, stderr=log, cwd=tmp_path, env=env) as (server,):
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/api", server)
        yield SimpleNamespace(address=address, notebook=notebook)


def _wait_for(address: str, server: subprocess.Popen) -> None:
    for _ in range(240):
        with suppress(OSError):
            urllib.request.urlopen(address)
            return
        assert server.poll() is None, "JupyterLab ended before it answered"
        time.sleep(0.25)
    raise AssertionError("JupyterLab did not answer in a minute")


@pytest.fixture
def desk(browser, lab):
    """A window of a browser that may speak to this machine; what it asks for is noted."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, offline=False)
    page = context.new_page()
    page.asked_for = []
    page.on("request", lambda request: page.asked_for.append(request.url))
    yield page
    context.close()


# In each widget, in their order: the control that is driven, and the key that moves it.
SLIDER = (".noUi-handle >> nth=0", "ArrowRight")
DRIVEN = [*[SLIDER] * 5, (".noUi-handle >> nth=1", "ArrowRight")]


def test_widgets_answer_keys_in_jupyterlab_and_what_is_saved_holds_no_face(
    desk: Page, lab, restricted, tmp_path
):
    desk.goto(f"{lab.address}/lab/tree/explore.ipynb")
    desk.wait_for_selector(".jp-Notebook-cell", timeout=60_000)
    desk.wait_for_timeout(3000)
    desk.get_by_role("menuitem", name="Run", exact=True).click()
    desk.get_by_text("Run All Cells", exact=True).click()
    pictures = desk.locator("img.paincore-live")
    expect(pictures).to_have_count(len(DRIVEN), timeout=240_000)
    live = set()
    for number, (control, key) in enumerate(DRIVEN):
        widget = desk.locator(".jp-OutputArea-output:has(img.paincore-live)").nth(number)
        picture = pictures.nth(number)
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_attribute("alt", re.compile(r"\w{3,}"))
        before = picture.get_attribute("src")
        widget.locator(control).focus()
        desk.keyboard.press(key)
        expect(picture).not_to_have_attribute("src", before, timeout=30_000)
        desk.wait_for_timeout(800)
        shot = widget.screenshot()
        live |= codes(cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR))
    assert live, "the live views show faces"
    desk.keyboard.press("Control+s")
    desk.wait_for_timeout(4000)
    saved = nbformat.read(lab.notebook, 4)
    assert sum(bool(cell.get("outputs")) for cell in saved.cells) >= len(DRIVEN)
    in_file = pictures_in(lab.notebook)
    assert len(in_file) >= len(DRIVEN)  # the stills
    assert [codes(image) for image in in_file if codes(image)] == []
    outside = [url for url in desk.asked_for if not url.startswith((lab.address, "blob:", "data:"))]
    assert outside == []
