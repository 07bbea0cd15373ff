"""The browser: Debian's Chromium, which nothing here downloads; and photos to drop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from browser_talk import Screen
from flawmap.stages.sample.photo import draw_photo

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).is_file():
        pytest.skip("no Chromium; install Debian's package 'chromium'")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable]:
    """open_page(address, screen) → page. What it asks of other places, or complains of, fails the test."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def begin(address: str, screen: Screen, **options: Any) -> Any:
            context = chromium.new_context(**(screen.options | options))
            stack.callback(context.close)
            context.set_default_timeout(60_000)
            page = context.new_page()

            def check(request: Any) -> None:
                if not request.url.startswith((address, "blob:")):
                    wrong.append(f"asked {request.url}")

            page.on("request", check)
            page.on("pageerror", lambda error: wrong.append(f"fault: {error}"))
            page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
            page.goto(address)
            return page

        yield begin
    assert wrong == []


@pytest.fixture
def shoot() -> Callable:
    """shoot(page, name) keeps a screenshot in the folder that FLAWMAP_SCREENSHOTS names, if it does."""
    folder = os.environ.get("FLAWMAP_SCREENSHOTS")

    def keep(page: Any, name: str, *, whole: bool = False) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)

    return keep


@pytest.fixture(scope="session")
def ten_photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """As `flawmap data sample` draws them, 192 × 256 pixels; on seven the tiny model finds something."""
    folder = tmp_path_factory.mktemp("site")
    photos = []
    for i in range(10):
        drawn = draw_photo(i, seed=0, n_tiles=8, tile_px=64)
        photos.append(folder / f"{drawn.name}.jpg")
        photos[-1].write_bytes(drawn.jpeg)
    return photos
