"""The survey's report of an inspection, after people had their say."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from flawmap.records import CrackMeasurement, Finding
from flawmap.service.shapes_surveys import GradingName
from flawmap.stages.survey import from_finding, to_finding
from flawmap.tools import rle
from flawmap.tools.grading import TABLES
from service_talk import inspect, to_site, upload

NOT_OF_SURVEYS = ("id", "number", "has_mask", "review")
MARKED = [[20, 20], [100, 20], [100, 60], [20, 60]]


def wait_for(client, report: dict) -> dict:
    for _ in range(400):
        found = client.get(f"/v1/reports/{report['id']}").json()
        if found["state"] != "waiting":
            return found
        time.sleep(0.05)
    raise AssertionError("the report is not written")


def text_of(pdf: bytes) -> str:
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(io.BytesIO(pdf))
    text = " ".join(page.get_textpage().get_text_bounded() for page in document)
    document.close()
    return " ".join(text.split())


def test_a_report_says_what_people_changed(open_service: Callable, tiny: SimpleNamespace) -> None:
    for module in ("jinja2", "openpyxl", "typst"):
        pytest.importorskip(module)
    client, service = open_service()
    result = inspect(client, [to_site(i, 96 if i < 3 else None, tiny) for i in range(4)])
    first, second, third = (photo["findings"][0] for photo in result["photos"][:3])
    for values in (
        {"verdict": "accept", "finding": first["id"]},
        {"verdict": "reject", "finding": second["id"], "note": "a formwork joint"},
        {"verdict": "relabel", "finding": third["id"], "label": "spalling"},
        {
            "verdict": "missed",
            "label": "rust",
            "polygon": MARKED,
            "inspection": result["id"],
            "number": 4,
        },
    ):
        assert client.post("/v1/reviews", json=values).status_code == 201
    place = f"/v1/inspections/{result['id']}"
    asked = {"structure": "Bridge 7", "element": "Pier 3", "inspector": "A. Muster", "date": "2026-11-20"}
    answer = client.post(f"{place}/report", json=asked)
    assert answer.status_code == 202
    report = wait_for(client, answer.json())
    assert report["state"] == "done", report["note"]
    assert report["title"] == "Bridge 7" and client.get(f"{place}/reports").json() == [report]

    def fetch(file: str) -> bytes:
        got = client.get(f"/v1/reports/{report['id']}/{file}")
        assert got.status_code == 200 and "attachment" in got.headers["Content-Disposition"]
        return got.content

    document = json.loads(fetch("findings.json"))
    by_name = {photo["name"]: photo for photo in document["photos"]}
    assert [len(by_name[f"{i}.png"]["findings"]) for i in range(4)] == [1, 0, 1, 1]
    assert by_name["2.png"]["findings"][0]["label"] == "spalling"
    assert by_name["3.png"]["findings"][0]["box_xyxy"] == [20, 20, 100, 60]
    assert by_name["3.png"]["findings"][0]["area_px"] == 80 * 40
    kept = {key: value for key, value in first.items() if key not in NOT_OF_SURVEYS}
    assert by_name["0.png"]["findings"][0] == kept
    changes = {one["kind"]: one for one in document["reviews"]["changes"]}
    assert changes["rejected"]["note"] == "a formwork joint" and changes["marked"]["label"] == "rust"
    page = " ".join(re.sub(r"<[^>]+>", " ", fetch("report.html").decode()).split())
    for text in (page, text_of(fetch("report.pdf"))):
        for words in ("Bridge 7", "A. Muster", "rejected: no flaw", "is spalling", "not seen by the model"):
            assert words in text, words
        assert "people accepted 1, rejected 1, which are left out" in text
    for file in report["files"]:
        assert str(service.options.data) not in fetch(file).decode("latin-1"), file
    assert client.get(f"/v1/reports/{report['id']}/journal.sqlite").status_code == 422


def test_a_report_has_millimetres_and_grades(open_service: Callable, tiny: SimpleNamespace) -> None:
    for module in ("jinja2", "openpyxl", "typst"):
        pytest.importorskip(module)
    client, _ = open_service()
    result = inspect(client, [to_site(0, 96, tiny), to_site(1, 96, tiny)])
    place = f"/v1/inspections/{result['id']}"
    band = np.zeros((192, 256), bool)
    band[95:105] = True
    painted = {"verdict": "painted", "finding": result["photos"][1]["findings"][0]["id"]}
    said = client.post("/v1/reviews", json=painted | {"runs": rle.to_text(rle.encode(band))})
    assert said.status_code == 201
    tables = {one["name"]: one for one in client.get("/v1/gradings").json()}
    assert set(tables) == set(TABLES) == set(get_args(GradingName))
    assert tables["bre-251"]["bands"][-1]["width_mm"] is None and not tables["bre-251"]["exposures"]
    sized = {"mm_per_px": 0.0457123, "grading": "eurocode-2", "exposure": "XC3"}
    before, told = (
        wait_for(client, client.post(f"{place}/report", json=asked).json()) for asked in ({}, sized)
    )
    assert (before["sizes"], told["sizes"]) == ("", "0.0457123 mm/px, eurocode-2 XC3")
    plain, found = (
        client.get(f"/v1/reports/{report['id']}/findings.json").json() for report in (before, told)
    )
    assert plain["photos"][0]["findings"][0]["width_max_mm"] is None
    assert found["options"]["scale"]["mm_per_px"] == 0.0457123 and "Eurocode 2" in found["grading"]["note"]
    for was, now in zip(plain["photos"][0]["findings"], found["photos"][0]["findings"], strict=True):
        assert now["width_max_px"] == was["width_max_px"] and now["scale_mm_per_px"] == 0.045712
        assert now["width_max_mm"] == pytest.approx(0.0457123 * was["width_max_px"], abs=1e-3)
        assert now["area_mm2"] == pytest.approx(0.0457123**2 * was["crack_area_px"], rel=1e-4)
        assert now["severity_ratio"] == pytest.approx(now["width_max_mm"] / 0.3, rel=1e-3)
        assert was["severity_ratio"] is None
        assert now["severity"] in ("within 0.3 mm (XC3)", "above 0.3 mm (XC3)")
    (by_hand,) = found["photos"][1]["findings"]
    assert by_hand["width_mean_mm"] == pytest.approx(8 * 0.0457123, rel=0.1) and by_hand["severity"]


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"mm_per_px": 0.2, "distance_m": 2}, 422, "one source of the scale was wanted"),
        ({"focal_mm": 50}, 422, "give distance_m too"),
        ({"distance_m": 0.05, "focal_mm": 50, "sensor_width_mm": 23}, 422, "^distance_m is 0.05, not twice"),
        ({"mm_per_px": 0.2, "grading": "eurocode-2"}, 422, "exposure is missing; eurocode-2 has: X0, "),
        ({"mm_per_px": 0.2, "grading": "bre-251", "exposure": "XC3"}, 422, "leave out exposure"),
        ({"mm_per_px": 0.2, "exposure": "XC3"}, 422, "name the table"),
        ({"mm_per_px": 0.2, "grading": "/etc/passwd"}, 422, "grading: "),
        ({"mm_per_px": 0}, 422, "mm_per_px: "),
        ({"grading": "bre-251"}, 400, "inspected without a scale: give mm_per_px or distance_m"),
    ],
)
def test_what_does_not_go_together_is_told_in_a_line(
    one_service, ended: str, asked: dict, status: int, words: str
) -> None:
    answer = one_service.post(f"/v1/inspections/{ended}/report", json=asked)
    assert answer.status_code == status
    said = answer.json()["detail"]
    assert re.search(words, said) and "\n" not in said and "--" not in said


@pytest.fixture(scope="module")
def ended(one_service, tiny: SimpleNamespace) -> str:
    """An inspection that has ended."""
    return inspect(one_service, [to_site(0, None, tiny)])["id"]


@pytest.mark.slow
def test_names_of_users_are_no_paths(open_service: Callable, tiny: SimpleNamespace, tmp_path: Path) -> None:
    for module in ("jinja2", "openpyxl", "typst"):
        pytest.importorskip(module)
    client, _ = open_service()
    names = ["../../../evil.png", "/evil.png", "evil" * 100, "evil.png/evil.png", "evil.png"]
    photos = [{"photo": upload(client, to_site(i, 96, tiny)), "name": name} for i, name in enumerate(names)]
    photos.append({"photo": upload(client, to_site(9, None, tiny)), "name": "evil.png"})
    place = client.post("/v1/inspections", json={"photos": photos}).headers["Location"]
    while client.get(place).json()["state"] != "done":
        time.sleep(0.05)
    report = wait_for(client, client.post(f"{place}/report", json={}).json())
    assert report["state"] == "done", report["note"]
    assert not list(tmp_path.rglob("*evil*"))
    found = json.loads(client.get(f"/v1/reports/{report['id']}/findings.json").content)
    assert sorted(photo["name"] for photo in found["photos"]) == sorted([*names, "evil.png (6)"])


def test_painted_masks_replace_what_was_found() -> None:
    from flawmap.service.reporting import to_inspection, to_reviews
    from flawmap.service.shapes import FindingInfo, ReviewInfo, SeenPhoto

    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:50] = mask[40:44, 60:64] = True
    mask[15:20, 25:30] = False
    usual = {
        "finding": None,
        "polygon": None,
        "of_review": None,
        "note": "",
        "reviewer": "anna",
        "at": "2026",
    }
    said = ReviewInfo(id=1, verdict="painted", label=None, runs=rle.to_text(rle.encode(mask)), **usual)
    kept = to_finding(Finding("crack", 0.9, (0.0, 0.0, 9.0, 9.0), (), 50))
    photo = SeenPhoto(
        number=1,
        photo="0" * 64,
        name="a.jpg",
        is_done=True,
        width_px=80,
        height_px=60,
        assessable=True,
        position_system="EPSG:2056",
        findings=[FindingInfo(id=1, number=1, review=said, **kept)],
        missed=[said.model_copy(update={"verdict": "missed", "label": "rust"})],
        checked=None,
    )
    assert to_inspection(photo).position_system == "EPSG:2056"
    marked, painted = to_inspection(photo).findings
    assert (marked.label, marked.score, painted.label, painted.score) == ("rust", 1.0, "crack", 0.9)
    assert marked.runs == painted.runs == said.runs
    assert painted.box_xyxy == (20, 10, 64, 44) and painted.area_px == mask.sum()
    assert np.ptp([x for x, _ in painted.polygon]) == 30
    assert [one.kind for one in to_reviews({"a.jpg": photo}).changes] == ["repainted", "marked"]


def test_a_report_is_of_what_has_ended(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service()
    photo = upload(client, to_site(0, 96, tiny))
    place = client.post("/v1/inspections", json={"photos": [{"photo": photo}] * 500}).headers["Location"]
    assert client.post(f"{place}/report", json={}).status_code == 409
    client.post(f"{place}/cancel")
    assert client.post(f"/v1/inspections/{'0' * 32}/report", json={}).status_code == 404
    assert client.post(f"{place}/report", json={"strukture": "x"}).status_code == 422
    assert client.get(f"/v1/reports/{'0' * 32}").status_code == 404


def test_findings_come_back_as_they_were() -> None:
    measured = CrackMeasurement(
        length_px=120.5,
        area_px=400,
        width_max_px=4.25,
        width_mean_px=3.0,
        width_p95_px=4.0,
        width_sd_px=0.5,
        width_max_u95_px=0.75,
        direction_deg=45.0,
        pattern="single",
        n_branches=1,
        is_resolved=True,
        smallest_width_px=1.5,
        density_px_per_px2=0.125,
        scale_mm_per_px=0.5,
        width_source="photo",
    )
    box = (1.0, 2.0, 100.0, 90.0)
    for inner in (measured, None):
        finding = Finding("crack", 0.75, box, ((1.0, 2.0), (100.0, 2.0), (50.0, 90.0)), 800, inner)
        assert from_finding(to_finding(finding)) == finding
