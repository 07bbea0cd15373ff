"""The words of a survey's reports: what was found, how large it is, and how far to rely on it.

report.html and report.pdf print the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from flawmap.errors import some_of
from flawmap.records import CrackMeasurement, Finding, ReviewKind, Survey, SurveyModel
from flawmap.stages.report.survey_facts import SurveyFacts
from flawmap.stages.report.verdict import interval_of
from flawmap.stages.report.wording import NARROW_SPACE, count, is_number, listed, percent, plural

UNGRADED, UNCERTAIN = "not graded", " (?)"
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
    """The widest finding with its interval and grade; "" where none was measured."""
    measured = [
        (row.name, finding, finding.measurement)
        for row in survey.rows
        for finding in row.inspection.findings
        if finding.measurement is not None
    ]
    if not measured:
        return ""
    name, finding, sizes = max(measured, key=lambda one: _width(one[2]))
    grade = f", graded “{grade_text(finding)}”" if finding.severity else ""
    return f"The widest finding measures {width_text(sizes)}{grade}, on {name}."


def not_judged(survey: Survey) -> list[dict[str, str]]:
    """Photos that say nothing about the surface, unreadable ones last: {"name", "kind", "reason"}."""
    blurred = [(row, "not assessable", row.inspection.reason) for row in survey.not_assessable]
    broken = [(row, "not readable", row.inspection.error) for row in survey.unreadable]
    return [{"name": row.name, "kind": kind, "reason": why} for row, kind, why in (*blurred, *broken)]


def grade_counts(survey: Survey) -> list[tuple[str, int]]:
    """Flaws per grade, each by its worst finding; gravest first, those without a grade last; [] where nothing
    is graded."""
    if not survey.grades:
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


def size_lines(finding: Finding) -> list[tuple[str, str]]:
    """A finding's sizes as (name, value), and a warning of a foreign surface."""
    surface = [("surface", "unlike the training photos: look yourself")] if finding.is_foreign else []
    return [*_sizes_of(finding), *surface]


def _sizes_of(finding: Finding) -> list[tuple[str, str]]:
    sizes = finding.measurement
    if sizes is None:
        left, top, right, bottom = finding.box_xyxy
        extent = f"{right - left:.0f}\N{MULTIPLICATION SIGN}{bottom - top:.0f}{NARROW_SPACE}px"
        return [("extent", extent), ("area", f"{count(finding.area_px)}{NARROW_SPACE}px")]
    branches = f", {count(sizes.n_branches)} branches" if sizes.n_branches > 1 else ""
    return [
        ("largest width", width_text(sizes)),
        ("mean width", length_text(sizes.width_mean_px, sizes.scale_mm_per_px)),
        ("length", length_text(sizes.length_px, sizes.scale_mm_per_px)),
        ("direction", f"{sizes.direction_deg:.0f}°"),
        ("pattern", f"{sizes.pattern}{branches}"),
    ]


def width_text(sizes: CrackMeasurement) -> str:
    """The largest width with its interval; of a crack too thin for the photo, what it lies under."""
    scale = sizes.scale_mm_per_px
    if not sizes.is_resolved:
        return f"under {length_text(sizes.smallest_width_px, scale)} (too thin for this photo)"
    unit, factor, digits = ("px", 1.0, 1) if scale is None else ("mm", scale, 2)
    width, half = sizes.width_max_px * factor, sizes.width_max_u95_px * factor
    return f"{width:.{digits}f}{NARROW_SPACE}±{NARROW_SPACE}{half:.{digits}f}{NARROW_SPACE}{unit}"


def length_text(length_px: float, scale_mm_per_px: float | None) -> str:
    """Pixels, or millimetres where the scale is known."""
    if scale_mm_per_px is None:
        return f"{length_px:.{0 if length_px >= 100 else 1}f}{NARROW_SPACE}px"
    length_mm = length_px * scale_mm_per_px
    return f"{length_mm:.{0 if length_mm >= 100 else 2 if length_mm < 10 else 1}f}{NARROW_SPACE}mm"


def caveats(facts: SurveyFacts) -> list[dict[str, str]]:
    """What a reader must know before relying on this, gravest first: {"level", "title", "text"}."""
    survey = facts.survey
    return [
        *_judged(survey),
        *_reviewed(survey),
        *_trust(survey.model),
        *_sizes(survey),
        *_counting(survey),
    ]


