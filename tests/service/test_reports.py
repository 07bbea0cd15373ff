"""The survey's report of an inspection, after people had their say."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flawmap.records import CrackMeasurement, Finding
from flawmap.stages.survey import from_finding, to_finding
from service_talk import inspect, to_site, upload

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
    kept = {key: value for key, value in first.items() if key not in ("id", "number", "review")}
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
    from flawmap.tools import rle

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
        findings=[FindingInfo(id=1, number=1, review=said, **kept)],
        missed=[said.model_copy(update={"verdict": "missed", "label": "rust"})],
        checked=None,
    )
    marked, painted = to_inspection(photo).findings
    assert (marked.label, marked.score, painted.label, painted.score) == ("rust", 1.0, "crack", 0.9)
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
