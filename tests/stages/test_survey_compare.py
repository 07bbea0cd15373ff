"""Comparing two surveys, on drawn walls that are photographed twice from other places."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flawmap
import quick_look
from flawmap.errors import OptionError
from flawmap.records import Finding, Inspection, Survey, SurveyRow
from flawmap.stages.survey import LIMITS, CompareOptions, compare_surveys, read_survey, write_findings
from flawmap.stages.survey.aligning import align_photos
from flawmap.tools.regions import Region
from quick_look import measure

pytest.importorskip("cv2")
WALL_PX = 700


def draw_wall(seed: int) -> np.ndarray:
    """(WALL_PX, WALL_PX, 3) uint8: grains and stains of many sizes."""
    rng = np.random.default_rng(seed)
    wall = np.full((WALL_PX, WALL_PX), 150.0)
    for step, strength in ((100, 20), (20, 18), (4, 14)):
        small = Image.fromarray(
            rng.normal(0, strength, (WALL_PX // step, WALL_PX // step)).astype(np.float32)
        )
        wall += np.asarray(small.resize((WALL_PX, WALL_PX), Image.Resampling.BICUBIC))
    return np.repeat(np.clip(wall, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def crack(x: float, y: float, width_px: float, length_px: float, offset: tuple[int, int]) -> Finding:
    """Level, at (x, y) of the wall, seen by a photo whose corner lies at `offset`."""
    left, top = x - offset[0], y - offset[1]
    box = (left, top, left + length_px, top + 12.0)
    corners = ((box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3]))
    return Finding("crack", 0.9, box, corners, 400, measure(width_px, length_px, 0.1))


def photograph(
    folder: Path, wall: np.ndarray, name: str, offset: tuple[int, int], cracks: list[tuple], **more: object
) -> SurveyRow:
    """A photo of 500 by 400 pixels; `cracks` as for crack()."""
    left, top = offset
    path = folder / "photos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(wall[top : top + 400, left : left + 500]).save(path)
    findings = tuple(crack(*one, offset) for one in cracks)
    return SurveyRow(name, Inspection(str(path), 500, 400, findings=findings), **more)  # type: ignore[arg-type]


def write_survey(folder: Path, *rows: SurveyRow) -> Path:
    survey = Survey(tuple(sorted(rows, key=lambda row: row.name)), quick_look.MODEL)
    write_findings(survey, folder)
    return folder


def compare(old: Path, new: Path) -> dict[str, list]:
    changes = compare_surveys(read_survey(old), read_survey(new), CompareOptions())
    found: dict[str, list] = {}
    for change in changes:
        found.setdefault(change.kind, []).append(change)
    return found


def test_grown_new_gone_and_unchanged_are_told_apart(tmp_path: Path) -> None:
    wall = draw_wall(1)
    before = [(150, 120, 4.0, 200.0), (150, 220, 4.0, 200.0), (150, 300, 4.0, 200.0)]
    after = [(150, 120, 6.0, 200.0), (150, 220, 4.2, 210.0), (300, 170, 3.0, 100.0)]
    darker = (wall * 0.7).astype(np.uint8)
    old = write_survey(tmp_path / "old", photograph(tmp_path / "old", wall, "a.png", (60, 50), before))
    new = write_survey(tmp_path / "new", photograph(tmp_path / "new", darker, "a.png", (90, 40), after))
    found = compare(old, new)
    assert {kind: len(changes) for kind, changes in found.items()} == {
        "grown": 1,
        "unchanged": 1,
        "new": 1,
        "not found again": 1,
    }
    grown = found["grown"][0]
    assert (grown.old_finding, grown.new_finding, grown.reason, grown.unit) == (1, 1, "wider", "mm")
    assert (grown.old_width_max, grown.new_width_max) == (0.4, 0.6)
    assert found["new"][0].new_finding == 3 and found["not found again"][0].old_finding == 3


def test_other_models_and_scales_are_said_first_and_lists_end(tmp_path: Path) -> None:
    wall = draw_wall(1)
    many = [(100 + 90 * (i % 5), 60 + 40 * (i // 5), 4.0, 80.0) for i in range(25)]
    old = write_survey(tmp_path / "old", photograph(tmp_path / "old", wall, "a.png", (60, 50), many[:1]))
    rows = (photograph(tmp_path / "new", wall, "a.png", (60, 50), many),)
    same = flawmap.compare(old, write_survey(tmp_path / "new", *rows))
    assert same.differences == () and same.lines[0] == "new: 24"
    assert same.lines.index(LIMITS) == len(same.lines) - 22  # 20 findings, and how many more
    assert "4 more" in same.lines[-1] and "--json" in same.lines[-1]
    other = replace(quick_look.MODEL, name="masks", digest="1" * 64)
    write_findings(Survey(rows, other, {"scale": {"mm_per_px": 0.2}}), tmp_path / "new")
    found = flawmap.compare(old, tmp_path / "new", json_file=tmp_path / "c.json")
    first = "the surveys differ in model (concrete, digest 0000000000000000; now masks, digest 11111111"
    assert found.lines[0].startswith(first) and "scale.mm_per_px (None, now 0.2)" in found.lines[0]
    assert len(json.loads((tmp_path / "c.json").read_text())["differences"]) == 2
    assert found.lines[-1].endswith("c.json holds all")


def test_the_same_name_is_not_the_same_place(tmp_path: Path) -> None:
    one = photograph(tmp_path / "old", draw_wall(1), "a.png", (60, 50), [(150, 120, 4.0, 200.0)])
    other = photograph(tmp_path / "new", draw_wall(2), "a.png", (60, 50), [(150, 120, 6.0, 200.0)])
    found = compare(write_survey(tmp_path / "old", one), write_survey(tmp_path / "new", other))
    assert [*found] == ["not comparable"] and len(found["not comparable"]) == 2


@pytest.mark.slow
def test_renamed_photos_are_found_by_position(tmp_path: Path) -> None:
    wall, other = draw_wall(1), draw_wall(2)
    line = [(150, 120, 4.0, 200.0)]
    old = write_survey(
        tmp_path / "old",
        photograph(tmp_path / "old", wall, "a.png", (60, 50), line, camera_lon_lat=(7.0, 47.0)),
        photograph(tmp_path / "old", other, "b.png", (60, 50), line, camera_lon_lat=(7.0, 47.00002)),
    )
    near = photograph(tmp_path / "new", wall, "z.png", (80, 50), line, camera_lon_lat=(7.0, 47.00003))
    found = compare(old, write_survey(tmp_path / "new", near))
    assert found["unchanged"][0].old_photo == "a.png" and len(found["not comparable"]) == 1
    far = replace(near, camera_lon_lat=(7.0, 47.01))
    assert "unchanged" not in compare(old, write_survey(tmp_path / "far", far))


def test_what_the_earlier_photo_did_not_show_is_not_new(tmp_path: Path) -> None:
    wall = draw_wall(1)
    old = write_survey(tmp_path / "old", photograph(tmp_path / "old", wall, "a.png", (0, 0), []))
    beyond = photograph(tmp_path / "new", wall, "a.png", (150, 100), [(450, 430, 4.0, 150.0)])
    assert [*compare(old, write_survey(tmp_path / "new", beyond))] == ["not comparable"]
    within = photograph(tmp_path / "in", wall, "a.png", (150, 100), [(200, 200, 4.0, 150.0)])
    assert [*compare(old, write_survey(tmp_path / "in", within))] == ["new"]


def write_masks_survey(
    folder: Path, wall: np.ndarray, patches: list[tuple[float, float, float]], region: Path | None = None
) -> Path:
    """A survey by masks: squares of (left, top, side) without a width, on one photo of the wall."""
    row = photograph(folder, wall, "a.png", (60, 50), [])
    squares = [(x, y, x + side, y + side) for x, y, side in patches]
    findings = tuple(
        Finding("spall", 0.9, (x, y, r, b), ((x, y), (r, y), (r, b), (x, b)), round((r - x) ** 2))
        for x, y, r, b in squares
    )
    share = 1.0 if region is None else 0.5
    seen = replace(row.inspection, findings=findings, share_seen=share)
    options = {"inspection": {"region": None if region is None else str(region)}}
    model = replace(quick_look.MODEL, task="segmentation")
    write_findings(Survey((replace(row, inspection=seen),), model, options), folder)
    return folder


def test_findings_without_a_width_are_compared_by_their_area(tmp_path: Path) -> None:
    wall = draw_wall(1)
    before = [(50.0, 50.0, 60.0), (200.0, 50.0, 60.0), (350.0, 50.0, 60.0), (440.0, 200.0, 60.0)]
    after = [(50.0, 50.0, 62.0), (200.0, 50.0, 80.0), (350.0, 50.0, 45.0), (440.0, 200.0, 60.0)]
    old = write_masks_survey(tmp_path / "old", wall, before)
    new = write_masks_survey(tmp_path / "new", wall, after)
    found = compare(old, new)
    (grown,) = found["grown"]
    assert (grown.new_finding, grown.reason, grown.unit) == (2, "larger", "px")
    assert (grown.old_area_px, grown.new_area_px) == (pytest.approx(3600, rel=0.01), 6400)
    assert [one.new_finding for one in found["unchanged"]] == [1, 3]
    (cut,) = found["not comparable"]
    assert cut.new_finding == 4 and "without a width, and seen in part" in cut.reason
    lines = flawmap.compare(old, new).lines
    assert any("larger; area 3," in line and line.endswith("to 6,400 px²") for line in lines)


def test_where_a_survey_did_not_look_nothing_is_new_or_gone(tmp_path: Path) -> None:
    wall = draw_wall(1)
    left = tmp_path / "left.json"
    left.write_text("[[0, 0], [250, 0], [250, 400], [0, 400]]")
    both = [(50.0, 50.0, 60.0), (50.0, 200.0, 60.0), (350.0, 50.0, 60.0)]
    whole = write_masks_survey(tmp_path / "whole", wall, both)
    part = write_masks_survey(tmp_path / "part", wall, both[:1], left)
    later = compare(whole, part)
    assert [one.old_finding for one in later["not found again"]] == [2]
    assert [one.old_finding for one in later["not comparable"]] == [3]
    assert "outside the region that the later survey looked at" in later["not comparable"][0].reason
    earlier = compare(part, whole)
    assert [one.new_finding for one in earlier["new"]] == [2]
    assert "outside the region that the earlier survey" in earlier["not comparable"][0].reason
    left.write_text("[[0, 0], [50, 0], [50, 400], [0, 400]]")  # another region than was looked at
    told = compare(whole, part)
    assert "not found again" not in told
    assert all("which one cannot be told" in one.reason for one in told["not comparable"][1:])
    left.unlink()
    assert "not found again" not in compare(whole, part)


def test_a_region_as_a_mask_is_drawn_as_its_polygon_is() -> None:
    mask = np.zeros((300, 500), bool)
    mask[60:180, 100:350] = True
    corners = np.array([[100, 60], [350, 60], [350, 180], [100, 180]], float)
    drawn = [one.shares((400, 400), mask.shape) for one in (Region(mask=mask), Region((corners,)))]
    assert (drawn[0] == drawn[1]).all() and drawn[0].mean() == pytest.approx(mask.mean(), rel=0.02)


def test_alignment_gives_points_of_the_other_photo() -> None:
    wall = draw_wall(3)
    alignment = align_photos(wall[50:450, 60:560], wall[90:490, 80:580])
    assert alignment is not None
    moved = alignment.to_second(np.array([[0.5, 0.5]])) * (500, 400)
    assert np.abs(moved - [230, 160]).max() < 0.5
    back = alignment.to_first(alignment.to_second(np.array([[0.2, 0.8]])))
    assert np.abs(back - [0.2, 0.8]).max() < 1e-6
    assert align_photos(wall[:400, :500], np.full((400, 500, 3), 90, np.uint8)) is None


def test_a_folder_without_a_survey_is_told(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no finished survey"):
        read_survey(tmp_path)
    for text in ("[]", "[1]", "{}", '{"photos": [1], "model": {}, "options": {}}', "[" * 100_000):
        (tmp_path / "findings.json").write_text(text)
        with pytest.raises(OptionError, match="cannot be read as a survey: an object with photos, model and"):
            read_survey(tmp_path)
    (tmp_path / "findings.json").write_text("{")
    with pytest.raises(OptionError, match=r"cannot be read as a survey .*line 1"):
        read_survey(tmp_path)
