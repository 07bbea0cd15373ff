"""The words of a survey's reports: what was found, how large it is, and how far to rely on it.

report.html and report.pdf print the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flawmap.errors import some_of
from flawmap.records import CrackMeasurement, Finding, Survey, SurveyModel
from flawmap.stages.report.survey_facts import ShownFinding, SurveyFacts
from flawmap.stages.report.wording import NARROW_SPACE, count, listed, plural
from flawmap.tools.close_ups import CLOSE_UP_PX
from flawmap.tools.words import area_words

DIRECTIONS = "A direction of 0° lies level, 45° rises to the right, 90° stands upright."
UNGRADED, UNCERTAIN = "not graded", " (?)"
_SAYS_ONLY_THAT = re.compile(
    r"positives?|pos|yes|true|bad|ng|nok|ko|abnormal|reject(ed)?|fail(ed)?|defective|faulty|[\W\d_]*",
    re.IGNORECASE,
)
"""Labels that say that something is wrong and not what."""
_META = ("structure", "element", "span", "organisation", "inspector", "date", "scale", "notes")


def summary_sentence(survey: Survey) -> str:
    """What a reader takes away who reads nothing else. A photo that was not judged is never counted clean."""
    n, n_with = len(survey.rows), sum(bool(row.inspection.findings) for row in survey.rows)
    n_open = len(not_judged(survey))
    judged = n - n_open
    if n_with:
        is_matched = survey.n_flaws < survey.n_findings
        flaws = f", which show {plural(survey.n_flaws, 'flaw')}," if is_matched else ""
        text = f"{plural(survey.n_findings, 'finding')}{flaws} on {count(n_with)} of {plural(n, 'photo')}"
    elif judged:
        text = f"No finding on {'the photo' if judged == 1 else f'{count(judged)} photos'}"
    else:
        text = f"None of {plural(n, 'photo')} could be judged"
    if n_open and judged:
        text += f"; {count(n_open)} could not be judged"
    return f"{text}."


def widest_sentence(survey: Survey) -> str:
    """The widest finding with its interval and grade; "" where none was measured.

    One that is not surely measured does not lead where a surer one is there; it is named after it.
    """
    measured = [
        (row.name, finding, finding.measurement)
        for row in survey.rows
        for finding in row.inspection.findings
        if finding.measurement is not None
    ]
    if not measured:
        return ""
    name, finding, sizes = lead = max(measured, key=lambda one: one[2].width_rank)
    # Whatever is not resolved has the last value, the width, but no claim to it.
    widest = max(measured, key=lambda one: one[2].width_rank[2:])
    grade = f", graded “{grade_text(finding)}”" if finding.severity else ""
    if lead is widest:
        return f"The widest finding measures {width_text(sizes)}{grade}, on {name}."
    return (
        f"The widest finding of those surely measured: {width_text(sizes)}{grade}, on {name}. Less sure: "
        f"{width_text(widest[2])}, on {widest[0]}."
    )


def not_judged(survey: Survey) -> list[dict[str, str]]:
    """Photos that say nothing about the surface, unreadable ones last: {"name", "kind", "reason"}."""
    blurred = [(row, "not assessable", row.inspection.reason) for row in survey.not_assessable]
    broken = [(row, "not readable", row.inspection.error) for row in survey.unreadable]
    return [{"name": row.name, "kind": kind, "reason": why} for row, kind, why in (*blurred, *broken)]


def grade_counts(survey: Survey) -> list[tuple[str, int]]:
    """Flaws per grade, each by its worst finding; gravest first, those without a grade last; [] where nothing
    is graded, or no photo could be judged."""
    n_judged = len(survey.rows) - len(survey.not_assessable) - len(survey.unreadable)
    if not survey.grades or not n_judged:
        return []
    counts = survey.count_grades()
    rows = [(grade, counts.get(grade, 0)) for grade in reversed(survey.grades)]
    return [*rows, (UNGRADED, counts[""])] if counts.get("") else rows


def grade_text(finding: Finding) -> str:
    """A finding's grade, marked where its width may lie in another one; "" where it has none."""
    if finding.severity is None:
        return ""
    return f"{finding.severity}{UNCERTAIN if finding.severity_is_certain is False else ''}"


def tiles(survey: Survey) -> list[dict[str, str]]:
    """The figures at the top: {"name", "value", "interval", "meaning"}."""
    n_with = sum(bool(row.inspection.findings) for row in survey.rows)
    n_open = len(not_judged(survey))
    n_clean = len(survey.rows) - n_with - n_open
    found = [
        ("Photos", count(len(survey.rows)), "given to be inspected"),
        ("With findings", count(n_with), _counted(survey)),
        ("Nothing found", count(n_clean), "which is not proof that there is nothing"),
        ("Not judged", count(n_open), "unreadable, or not assessable; listed below"),
    ]
    return [{"name": a, "value": b, "interval": "", "meaning": c, "counted": ""} for a, b, c in found]