def _judged(survey: Survey) -> list[dict[str, str]]:
    n_open = len(not_judged(survey))
    found = []
    if n_open:
        what = f"{plural(n_open, 'photo was', 'photos were')} not judged"
        it, shows = ("it", "it shows") if n_open == 1 else ("them", "they show")
        text = f"Nothing is said about what {shows}. Take {it} again, or look at {it} yourself."
        found.append({"level": "grave", "title": what, "text": text})
    n_partly = sum(row.inspection.share_seen < 0.999 and not row.inspection.error for row in survey.rows)
    if n_partly:
        text = "A region of interest was given; nothing is said about the rest."
        what = f"{plural(n_partly, 'photo')} looked at in part"
        found.append({"level": "warn", "title": what, "text": text})
    findings = [finding for row in survey.rows for finding in row.inspection.findings]
    n_foreign = sum(bool(finding.is_foreign) for finding in findings)
    if n_foreign:
        text = (
            "There the model's word is worth less: joints, leaves and shadows may be taken for flaws, and "
            "flaws be missed. Look yourself."
        )
        where = "on a surface unlike the training photos"
        what = f"{count(n_foreign)} of {plural(len(findings), 'finding')} {where}"
        found.append({"level": "warn", "title": what, "text": text})
    return found


def _reviewed(survey: Survey) -> list[dict[str, str]]:
    """What people made of the model's findings, where they could say so."""
    said = survey.reviews
    if said is None:
        return []
    n_rejected, n_renamed, n_painted, n_marked = map(said.count, get_args(ReviewKind))
    n_asked = said.n_accepted + said.n_open + n_rejected + n_renamed + n_painted
    n_said = n_asked - said.n_open
    if not n_said and not n_marked:
        text = f"All {plural(survey.n_findings, 'finding')} are the model's own." if survey.n_findings else ""
        text += " Nobody has said whether they are right, or whether something was missed."
        return [{"level": "warn", "title": "Not reviewed by a person", "text": text.strip()}]
    told = [f"accepted {count(said.n_accepted)}"]
    told += [f"rejected {count(n_rejected)}, which are left out"] if n_rejected else []
    told += [f"gave another label to {count(n_renamed)}"] if n_renamed else []
    told += [f"gave another mask to {count(n_painted)}"] if n_painted else []
    text = f"Of {plural(n_asked, 'finding')} of the model people {listed(told)}; "
    text += f"{count(said.n_open)} {'was' if said.n_open == 1 else 'were'} not reviewed. "
    if n_marked:
        text += (
            f"{plural(n_marked, 'flaw was', 'flaws were')} marked by hand that the model did not see; they "
            "count as findings, with the score 1, and are measured only where they were painted. "
        )
    n_photos = plural(len(survey.rows), "photo")
    text += f"Of {count(said.n_checked)} of {n_photos} a person said that every flaw is marked."
    level = "warn" if said.n_open or said.n_checked < len(survey.rows) else ""
    return [{"level": level, "title": "Reviewed by people", "text": text}]


def review_rows(survey: Survey) -> list[list[str]]:
    """[photo, what was done, who and when, note] of every finding that a person changed."""
    changes = survey.reviews.changes if survey.reviews is not None else ()
    rows = []
    for one in changes:
        score = "" if one.score is None else f" (score {one.score:.2f})"
        done = {
            "rejected": f"{one.label}{score} rejected: no flaw",
            "relabelled": f"{one.label}{score} is {one.new_label}",
            "repainted": f"{one.label}{score} has another mask",
            "marked": f"{one.label} marked: not seen by the model",
        }[one.kind]
        rows.append([one.photo, done, f"{one.reviewer}, {one.at[:10]}", one.note])
    return rows


def _trust(model: SurveyModel) -> list[dict[str, str]]:
    """What the model's own test says of it."""
    test = model.test
    if not is_number(test.get("recall")):
        text = "Its folder holds no figures of a test, so nothing is known of what it misses."
        return [{"level": "grave", "title": "This model was not tested", "text": text}]
    unit = "flawed pixels" if model.task in ("segmentation", "cascade") else "flawed photos"
    missed = 1 - test["recall"]
    span = interval_of(test, "recall")
    text = f"On the {count(test.get('n'))} photos of its own test it missed {percent(missed)} of the {unit}"
    if span is not None and span[0] != span[1]:
        text += f" (95 % interval {percent(1 - span[1])} to {percent(1 - span[0])})"
    if is_number(test.get("precision")):
        text += f", and {percent(1 - test['precision'])} of what it called flawed was not"
    text += (
        ". Those were photos like the ones that it was trained on; on other surfaces, cameras and light it "
        "may miss more. No finding is not the same as no flaw."
    )
    level = "warn" if test.get("intervals_reliable", True) else "grave"
    return [{"level": level, "title": "How far to trust it", "text": text}]


