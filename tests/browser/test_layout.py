"""How the page stands in windows of several widths: bars keep to their rows, nothing leaves the window."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser_talk import PHONE, Screen, drop, serving
from flawmap.tools.bundle import Bundle

pytestmark = pytest.mark.browser
_ROWS = """place => new Set([...document.querySelectorAll(`${place} > *`)]
    .filter((one) => one.offsetWidth && one.offsetHeight && getComputedStyle(one).position !== "absolute")
    .map((one) => Math.round(one.getBoundingClientRect().top + one.offsetHeight / 2))).size"""
"""Rows are told by the middles of what stands in them."""


def wait_until_done(page: Any) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#state")).to_have_text(re.compile("done: 2 of 2"), timeout=60_000)


def test_bars_keep_to_their_rows_at_every_width(
    tiny_bundle: Bundle, ten_photos: list[Path], tmp_path: Path, open_page: Callable, shoot: Callable
) -> None:
    with serving([tiny_bundle.folder], tmp_path / "data") as address:
        page = open_page(address, Screen("wide", {"viewport": {"width": 1440, "height": 900}}))
        drop(page, ten_photos[:2])
        wait_until_done(page)
        for width, n_rows in ((1440, (1, 1, 1)), (1350, (1, 1, 1)), (1100, (1, 1, 1)), (800, (2, 1, 2))):
            page.set_viewport_size({"width": width, "height": 800})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                shoot(page, f"width-{width}-{scheme}")
            found = tuple(page.evaluate(_ROWS, place) for place in ("header", "#tools", "#verdicts"))
            assert found == n_rows, width
            assert page.evaluate("document.documentElement.scrollWidth") == width


def test_on_a_phone_a_chosen_photo_comes_into_view(
    tiny_bundle: Bundle, ten_photos: list[Path], tmp_path: Path, open_page: Callable
) -> None:
    with serving([tiny_bundle.folder], tmp_path / "data") as address:
        page = open_page(address, PHONE)
        drop(page, ten_photos[:2])
        wait_until_done(page)
        page.locator("#photos button").last.tap()
        page.wait_for_function("document.getElementById('stage').getBoundingClientRect().top >= -1")
        assert page.evaluate("document.getElementById('stage').getBoundingClientRect().bottom") <= 844
