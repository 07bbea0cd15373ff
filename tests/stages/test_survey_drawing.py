"""Findings drawn over photos: the flaw stays bare, numbers have room, and close-ups show where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flawmap.records import Finding
from flawmap.stages.survey import draw_findings
from flawmap.stages.survey.drawing import draw_one
from flawmap.stages.survey.kinds import COLOURS
from flawmap.tools.close_ups import CLOSE_UP_PX, close_up_corner, cut_close_up

GREY = 120


def blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def box_finding(left: float, top: float, right: float, bottom: float) -> Finding:
    return Finding("crack", 0.9, (left, top, right, bottom), (), round((right - left) * (bottom - top)))


def changed(drawn: np.ndarray) -> np.ndarray:
    return (drawn != GREY).any(axis=2)


def specks(n_rows: int, n_columns: int, step_px: int = 20) -> list[Finding]:
    corners = [(x * step_px, y * step_px) for y in range(n_rows) for x in range(n_columns)]
    return [box_finding(x + 5, y + 5, x + 9, y + 9) for x, y in corners]


def test_the_flaw_stays_bare_and_its_number_stands_where_it_begins() -> None:
    diagonal = Finding(
        "crack", 0.9, (100, 50, 400, 351), ((100, 350), (103, 351), (400, 53), (400, 50)), 1500
    )
    drawn = draw_findings(blank(400, 500), [diagonal], 1.0)
    assert drawn.n_numbered == 1
    marks = changed(drawn.image)
    assert not marks[[350, 200, 52], [101, 251, 399]].any()
    label_rows, label_columns = np.nonzero(marks[:, :97])
    assert np.hypot(label_columns - 100, label_rows - 350).min() < 12  # not in the box's empty corner
    assert not marks[50:80, 100:300].any()


@pytest.mark.parametrize("n_columns", [4, 29])
def test_numbers_cover_no_flaw_and_leave_the_photo_to_be_seen(n_columns: int) -> None:
    findings = specks(22, n_columns, 40)
    drawn = draw_findings(blank(900, 1200), findings, 1.0)
    assert 10 <= drawn.n_numbered < len(findings)
    marks = changed(drawn.image)
    yellow = (drawn.image == (240, 228, 66)).all(axis=2)
    assert yellow.mean() < 0.1
    for one in findings:
        left, top, right, bottom = (round(value) for value in one.box_xyxy)
        assert not marks[top:bottom, left:right].any()


def test_the_finding_that_is_told_of_is_numbered_in_any_case() -> None:
    whole = [box_finding(0, 0, 300, 200), *specks(9, 14)]
    plain = draw_findings(blank(200, 300), whole, 1.0)
    shown = draw_findings(blank(200, 300), whole, 1.0, first=0)
    assert shown.n_numbered == plain.n_numbered + 1 == 1


def test_thousands_of_findings_take_no_minutes_and_no_finding_is_no_line() -> None:
    assert draw_findings(blank(60, 90), [], 1.0).n_numbered == 0
    drawn = draw_findings(blank(700, 900), specks(35, 45), 1.0)
    assert drawn.n_numbered == 0  # they leave no room


def test_a_close_up_shows_the_flaw_and_a_line_beside_it() -> None:
    small = box_finding(600, 300, 620, 306)
    image = blank(900, 1200)
    corner = close_up_corner(small, image.shape[:2])
    assert corner == (610 - CLOSE_UP_PX // 2, 303 - CLOSE_UP_PX // 2)
    marks = changed(draw_one(cut_close_up(image, small), small, corner))
    inner = marks[300 - corner[1] : 306 - corner[1], 600 - corner[0] : 620 - corner[0]]
    assert marks.shape == (CLOSE_UP_PX, CLOSE_UP_PX) and marks.any() and not inner.any()
    rows, columns = np.nonzero(marks)
    assert columns.min() + corner[0] > 585 and rows.max() + corner[1] < 320


def test_a_close_up_of_a_large_flaw_lies_on_it() -> None:
    """An L of which the middle of the box is bare, broadest near its lower right end."""
    corners = ((0, 0), (10, 0), (10, 1390), (1500, 1380), (1700, 1350), (1800, 1380), (1800, 1400), (0, 1400))
    angle = Finding("crack", 0.9, (0, 0, 1800, 1400), corners, 50_000)
    left, top = close_up_corner(angle, (1500, 2000))
    assert left < 1700 < left + CLOSE_UP_PX and top < 1380 < top + CLOSE_UP_PX
    assert close_up_corner(box_finding(0, 0, 5, 5), (40, 30)) == (0, 0)


def frame_finding(side: int, thick: int) -> Finding:
    """The joints around a stone that fills the photo but for its rim."""

    def square(inset: int) -> tuple[tuple[int, int], ...]:
        low, high = 20 + inset, 20 + side - inset
        return ((low, low), (high, low), (high, high), (low, high))

    box = (20, 20, 20 + side, 20 + side)
    return Finding("crack", 0.9, box, square(0), 4 * thick * (side - thick), holes=(square(thick),))


def test_a_close_up_of_a_frame_shows_the_frame_and_not_its_hole() -> None:
    frame = frame_finding(1800, 6)
    left, top = close_up_corner(frame, (1840, 1840))
    image = blank(1840, 1840)[top : top + CLOSE_UP_PX, left : left + CLOSE_UP_PX]
    marks = changed(draw_one(image, frame, (left, top)))
    assert marks.sum() > 4 * CLOSE_UP_PX  # two sides of it, with a line of 2 px at both sides of each


def test_the_inside_of_a_broad_finding_is_hatched_and_its_hole_is_not() -> None:
    marks = changed(draw_findings(blank(640, 640), [frame_finding(600, 120)], 1.0).image)
    assert 0.1 < marks[60:100, 160:480].mean() < 0.5
    assert not marks[200:440, 200:440].any()
    narrow = changed(draw_findings(blank(640, 640), [frame_finding(600, 6)], 1.0).image)
    assert not narrow[21:25, 100:540].any()


KINDS = ("crack", "spalling", "rust")


def test_each_kind_has_its_own_colour_and_a_strip_below_names_it() -> None:
    """The same colour whatever else a photo shows; the smaller kind has its line within the larger one."""
    spalling = replace(box_finding(100, 100, 400, 300), label="spalling")
    rust = replace(box_finding(200, 180, 260, 220), label="rust")
    image = blank(400, 500)
    drawn = draw_findings(image, [spalling, rust], 1.0, kinds=KINDS).image
    assert drawn.shape[0] > 400 and drawn.shape[1] == 500
    assert tuple(drawn[200, 96]) == COLOURS[1] and tuple(drawn[200, 196]) == COLOURS[2]
    strip = {tuple(pixel) for pixel in drawn[400:].reshape(-1, 3).tolist()}
    assert {COLOURS[1], COLOURS[2]} <= strip and COLOURS[0] not in strip
    alone = draw_findings(image, [rust], 1.0, kinds=KINDS).image
    assert tuple(alone[200, 196]) == COLOURS[2]
    narrow = draw_findings(blank(400, 30), [box_finding(5, 5, 20, 20)], 1.0, kinds=KINDS).image
    assert narrow.shape[1] > 30 and not changed(narrow[100:400, :30]).any()


def test_a_single_kind_is_drawn_as_ever() -> None:
    found = [box_finding(100, 100, 400, 300)]
    plain, one = (draw_findings(blank(400, 500), found, 1.0, kinds=kinds).image for kinds in ((), ("crack",)))
    np.testing.assert_array_equal(plain, one)
    assert plain.shape == (400, 500, 3) and tuple(plain[200, 96]) == COLOURS[0]
