"""Findings of a photo → the same with sizes, where they are cracks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flawmap.errors import PhotoError
from flawmap.records import CrackMeasurement, Finding, InspectedPhoto, SurveyRow
from flawmap.stages.measure import MeasureOptions, measure_crack, to_grey, trace_crack
from flawmap.tools.grading import Exposure, GradingTable, grade_width
from flawmap.tools.photos import PhotoOptions, read_image
from flawmap.tools.scale import Scale, ScaleOptions, find_scale, read_lens

_SURFACE_PX = 48
"""Of surface around a finding that measuring may look at."""
_LEAST_SLENDERNESS = 4.0
"""A crack is at least this many times as long as it is wide; anything else has an area, but no width."""


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
    within which the crack is traced first. A photo too large to be held keeps its findings unmeasured.
    """
    if not seen.inspection.findings:
        return seen
    try:
        image = read_image(path, photos)
    except PhotoError:
        return seen
    found_scale = _find_scale(scale, image, path)
    found = tuple(
        replace(one, measurement=_measure(one, image, options, found_scale, is_coarse))
        for one in seen.inspection.findings
    )
    return replace(seen, inspection=replace(seen.inspection, findings=found))


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
        """With its severity and how sure that is, where its width is known in millimetres."""
        sizes = finding.measurement
        if sizes is None or sizes.scale_mm_per_px is None:
            return finding
        told = sizes.to_mm()
        widths = (told["width_max_mm"], told["width_max_u95_mm"])
        grade = grade_width(*widths, self.table, self.exposure, sizes.is_resolved)
        return replace(finding, severity=grade.name, severity_is_certain=grade.is_certain)


def grade_row(row: SurveyRow, grading: Grading) -> SurveyRow:
    """A photo of a survey with its findings graded."""
    findings = tuple(grading.grade(one) for one in row.inspection.findings)
    return replace(row, inspection=replace(row.inspection, findings=findings))


def _measure(
    finding: Finding, image: np.ndarray, options: MeasureOptions, scale: Scale | None, is_coarse: bool
) -> CrackMeasurement | None:
    """The sizes of one finding; None where it is no crack."""
    left, top, right, bottom = (round(value) for value in finding.box_xyxy)
    left, top = max(0, left - _SURFACE_PX), max(0, top - _SURFACE_PX)
    crop = image[top : bottom + _SURFACE_PX, left : right + _SURFACE_PX]
    if not crop.size:
        return None
    grey = to_grey(crop)
    mask = _fill(finding, (left, top), grey.shape)
    if is_coarse:
        mask = trace_crack(grey, mask)
    if mask.sum() < options.least_area_px:
        return None
    looked_at_px = image.shape[0] * image.shape[1]
    moved = None if scale is None else scale.moved(left, top)
    found = measure_crack(mask, grey, options, moved, looked_at_px)
    if found.length_px < _LEAST_SLENDERNESS * found.width_mean_px:
        return None
    # A traced line is as thick as the scale that shows it best, not as the crack.
    area_px = round(found.length_px * found.width_mean_px)
    return replace(found, area_px=area_px) if is_coarse else found


def _fill(finding: Finding, origin_xy: tuple[int, int], size_hw: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: the finding's outline filled, in a crop whose first pixel is at `origin_xy`."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = finding.box_xyxy
    box = ((left, top), (right - 1, top), (right - 1, bottom - 1), (left, bottom - 1))
    corners = finding.polygon if len(finding.polygon) >= 3 else box
    canvas = Image.new("1", (size_hw[1], size_hw[0]))
    ImageDraw.Draw(canvas).polygon([(x - origin_xy[0], y - origin_xy[1]) for x, y in corners], fill=1)
    return np.array(canvas)


def _find_scale(options: ScaleOptions, image: np.ndarray, path: Path) -> Scale | None:
    """Of one photo; None where it shows no marker, or its EXIF does not say what is missing: its sizes then
    stay in pixels, which the reports tell."""
    if options.distance_m is not None:
        told = read_lens(path, (image.shape[0], image.shape[1]))
        needed = (options.focal_mm or told.focal_mm, options.sensor_width_mm or told.sensor_width_mm)
        if None in needed:
            return None
    try:
        return find_scale(options, image, path)
    except PhotoError:
        return None