def _counted(survey: Survey) -> str:
    text = f"{plural(survey.n_findings, 'finding')} in all"
    return text if survey.n_flaws == survey.n_findings else f"{text}, {plural(survey.n_flaws, 'flaw')}"


def also_on(survey: Survey, name: str, index: int) -> str:
    """The other findings of the same flaw; "" where there is none."""
    group = next(
        (one for one in (survey.overlaps.same if survey.overlaps else ()) if (name, index) in one), ()
    )
    others = [f"{other}, finding {i + 1}" for other, i in group if (other, i) != (name, index)]
    return some_of(others, 3, "; ")


def label_text(label: str) -> str:
    """A flaw's label as a reader wants it: one that is a folder's name rather than a flaw's, as "Positive" or
    "1", stands behind the word that says what it means."""
    return f"flaw ({label})" if _SAYS_ONLY_THAT.fullmatch(label.strip()) else label


def score_text(score: float) -> str:
    """A score with two decimals, whatever it is; one below 1 is never rounded up to it, nor one above 0 down
    to it."""
    if 0.995 <= score < 1:
        return "over 0.99"
    return "under 0.01" if 0 < score < 0.005 else f"{score:.2f}"


def overlay_text(shown: ShownFinding) -> str:
    """What stands under the photo with all its findings drawn in."""
    n = len(shown.row.inspection.findings)
    bare = n - shown.n_numbered
    if n == 1:
        return "the finding on the photo"
    text = f"all {count(n)} findings of the photo; dark: number {count(shown.number)}"
    return f"{text}. {plural(bare, 'has', 'have')} no number for want of room" if bare else text


def close_up_text(shown: ShownFinding) -> str:
    """What stands under a close-up: how much of the surface it shows, where that is known."""
    sizes, width_px = shown.finding.measurement, shown.row.inspection.width_px
    scale = sizes.scale_mm_per_px if sizes is not None else None
    text = f"close-up of finding {count(shown.number)}"
    if scale is None or not width_px:
        return text
    return f"{text}, {length_text(min(CLOSE_UP_PX, width_px), scale)} wide"


def size_lines(finding: Finding) -> list[tuple[str, str]]:
    """A finding's sizes as (name, value), and a warning of a foreign surface."""
    surface = [("surface", "unlike the training photos: look yourself")] if finding.is_foreign else []
    return [*_sizes_of(finding), *surface]


def _sizes_of(finding: Finding) -> list[tuple[str, str]]:
    sizes = finding.measurement
    if sizes is None:
        left, top, right, bottom = finding.box_xyxy
        extent = f"{right - left:.0f}\N{MULTIPLICATION SIGN}{bottom - top:.0f}{NARROW_SPACE}px"
        area = area_words(finding.area_px, finding.region_area_mm2)
        return [("extent", extent), ("area", area.replace(",", NARROW_SPACE).replace(" ", NARROW_SPACE))]
    branches = f", {count(sizes.n_branches)} branches" if sizes.n_branches > 1 else ""
    is_told = finding.severity_ratio is not None and sizes.is_resolved and not sizes.is_vague
    return [
        ("largest width", width_text(sizes)),
        *([("ratio to the limit", f"{finding.severity_ratio:.2f}")] if is_told else []),
        ("mean width", length_text(sizes.width_mean_px, sizes.scale_mm_per_px)),
        ("length", length_text(sizes.length_px, sizes.scale_mm_per_px)),
        ("direction", f"{sizes.direction_deg:.0f}°"),
        ("pattern", f"{sizes.pattern}{branches}"),
    ]


def width_text(sizes: CrackMeasurement) -> str:
    """The largest width with its interval; what it lies under, where the crack is too thin for the photo or
    the interval is larger than the width."""
    scale = sizes.scale_mm_per_px
    if not sizes.is_resolved:
        return f"under {length_text(sizes.smallest_width_px, scale)} (too thin for this photo)"
    if sizes.is_vague:
        most = length_text(sizes.width_max_px + sizes.width_max_u95_px, scale)
        return f"at most {most} (too uncertain to be told)"
    unit, factor, digits = ("px", 1.0, 1) if scale is None else ("mm", scale, 2)
    width, half = sizes.width_max_px * factor, sizes.width_max_u95_px * factor
    digits = 1 if half >= 1 else digits
    return f"{width:.{digits}f}{NARROW_SPACE}±{NARROW_SPACE}{half:.{digits}f}{NARROW_SPACE}{unit}"


