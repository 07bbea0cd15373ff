"""Photos of one wall that overlap: a crack that several of them show is one flaw."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import quick_look
from flawmap.pipeline.texts import survey_lines
from flawmap.records import Finding, Inspection, Overlaps, Survey, SurveyRow
from flawmap.stages.report import SurveyFacts
from flawmap.stages.report import survey_words as words
from flawmap.stages.report.survey_caveats import caveats
from flawmap.stages.survey import (
    Journal,
    SurveyOptions,
    choose_pairs,
    find_overlaps,
    find_same,
    overlapping,
    to_document,
    write_findings,
)
from flawmap.stages.survey.aligning import align_photos, to_alignment
from flawmap.stages.survey.journal import Finished, Stamp
from flawmap.stages.survey.pictures import to_jpeg
from flawmap.tools.plain import to_plain
from quick_look import measure

SIZE_WH = (500, 400)
WALL_PX = 800
CRACKS = {"long": (120, 300, 560, 12), "left": (80, 150, 90, 12), "right": (640, 420, 100, 12)}
"""x, y, length and height on the wall."""


def draw_wall(seed: int) -> np.ndarray:
    """(WALL_PX, WALL_PX, 3) uint8: grains and stains of many sizes."""
    rng = np.random.default_rng(seed)
    wall = np.full((WALL_PX, WALL_PX), 150.0)
    for step, strength in ((100, 20), (20, 18), (4, 14)):
        small = rng.normal(0, strength, (WALL_PX // step, WALL_PX // step)).astype(np.float32)
        wall += cv2.resize(small, (WALL_PX, WALL_PX), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(wall, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def view(left: float, top: float, turn_deg: float = 0.0, tilt: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """(3, 3) from the wall to a photo: turned about its middle, seen a little from the side."""
    x, y = SIZE_WH[0] / 2, SIZE_WH[1] / 2
    turn = np.vstack([cv2.getRotationMatrix2D((x, y), turn_deg, scale), [0, 0, 1]])
    return np.array([[1, 0, 0], [0, 1, 0], [tilt, 0, 1]]) @ turn @ [[1, 0, -left], [0, 1, -top], [0, 0, 1]]


def photograph(wall: np.ndarray, name: str, to_photo: np.ndarray) -> tuple[SurveyRow, np.ndarray]:
    """What a photo shows of the wall, and its findings: the cracks' boxes as far as it shows them."""
    image = cv2.warpPerspective(wall, to_photo, SIZE_WH)
    findings = []
    for left, top, length, height in CRACKS.values():
        along = np.linspace(left, left + length, 40)
        edges = np.concatenate(
            [np.stack([along, np.full(40, top)], 1), np.stack([along[::-1], np.full(40, top + height)], 1)]
        )
        corners = cv2.perspectiveTransform(edges[None].astype(np.float64), to_photo)[0]
        corners = np.clip(corners, 0, SIZE_WH)
        low, high = corners.min(axis=0), corners.max(axis=0)
        if (high - low).min() > 5:
            polygon = tuple((float(x), float(y)) for x, y in corners)
            box = (*map(float, low), *map(float, high))
            findings.append(Finding("crack", 0.9, box, polygon, 400, measure(4.0, 200.0, 0.1)))
    return SurveyRow(name, Inspection(name, *SIZE_WH, findings=tuple(findings))), image


def keep(folder: Path, shots: list[tuple[SurveyRow, np.ndarray]]) -> Path:
    with Journal(folder, quick_look.ASKED) as journal:
        for row, image in shots:
            pictures = {("photo", 0): to_jpeg(image, 80)}
            journal.add(Finished(row.name, Stamp(f"digest of {row.name}", 1, 1), row.inspection, pictures))
    return folder


def find(folder: Path, shots: list[tuple[SurveyRow, np.ndarray]], **options: int) -> Overlaps | None:
    rows = tuple(row for row, _ in shots)
    with Journal(folder, quick_look.ASKED) as journal:
        return find_overlaps(rows, journal, SurveyOptions(**options))


@pytest.fixture(scope="module")
def shots() -> list[tuple[SurveyRow, np.ndarray]]:
    """a and b overlap, seen from other sides; c is another wall with cracks at the same places."""
    wall, other = draw_wall(1), draw_wall(2)
    views = {"a.jpg": view(50, 100), "b.jpg": view(260, 130, 6, 1e-4, 1.1)}
    found = [photograph(wall, name, to_photo) for name, to_photo in views.items()]
    return [*found, photograph(other, "c.jpg", view(50, 100))]


