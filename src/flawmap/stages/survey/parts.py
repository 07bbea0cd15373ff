"""One verdict over all photos of a part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from flawmap.errors import OptionError, option
from flawmap.records import PartVerdict, Survey, SurveyPart, SurveyRow


def name_parts(names: Iterable[str], part_by: str | None) -> dict[str, str]:
    """Photo names → the part that each shows; a name that the expression does not fit is a part by itself.

    Raises OptionError for an expression that is none, or that fits no name.
    """
    names = list(names)
    if part_by is None:
        return dict.fromkeys(names, "")
    try:
        pattern = re.compile(part_by)
    except re.error as error:
        raise OptionError(f"{option('--part-by')}: '{part_by}' is no regular expression ({error})") from error
    found = {name: pattern.search(name) for name in names}
    if names and not any(found.values()):
        raise OptionError(
            f"{option('--part-by')}: '{part_by}' fits no photo, such as {names[0]}. Its first group names "
            "the part."
        )
    return {name: _part_of(match) or name for name, match in found.items()}


def to_parts(survey: Survey) -> tuple[SurveyPart, ...]:
    """The parts of a survey by name; none where parts were not asked for."""
    rows: dict[str, list[SurveyRow]] = {}
    for row in survey.rows:
        if row.part:
            rows.setdefault(row.part, []).append(row)
    return tuple(_judge(name, rows[name], survey.grades) for name in sorted(rows))


def _judge(name: str, rows: Sequence[SurveyRow], grades: Sequence[str]) -> SurveyPart:
    n_findings = sum(len(row.inspection.findings) for row in rows)
    n_not_judged = sum(bool(row.inspection.error) or not row.inspection.assessable for row in rows)
    seen = {finding.severity for row in rows for finding in row.inspection.findings}
    verdict: PartVerdict = "finding" if n_findings else "not assessed" if n_not_judged else "no finding"
    return SurveyPart(
        name=name,
        verdict=verdict,
        n_photos=len(rows),
        n_findings=n_findings,
        n_not_judged=n_not_judged,
        severity=next((grade for grade in reversed(grades) if grade in seen), None),
        photos=tuple(row.name for row in rows),
    )


def _part_of(match: re.Match[str] | None) -> str:
    return "" if match is None else (match.group(1) if match.re.groups else match.group()) or ""
