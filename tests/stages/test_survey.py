"""Surveys: the same findings however they are come by, and files that other programs can read."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import quick_look
from flawmap.errors import BundleError, OptionError
from flawmap.records import Finding, InspectedPhoto, Inspection, Survey, SurveyMeta, SurveyRow
from flawmap.stages.dataset import read_dataset
from flawmap.stages.survey import (
    Journal,
    PictureFolder,
    SurveyOptions,
    name_parts,
    run_survey,
    to_document,
    to_parts,
    write_findings,
    write_workbook,
)
from flawmap.tools import rle
from flawmap.tools.plain import to_plain
from quick_look import ASKED, draw_survey, look, make_survey


def texts(folder: Path) -> dict[str, bytes]:
    """All that a survey writes, but the journal."""
    files = [path for path in folder.rglob("*") if path.is_file() and "journal" not in path.name]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run_in(source: Path, target: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, quick_look.__file__, str(source), str(target), "--slow"]
    return subprocess.Popen(words, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize(
    ("n_photos", "n_kills"), [(120, 4), pytest.param(2000, 10, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_killed_at_any_moment_it_ends_with_the_findings_of_an_undisturbed_run(
    n_photos: int, n_kills: int, tmp_path: Path
) -> None:
    photos = draw_survey(tmp_path / "photos", n_photos)
    write_findings(make_survey(photos, tmp_path / "whole"), tmp_path / "whole")
    rng = random.Random(5)
    for _ in range(n_kills):
        running = run_in(tmp_path / "photos", tmp_path / "broken")
        while not (tmp_path / "broken" / "journal.sqlite").is_file():
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.003 * n_photos / n_kills * 4))
        assert running.poll() is None, "it was done before it was killed"
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert run_in(tmp_path / "photos", tmp_path / "broken").wait() == 0
    assert texts(tmp_path / "whole") == texts(tmp_path / "broken")
    assert len(json.loads((tmp_path / "whole" / "findings.json").read_text())["photos"]) == n_photos


def test_masks_to_the_pixel_are_not_kept(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 3)

    def look_closely(path: Path) -> InspectedPhoto:
        seen = look(path)
        findings = tuple(replace(one, runs="1 3") for one in seen.inspection.findings)
        return replace(seen, inspection=replace(seen.inspection, findings=findings))

    with Journal(tmp_path / "out", ASKED) as journal:
        pictures = PictureFolder(tmp_path / "out", photos, heatmaps=False)
        run_survey(photos, look_closely, journal, pictures, SurveyOptions(n_threads=1))
        found = [finding for row in journal.rows(photos) for finding in row.inspection.findings]
    assert found and {one.runs for one in found} == {None}


def test_threads_and_order_leave_no_trace(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 30)
    for name, n_threads, given in (("a", 1, photos), ("b", 4, dict(reversed(photos.items())))):
        write_findings(make_survey(given, tmp_path / name, n_threads=n_threads), tmp_path / name)
    assert texts(tmp_path / "a") == texts(tmp_path / "b")


def test_only_what_is_new_changed_or_unread_is_looked_at_again(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 6)
    first, second, third, *_ = photos
    photos[third].rename(tmp_path / "away")
    looked: list[str] = []

    def counted(path: Path) -> InspectedPhoto:
        looked.append(path.name)
        return look(path)

    def survey() -> list[str]:
        looked.clear()
        with Journal(tmp_path / "out", ASKED) as journal:
            folder = PictureFolder(tmp_path / "out", photos, heatmaps=False)
            run_survey(photos, counted, journal, folder, SurveyOptions(n_threads=2))
        return sorted(looked)

    assert len(survey()) == 6
    assert survey() == [Path(third).name]  # it could not be read
    (tmp_path / "away").rename(photos[third])
    os.utime(photos[first])  # the same bytes
    Image.fromarray(np.full((50, 50, 3), 160, np.uint8)).save(photos[second])
    assert survey() == sorted([Path(second).name, Path(third).name])
    assert survey() == []


def test_pictures_of_photos_that_are_gone_go_and_those_of_others_stay(tmp_path: Path) -> None:
    """It ends with the files of a run that never saw them; what the user laid there is not touched."""
    photos = draw_survey(tmp_path / "photos", 6)
    twin = "pier 1/001.tif"
    photos[twin] = tmp_path / "photos" / twin
    Image.open(photos["pier 1/001.png"]).save(photos[twin])
    out, mine = tmp_path / "out", tmp_path / "out" / "overlays" / "pier 1" / "mine.jpg"
    make_survey(photos, out, heatmaps=True)
    mine.write_bytes(b"mine")
    left = {name: path for name, path in photos.items() if name not in (twin, "pier 2/002.png")}
    for given in (left, photos, left):
        write_findings(make_survey(given, out, heatmaps=True), out)
        whole = tmp_path / f"whole {len(given)}"
        write_findings(make_survey(given, whole, heatmaps=True), whole)
        assert texts(out) == texts(whole) | {"overlays/pier 1/mine.jpg": b"mine"}


def test_a_picture_whose_photo_was_not_finished_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the picture and the journal's row, or between removing and noting it."""
    photos = draw_survey(tmp_path / "photos", 3)
    del photos["pier 0/000.png"]  # nothing is drawn of it

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("add", "forget"):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Journal, step, killed)
            make_survey(photos, tmp_path / "out", n_threads=1)
        photos.pop("pier 1/001.png", None)
    make_survey(photos, tmp_path / "out", n_threads=1)
    assert list(texts(tmp_path / "out")) == ["overlays/pier 2/002.jpg"]