def test_a_crack_that_two_photos_show_is_one_flaw(
    shots: list[tuple[SurveyRow, np.ndarray]], tmp_path: Path
) -> None:
    found = find(keep(tmp_path, shots), shots)
    assert found is not None and (found.n_pairs, found.n_matched) == (3, 1)
    assert found.same == ((("a.jpg", 0), ("b.jpg", 0)),)  # the long one; the others are on one photo each
    survey = Survey(tuple(row for row, _ in shots), quick_look.MODEL, overlaps=found)
    n_findings = [len(row.inspection.findings) for row in survey.rows]
    assert n_findings == [2, 2, 2] and (survey.n_findings, survey.n_flaws) == (6, 5)
    numbers = survey.number_flaws()
    assert numbers["a.jpg", 0] == numbers["b.jpg", 0] == 1 and sorted(set(numbers.values())) == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_the_alignment_is_that_of_the_cameras(shots: list[tuple[SurveyRow, np.ndarray]]) -> None:
    (_, first), (_, second), (_, third) = shots
    alignment = align_photos(first, second)
    assert alignment is not None and alignment.spread > 0.5
    known = view(260, 130, 6, 1e-4, 1.1) @ np.linalg.inv(view(50, 100))
    points = np.array([[300.0, 200.0], [450.0, 350.0], [480.0, 60.0]])
    wanted = cv2.perspectiveTransform(points[None], known)[0]
    assert np.abs(alignment.to_second(points / SIZE_WH) * SIZE_WH - wanted).max() < 1.5
    assert to_alignment(json.loads(json.dumps(to_plain(alignment)))) == alignment
    assert align_photos(first, third) is None


def test_what_is_printed_into_every_photo_aligns_nothing(tmp_path: Path) -> None:
    shots = []
    stamp = draw_wall(7)[:70, :150]
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        row, image = photograph(draw_wall(seed), name, view(50, 100))
        image = image.copy()
        image[-70:, -150:] = stamp
        shots.append((row, image))
    assert align_photos(shots[0][1], shots[1][1]) is not None  # by the stamp alone
    found = find(keep(tmp_path, shots), shots)
    assert found is not None and (found.n_matched, found.same) == (0, ())