def length_text(length_px: float, scale_mm_per_px: float | None) -> str:
    """Pixels, or millimetres where the scale is known."""
    if scale_mm_per_px is None:
        return f"{length_px:.{0 if length_px >= 100 else 1}f}{NARROW_SPACE}px"
    length_mm = length_px * scale_mm_per_px
    return f"{length_mm:.{0 if length_mm >= 100 else 2 if length_mm < 10 else 1}f}{NARROW_SPACE}mm"


def review_rows(survey: Survey) -> list[list[str]]:
    """[photo, what was done, who and when, note] of every finding that a person changed."""
    changes = survey.reviews.changes if survey.reviews is not None else ()
    rows = []
    for one in changes:
        score = "" if one.score is None else f" (score {score_text(one.score)})"
        label = label_text(one.label)
        done = {
            "rejected": f"{label}{score} rejected: no flaw",
            "relabelled": f"{label}{score} is {label_text(one.new_label)}",
            "repainted": f"{label}{score} has another mask",
            "marked": f"{label} marked: not seen by the model",
        }[one.kind]
        rows.append([one.photo, done, f"{one.reviewer}, {one.at[:10]}", one.note])
    return rows


def meta_rows(facts: SurveyFacts) -> list[tuple[str, str]]:
    """What a person said about the survey, the scale that sizes were really made with, and which photos were
    looked at when."""
    survey = facts.survey
    told = {key: getattr(survey.meta, key) for key in _META}
    used = _scale_words(survey.options.get("scale") or {})
    if kept := _scale_words(survey.options.get("kept_scale") or {}):
        used = f"{kept}; elsewhere {used}"
    if used and (note := scale_note(survey)):
        used = f"{used}; {note}"
    if told["scale"] and used:
        told["sizes by"] = used
    told["scale"] = told["scale"] or used
    told |= {"photos from": facts.folder, "looked at": " to ".join(facts.days)}
    return [(key, words) for key, words in told.items() if words]


def scale_note(survey: Survey) -> str:
    """On how many photos the scale that was to be read off them was found; "" where none was asked for, or
    nothing was measured."""
    asked = survey.options.get("scale") or {}
    if not (asked.get("marker_mm") or asked.get("distance_m")):
        return ""
    measured = [
        [one.measurement for one in row.inspection.findings if one.measurement is not None]
        for row in survey.rows
    ]
    has_scale = [all(one.scale_mm_per_px is not None for one in sizes) for sizes in measured if sizes]
    if not has_scale:
        return ""
    n, n_found = len(has_scale), sum(has_scale)
    found = f"{count(n_found) if n_found else 'none'} of {count(n)} photos"
    if n == 1:
        found = "the one photo" if n_found else "no photo"
    what = "the marker was found in" if asked.get("marker_mm") else "lens and distance give a scale for"
    text = f"{what} {found} with sizes"
    if n_found == n:
        return text
    return f"{text}; {'the sizes on the others' if n_found else 'their sizes'} are in pixels"


def copies_note(survey: Survey) -> str:
    """Which photos are files of the same bytes; "" where none are."""
    groups = survey.overlaps.copies if survey.overlaps else ()
    pairs = [(name, group[0]) for group in groups for name in group[1:]]
    told = [f"{name} is the same file as {first}" for name, first in pairs[:3]]
    more = (
        [f"{plural(len(pairs) - 3, 'more photo is a copy', 'more photos are copies')}"] if pairs[3:] else []
    )
    return listed([*told, *more])


def position_note(survey: Survey) -> str:
    """Of how many photos the coordinates are not converted, by system; "" where there are none."""
    told = [f"{plural(n, 'photo')} in {system}" for system, n in sorted(survey.position_systems.items())]
    return f"positions that were not converted to degrees: {listed(told)}" if told else ""


def _scale_words(scale: Mapping[str, Any]) -> str:
    """How millimetres were come by; "" where they were not asked for."""
    if scale.get("mm_per_px"):
        return f"{scale['mm_per_px']:g} mm per pixel, as given for all photos"
    if scale.get("distance_m"):
        return f"lens and distance of {scale['distance_m']:g} m, as given for all photos"
    return f"marker of {scale['marker_mm']:g} mm in the photo" if scale.get("marker_mm") else ""


def model_rows(model: SurveyModel) -> list[tuple[str, str]]:
    """Which model looked."""
    flaws = [label_text(label) for label in model.labels if label not in model.good_labels]
    return [
        ("model", model.name),
        ("looks for", listed(flaws)),
        ("network", f"{model.backbone}, {model.task}"),
        ("digest of its files", model.digest[:16]),
        ("flawmap", model.flawmap_version),
    ]


def option_rows(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """All options as they were resolved, nested ones by dotted names."""
    rows: list[tuple[str, str]] = []
    for key, value in options.items():
        if isinstance(value, Mapping):
            rows += option_rows(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", "–" if value is None else str(value)))
    return rows
