"""report.pdf of a survey: for paper and for signing, with the words of report.html."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flawmap.errors import require_extra
from flawmap.records import Survey
from flawmap.stages.report import survey_words as words
from flawmap.stages.report.survey_caveats import caveats
from flawmap.stages.report.survey_facts import ShownFinding, SurveyFacts, SurveyReportOptions
from flawmap.stages.report.survey_page import has_directions, photo_rows, test_rows
from flawmap.stages.report.wording import count, plural

_TEMPLATE = "survey.typ"
_BOXES_MM = ((112.0, 84.0), (55.0, 84.0))
"""Room for an overlay and for a close-up: two findings fill a page."""
_BLANK = ""
"""A field of the signature that is filled in by hand."""


def compile_survey(facts: SurveyFacts, options: SurveyReportOptions) -> bytes:
    """The whole file; the same facts give the same bytes. Raises MissingExtraError without typst."""
    require_extra("typst", "inspect")
    import typst

    template = files("flawmap.stages.report") / "templates" / _TEMPLATE
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / _TEMPLATE).write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
        data = json.dumps(_data(facts, options, root))
        return typst.compile(str(root / _TEMPLATE), root=folder, sys_inputs={"data": data})


def _data(facts: SurveyFacts, options: SurveyReportOptions, root: Path) -> dict[str, Any]:
    """All that the template prints; pictures are written below `root` and named."""
    survey = facts.survey
    rows, open_photos = photo_rows(facts), words.not_judged(survey)
    n, reviews = options.n_listed, words.review_rows(survey)
    return {
        "title": facts.title,
        "sentence": words.summary_sentence(survey),
        "widest": words.widest_sentence(survey),
        "tiles": words.tiles(survey),
        "meta": words.meta_rows(facts),
        "grades": [[name, count(found)] for name, found in words.grade_counts(survey)],
        "caveats": caveats(facts),
        "signature": [
            ["inspector", survey.meta.inspector or _BLANK],
            ["place and date", _BLANK],
            ["signature", _BLANK],
        ],
        "has-grades": bool(survey.grades),
        "directions": words.DIRECTIONS if has_directions(facts) else "",
        "cards": [_card(one, i, survey, root) for i, one in enumerate(facts.shown[: options.n_worst])],
        "parts": [
            [
                part.name,
                part.verdict,
                *([part.severity or "–"] if survey.grades else []),
                count(part.n_findings),
                count(part.n_photos),
            ]
            for part in facts.parts[:n]
        ],
        "rows": [
            [row["name"], count(row["n"]), *([row["grade"]] if survey.grades else []), row["width"]]
            for row in rows[:n]
        ],
        "more_rows": f"The {count(n)} worst of {plural(len(rows), 'photo')}." if len(rows) > n else "",
        "reviews": reviews[:n],
        "is-reviewed": bool(survey.reviews and survey.reviews.has_any),
        "more_reviews": f"The first {count(n)} of {count(len(reviews))}." if len(reviews) > n else "",
        "open": [[one["name"], f"{one['kind']}: {one['reason']}"] for one in open_photos[:n]],
        "more_open": f"The first {count(n)} of {count(len(open_photos))}." if len(open_photos) > n else "",
        "model": [*words.model_rows(survey.model), *_own_test(survey.model.test)],
        "footer": " · ".join(filter(None, ("flawmap", survey.meta.structure or facts.folder, facts.date))),
    }


def _card(shown: ShownFinding, index: int, survey: Survey, root: Path) -> dict[str, Any]:
    finding, n_findings = shown.finding, len(shown.row.inspection.findings)
    files = (
        (f"overlay-{index}.jpg", shown.overlay, words.overlay_text(shown)),
        (f"close-up-{index}.jpg", shown.close_up, words.close_up_text(shown)),
    )
    pictures = [
        {**_picture(root / name, content, box), "caption": caption}
        for (name, content, caption), box in zip(files, _BOXES_MM, strict=True)
        if content is not None
    ]
    also = words.also_on(survey, shown.row.name, shown.number - 1)
    line = f"score {words.score_text(finding.score)}, finding {shown.number} of {n_findings} on this photo"
    return {
        "name": shown.row.name,
        "label": words.label_text(finding.label),
        "severity": words.grade_text(finding),
        "line": f"{line}; also on {also}" if also else line,
        "sizes": words.size_lines(finding),
        "pictures": pictures,
    }


def _picture(path: Path, content: bytes, box_mm: tuple[float, float]) -> dict[str, Any]:
    """Write a picture and say how large it is printed, so that it fits (width, height)."""
    from PIL import Image

    path.write_bytes(content)
    with Image.open(io.BytesIO(content)) as image:
        scale = min(box_mm[0] / image.width, box_mm[1] / image.height)
        size = {"width_mm": round(image.width * scale, 2), "height_mm": round(image.height * scale, 2)}
    return {"file": path.name, **size}


def _own_test(test: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f"{name} in its own test", value) for name, value in test_rows(test)]
