"""What a reader of a survey's reports must know before relying on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from flawmap.records import CROWDED, CrackMeasurement, ReviewKind, Survey, SurveyModel
from flawmap.stages.report.survey_facts import SurveyFacts
from flawmap.stages.report.survey_words import copies_note, length_text, not_judged, position_note, scale_note
from flawmap.stages.report.verdict import interval_of
from flawmap.stages.report.wording import capital, count, is_number, listed, percent, plural


def caveats(facts: SurveyFacts) -> list[dict[str, str]]:
    """What a reader must know before relying on this, gravest first: {"level", "title", "text"}."""
    survey = facts.survey
    return [
        *_judged(survey),
        *_reviewed(survey),
        *_trust(survey.model),
        *_sizes(survey),
        *_positions(survey),
        *_copies(survey),
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
    n_partly = sum(0 < row.inspection.share_seen < 0.999 and not row.inspection.error for row in survey.rows)
    if n_partly:
        text = "A region of interest was given; nothing is said about the rest."
        what = f"{plural(n_partly, 'photo')} looked at in part"
        found.append({"level": "warn", "title": what, "text": text})
    found += _crowded(survey)
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


def _crowded(survey: Survey) -> list[dict[str, str]]:
    """Photos that are full of findings."""
    crowded = survey.crowded
    if not crowded:
        return []
    told = [f"{row.name} ({plural(len(row.inspection.findings), 'finding')})" for row in crowded[:3]]
    more = [f"{count(len(crowded) - 3)} more"] if len(crowded) > 3 else []
    text = (
        f"{listed([*told, *more])}. So many small findings are rarely flaws: the model is probably not made "
        "for such photos. Look yourself, and do not rely on their number, sizes or grades."
    )
    what = f"{plural(len(crowded), 'photo')} with more than {count(CROWDED)} findings"
    return [{"level": "grave", "title": what, "text": text}]


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
        "may miss more, and take joints, edges and stains for flaws. No finding is not the same as no flaw."
    )
    if unit == "flawed pixels":
        text += " A model of masks does not notice that a photo is unlike its training photos."
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
    text += (
        "± is a 95 % interval of the measurement in the photo. A width says nothing of what caused a crack."
    )
    found.append({"level": "warn" if n_thin else "", "title": "Widths", "text": text})
    unscaled = [one for one in sizes if one.scale_mm_per_px is None]
    if unscaled:
        text = "Sizes without a scale are in pixels of the photo and say nothing about millimetres."
        if note := scale_note(survey):
            text = f"{capital(note)}. {text}"
        title = "No scale" if len(unscaled) == len(sizes) else "Not all sizes have a scale"
        found.append({"level": "warn", "title": title, "text": text})
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
        unscaled = "" if all(survey.which_have_scale) else ", or the photo has no scale"
        told.append(
            f"{plural(n_without, 'finding')} not graded: no line long and thin enough to be a crack was "
            f"found in it{unscaled}."
        )
    return " ".join(told)


def _positions(survey: Survey) -> list[dict[str, str]]:
    """GeoTIFFs that say where they lie in coordinates that are not converted."""
    note = position_note(survey)
    if not note:
        return []
    text = (
        f"{capital(note)}. Findings there have no longitude and latitude of their own. Systems with an EPSG "
        "number are read where PROJ converts them to within ten metres."
    )
    return [{"level": "warn", "title": "Positions", "text": text}]


def _copies(survey: Survey) -> list[dict[str, str]]:
    """Photos that were given twice."""
    note = copies_note(survey)
    if not note:
        return []
    text = f"{note}. What they show counts once; among the photos each is counted."
    return [{"level": "warn", "title": "The same file under several names", "text": text}]


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
    elif not overlaps.n_matched:
        which = plural(overlaps.n_pairs, "pair")
        text = (
            f"None of {which} of photos with findings, neighbours by name or place, could be laid over one "
            "another: every finding counts as a flaw of its own. Where two photos do show the same flaw, it "
            "counts twice."
        )
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
