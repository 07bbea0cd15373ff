"""report.html of a survey: one file, the summary first."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from flawmap.records import Survey, SurveyRow
from flawmap.stages.report import survey_words as words
from flawmap.stages.report.facts import ReportOptions
from flawmap.stages.report.pictures import Picture, to_picture
from flawmap.stages.report.rendering import bytes_per_picture, render_page
from flawmap.stages.report.survey_caveats import caveats
from flawmap.stages.report.survey_facts import ShownFinding, SurveyFacts, SurveyReportOptions
from flawmap.stages.report.verdict import interval_of, interval_text
from flawmap.stages.report.wording import count, number, plural

_CARD_PX, _SMALL_PX = 760, 420
_SECTIONS = (
    ("verdict", "Summary"),
    ("worst", "Worst findings"),
    ("parts", "Parts"),
    ("findings", "Photos with findings"),
    ("reviews", "Changed by people"),
    ("open", "Not judged"),
    ("model", "The model"),
    ("options", "Options"),
)

_FIGURES = {"recall": "recall", "precision": "precision", "f1": "F1", "auroc": "AUROC", "dice": "Dice"}


def render_survey(facts: SurveyFacts, options: SurveyReportOptions) -> str:
    """The whole page. Raises MissingExtraError without jinja2."""
    survey, rows = facts.survey, photo_rows(facts)
    reviews = words.review_rows(survey)
    context = {
        "title": facts.title,
        "task": " · ".join(filter(None, (survey.meta.element, _span(survey))))
        or plural(len(survey.rows), "photo"),
        "made_at": facts.date,
        "verdict": {
            "sentence": words.summary_sentence(survey),
            "widest": words.widest_sentence(survey),
            "figures": words.tiles(survey),
            "grades": _grades(facts),
            "caveats": caveats(facts),
        },
        "meta": words.meta_rows(facts),
        "directions": words.DIRECTIONS if has_directions(facts) else "",
        "has_grades": bool(survey.grades),
        "cards": _cards(facts, options),
        "parts": [_part_row(part) for part in facts.parts[: options.n_listed]],
        "n_parts": len(facts.parts),
        "rows": rows[: options.n_listed],
        "n_rows": len(rows),
        "reviews": reviews[: options.n_listed],
        "n_reviews": len(reviews),
        "open": words.not_judged(survey)[: options.n_listed],
        "n_open": len(words.not_judged(survey)),
        "model": words.model_rows(survey.model),
        "test": test_rows(survey.model.test),
        "options": words.option_rows(survey.options),
    }
    has = {"parts": facts.parts, "reviews": reviews}
    sections = [(key, name) for key, name in _SECTIONS if has.get(key, True)]
    return render_page("survey.html", sections, context, extra="inspect")


def _grades(facts: SurveyFacts) -> list[dict[str, Any]]:
    counts = words.grade_counts(facts.survey)
    most = max([n for _, n in counts], default=0)
    return [{"name": name, "n": count(n), "width": 100 * n / most if most else 0} for name, n in counts]


def _cards(facts: SurveyFacts, options: SurveyReportOptions) -> list[dict[str, Any]]:
    shown = facts.shown[: options.n_worst]
    limits = ReportOptions(max_picture_bytes=options.max_picture_bytes)
    # An overlay may take three times the usual allowance: it carries thin lines over a large photo.
    allowance = 3 * bytes_per_picture(6 * len(shown), limits)
    return [_card(one, facts.survey, allowance) for one in shown]


def _card(shown: ShownFinding, survey: Survey, allowance: int) -> dict[str, Any]:
    finding = shown.finding
    return {
        "name": shown.row.name,
        "number": shown.number,
        "of": len(shown.row.inspection.findings),
        "label": words.label_text(finding.label),
        "severity": words.grade_text(finding),
        "score": words.score_text(finding.score),
        "sizes": words.size_lines(finding),
        "also": words.also_on(survey, shown.row.name, shown.number - 1),
        "position": _position(shown),
        "photo": _picture(shown.photo, _SMALL_PX, allowance),
        "overlay": _picture(shown.overlay, _CARD_PX, allowance),
        "close_up": _picture(shown.close_up, _CARD_PX, allowance),
        "overlay_text": words.overlay_text(shown),
        "close_up_text": words.close_up_text(shown),
    }


def _position(shown: ShownFinding) -> str:
    finding = shown.finding
    if finding.lon is None or finding.lat is None:
        return ""
    whose = "of the camera" if finding.position_source == "camera" else "of the flaw"
    return f"{finding.lat:.6f}, {finding.lon:.6f} ({whose})"


def _picture(content: bytes | None, side_px: int, allowance: int) -> Picture | None:
    from PIL import Image

    if content is None:
        return None
    with Image.open(io.BytesIO(content)) as image:
        return to_picture(np.asarray(image.convert("RGB")), side_px, allowance)


def has_directions(facts: SurveyFacts) -> bool:
    """Whether a direction is printed."""
    return any(one.finding.measurement is not None for one in facts.shown)


def photo_rows(facts: SurveyFacts) -> list[dict[str, Any]]:
    """A row per photo with findings, that with the worst one first."""
    rows = {row.name: row for row, _ in facts.survey.worst_first()}
    return [_photo_row(row, facts.survey) for row in rows.values()]


def _photo_row(row: SurveyRow, survey: Survey) -> dict[str, Any]:
    findings = row.inspection.findings
    # Of several of the worst grade, one whose grade is certain.
    worst = max(findings, key=lambda one: (survey.grade_rank(one), one.severity_is_certain is True))
    graded = [worst] if survey.grade_rank(worst) else findings  # a grade stands beside the width that has it
    sizes = [finding.measurement for finding in graded if finding.measurement is not None]
    widest = max(sizes, key=lambda one: one.width_rank, default=None)
    return {
        "name": row.name,
        "n": len(findings),
        "labels": ", ".join(sorted({words.label_text(finding.label) for finding in findings})),
        "grade": words.grade_text(worst) or "–",
        "width": "–" if widest is None else words.width_text(widest),
        "score": words.score_text(max(finding.score for finding in findings)),
    }


def _span(survey: Survey) -> str:
    """A span is often a number only, which says nothing by itself."""
    span = survey.meta.span
    return span if "span" in span.lower() or not span else f"span {span}"


def _part_row(part: Any) -> dict[str, Any]:
    css = {"finding": "flaw", "no finding": "good", "not assessed": "alarm"}[part.verdict]
    return {"part": part, "css": css}


def test_rows(test: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures that say what a model misses and what it says wrongly."""
    rows = []
    for key in _FIGURES:
        if test.get(key) is not None:
            span = interval_text(interval_of(test, key), number, "95 %: ", n_sources=test.get("n_groups"))
            rows.append((_FIGURES[key], f"{number(test[key])}{f' ({span})' if span else ''}"))
    return rows
