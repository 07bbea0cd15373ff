"""What a survey hands over: the page, the paper, and the words that both print."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import quick_look
from flawmap.pipeline.texts import survey_lines
from flawmap.records import CROWDED, Finding, Inspection, Survey, SurveyMeta, SurveyRow
from flawmap.stages.report import (
    ShownFinding,
    SurveyFacts,
    SurveyReportOptions,
    write_survey_pdf,
    write_survey_report,
)
from flawmap.stages.report import survey_words as words
from flawmap.stages.report.survey_caveats import caveats
from flawmap.stages.report.survey_page import photo_rows
from flawmap.stages.survey import to_parts
from quick_look import draw_survey, make_survey, measure
from report_reader import Reader

HOSTILE = 'Brücke #7 $x$ <script>alert("1")</script> *桥*'


def jpeg(height: int, width: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 120, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def finding(width_px: float = 4.0, scale: float | None = 0.1, **more: object) -> Finding:
    found = Finding("crack", 0.9, (0.0, 5.0, 60.0, 9.0), (), 240, measure(width_px, 60.0, scale), "severe")
    return replace(found, **more)  # type: ignore[arg-type]


def survey_of(*inspections: Inspection, **more: object) -> Survey:
    rows = tuple(SurveyRow(f"{i}.jpg", one) for i, one in enumerate(inspections))
    return replace(Survey(rows, quick_look.MODEL, grades=quick_look.GRADES, grading_note="By width."), **more)  # type: ignore[arg-type]


def facts_for(*inspections: Inspection, **more: object) -> SurveyFacts:
    return SurveyFacts(survey_of(*inspections, **more))


CLEAN = Inspection("a.jpg", 90, 60)
BLURRED = Inspection("b.jpg", 90, 60, assessable=False, reason="too blurred")
BROKEN = Inspection("c.jpg", assessable=False, error="the file is empty")
CRACKED = Inspection("d.jpg", 90, 60, findings=(finding(),))


def test_a_photo_that_was_not_judged_is_never_counted_clean() -> None:
    survey = survey_of(CLEAN, BLURRED, BROKEN, CRACKED)
    assert words.summary_sentence(survey) == "1 finding on 1 of 4 photos; 2 could not be judged."
    assert [tile["value"] for tile in words.tiles(survey)] == ["4", "1", "1", "2"]
    assert words.summary_sentence(survey_of(BLURRED)) == "None of 1 photo could be judged."
    assert words.summary_sentence(survey_of(CLEAN, CLEAN)) == "No finding on 2 photos."
    assert [one["kind"] for one in words.not_judged(survey)] == ["not assessable", "not readable"]


def test_widths_are_written_with_their_interval_or_as_a_bound() -> None:
    plain = measure(4.0, 60.0, 0.1)
    assert words.width_text(plain).replace("\u202f", " ") == "0.40 ± 0.04 mm"
    assert words.width_text(replace(plain, scale_mm_per_px=None)).replace("\u202f", " ") == "4.0 ± 0.4 px"
    thin = replace(plain, is_resolved=False)
    assert words.width_text(thin).replace("\u202f", " ").startswith("under 0.15 mm")
    assert [
        one for one in words.size_lines(finding(severity_ratio=1.25)) if one[0] == "ratio to the limit"
    ] == [("ratio to the limit", "1.25")]
    for hidden in (finding(), finding(severity_ratio=1.25, measurement=thin)):
        assert "ratio to the limit" not in dict(words.size_lines(hidden))
    noisy = finding(measurement=replace(thin, width_max_px=9.0))
    survey = survey_of(replace(CRACKED, findings=(noisy, finding())))
    assert "measures 0.40" in words.widest_sentence(survey).replace("\u202f", " ")
    assert [i for _, i in survey.worst_first()] == [1, 0]


def test_coordinates_that_were_not_converted_are_told() -> None:
    swiss, own = replace(CRACKED, position_system="EPSG:2056"), "a system without a number"
    survey = survey_of(swiss, CLEAN, replace(CLEAN, position_system="EPSG:2056"))
    note = "positions that were not converted to degrees: 2 photos in EPSG:2056"
    assert note in survey_lines(survey, "out")
    (told,) = [one for one in caveats(SurveyFacts(survey)) if one["title"] == "Positions"]
    assert told["text"].startswith(f"P{note[1:]}. Findings there have no longitude")
    both = survey_of(swiss, replace(CLEAN, position_system=own))
    assert words.position_note(both).endswith(
        ": 1 photo in EPSG:2056 and 1 photo in a system without a number"
    )
    assert words.position_note(survey_of(CLEAN, CRACKED)) == ""


def test_grades_have_a_heading_where_something_was_judged() -> None:
    assert words.grade_counts(survey_of(CLEAN, BROKEN)) and words.grade_counts(survey_of(CRACKED))
    assert words.grade_counts(survey_of(BLURRED, BROKEN)) == []
    for photo, is_told in ((CRACKED, True), (CLEAN, False), (BROKEN, False)):
        assert any("by grade" in line for line in survey_lines(survey_of(photo), "out")) == is_told


def test_a_grade_that_may_be_another_is_marked_and_explained() -> None:
    unsure = finding(severity_is_certain=False)
    bare = finding(severity=None, measurement=None)
    assert words.grade_text(finding(severity_is_certain=True)) == "severe"
    assert words.grade_text(unsure) == "severe (?)" and words.grade_text(bare) == ""
    survey = survey_of(replace(CRACKED, findings=(unsure, finding(severity_is_certain=True), bare)))
    text = next(one["text"] for one in caveats(SurveyFacts(survey)) if one["title"] == "Grades")
    assert "1 of 2 grades may be the next one as well" in text and "1 finding not graded" in text
    assert "has no scale" not in text, "every photo has one"
    without = survey_of(replace(CRACKED, findings=(unsure, finding(scale=None, severity=None))))
    assert "or the photo has no scale" in next(
        one["text"] for one in caveats(SurveyFacts(without)) if one["title"] == "Grades"
    )
    assert "severe (?)" in words.widest_sentence(survey_of(replace(CRACKED, findings=(unsure,))))


def test_a_width_that_is_hardly_known_does_not_lead() -> None:
    sure = finding()
    assert sure.measurement is not None
    vague = replace(sure, measurement=replace(sure.measurement, width_max_px=9.0, width_max_u95_px=5.0))
    text = words.widest_sentence(survey_of(replace(CRACKED, findings=(vague, sure))))
    first, second = text.replace("\u202f", " ").split(" Less sure: ")
    assert first.startswith("The widest finding of those surely measured: ") and "0.90" not in first
    assert second.startswith("0.90 ± 0.50 mm, on ")
    alone = words.widest_sentence(survey_of(replace(CRACKED, findings=(vague,))))
    assert alone.replace("\u202f", " ").startswith("The widest finding measures 0.90 ± 0.50 mm")


def test_one_order_holds_everywhere_and_a_width_that_says_nothing_is_not_printed() -> None:
    sure = finding()
    assert sure.measurement is not None
    sizes = replace(sure.measurement, width_max_px=294.0, width_max_u95_px=738.0)
    assert words.width_text(sizes).replace("\u202f", " ") == "at most 103 mm (too uncertain to be told)"
    for grades in (quick_look.GRADES, ()):
        vague = replace(sure, measurement=sizes, severity=(*grades, "")[-1] or None)
        survey = survey_of(
            replace(CRACKED, findings=(vague,)), replace(CRACKED, findings=(vague, sure)), grades=grades
        )
        assert [(row.name, i) for row, i in survey.worst_first()] == [
            ("1.jpg", 1),
            ("0.jpg", 0),
            ("1.jpg", 0),
        ]
        rows = photo_rows(SurveyFacts(survey))
        assert [row["name"] for row in rows] == ["1.jpg", "0.jpg"]
        assert rows[0]["width"].startswith("0.40") and "29.4" not in str(rows)
        assert words.widest_sentence(survey).startswith("The widest finding of those surely measured: 0.40")


def test_the_scale_that_was_given_is_printed() -> None:
    told = {"scale": {"mm_per_px": 0.5, "marker_mm": None}}
    assert words.meta_rows(facts_for(CLEAN, options=told)) == [
        ("scale", "0.5 mm per pixel, as given for all photos")
    ]
    said = survey_of(CLEAN, options=told, meta=SurveyMeta(scale="a ruler"))
    assert words.meta_rows(SurveyFacts(said)) == [
        ("scale", "a ruler"),
        ("sizes by", "0.5 mm per pixel, as given for all photos"),
    ]
    assert words.meta_rows(facts_for(CLEAN, meta=SurveyMeta(scale="a ruler"))) == [("scale", "a ruler")]
    assert words.meta_rows(facts_for(CLEAN)) == []


@pytest.mark.parametrize(
    ("scale", "which", "said"),
    [
        (
            {"marker_mm": 50.0},
            (None, None, None),
            "the marker was found in none of 3 photos with sizes; their",
        ),
        (
            {"marker_mm": 50.0},
            (0.1, None, 0.1),
            "the marker was found in 2 of 3 photos with sizes; the sizes on",
        ),
        ({"marker_mm": 50.0}, (0.1,), "the marker was found in the one photo with sizes"),
        ({"marker_mm": 50.0}, (None,), "the marker was found in no photo with sizes; their"),
        (
            {"distance_m": 5.0},
            (None, None),
            "lens and distance give a scale for none of 2 photos with sizes; their sizes are",
        ),
        ({"mm_per_px": 0.1}, (0.1,), ""),
    ],
)
def test_it_is_told_where_a_scale_was_not_found(scale: dict, which: tuple, said: str) -> None:
    photos = [replace(CRACKED, findings=(finding(scale=one, severity=None),)) for one in which]
    survey = survey_of(CLEAN, *photos, options={"scale": scale})
    lines = [line for line in survey_lines(survey, "out") if line.startswith("scale: ")]
    assert len(lines) == bool(said) and all(said in line for line in lines)
    ((_, printed),) = words.meta_rows(SurveyFacts(survey))
    assert said in printed
    told = [one for one in caveats(SurveyFacts(survey)) if "scale" in one["title"]]
    assert len(told) == (None in which) and all(said[1:] in one["text"] for one in told)


def test_what_is_no_crack_is_not_said_to_lack_a_scale() -> None:
    told = survey_lines(
        survey_of(replace(CRACKED, findings=(finding(severity=None, measurement=None),))), "out"
    )
    (line,) = [line for line in told if "not graded" in line]
    assert "too broad for a crack" in line and "scale" not in line


def test_the_limits_are_said() -> None:
    facts = SurveyFacts(survey_of(BROKEN, replace(CRACKED, findings=(finding(scale=None),)), CLEAN))
    told = {one["title"]: one["text"] for one in caveats(facts)}
    assert "1 photo was not judged" in told and "No scale" in told and told["Grades"] == "By width."
    assert "nothing of what caused a crack" in told["Widths"]
    assert "missed 3.0\u202f% of the flawed photos" in told["How far to trust it"]
    assert "not matched" in told["Overlapping photos"]
    untested = replace(facts.survey, model=replace(quick_look.MODEL, test={}))
    assert any(one["level"] == "grave" for one in caveats(SurveyFacts(untested)) if "tested" in one["title"])


def facts_of(folder: Path) -> SurveyFacts:
    photos = draw_survey(folder / "photos", 6)
    next(iter(photos.values())).write_bytes(b"nothing")
    survey = make_survey(photos, folder / "out", part_by=r"pier \d")
    survey = replace(survey, meta=SurveyMeta(structure=HOSTILE, inspector="A. Muster", date="2026-11-20"))
    worst = [(row, i + 1) for row, i in survey.worst_first()]
    pictures = (jpeg(60, 90), jpeg(60, 90), jpeg(400, 40))
    shown = [ShownFinding(*worst[0], *pictures), *(ShownFinding(*one) for one in worst[1:])]
    return SurveyFacts(survey, to_parts(survey), tuple(shown))


def test_the_page_stands_alone_and_escapes_foreign_text(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    facts = facts_of(tmp_path)
    write_survey_report(facts, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Reader(text)
    assert not page.all("script") and HOSTILE in page.text
    assert all((image["src"] or "").startswith("data:") for image in page.all("img")) and page.all("img")
    assert not [link for link in page.all("a") if not (link["href"] or "").startswith("#")]
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {(link["href"] or "")[1:] for link in page.all("a")} <= targets
    assert "pier 0" in page.text and "not readable" in page.text
    write_survey_report(facts, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == text


def test_directions_are_explained_and_grades_have_a_column_where_there_are_some(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    facts = facts_of(tmp_path)
    for survey in (facts.survey, replace(facts.survey, grades=())):
        write_survey_report(replace(facts, survey=survey), tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text()
        assert text.count("45° rises to the right") == 1
        assert text.count(">Worst grade<") == (2 if survey.grades else 0)


def test_an_empty_survey_has_a_page_and_a_paper(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("typst")
    facts = SurveyFacts(survey_of(CLEAN, grades=(), grading_note=""))
    write_survey_report(facts, tmp_path / "report.html")
    assert "There is none." in (tmp_path / "report.html").read_text()
    write_survey_pdf(facts, tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_the_paper_is_the_same_bytes_twice_and_takes_any_text(tmp_path: Path) -> None:
    pytest.importorskip("typst")
    facts = facts_of(tmp_path)
    for name in ("a.pdf", "b.pdf"):
        write_survey_pdf(facts, tmp_path / name, SurveyReportOptions(n_listed=1))
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_findings_on_foreign_surfaces_are_said_to_be() -> None:
    foreign = finding(is_foreign=True)
    survey = survey_of(CRACKED, Inspection("e.jpg", 90, 60, share_foreign=0.8, findings=(foreign,)))
    facts = SurveyFacts(survey, (), ())
    titles = [one["title"] for one in caveats(facts)]
    assert "1 of 2 findings on a surface unlike the training photos" in titles
    assert ("surface", "unlike the training photos: look yourself") in words.size_lines(foreign)
    assert not [name for name, _ in words.size_lines(finding(is_foreign=False)) if name == "surface"]
    assert not [one for one in caveats(SurveyFacts(survey_of(CRACKED), (), ())) if "unlike" in one["title"]]


def test_a_photo_full_of_findings_is_told() -> None:
    full = replace(CRACKED, findings=(finding(),) * (CROWDED + 1))
    survey = survey_of(CRACKED, *[full] * 5)
    told = next(one for one in caveats(SurveyFacts(survey)) if "findings" in one["title"])
    assert told["level"] == "grave" and told["title"] == "5 photos with more than 100 findings"
    assert told["text"].startswith(
        "1.jpg (101 findings), 2.jpg (101 findings), 3.jpg (101 findings) and 2 more."
    )
    assert "1.jpg has 101 findings: the model is probably" in "\n".join(survey_lines(survey, "out"))
    assert not survey_of(CRACKED).crowded


def test_pictures_are_explained() -> None:
    row = SurveyRow("a.jpg", replace(CRACKED, findings=(finding(),) * 30))
    shown = ShownFinding(row, 3, n_numbered=12)
    text = words.overlay_text(shown)
    assert text == "all 30 findings of the photo; dark: number 3. 18 have no number for want of room"
    assert words.close_up_text(shown).replace("\u202f", " ") == "close-up of finding 3, 9.00 mm wide"
    bare = SurveyRow("a.jpg", replace(CRACKED, findings=(finding(scale=None),)))
    alone = ShownFinding(bare, 1, n_numbered=1)
    assert (words.overlay_text(alone), words.close_up_text(alone)) == (
        "the finding on the photo",
        "close-up of finding 1",
    )


def test_labels_and_scores_are_written_for_an_inspector() -> None:
    assert [words.label_text(one) for one in ("Positive", "crack", "NG", "1", "defect", "Riss")] == [
        "flaw (Positive)",
        "crack",
        "flaw (NG)",
        "flaw (1)",
        "defect",
        "Riss",
    ]
    assert [words.score_text(one) for one in (0.9, 0.99997, 1.0, 0.5049, 0.0001, 0.0)] == [
        "0.90",
        "over 0.99",
        "1.00",
        "0.50",
        "under 0.01",
        "0.00",
    ]