def test_a_full_disk_is_told_and_costs_no_photo(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 6)
    with Journal(tmp_path / "out", ASKED) as journal:
        run_survey(
            photos,
            look,
            journal,
            PictureFolder(tmp_path / "out", photos, heatmaps=False),
            SurveyOptions(n_threads=1),
        )
        known = journal.rows(photos)
        (n_pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count = {n_pages}")
        more = draw_survey(tmp_path / "photos", 30)
        pictures = PictureFolder(tmp_path / "out", more, heatmaps=False)
        with pytest.raises(OptionError, match=r"cannot write .*journal.sqlite \(.*full\)\. Make room there"):
            run_survey(more, look, journal, pictures, SurveyOptions(n_threads=1))
    with Journal(tmp_path / "out", ASKED) as journal:
        assert set(known) <= set(journal.rows(more))


def test_another_model_or_other_options_are_told(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 2)
    make_survey(photos, tmp_path / "out")
    with pytest.raises(OptionError, match=r"another model; .*--overwrite"):
        make_survey(photos, tmp_path / "out", asked={**ASKED, "model": "other"})
    with pytest.raises(OptionError, match=r"look.window_px \(64, now 32\)"):
        make_survey(photos, tmp_path / "out", asked={**ASKED, "options": {"look": {"window_px": 32}}})
    with Journal(
        tmp_path / "out", {**ASKED, "options": {"look": {"window_px": 64, "later": None}}}
    ) as journal:
        assert len(journal.stamps()) == 2  # an option that is not given is none
    with Journal(tmp_path / "out", ASKED), pytest.raises(OptionError, match="another inspection"):
        Journal(tmp_path / "out", ASKED)
    (tmp_path / "out" / "journal.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(OptionError, match="damaged"):
        Journal(tmp_path / "out", ASKED)


def test_no_photo_stops_a_survey_but_what_concerns_all_does(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 4)
    broken, dark, bug, _ = photos
    photos[broken].write_bytes(b"\x89PNG\r\n\x1a\n, but no more")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(photos[dark])
    photos["gone.png"] = tmp_path / "gone.png"

    def fails(path: Path) -> InspectedPhoto:
        if path == photos[bug]:
            raise ZeroDivisionError("by nought")
        return look(path)

    with Journal(tmp_path / "out", ASKED) as journal:
        folder = PictureFolder(tmp_path / "out", photos, heatmaps=False)
        run_survey(photos, fails, journal, folder, SurveyOptions())
        rows = journal.rows(photos)
    found = {row.name: row.inspection for row in rows}
    assert len(found) == 5 and not found[dark].assessable and found[dark].reason == "too dark"
    assert "bug in flawmap" in found[bug].error and found[broken].error and found["gone.png"].error
    survey = Survey(rows, quick_look.MODEL)
    assert len(survey.unreadable) == 3 and [row.name for row in survey.not_assessable] == [dark]

    def gone(path: Path) -> InspectedPhoto:
        raise BundleError("the model is gone")

    with Journal(tmp_path / "other", ASKED) as journal, pytest.raises(BundleError):
        run_survey(photos, gone, journal, folder, SurveyOptions())


def survey_of(*findings: Finding, path: str = "a/b.jpg", **more: object) -> Survey:
    rows = (SurveyRow("b.jpg", Inspection(path, 200, 100, findings=findings), **more),)  # type: ignore[arg-type]
    return Survey(rows, quick_look.MODEL, {}, SurveyMeta(), quick_look.GRADES)


CRACK = Finding(
    "crack",
    0.87654321,
    (10.0, 20.0, 110.0, 24.0),
    ((10.0, 20.0), (110.0, 20.0), (110.0, 24.0)),
    400,
    quick_look.measure(4.0, 100.0, 0.25),
    "severe",
    7.5,
    47.25,
    "camera",
)


def test_sizes_are_in_millimetres_where_a_scale_is_known() -> None:
    found = to_document(survey_of(CRACK))["photos"][0]["findings"][0]
    assert (found["width_max_px"], found["width_max_mm"], found["length_mm"]) == (4.0, 1.0, 25.0)
    assert (found["area_mm2"], found["density_mm_per_mm2"], found["width_max_u95_mm"]) == (
        25.0,
        0.066667,
        0.1,
    )
    assert found["score"] == 0.876543 and found["severity"] == "severe"
    assert found["severity_ratio"] is None
    bare = replace(CRACK, measurement=quick_look.measure(4.0, 100.0, None))
    found = to_document(survey_of(bare))["photos"][0]["findings"][0]
    assert found["width_max_px"] == 4.0 and found["width_max_mm"] is None and found["area_mm2"] is None
    whole = replace(CRACK, measurement=None)
    assert to_document(survey_of(whole))["photos"][0]["findings"][0].keys() == found.keys()


def test_positions_are_points_and_say_whose_they_are(tmp_path: Path) -> None:
    nowhere = replace(CRACK, lon=None, lat=None, position_source=None, severity_ratio=1.25)
    write_findings(survey_of(CRACK, nowhere), tmp_path)
    features = json.loads((tmp_path / "findings.geojson").read_text())["features"]
    assert features[0]["geometry"] == {"type": "Point", "coordinates": [7.5, 47.25]}
    assert features[0]["properties"]["position_source"] == "camera" and features[1]["geometry"] is None
    assert [one["properties"]["severity_ratio"] for one in features] == [None, 1.25]


def test_coco_lists_boxes_by_width_and_height_and_every_photo(tmp_path: Path) -> None:
    outlineless = replace(CRACK, polygon=())
    write_findings(survey_of(CRACK, outlineless), tmp_path)
    coco = json.loads((tmp_path / "findings.coco.json").read_text())
    assert coco["images"] == [{"id": 1, "file_name": "b.jpg", "width": 200, "height": 100}]
    assert [one["bbox"] for one in coco["annotations"]] == [[10.0, 20.0, 100.0, 4.0]] * 2
    assert coco["annotations"][0]["segmentation"] == [[10.0, 20.0, 110.0, 20.0, 110.0, 24.0]]
    assert len(coco["annotations"][1]["segmentation"][0]) == 8
    assert coco["categories"] == [{"id": 1, "name": "crack"}]


@pytest.mark.parametrize("most_px", [4_000_000, 300])
def test_coco_keeps_the_holes_of_a_finding(
    most_px: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COCO's polygons have none; what it lists is read back as the pixels that were found."""
    monkeypatch.setattr("flawmap.stages.survey.coco._MOST_PX", most_px)

    def rectangle(left: int, top: int, right: int, bottom: int) -> tuple[tuple[float, float], ...]:
        return ((left, top), (right, top), (right, bottom), (left, bottom))

    holes = (rectangle(20, 30, 40, 60), rectangle(100, 25, 140, 70))
    frame = Finding("crack", 0.9, (10, 20, 150, 80), rectangle(10, 20, 150, 80), 6000, holes=holes)
    wanted = np.zeros((100, 200), bool)
    wanted[20:80, 10:150] = True
    wanted[30:60, 20:40] = wanted[25:70, 100:140] = False
    write_findings(survey_of(frame), tmp_path)
    (one,) = json.loads((tmp_path / "findings.coco.json").read_text())["annotations"]
    assert one["area"] == wanted.sum() and one["bbox"] == [10, 20, 140, 60]
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(tmp_path / "photos" / "b.jpg")
    (tmp_path / "findings.coco.json").rename(tmp_path / "photos" / "_annotations.coco.json")
    read = read_dataset(tmp_path / "photos")
    assert read.masks is not None and read.masks[0] is not None
    np.testing.assert_array_equal(rle.decode(read.masks[0].runs[0], (100, 200)), wanted)


def test_no_text_is_run_as_a_formula(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    survey = survey_of(replace(CRACK, label="=1+1\x07", severity_ratio=1.25), path="=cmd|'/c calc'!A1.jpg")
    write_findings(survey, tmp_path)
    row = next(csv.DictReader((tmp_path / "findings.csv").read_text().splitlines()))
    assert row["path"].startswith("./=") and row["label"].startswith("'=") and row["finding"] == "1"
    write_workbook(survey, tmp_path / "findings.xlsx")
    book = openpyxl.load_workbook(tmp_path / "findings.xlsx")
    assert book.sheetnames == ["findings", "photos", "about"]
    assert book["findings"]["A2"].value == "=cmd|'/c calc'!A1.jpg" and book["findings"]["A2"].data_type == "s"
    header = [cell.value for cell in book["findings"][1]]
    assert book["findings"][2][header.index("width_max_mm")].value == 1.0
    assert row["severity_ratio"] == "1.25"
    assert book["findings"][2][header.index("severity_ratio")].value == 1.25


def test_pictures_keep_folders_and_do_not_collide(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path, ["p/a.jpg", "p/a.png", "p/b.jpg"], heatmaps=True)
    names = [folder.overlay_name(name) for name in ("p/a.jpg", "p/a.png", "p/b.jpg")]
    assert names == ["overlays/p/a.jpg.jpg", "overlays/p/a.png.jpg", "overlays/p/b.jpg"]
    photos = draw_survey(tmp_path / "photos", 3)
    make_survey(photos, tmp_path / "out", heatmaps=True)
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*g")}
    assert written == {
        "overlays/pier 1/001.jpg",
        "overlays/pier 2/002.jpg",
        *(f"heat/pier {i}/00{i}.png" for i in range(3)),
    }
    drawn = np.asarray(Image.open(tmp_path / "out" / "overlays" / "pier 1" / "001.jpg"))
    assert drawn.shape == (60, 90, 3) and (drawn[..., 0].astype(int) - drawn[..., 2] > 80).sum() > 50


def test_overlays_name_kinds_where_the_model_has_several(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 2)
    sizes = []
    for kinds in (("crack",), ("crack", "spalling")):
        folder = tmp_path / str(len(kinds))
        with Journal(folder, ASKED) as journal:
            pictures = PictureFolder(folder, photos, heatmaps=False, kinds=kinds)
            run_survey(photos, look, journal, pictures, SurveyOptions(n_threads=1))
        with Image.open(folder / "overlays" / "pier 1" / "001.jpg") as overlay:
            sizes.append(overlay.height)
    assert sizes[0] == 60 < sizes[1]


def test_one_verdict_per_part(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 9)
    dark = next(name for name in photos if name.startswith("pier 0"))
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(photos[dark])
    for name in [name for name in photos if name.startswith("pier 0") and name != dark]:
        Image.fromarray(np.full((40, 40, 3), 160, np.uint8)).save(photos[name])
    survey = make_survey(photos, tmp_path / "out", part_by=r"pier (\d)")
    parts = {part.name: part for part in to_parts(survey)}
    assert [*parts] == ["0", "1", "2", "3"]
    assert parts["0"].verdict == "not assessed" and parts["1"].verdict == "finding"
    write_findings(survey, tmp_path / "out")
    assert "verdict" in (tmp_path / "out" / "parts.csv").read_text()
    with pytest.raises(OptionError, match="no regular expression"):
        name_parts(photos, "(")
    with pytest.raises(OptionError, match="fits no photo"):
        name_parts(photos, "beam")
    assert name_parts(["a_1.jpg", "b.jpg"], "_[0-9]") == {"a_1.jpg": "_1", "b.jpg": "b.jpg"}


def test_the_journal_gives_back_what_it_was_given(tmp_path: Path) -> None:
    holed = replace(
        CRACK, polygon=((0.0, 0.0), (9.0, 0.0), (0.0, 9.0)), holes=(((1.0, 1.0), (3.0, 1.0), (1.0, 3.0)),)
    )

    def found(path: Path) -> InspectedPhoto:
        return InspectedPhoto(Inspection(str(path), 40, 30, findings=(holed,)))

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    photos = {"a.png": tmp_path / "a.png"}
    with Journal(tmp_path, ASKED) as journal:
        run_survey(photos, found, journal, PictureFolder(tmp_path, photos, heatmaps=False), SurveyOptions())
        (row,) = journal.rows(photos)
    kept = to_plain(row.inspection)
    del kept["findings"][0]["severity_ratio"]  # which earlier versions did not know
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection, connection:
        connection.execute("UPDATE photos SET inspection = ?", (json.dumps(kept),))
    with Journal(tmp_path, ASKED) as journal:
        (old,) = journal.rows(photos)
    assert row.inspection.findings == old.inspection.findings == (holed,)


def test_the_worst_finding_is_first_by_grade_then_width() -> None:
    fine = replace(CRACK, severity="fine", score=0.99)
    wide = replace(CRACK, measurement=quick_look.measure(9.0, 10.0, 0.25))
    survey = survey_of(fine, CRACK, wide)
    assert [i for _, i in survey.worst_first()] == [2, 1, 0]


def test_findings_have_the_position_that_the_photo_says(tmp_path: Path) -> None:
    photos = draw_survey(tmp_path / "photos", 3)
    first, second, third = photos.values()
    exif = Image.Exif()
    position = {1: "S", 2: (47.0, 30.0, 36.0), 3: "E", 4: (7.0, 15.0, 0.0)}
    exif[0x8825] = position
    for path in (first, second):
        with Image.open(path) as image:
            image.save(path, exif=exif)
    exif[0x8825] = position | {2: (97.0, 0.0, 0.0)}
    with Image.open(third) as image:
        image.save(third, exif=exif)
    document = to_document(make_survey(photos, tmp_path / "out"))["photos"]
    assert [photo["camera_lat"] for photo in document] == [-47.51, -47.51, None]
    found = document[1]["findings"][0]
    assert (found["lon"], found["lat"], found["position_source"]) == (7.25, -47.51, "camera")
