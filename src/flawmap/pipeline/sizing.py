"""Findings of a photo → the same with sizes: areas in mm², and what cracks have besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flawmap.errors import PhotoError
from flawmap.records import CrackMeasurement, Finding, InspectedPhoto, Inspection, Survey, SurveyRow
from flawmap.stages.measure import MeasureOptions, measure_crack, measure_if_crack, to_grey, trace_crack
from flawmap.tools.fill import fill_finding
from flawmap.tools.grading import Exposure, GradingTable, grade_width
from flawmap.tools.photo_rows import ImageRows, PhotoRows, open_rows
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.rle import decode_columns, parse_runs
from flawmap.tools.scale import ScaleOptions, find_scale, read_lens
from flawmap.tools.surface import Scale

_SURFACE_PX = 48
"""Of surface around a finding that measuring may look at."""
_MOST_PX = 100_000_000
"""Of the rows that a finding on a photo too large to be held may span."""
_LEAST_SLENDERNESS = 4.0
"""A crack that was traced in a classifier's region is at least this many times as long as it is wide. A mask
tells by its own pixels whether it is a crack; anything else has an area, but no width."""


def measure_findings(
    seen: InspectedPhoto,
    path: Path,
    options: MeasureOptions,
    scale: ScaleOptions,
    photos: PhotoOptions,
    *,
    is_coarse: bool,
) -> InspectedPhoto:
    """The findings that are cracks get a measurement. `is_coarse`: the outlines are those of a classifier,
    within which the crack is traced first. Of a photo too large to be held only the findings' surroundings
    are read again; one that is too large for that stays unmeasured.
    """
    found = seen.inspection
    given = (options, scale, photos)
    measured = _measure_some(found, range(len(found.findings)), path, given, is_coarse=is_coarse)
    return seen if measured is found else replace(seen, inspection=measured)


def measure_painted(
    seen: Inspection, path: Path, options: MeasureOptions, scale: ScaleOptions, photos: PhotoOptions
) -> Inspection:
    """Findings with runs and no measurement, as people paint them, get one where they are cracks."""
    painted = [i for i, one in enumerate(seen.findings) if one.runs is not None and one.measurement is None]
    return _measure_some(seen, painted, path, (options, scale, photos), is_coarse=False)


def _measure_some(
    seen: Inspection,
    which: Sequence[int],
    path: Path,
    given: tuple[MeasureOptions, ScaleOptions, PhotoOptions],
    *,
    is_coarse: bool,
) -> Inspection:
    """`which` findings get a measurement; all stay as they are where the photo cannot be read."""
    options, scale, photos = given
    findings = list(seen.findings)
    if not which:
        return seen
    try:
        rows = open_rows(path, photos)
        image = rows.image if isinstance(rows, ImageRows) else None
        found_scale = _find_scale(scale, path, rows.size_hw, image)
        # What people marked on a photo outside the region of interest they looked for in all of it.
        looked_at_px = max(1, round((seen.share_seen or 1.0) * rows.size_hw[0] * rows.size_hw[1]))
        # From top to bottom, as rows of large photos can be read.
        for i in sorted(which, key=lambda i: findings[i].box_xyxy[1]):
            where = (rows, looked_at_px, found_scale)
            findings[i] = _size(findings[i], *where, options, is_coarse=is_coarse)
    except PhotoError:  # also where it was damaged since it was looked at
        return seen
    return replace(seen, findings=tuple(findings))


@dataclass(frozen=True)
class Grading:
    """How widths in millimetres become a severity."""

    table: GradingTable
    exposure: Exposure | None

    @property
    def grades(self) -> tuple[str, ...]:
        """What a severity may be, mildest first."""
        if self.exposure is None:
            return tuple(band.name for band in self.table.bands)
        limit_mm = self.exposure.limit_mm
        widths = (limit_mm / 2, limit_mm * 2)
        return tuple(grade_width(width, 0.0, self.table, self.exposure).name for width in widths)

    @property
    def note(self) -> str:
        return f"{self.table.title}. {self.table.limits} Source: {self.table.source}"

    def grade(self, finding: Finding) -> Finding:
        """With its severity, how sure that is and the ratio to the limit, where its width in mm is known."""
        sizes = finding.measurement
        if sizes is None or sizes.scale_mm_per_px is None:
            return finding
        told = sizes.to_mm()
        widths = (told["width_max_mm"], told["width_max_u95_mm"])
        grade = grade_width(*widths, self.table, self.exposure, sizes.is_resolved)
        return replace(
            finding, severity=grade.name, severity_is_certain=grade.is_certain, severity_ratio=grade.ratio
        )


def grade_survey(survey: Survey, grading: Grading) -> Survey:
    """The survey with its findings graded, and what is to be said of the grades."""
    rows = tuple(_grade_row(row, grading) for row in survey.rows)
    return replace(survey, rows=rows, grades=grading.grades, grading_note=grading.note)


def _grade_row(row: SurveyRow, grading: Grading) -> SurveyRow:
    findings = tuple(grading.grade(one) for one in row.inspection.findings)
    return replace(row, inspection=replace(row.inspection, findings=findings))


def scale_findings(
    seen: Inspection, path: Path, options: ScaleOptions, *, keeps_known: bool = False
) -> Inspection:
    """What was measured before, in millimetres by a scale that is the same all over the photo.

    Such a scale changes no pixel of a measurement, so this says the same as measuring with it; a marker's
    does, and is not for here. `keeps_known`: sizes that are in millimetres already stay as they are. Of the
    photo's file at most the EXIF is read.
    """
    if not any(_wants_scale(one, keeps_known) for one in seen.findings):
        return seen
    found = _find_scale(options, path, (seen.height_px or 0, seen.width_px or 0))
    if found is None:
        return seen
    mm_per_px = float(found.at(np.zeros((1, 2)), np.array([[1.0, 0.0]]))[0])
    findings = tuple(
        _scale(one, mm_per_px) if _wants_scale(one, keeps_known) else one for one in seen.findings
    )
    return replace(seen, findings=findings)


def _wants_scale(finding: Finding, keeps_known: bool) -> bool:
    sizes = finding.measurement
    known_mm = finding.region_area_mm2 if sizes is None else sizes.scale_mm_per_px
    return not (keeps_known and known_mm is not None)


def _scale(finding: Finding, mm_per_px: float) -> Finding:
    sizes = finding.measurement
    if sizes is not None:
        sizes = replace(sizes, scale_mm_per_px=mm_per_px)
    return replace(finding, measurement=sizes, region_area_mm2=mm_per_px**2 * finding.area_px)


def _size(
    finding: Finding,
    rows: PhotoRows,
    looked_at_px: int,
    scale: Scale | None,
    options: MeasureOptions,
    *,
    is_coarse: bool,
) -> Finding:
    """One finding with its sizes, by its runs where it has some; without a measurement where it is no crack.
    `looked_at_px`: the area that its density refers to."""
    height, width = rows.size_hw
    left, top, right, bottom = (round(value) for value in finding.box_xyxy)
    left, top = max(0, left - _SURFACE_PX), max(0, top - _SURFACE_PX)
    bottom = min(bottom + _SURFACE_PX, height)
    if not isinstance(rows, ImageRows) and (bottom - top) * width > _MOST_PX:
        return finding
    crop = rows.read(top, bottom)[:, left : right + _SURFACE_PX]
    if not crop.size:
        return finding
    grey = to_grey(crop)
    if finding.runs is not None:
        runs = parse_runs(finding.runs, (height, width))
        mask = decode_columns(runs, height, left, left + grey.shape[1])[top:bottom]
    else:
        mask = fill_finding(finding, grey.shape, corner_xy=(left, top))
    here = None if scale is None else scale.moved(left, top)
    measurement = _measure(mask, grey, options, here, looked_at_px, is_coarse=is_coarse)
    area_mm2 = None
    if here is not None and mask.any():  # outlines are filled a little wider than what they outline
        area_mm2 = here.area_mm2(np.argwhere(mask)[:, ::-1]) * finding.area_px / int(mask.sum())
    return replace(finding, measurement=measurement, region_area_mm2=area_mm2)


def _measure(
    mask: np.ndarray,
    grey: np.ndarray,
    options: MeasureOptions,
    scale: Scale | None,
    looked_at_px: int,
    *,
    is_coarse: bool,
) -> CrackMeasurement | None:
    """None for a region that is no crack."""
    if is_coarse:
        mask = trace_crack(grey, mask)
    if mask.sum() < options.least_area_px:
        return None
    given = (options, scale, looked_at_px)
    if not is_coarse:
        return measure_if_crack(mask, grey, *given)
    found = measure_crack(mask, grey, *given, is_traced=True)
    if found.length_px < _LEAST_SLENDERNESS * found.width_mean_px:
        return None
    # A traced line is as thick as the scale that shows it best, not as the crack.
    return replace(found, area_px=round(found.length_px * found.width_mean_px))


def _find_scale(
    options: ScaleOptions, path: Path, size_hw: tuple[int, int], image: np.ndarray | None = None
) -> Scale | None:
    """Of one photo; None where it shows no marker, is too large for one to be sought (no `image`), or its
    EXIF does not say what is missing or names a lens that cannot be: its sizes then stay in pixels, which the
    reports tell."""
    if options.marker_mm is not None and image is None:
        return None
    try:
        if options.distance_m is not None:
            told = read_lens(path, size_hw)
            needed = (options.focal_mm or told.focal_mm, options.sensor_width_mm or told.sensor_width_mm)
            if None in needed:
                return None
        # Where no marker is sought the size of the image is all that matters.
        return find_scale(
            options, np.broadcast_to(np.uint8(0), (*size_hw, 3)) if image is None else image, path
        )
    except PhotoError:
        return None
