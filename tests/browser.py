"""A browser without a screen, to look at pages that we write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip

Open = Callable[..., Any]


def chromium() -> str | None:
    """Where a Chromium is: of the variable CHROMIUM, else by its usual names."""
    found = (shutil.which(name) for name in (os.environ.get("CHROMIUM") or "", *NAMES))
    return next((path for path in found if path), None)


@pytest.fixture
def browser() -> Iterator[Open]:
    """Call it with a file or an address, and `width` and `dark`: gives playwright's page.

    The test fails at its end where a page wrote an error to the console or raised one, or asked
    for anything that did not come.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here: install Debian's chromium, or name one in CHROMIUM")
    wrong: list[str] = []
    # Started anew for each test: while it runs, nothing else can have an event loop.
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=path, args=list(QUIET))

        def open_page(place: Path | str, width: int = 1280, dark: bool = False) -> Any:
            page = running.new_page(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if dark else "light",
            )
            page.on("console", lambda it: it.type == "error" and wrong.append(it.text))
            page.on("pageerror", lambda it: wrong.append(str(it)))
            page.on("requestfailed", lambda it: wrong.append(f"{it.url}: {it.failure}"))
            page.goto(place.resolve().as_uri() if isinstance(place, Path) else place)
            return page

        yield open_page
        running.close()
    assert wrong == []


def overflow(page: Any) -> int:
    """Pixels by which a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
