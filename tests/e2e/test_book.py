"""Run with `make e2e`, which builds the book first."""

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import HTML, open_chapter

NOTEBOOKS = HTML.parents[2] / "notebooks"

FILES = [page.relative_to(HTML) for page in HTML.rglob("*.html")]
PAGES = sorted(page.as_posix() for page in FILES if "_static" not in page.parts)
WIDTHS = {"desktop": 1280, "phone": 390}


def test_the_book_is_there_with_its_pages():
    chapters = {f"chapters/{path.stem}.html" for path in NOTEBOOKS.glob("0*.ipynb")}
    assert len(chapters) == 8
    assert chapters | {"index.html", "running.html", "licence.html"} <= set(PAGES)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_from_disk_alone_and_fits_its_window(page: Page, troubles, name, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto((HTML / name).as_uri(), wait_until="load")
    page.wait_for_timeout(1500)  # what scripts load after the page
    assert troubles == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []


# What docutils and ipywidgets write, and this book cannot: a list's roles, a slider's name.
NOT_OURS = [[".citation-list"], [".jupyter-widgets"]]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_small_and_has_no_serious_barrier_for_its_readers(page: Page, name):
    page.goto((HTML / name).as_uri(), wait_until="load")
    page.wait_for_timeout(1500)  # what scripts load after the page
    pictures = page.evaluate("[...document.images].map(i => [i.src, i.alt || i.title])")
    assert [source[:80] for source, words in pictures if not words.strip()] == []
    files = {Path(unquote(urlsplit(url).path)) for url, _ in pictures if url.startswith("file:")}
    assert sum(file.stat().st_size for file in {HTML / name, *files}) < 3e6
    found = Axe().run(page, context={"exclude": NOT_OURS}).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == []


def test_formulas_are_typeset(chapter_01: Page, troubles):
    expect(chapter_01.locator("mjx-container mjx-math").first).to_be_visible()
    assert chapter_01.locator("mjx-merror").count() == 0
    assert chapter_01.evaluate("document.fonts.check('16px MJXTEX')")
    assert troubles == []


def shown_picture(page: Page) -> str:
    page.wait_for_timeout(300)
    return page.locator(".cell_output img.widget-image:visible").get_attribute("src")


@pytest.mark.parametrize("chapter", ["01-data", "02-registration", "05-ablations", "07-attention"])
def test_the_slider_walks_through_its_pictures_without_a_kernel(page: Page, troubles, chapter):
    open_chapter(page, chapter)
    first = shown_picture(page)
    page.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    assert shown_picture(page) != first
    page.keyboard.press("ArrowLeft")
    assert shown_picture(page) == first
    assert troubles == []


def test_a_tap_on_a_figure_opens_it_large_on_a_phone(page: Page, troubles):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((HTML / "chapters" / "01-data.html").as_uri())
    figure = page.locator(".cell_output img").first
    assert figure.bounding_box()["width"] <= 390
    figure.click()
    page.wait_for_url(re.compile(r"/_images/[^/]+\.(png|jpg|jpeg)$"))
    assert page.evaluate("document.images[0].naturalWidth") > 3 * 390
    assert troubles == []


def test_play_moves_slider_and_picture(chapter_01: Page, troubles):
    first = shown_picture(chapter_01)
    play = chapter_01.locator(".widget-play button").first
    play.click()
    expect(chapter_01.locator(".noUi-handle")).not_to_have_attribute("aria-valuenow", "0.0")
    play.click()  # a picture that moves cannot be compared
    assert shown_picture(chapter_01) != first
    assert troubles == []


def test_a_page_with_results_of_synthetic_data_says_so_under_its_title(page: Page):
    notebook = json.loads((HTML.parents[1] / "chapters" / "01-data.ipynb").read_text())
    synthetic = "Synthetic data" in "".join(notebook["cells"][0]["source"])
    for name in ("index.html", "chapters/01-data.html", "chapters/02-registration.html"):
        page.goto((HTML / name).as_uri())
        banner = page.locator("h1 + .admonition", has_text="Synthetic data")
        assert banner.count() == synthetic, name


def test_search_finds_a_word_of_a_chapter_from_disk(page: Page, troubles):
    page.goto((HTML / "search.html").as_uri() + "?q=blinks")
    expect(page.locator("#search-results a").first).to_contain_text("The data")
    assert troubles == []
