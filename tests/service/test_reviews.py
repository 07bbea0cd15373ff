"""Corrections: kept beside the model's answer, and exported as a data set that training reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import flawmap
from flawmap.errors import OptionError
from flawmap.pipeline.preparing import read_labelled
from flawmap.records import no_progress
from flawmap.tools import rle
from service_talk import inspect, to_png, to_site
from tiny_masks import make_bundle

MISSED = [[20, 20], [100, 20], [100, 60], [20, 60]]


def review(client, **values) -> dict:
    answer = client.post("/v1/reviews", json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_the_latest_word_counts_and_all_are_kept(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service()
    result = inspect(client, [to_site(0, 96, tiny), to_site(1, None, tiny)])
    finding = result["photos"][0]["findings"][0]
    review(client, verdict="accept", finding=finding["id"])
    review(client, verdict="relabel", finding=finding["id"], label="joint", note="see drawing 7")
    here = {"inspection": result["id"], "number": 2}
    missed = review(client, verdict="missed", label="crack", polygon=MISSED, **here)
    review(client, verdict="checked", **here)
    first, second = client.get(f"/v1/inspections/{result['id']}/result").json()["photos"]
    assert first["findings"][0]["label"] == "crack"
    assert first["findings"][0]["review"]["label"] == "joint"
    assert second["missed"][0]["polygon"] == MISSED and second["checked"]["reviewer"] == "local"
    review(client, verdict="withdrawn", of_review=missed["id"])
    again = client.get(f"/v1/inspections/{result['id']}/result").json()["photos"][1]
    assert again["missed"] == []
    assert [one["verdict"] for one in client.get(f"/v1/reviews?inspection={result['id']}").json()] == [
        "accept",
        "relabel",
        "missed",
        "checked",
        "withdrawn",
    ]
    events = [event["what"] for event in client.get("/v1/audit-log").json()]
    assert events[0] == "review: withdrawn" and "begin inspection" in events


def test_a_models_own_mask_is_there_and_exported_to_the_pixel(
    open_service: Callable, tiny: SimpleNamespace, tmp_path: Path, database_address: str | None
) -> None:
    """Two pieces that touch at a corner, one with a hole: an outline shows neither."""
    image = np.full((200, 300, 3), 240, np.uint8)
    image[50:90, 100:180] = image[90:130, 180:240] = 0
    image[60:75, 120:150] = 240
    client, _ = open_service(make_bundle(tmp_path / "model", tiny, "segmentation"))
    result = inspect(client, [to_png(image)])
    (finding,) = result["photos"][0]["findings"]
    assert finding["has_mask"] and "runs" not in finding
    told = client.get(f"/v1/findings/{finding['id']}/mask").json()
    assert (told["width_px"], told["height_px"]) == (300, 200)
    mask = rle.decode(rle.parse_runs(told["runs"], (200, 300)), (200, 300))
    dark = image[..., 0] < 128
    assert mask.sum() == finding["area_px"] and (mask != dark).mean() < 0.02 and not mask[65, 130]
    assert mask[55, 110] and mask[120, 230]
    assert client.get("/v1/findings/99/mask").json()["detail"] == "there is no finding 99"
    review(client, verdict="accept", finding=finding["id"])
    review(client, verdict="checked", inspection=result["id"], number=1)
    flawmap.export_reviews(tmp_path / "data", tmp_path / "out", database=database_address)
    (file,) = (tmp_path / "out" / "masks" / "crack").iterdir()
    np.testing.assert_array_equal(np.asarray(Image.open(file)) > 0, mask)


def test_a_classifiers_finding_has_no_mask(one_service, tiny: SimpleNamespace) -> None:
    result = inspect(one_service, [to_site(0, 96, tiny)])
    finding = result["photos"][0]["findings"][0]
    assert finding["has_mask"] is False
    answer = one_service.get(f"/v1/findings/{finding['id']}/mask")
    assert answer.status_code == 404 and "no mask of finding" in answer.json()["detail"]


def test_what_makes_no_sense_is_refused(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service()
    result = inspect(client, [to_site(0, 96, tiny)])
    here = {"inspection": result["id"], "number": 1}
    outside = [[0, 0], [999, 0], [0, 9]]
    for text in ("\\ud800", "\\u0000"):  # JSON's spelling of half a character, and of NUL
        body = f'{{"verdict": "relabel", "finding": 1, "label": "{text}"}}'
        answer = client.post("/v1/reviews", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422 and "half a character" in answer.json()["detail"]
    for status, values in (
        (422, {"verdict": "relabel", "finding": 1}),
        (422, {"verdict": "fine", "finding": 1}),
        (422, {"verdict": "reject", "finding": 1, "of_review": 999}),
        (422, {"verdict": "withdrawn", "finding": 1, "of_review": 999}),
        (404, {"verdict": "accept", "finding": 2**31 - 1}),
        (422, {"verdict": "accept", "finding": 2**31}),
        (404, {"verdict": "accept", "finding": 999}),
        (404, {"verdict": "checked", "inspection": result["id"], "number": 9}),
        (404, {"verdict": "withdrawn", "of_review": 1}),
        (409, {"verdict": "missed", "label": "crack", "polygon": outside, **here}),
    ):
        assert client.post("/v1/reviews", json=values).status_code == status, values
    assert client.get("/v1/reviews").json() == []


def test_reviews_become_tiles(
    open_service: Callable, tiny: SimpleNamespace, tmp_path: Path, database_address: str | None
) -> None:
    client, _ = open_service()
    sites = [to_site(i, 96 if i < 4 else None, tiny) for i in range(8)]
    with pytest.raises(OptionError, match="nothing has been reviewed"):
        flawmap.export_reviews(tmp_path / "data", tmp_path / "out", database=database_address)
    result = inspect(client, sites)
    for photo in result["photos"]:
        for finding in photo["findings"]:
            verdict = "reject" if photo["number"] == 4 else "accept"
            review(client, verdict=verdict, finding=finding["id"])
        review(client, verdict="checked", inspection=result["id"], number=photo["number"])
    done = flawmap.export_reviews(tmp_path / "data", tmp_path / "out", database=database_address)
    assert "reviews of 8 photos" in done.lines[0] and not done.left_out
    with (tmp_path / "out" / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        tile = np.asarray(Image.open(tmp_path / "out" / row["path"]))
        assert tile.shape == (64, 64, 3)
        is_dark = (tile < 50).any()
        rejected = result["photos"][3]["photo"].startswith(row["group"])
        assert row["label"] == ("crack" if is_dark and not rejected else "good")
    assert len({row["group"] for row in rows}) == 8
    found = read_labelled(tmp_path / "out", flawmap.RunOptions().resolved(), no_progress)
    assert len(found) == len(rows) and found.labels == ("crack", "good")
    lines = (tmp_path / "out" / "reviews.jsonl").read_text().splitlines()
    assert {json.loads(line)["verdict"] for line in lines} == {"accept", "reject", "checked"}
    with pytest.raises(OptionError, match="there already"):
        flawmap.export_reviews(tmp_path / "data", tmp_path / "out", database=database_address)


def draw_ring() -> np.ndarray:
    """(192, 256) bool: a ring with a hole of one pixel, and single pixels in all corners."""
    rows, columns = np.mgrid[:192, :256]
    away = np.hypot(rows - 96, columns - 120)
    ring = (away < 30) & (away > 12)
    ring[96, 100] = False
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        ring[corner] = True
    return ring


def test_painted_masks_are_exported_to_the_pixel(
    open_service: Callable, tiny: SimpleNamespace, tmp_path: Path, database_address: str | None
) -> None:
    client, _ = open_service()
    result = inspect(client, [to_site(0, 96, tiny), to_site(1, None, tiny)])
    finding = result["photos"][0]["findings"][0]
    ring = draw_ring()
    runs = rle.to_text(rle.encode(ring))
    said = review(client, verdict="painted", finding=finding["id"], runs=runs)
    missed = {"verdict": "missed", "inspection": result["id"], "number": 2, "label": "crack"}
    review(client, **missed, runs=rle.to_text(rle.encode(~ring)))
    assert said["polygon"] == [[0, 0], [256, 0], [256, 192], [0, 192]]
    bar = review(client, **missed, runs="386 5 578 6")
    assert bar["polygon"] == [[2, 1], [4, 1], [4, 7], [2, 7]]
    review(client, verdict="withdrawn", of_review=bar["id"])
    for status, wrong in (
        (409, {"verdict": "painted", "finding": finding["id"], "runs": "49153 1"}),
        (409, {"verdict": "painted", "finding": finding["id"], "runs": "2 x"}),
        (409, {"verdict": "painted", "finding": finding["id"], "runs": " "}),
        (422, {"verdict": "painted", "finding": finding["id"]}),
        (422, {"verdict": "accept", "finding": finding["id"], "runs": "1 1"}),
        (422, {**missed, "runs": "1 1", "polygon": MISSED}),
    ):
        assert client.post("/v1/reviews", json=wrong).status_code == status, wrong
    photos = client.get(f"/v1/inspections/{result['id']}/result").json()["photos"]
    kept = photos[0]["findings"][0]
    assert kept["polygon"] == finding["polygon"] and kept["review"]["runs"] == said["runs"] == runs
    for number in (1, 2):
        review(client, verdict="checked", inspection=result["id"], number=number)
    flawmap.export_reviews(tmp_path / "data", tmp_path / "out", "masks", database=database_address)
    for photo, truth in zip(photos, (ring, ~ring), strict=True):
        name = f"{photo['photo'][:16]}.png"
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "crack" / name))
        assert ((mask > 0) == truth).all()


def test_reviews_become_masks(
    open_service: Callable, tiny: SimpleNamespace, tmp_path: Path, database_address: str | None
) -> None:
    client, _ = open_service()
    result = inspect(client, [to_site(0, None, tiny), to_site(1, None, tiny), to_site(2, 96, tiny)])
    here = {"inspection": result["id"], "number": 1}
    review(client, verdict="missed", label="crack", polygon=MISSED, **here)
    with pytest.raises(OptionError, match="marked as checked"):
        flawmap.export_reviews(tmp_path / "data", tmp_path / "out", "masks", database=database_address)
    for number in (1, 2, 3):  # the third has a finding that nobody decided
        review(client, verdict="checked", inspection=result["id"], number=number)
    flawmap.export_reviews(tmp_path / "data", tmp_path / "out", "masks", database=database_address)
    name = f"{result['photos'][0]['photo'][:16]}.png"
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "crack" / name))
    truth = np.zeros((192, 256), bool)
    truth[20:60, 20:100] = True
    assert ((mask > 0) == truth).all()
    found = read_labelled(tmp_path / "out", flawmap.RunOptions().resolved(), no_progress)
    assert len(found) == 2 and found.is_flawed.sum() == 1


def test_a_new_label_may_be_given_but_not_by_a_typing_mistake(
    open_service: Callable, tiny: SimpleNamespace
) -> None:
    client, _ = open_service()
    finding = inspect(client, [to_site(0, 96, tiny)])["photos"][0]["findings"][0]["id"]
    asked = {"verdict": "relabel", "finding": finding}
    for label, meant in (("crak", "crack"), ("Crack", "crack"), ("goood", "good")):
        answer = client.post("/v1/reviews", json={**asked, "label": label})
        assert answer.status_code == 409
        assert f"no label '{label}'; did you mean '{meant}'?" in answer.json()["detail"]
    review(client, **asked, label="joint")
    answer = client.post("/v1/reviews", json={**asked, "label": "jiont"})
    assert answer.status_code == 409 and "did you mean 'joint'?" in answer.json()["detail"]
    review(client, **asked, label="cracks", is_new_label=True)
    review(client, **asked, label="cracks")  # known from now on


def test_a_refusal_says_what_was_found_and_what_was_wanted(open_service: Callable) -> None:
    client, _ = open_service()

    def refused(path: str, headers: dict[str, str] | None = None, **values: object) -> str:
        answer = client.post(path, json=values, headers=headers or {})
        assert answer.status_code == 422
        return answer.json()["detail"]

    assert refused("/v1/reviews", verdict="acept", finding=1) == (
        "verdict: found 'acept'; did you mean 'accept'?"
    )
    assert (
        refused("/v1/reviews", verdict="relabel", lable="x") == "unknown field 'lable'; did you mean 'label'?"
    )
    assert refused("/v1/reviews", verdict="relabel", finding=1) == (
        "relabel wants finding, label; found finding"
    )
    assert refused("/v1/reviews", verdict="accept", finding="one") == (
        "finding: found 'one'; wanted a whole number"
    )
    assert refused("/v1/reviews", verdict="accept", finding=0) == "finding: found 0; wanted 1 or more"
    assert refused("/v1/reviews") == "verdict: is missing"
    assert refused("/v1/inspections", photos=[]) == "photos: found 0; wanted 1 or more"
    told = refused("/v1/inspections", photos=[{"phto": "a"}])
    assert told == "photos.0: unknown field 'phto'; did you mean 'photo'?"
    told = refused("/v1/inspections", {"Idempotency-Key": "abc"}, photos=[{"photo": "0" * 64}])
    assert told == "idempotency-key: found 3; wanted 8 characters or more"
    assert "wanted a text of the form" in refused("/v1/inspections", photos=[{"photo": "a.png"}])