def test_stopped_and_given_again_it_compares_only_what_is_missing(
    shots: list[tuple[SurveyRow, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(tmp_path / "one", shots)
    whole = find(folder, shots, n_threads=1)
    assert find(keep(tmp_path / "two", shots), shots, n_threads=4) == whole
    compared: list[int] = []
    align = overlapping.align_points
    monkeypatch.setattr(overlapping, "align_points", lambda *given: compared.append(1) or align(*given))
    assert find(folder, shots) == whole and not compared
    with Journal(folder, quick_look.ASKED) as journal:  # its bytes have changed
        row, image = shots[2]
        pictures = {("photo", 0): to_jpeg(image, 80)}
        journal.add(Finished(row.name, Stamp("another digest", 1, 1), row.inspection, pictures))
    assert find(folder, shots) == whole and len(compared) == 2
    assert find(folder, shots, match_neighbours=0) is None


def test_neighbours_by_name_and_by_place_are_compared_not_all() -> None:
    finding = Finding("crack", 0.9, (0, 0, 9, 9), (), 81)
    seen = Inspection("", 90, 60, findings=(finding,))
    names = [f"north/IMG_{i}.jpg" for i in range(1, 41)] + [f"south/IMG_{i}.jpg" for i in range(1, 41)]
    rows = [SurveyRow(name, seen) for name in sorted(names)]
    pairs = choose_pairs(rows, 2)
    assert len(pairs) == 2 * (39 + 38) and len(set(pairs)) == len(pairs)
    assert ("north/IMG_10.jpg", "north/IMG_9.jpg") in pairs  # by number, not by letter
    assert not any(a.split("/")[0] != b.split("/")[0] for a, b in pairs)
    placed = [replace(row, camera_lon_lat=(7.0, 47.0 + 0.001 * i)) for i, row in enumerate(rows)]
    placed[60] = replace(placed[60], camera_lon_lat=placed[3].camera_lon_lat)
    nearby = (placed[3].name, placed[60].name)
    assert set(choose_pairs(placed, 2)) - set(pairs) == {nearby}
    clean = [replace(row, inspection=replace(seen, findings=())) for row in rows]
    assert choose_pairs(clean, 2) == []
    assert len(choose_pairs(rows[:5], 1)) == 10  # of few, all with all


def test_the_same_file_under_two_names_counts_once(tmp_path: Path) -> None:
    """However many other photos there are, however little is to be seen, however small the findings are."""
    blank = np.full((SIZE_WH[1], SIZE_WH[0], 3), 150, np.uint8)
    boxes = [(100.0, 100.0, 103.0, 103.0), (104.0, 100.0, 107.0, 103.0)]
    small = tuple(Finding("crack", 0.9, box, (), 9) for box in boxes)
    names = [f"{part}/IMG_{i:02}.jpg" for part in ("north", "south") for i in range(1, 15)]
    rows = [SurveyRow(name, Inspection(name, *SIZE_WH, findings=small)) for name in names]
    copies = ("north/IMG_01.jpg", "north/IMG_14.jpg", "south/IMG_07.jpg")
    broken = [SurveyRow(f"south/X_{i}.jpg", Inspection("x", error="empty")) for i in range(2)]
    with Journal(tmp_path, quick_look.ASKED) as journal:
        for row in [*rows, *broken]:
            digest = "" if row in broken else "one" if row.name in copies else row.name
            pictures = {} if row in broken else {("photo", 0): to_jpeg(blank, 80)}
            journal.add(Finished(row.name, Stamp(digest, 1, 1), row.inspection, pictures))
        found = find_overlaps([*rows, *broken], journal, SurveyOptions())
    assert found is not None and found.n_matched == 2 and found.copies == (copies,)
    assert found.same == tuple(tuple((name, i) for name in copies) for i in range(2))
    survey = Survey((*rows, *broken), quick_look.MODEL, overlaps=found)
    assert (survey.n_findings, survey.n_flaws) == (56, 52)
    assert to_document(survey)["overlaps"]["same_files"] == [list(copies)]
    note = f"{copies[1]} is the same file as {copies[0]} and {copies[2]} is the same file as {copies[0]}"
    assert note in survey_lines(survey, "out")
    assert any(one["text"].startswith(f"{note}. ") for one in caveats(SurveyFacts(survey)))
    many = replace(survey, overlaps=Overlaps(0, 0, copies=(tuple(names[:6]),)))
    assert words.copies_note(many).endswith("and 2 more photos are copies")


def test_other_labels_and_slight_touches_are_other_flaws(shots: list[tuple[SurveyRow, np.ndarray]]) -> None:
    (first, image), (second, other), _ = shots
    alignment = align_photos(image, other)
    assert alignment is not None and find_same(first, second, alignment) == [(0, 0)]
    relabelled = tuple(replace(one, label="spall") for one in second.inspection.findings)
    changed = replace(second, inspection=replace(second.inspection, findings=relabelled))
    assert find_same(first, changed, alignment) == []


def test_every_output_says_which_findings_are_one(
    shots: list[tuple[SurveyRow, np.ndarray]], tmp_path: Path
) -> None:
    same = ((("a.jpg", 0), ("b.jpg", 0)),)
    survey = Survey(tuple(row for row, _ in shots), quick_look.MODEL, overlaps=Overlaps(3, 1, same))
    document = to_document(survey)
    assert document["overlaps"] == {"n_flaws": 5, "n_pairs_compared": 3, "n_pairs_matched": 1}
    assert document["photos"][1]["findings"][0]["same_as"] == ["a.jpg#1"]
    write_findings(survey, tmp_path)
    with (tmp_path / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["flaw_id"] for row in rows] == ["1", "2", "1", "3", "4", "5"]
    assert rows[2]["same_as"] == "a.jpg#1" and rows[1]["same_as"] == ""
    assert "6 findings, which show 5 flaws, on 3 of 3 photos" in words.summary_sentence(survey)
    told = {one["title"]: one["text"] for one in caveats(SurveyFacts(survey))}
    assert "1 of 3 pairs of photos" in told["Overlapping photos"] and "5 flaws" in told["Overlapping photos"]
    assert words.also_on(survey, "a.jpg", 0) == "b.jpg, finding 1" and words.also_on(survey, "a.jpg", 1) == ""
    graded = tuple(
        replace(
            row,
            inspection=replace(
                row.inspection, findings=tuple(replace(f, severity=grade) for f in row.inspection.findings)
            ),
        )
        for row, grade in zip(survey.rows, ("fine", "severe", "fine"), strict=True)
    )
    counted = dict(words.grade_counts(replace(survey, rows=graded, grades=quick_look.GRADES)))
    assert counted == {"severe": 2, "moderate": 0, "fine": 3}
