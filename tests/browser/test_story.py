"""What an inspector does on the page: photos in, findings judged, masks painted, a new model of it all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import flawmap
from browser_talk import DESKTOP, PHONE, Screen, drag, drop, serving
from flawmap.tools import rle
from flawmap.tools.bundle import Bundle
from tiny_masks import make_bundle

pytestmark = pytest.mark.browser
FINGER_PX = 44


def wait_for(page: Any, place: str, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator(place)).to_have_text(re.compile(text), timeout=60_000)


def read(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}{path}") as answer:
        return json.loads(answer.read())


def result_of(address: str) -> dict:
    latest = read(address, "/v1/inspections")[0]
    return read(address, f"/v1/inspections/{latest['id']}/result")


def open_photo(page: Any, name: str) -> None:
    page.locator("#photos button", has_text=name).click()
    page.locator("#photo").evaluate("photo => photo.decode()")


def test_from_photos_to_the_next_model(
    tiny_bundle: Bundle, ten_photos: list[Path], tmp_path: Path, open_page: Callable, shoot: Callable
) -> None:
    data = tmp_path / "data"
    with serving([tiny_bundle.folder], data) as address:
        page = open_page(address, DESKTOP)
        wait_for(page, "#empty", "Drop photos")
        shoot(page, "desktop-empty")
        drop(page, ten_photos)
        wait_for(page, "#said", "10 of 10 photos uploaded")
        wait_for(page, "#state", "done: 10 of 10, 18 findings")
        _walk(page)
        shoot(page, "desktop-light")
        painted = _paint(page, address, shoot)
        _mark_missed(page, address)
        _judge_the_rest(page, ten_photos)
        assert [photo for photo in result_of(address)["photos"] if not photo["checked"]] == []
        shoot(page, "desktop-checked")
        page.emulate_media(color_scheme="dark")
        shoot(page, "desktop-dark")
        _check_masks(data, tmp_path / "masks", painted)
    _command("data", "export-reviews", data, tmp_path / "reviewed")
    settings = tmp_path / "quick.toml"
    settings.write_text(
        'backbones = "efficientnet_lite0"\n[rank]\nmax_depth = 2\n[train]\nhead_epochs = 1\nepochs = 1\n'
    )
    quick = ("--config", settings, "--cache", tmp_path / "cache")
    _command("train", tmp_path / "reviewed", "--out", tmp_path / "next", *quick)
    with serving([tiny_bundle.folder, tmp_path / "next"], data) as address:
        page = open_page(address, DESKTOP)
        wait_for(page, "#state", "done: 10 of 10")
        page.locator("#models").select_option("next")
        drop(page, ten_photos[:1])
        wait_for(page, "#state", "done: 1 of 1")
        assert result_of(address)["model"] == "next"


def _walk(page: Any) -> None:
    page.locator("#findings button").first.click()
    for key, at in (("n", 1), ("n", 2), ("p", 1), ("a", 2)):
        page.keyboard.press(key)
        wait_for(page, f"#findings li:nth-child({at + 1}) [aria-current]", "crack")
    page.keyboard.press("r")
    wait_for(page, "#finding-count", "2 of 18 reviewed")
    page.keyboard.press("p")
    page.keyboard.press("l")
    page.locator("#label-choices button", has_text="crack").click()
    wait_for(page, "#findings li:nth-child(3)", "crack")
    wait_for(page, "#finding-count", "2 of 18 reviewed")


def _paint(page: Any, address: str, shoot: Callable) -> dict:
    """The mask of the second finding of site_0008 with a bar more and a hole in it; gives its photo."""
    page.locator("#findings button", has_text="site_0008").nth(1).click()
    page.keyboard.press("f")
    page.keyboard.press("b")
    page.locator("#brush-size").fill("9")
    drag(page, [(200, 20), (240, 20)])
    drag(page, [(200, 180), (240, 180)])
    page.keyboard.press("u")
    page.keyboard.press("e")
    page.locator("#brush-size").fill("3")
    drag(page, [(220.5, 20.5), (220.6, 20.6)])
    shoot(page, "desktop-painting")
    page.locator("#photos button").last.click()
    wait_for(page, "#said", "Keep the mask or leave it first")
    page.keyboard.press("Enter")
    wait_for(page, "#finding-count", "3 of 18 reviewed")
    photo = next(one for one in result_of(address)["photos"] if one["name"].startswith("site_0008"))
    said = photo["findings"][1]["review"]
    assert said["verdict"] == "painted" and said["reviewer"] == "local" and said["at"]
    mask = rle.decode(rle.parse_runs(said["runs"], (192, 256)), (192, 256))
    hole = ~mask[16:25, 200:241]
    assert hole.sum() == 9 and hole[3:6, 19:22].all() and not mask[170:].any()
    assert mask.sum() > hole.size
    return photo


def _mark_missed(page: Any, address: str) -> None:
    """One flaw outlined, one painted where the model saw nothing."""
    open_photo(page, "site_0001")
    page.keyboard.press("m")
    drag(page, [(20, 20), (120, 20), (120, 60), (20, 60), (20, 22)])
    page.locator("#label-choices button", has_text="crack").click()
    wait_for(page, "#photos button[aria-current]", "no findings, 1 marked")
    page.mouse.click(*page.locator("#stage").evaluate("e => [e.getBoundingClientRect().x + 5, 60]"))
    page.keyboard.press("b")
    drag(page, [(150, 150), (220, 150)])
    page.keyboard.press("Enter")
    page.locator("#label-choices button", has_text="crack").click()
    wait_for(page, "#photos button[aria-current]", "no findings, 2 marked")
    page.keyboard.press("r")
    wait_for(page, "#photos button[aria-current]", "no findings, 1 marked")
    kinds = [one["verdict"] for one in read(address, "/v1/reviews")]
    assert kinds[-3:] == ["missed", "missed", "withdrawn"]


def _judge_the_rest(page: Any, photos: list[Path]) -> None:
    page.keyboard.press("n")
    for n_done in range(4, 19):
        row = page.locator("#findings li:not(:has(.tag:not(:empty))) button").first
        row.click()
        page.keyboard.press("a")
        wait_for(page, "#finding-count", f"{n_done} of 18 reviewed")
    for n_done, photo in enumerate(photos, start=1):
        open_photo(page, photo.stem)
        page.keyboard.press("c")
        wait_for(page, "#photo-count", f"{n_done} of 10 checked")


def _check_masks(data: Path, out: Path, painted: dict) -> None:
    """What was painted is exported to the pixel."""
    flawmap.export_reviews(data, out, "masks")
    drawn = np.zeros((192, 256), bool)
    for one in painted["findings"]:
        if one["review"] and one["review"]["runs"]:
            drawn |= rle.decode(rle.parse_runs(one["review"]["runs"], (192, 256)), (192, 256))
    mask = np.asarray(Image.open(out / "masks" / "crack" / f"{painted['photo'][:16]}.png")) > 0
    assert drawn.any() and (mask[:60, 160:] == drawn[:60, 160:]).all() and not mask[19:22, 219:222].any()


def _command(*words: object) -> None:
    line = [sys.executable, "-m", "flawmap", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_on_a_phone(
    tiny_bundle: Bundle, ten_photos: list[Path], tmp_path: Path, open_page: Callable, shoot: Callable
) -> None:
    with serving([tiny_bundle.folder], tmp_path / "data") as address:
        page = open_page(address, PHONE)
        shoot(page, "phone-empty", whole=True)
        page.locator("#files").set_input_files(ten_photos)
        wait_for(page, "#state", "done: 10 of 10, 18 findings")
        _check_fingers(page)
        page.locator("#findings button").first.tap()
        page.locator("#next").tap()
        wait_for(page, "#findings li:nth-child(2) [aria-current]", "crack")
        page.locator("#accept").tap()
        wait_for(page, "#finding-count", "1 of 18 reviewed")
        shoot(page, "phone-light")
        page.locator("#layers-button").tap()
        page.locator("#show-heat").tap()
        page.locator("#show-masks").tap()
        shoot(page, "phone-layers")
        _check_fingers(page)
        page.locator("#layers-button").tap()
        _pinch(page)
        shoot(page, "phone-pixels")
        page.locator("#fit").tap()
        page.locator("#paint").tap()
        _check_fingers(page)
        _touch(page, [[(0.3, 0.5)], [(0.5, 0.55)], [(0.7, 0.5)]])
        shoot(page, "phone-painting")
        page.locator("#keep").tap()
        wait_for(page, "#finding-count", "2 of 18 reviewed")
        page.emulate_media(color_scheme="dark")
        shoot(page, "phone-dark", whole=True)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        verdicts = {one["verdict"] for one in read(address, "/v1/reviews")}
        assert verdicts == {"accept", "painted"}


def _check_fingers(page: Any) -> None:
    """What can be touched is large enough for a finger."""
    for one in page.locator("button, select, .button, #layers label, input[type=range]").all():
        if not one.is_visible():
            continue
        box = one.bounding_box()
        said = one.text_content() or one.get_attribute("id")
        assert box["height"] >= FINGER_PX - 0.5, (said, box)
        assert box["width"] >= FINGER_PX - 0.5, (said, box)
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390.5, (said, box)


def _touch(page: Any, steps: list[list[tuple[float, float]]]) -> None:
    """Fingers through shares of the stage; a step has a point per finger."""
    box = page.locator("#stage").bounding_box()
    talk = page.context.new_cdp_session(page)
    for i, step in enumerate(steps):
        points = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": number}
            for number, (x, y) in enumerate(step)
        ]
        kind = "touchMove" if i else "touchStart"
        talk.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    talk.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(500)  # Chromium takes a tap that follows at once for a part of the gesture


def _pinch(page: Any) -> None:
    """Two fingers that part zoom in until single pixels show, each of one colour."""
    before = page.locator("#photo").bounding_box()["width"]
    for _ in range(3):
        _touch(page, [[(0.45, 0.5), (0.55, 0.5)], [(0.3, 0.5), (0.7, 0.5)], [(0.2, 0.5), (0.8, 0.5)]])
    assert page.locator("#photo").bounding_box()["width"] > 8 * before
    shown = page.locator("#photo").evaluate("photo => getComputedStyle(photo).imageRendering")
    assert shown == "pixelated"


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)
def test_a_mask_to_the_pixel_and_a_report_in_millimetres(
    tiny: SimpleNamespace, tmp_path: Path, open_page: Callable, shoot: Callable, screen: Screen
) -> None:
    """The finding has a hole, and two pieces that touch at a corner: an outline shows neither."""
    image = np.full((200, 300, 3), 240, np.uint8)
    image[50:90, 100:180] = image[90:100, 180:290] = 0
    image[60:75, 120:150] = 240
    Image.fromarray(image).save(tmp_path / "wall.png")
    model = make_bundle(tmp_path / "model", tiny, "segmentation")
    with serving([model.folder], tmp_path / "data") as address:
        page = open_page(address, screen)
        page.locator("#files").set_input_files([tmp_path / "wall.png"])
        wait_for(page, "#state", "done: 1 of 1, 1 finding")
        page.locator("#findings button").first.click()
        page.locator("#paint").click()
        page.locator("#keep").wait_for()
        shoot(page, f"{screen.name}-own-mask")
        page.locator("#keep").click()
        wait_for(page, "#finding-count", "1 of 1 reviewed")
        (finding,) = result_of(address)["photos"][0]["findings"]
        assert finding["review"]["runs"] == read(address, f"/v1/findings/{finding['id']}/mask")["runs"]
        page.locator("#report-button").click()
        form = page.locator("#report-form")
        form.locator("[name=structure]").fill("Bridge 7")
        form.locator("[name=scale_by]").select_option("distance")
        assert form.locator("[name=focal_mm]").is_visible()
        form.locator("[name=scale_by]").select_option("mm_per_px")
        form.locator("[name=mm_per_px]").fill("0.25")
        form.locator("[name=grading]").select_option("eurocode-2")
        form.locator("[name=exposure]").select_option("XC3")
        form.locator("button[value=write]").click()
        page.locator("#report-links a").last.wait_for()
        shoot(page, f"{screen.name}-report")
        report = read(address, f"/v1/inspections/{result_of(address)['id']}/reports")[0]
        assert report["sizes"] == "0.25 mm/px, eurocode-2 XC3"
        found = read(address, f"/v1/reports/{report['id']}/findings.json")
        assert found["options"]["scale"]["mm_per_px"] == 0.25 and "Eurocode 2" in found["grading"]["note"]
        page.locator("#report-form button[value='']").click()
        page.locator("#panels [value=reports]").click()
        wait_for(page, "[data-panel=reports] td:first-child", "0.25 mm/px, eurocode-2 XC3")
        shoot(page, f"{screen.name}-reports")
        assert (
            page.evaluate("() => document.documentElement.scrollWidth") <= screen.options["viewport"]["width"]
        )


@pytest.mark.data
def test_ten_real_photos(
    tiny_bundle: Bundle, real_sets: Path, tmp_path: Path, open_page: Callable, shoot: Callable
) -> None:
    photos = sorted((real_sets / "photos").iterdir())[::3][:10]
    with serving([tiny_bundle.folder], tmp_path / "data") as address:
        page = open_page(address, DESKTOP)
        drop(page, photos)
        wait_for(page, "#said", "10 of 10 photos uploaded")
        wait_for(page, "#state", "done: 10 of 10")
        for _ in range(3):
            page.keyboard.press("n")
        page.keyboard.press("a")
        wait_for(page, "#finding-count", "^1 of")
        page.keyboard.press("3")
        page.keyboard.press("2")
        shoot(page, "real-desktop")
        page.emulate_media(color_scheme="dark")
        page.keyboard.press("f")
        shoot(page, "real-desktop-dark")
        names = {photo["name"] for photo in result_of(address)["photos"]}
        assert names == {photo.name for photo in photos}
