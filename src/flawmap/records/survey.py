"""A survey: what was found on all photos of a structure or a batch, and what is known about it."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from flawmap.records.basics import check
from flawmap.records.inspection import Finding, Inspection
from flawmap.records.reviews import SurveyReviews

CROWDED = 100
"""A photo with more findings than this is probably not of the kind that the model was made for."""
PartVerdict = Literal["finding", "no finding", "not assessed"]


@dataclass(frozen=True)
class SurveyMeta:
    """What a person says about a survey, printed on its reports. Keys of the file for `--meta`."""

    structure: str = ""
    element: str = ""
    span: str = ""
    inspector: str = ""
    organisation: str = ""
    date: str | datetime.date = ""
    """Of the survey, as it is to be printed."""
    scale: str = ""
    """How the scale was found, in words."""
    notes: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "date", str(self.date))  # TOML has dates of its own


@dataclass(frozen=True)
class SurveyModel:
    """The model that looked, and how far it is to be trusted. Plain JSON values."""

    name: str
    task: str
    labels: tuple[str, ...]
    good_labels: tuple[str, ...]
    backbone: str
    digest: str
    """Of its files: two models of the same digest give the same answers."""
    flawmap_version: str
    test: dict[str, Any] = field(default_factory=dict)
    """The figures of the model's own test, as metrics.json holds them; empty where there are none."""

    @property
    def flaw_labels(self) -> tuple[str, ...]:
        """The kinds of flaws that it tells apart."""
        return tuple(label for label in self.labels if label not in self.good_labels)


@dataclass(frozen=True)
class SurveyRow:
    """One photo of a survey."""

    name: str
    """POSIX, relative to the folder of the photos; overlays are named by it."""
    inspection: Inspection
    part: str = ""
    """Of the structure or batch; "" where parts were not asked for."""
    camera_lon_lat: tuple[float, float] | None = None
    """Degrees, WGS 84: where the photo says that it was taken."""


@dataclass(frozen=True)
class Overlaps:
    """Which photos of a survey were found to show the same place, and which findings are one flaw."""

    n_pairs: int
    """Pairs of photos with findings that were compared."""
    n_matched: int
    """Pairs of them that could be laid over one another."""
    same: tuple[tuple[tuple[str, int], ...], ...] = ()
    """Findings, two or more a flaw, as (name of the photo, index of the finding), sorted."""
    copies: tuple[tuple[str, ...], ...] = ()
    """Names of photos, two or more for the same bytes, sorted."""


@dataclass(frozen=True)
class Survey:
    """Every output of a survey is written from this."""

    rows: tuple[SurveyRow, ...]
    """One per photo, sorted by name."""
    model: SurveyModel
    options: dict[str, Any] = field(default_factory=dict)
    """All that decided the findings, resolved; plain JSON values."""
    meta: SurveyMeta = field(default_factory=SurveyMeta)
    grades: tuple[str, ...] = ()
    """What a finding's severity may be, mildest first; () where nothing is graded."""
    grading_note: str = ""
    """The table's source and its limits, in words."""
    reviews: SurveyReviews | None = None
    """What people said of the findings, where they could; the rows are those that are left after it."""
    overlaps: Overlaps | None = None
    """None: findings were not matched across photos."""

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        check(names == sorted(set(names)), "one row per photo, sorted by name", f"{len(names)} others")

    @property
    def n_findings(self) -> int:
        return sum(len(row.inspection.findings) for row in self.rows)

    @property
    def n_flaws(self) -> int:
        """Findings, those once that were matched across photos."""
        same = self.overlaps.same if self.overlaps else ()
        return self.n_findings - sum(len(group) - 1 for group in same)

    @property
    def which_have_scale(self) -> tuple[bool, ...]:
        """Of every measured finding, whether its photo has a scale."""
        sizes = (one.measurement for row in self.rows for one in row.inspection.findings)
        return tuple(one.scale_mm_per_px is not None for one in sizes if one is not None)

    def number_flaws(self) -> dict[tuple[str, int], int]:
        """(photo's name, index of the finding) → number of the flaw, from 1, which matched ones share."""
        first = {one: group[0] for group in (self.overlaps.same if self.overlaps else ()) for one in group}
        numbers: dict[tuple[str, int], int] = {}
        n_flaws = 0
        for row in self.rows:
            for one in ((row.name, i) for i in range(len(row.inspection.findings))):
                numbers[one] = numbers.get(first.get(one, one), n_flaws + 1)
                n_flaws = max(n_flaws, numbers[one])
        return numbers

    @property
    def unreadable(self) -> tuple[SurveyRow, ...]:
        return tuple(row for row in self.rows if row.inspection.error)

    @property
    def not_assessable(self) -> tuple[SurveyRow, ...]:
        """Photos that were read, but could not be judged: too blurred, dark or overexposed, or outside the
        region of interest."""
        return tuple(row for row in self.rows if not row.inspection.error and not row.inspection.assessable)

    @property
    def position_systems(self) -> dict[str, int]:
        """Of GeoTIFFs whose coordinates are not converted to degrees: system → photos."""
        return dict(Counter(filter(None, (row.inspection.position_system for row in self.rows))))

    @property
    def crowded(self) -> tuple[SurveyRow, ...]:
        """Photos with more than CROWDED findings, those with most first."""
        found = [row for row in self.rows if len(row.inspection.findings) > CROWDED]
        return tuple(sorted(found, key=lambda row: -len(row.inspection.findings)))

    def worst_first(self) -> list[tuple[SurveyRow, int]]:
        """(row, index of the finding in it): by grade, then largest width, surely measured ones before all
        others, score and area."""
        found = [(row, i) for row in self.rows for i in range(len(row.inspection.findings))]
        return sorted(found, key=lambda one: self._badness(one[0].inspection.findings[one[1]]), reverse=True)

    def count_grades(self) -> dict[str, int]:
        """Flaws per grade, each by its worst finding; "" for those without one."""
        numbers, worst = self.number_flaws(), {}
        for row, i in self.worst_first():
            worst.setdefault(numbers[row.name, i], row.inspection.findings[i].severity or "")
        return Counter(worst.values())

    def grade_rank(self, finding: Finding) -> int:
        """From 1, higher for graver grades; 0 without a grade, or where its width is too vague for one."""
        is_vague = finding.measurement is not None and finding.measurement.is_vague
        if is_vague or finding.severity not in self.grades:
            return 0
        return self.grades.index(finding.severity) + 1

    def _badness(self, finding: Finding) -> tuple[float, ...]:
        width = finding.measurement.width_rank if finding.measurement else (False, False, False, 0.0)
        return (self.grade_rank(finding), *width, finding.score, finding.area_px)


@dataclass(frozen=True)
class SurveyPart:
    """Several photos of one part, and one verdict over them."""

    name: str
    verdict: PartVerdict
    """A part without findings of which any photo was not judged is "not assessed", never "no finding"."""
    n_photos: int
    n_findings: int
    n_not_judged: int
    """Photos that could not be read or assessed."""
    severity: str | None
    """The worst grade of its findings."""
    photos: tuple[str, ...]