def _sizes(survey: Survey) -> list[dict[str, str]]:
    sizes = [
        finding.measurement
        for row in survey.rows
        for finding in row.inspection.findings
        if finding.measurement is not None
    ]
    found = []
    if not sizes:
        return found
    n_thin = sum(not one.is_resolved for one in sizes)
    least = [length_text(one.smallest_width_px, one.scale_mm_per_px) for one in _ends(sizes)]
    text = f"The smallest width that these photos resolve is {listed(sorted(set(least)), 'to')}. "
    are = "is" if n_thin == 1 else "are"
    thin = (
        f"{count(n_thin)} of {plural(len(sizes), 'measured crack')} {are} thinner; for those only this bound"
    )
    text += f"{thin} is given. " if n_thin else "Every measured crack is wider. "
    text += "± is a 95 % interval of the measurement in the photo."
    found.append({"level": "warn" if n_thin else "", "title": "Widths", "text": text})
    if any(one.scale_mm_per_px is None for one in sizes):
        text = "Sizes without a scale are in pixels of the photo and say nothing about millimetres."
        found.append({"level": "warn", "title": "No scale", "text": text})
    if survey.grades:
        text = " ".join(filter(None, (_grade_limits(survey), survey.grading_note)))
        found.append({"level": "warn", "title": "Grades", "text": text})
    return found


def _grade_limits(survey: Survey) -> str:
    """How many grades are uncertain, how many findings have none, and why."""
    findings = [finding for row in survey.rows for finding in row.inspection.findings]
    n_unsure = sum(finding.severity_is_certain is False for finding in findings)
    n_without = sum(finding.severity is None for finding in findings)
    n_graded = len(findings) - n_without
    told = []
    if n_unsure:
        told.append(
            f"{count(n_unsure)} of {plural(n_graded, 'grade')} may be the next one as well, and "
            f"{'is' if n_unsure == 1 else 'are'} marked (?): the width's interval reaches into it, or the "
            "crack is too thin for the photo."
        )
    if n_without:
        told.append(
            f"{plural(n_without, 'finding')} not graded: no line long and thin enough to be a crack was "
            "found in it, or the photo has no scale."
        )
    return " ".join(told)


def _counting(survey: Survey) -> list[dict[str, str]]:
    """How far a flaw that several photos show is counted once."""
    if len(survey.rows) < 2:
        return []
    overlaps = survey.overlaps
    if overlaps is None:
        text = (
            "Findings are counted photo by photo. A crack that two photos show counts twice: cracks are not "
            "matched across photos."
        )
    elif not overlaps.n_pairs:
        text = "No two photos with findings were close enough by name or place to be compared; a flaw that "
        text += "two photos show counts twice."
    else:
        n, n_matched = overlaps.n_pairs, overlaps.n_matched
        text = (
            f"{count(n_matched)} of {plural(n, 'pair')} of photos with findings, neighbours by name or "
            "place, could be laid over one another. Findings that overlap there are one flaw: "
            f"{plural(survey.n_findings, 'finding')}, {plural(survey.n_flaws, 'flaw')}. Where photos "
            "overlap and could not be matched (too little in common, strong relief, a repeating pattern), a "
            "flaw still counts once for each photo."
        )
    return [{"level": "", "title": "Overlapping photos", "text": text}]


def _ends(sizes: Sequence[CrackMeasurement]) -> list[CrackMeasurement]:
    """The measurements whose photos resolve the least and the largest widths."""

    def least(one: CrackMeasurement) -> float:
        return one.smallest_width_px * (one.scale_mm_per_px or 1)

    return [min(sizes, key=least), max(sizes, key=least)]


def meta_rows(survey: Survey) -> list[tuple[str, str]]:
    """What a person said about the survey, and the scale that sizes were really made with."""
    told = {key: getattr(survey.meta, key) for key in _META}
    used = _scale_words(survey.options.get("scale") or {})
    if kept := _scale_words(survey.options.get("kept_scale") or {}):
        used = f"{kept}; elsewhere {used}"
    if told["scale"] and used:
        told["sizes by"] = used
    told["scale"] = told["scale"] or used
    return [(key, words) for key, words in told.items() if words]


def _scale_words(scale: Mapping[str, Any]) -> str:
    """How millimetres were come by; "" where they were not asked for."""
    if scale.get("mm_per_px"):
        return f"{scale['mm_per_px']:g} mm per pixel, as given for all photos"
    if scale.get("distance_m"):
        return f"lens and distance of {scale['distance_m']:g} m, as given for all photos"
    return f"marker of {scale['marker_mm']:g} mm in the photo" if scale.get("marker_mm") else ""


def model_rows(model: SurveyModel) -> list[tuple[str, str]]:
    """Which model looked."""
    flaws = [label for label in model.labels if label not in model.good_labels]
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


def _width(sizes: CrackMeasurement) -> float:
    return sizes.width_max_px * (sizes.scale_mm_per_px or 1.0)
