"""The built book, opened from disk in Debian's chromium with the network off."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

HTML = Path(__file__).resolve().parents[2] / "book" / "_build" / "html"
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": ["--disable-gpu"]}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return {**browser_context_args, "offline": True}


@pytest.fixture
def troubles(page: Page) -> list[str]:
    """What went wrong on a page, as it happens: requests that leave or fail, script errors."""
    found = []

    def on_request(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            found.append(f"asks for {request.url}")

    def on_console(message):
        if message.type == "error":
            found.append(f"console: {message.text}")

    page.on("request", on_request)
    page.on("console", on_console)
    page.on("requestfailed", lambda request: found.append(f"failed to load {request.url}"))
    page.on("pageerror", lambda error: found.append(f"script error: {error}"))
    return found


@pytest.fixture
def chapter_01(page: Page, troubles: list[str]) -> Page:
    """The first chapter, at the width of a desktop, with its formulas and widgets in place."""
    open_chapter(page, "01-data")
    page.wait_for_selector("mjx-container")
    return page


def open_chapter(page: Page, name: str) -> None:
    """Open a chapter at the width of a desktop, with its widgets in place."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto((HTML / "chapters" / f"{name}.html").as_uri())
    page.wait_for_selector(".noUi-handle")
