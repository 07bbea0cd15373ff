"""Findings of a photo → the same with sizes, where they are cracks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flawmap.errors import OptionError, PhotoError
from flawmap.records import CrackMeasurement, Finding, InspectedPhoto
from flawmap.stages.measure import MeasureOptions, measure_crack, to_grey, trace_crack
from flawmap.tools.photos import PhotoOptions, read_image
from flawmap.tools.scale import Lens, Scale, check_scale, read_lens, to_mm_per_px

_SURFACE_PX = 48
"""Of surface around a finding that measuring may look at."""
_LEAST_SLENDERNESS = 4.0
"""A crack is at least this many times as long as it is wide; anything else has an area, but no width."""


@dataclass(frozen=True)
class ScaleOptions:
    """How large a pixel is on the surface: the same for all photos, or by each photo's lens."""

    mm_per_px: float | None = None
    distance_m: float | None = None
    """From the lens to the surface, the same for all photos, taken straight on."""
    focal_mm: float | None = None
    """Else from the photo's EXIF."""
    sensor_width_mm: float | None = None
    """Else from the photo's EXIF."""

    def __post_init__(self) -> None:
        check_scale(self.mm_per_px)
        for name in ("distance_m", "focal_mm", "sensor_width_mm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise OptionError(f"{name} is {value}; a number above 0 was wanted")


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
    mm_per_px = _find_scale(path, image.shape[:2], scale)
    found = tuple(
        replace(one, measurement=_measure(one, image, options, mm_per_px, is_coarse))
        for one in seen.inspection.findings
    )
    return replace(seen, inspection=replace(seen.inspection, findings=found))


def _measure(
    finding: Finding, image: np.ndarray, options: MeasureOptions, mm_per_px: float | None, is_coarse: bool
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
    scale = None if mm_per_px is None else Scale.uniform(mm_per_px)
    found = measure_crack(mask, grey, options, scale, looked_at_px)
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


def _find_scale(path: Path, size_hw: tuple[int, ...], scale: ScaleOptions) -> float | None:
    """Of one photo; None where its EXIF does not say what is missing."""
    if scale.mm_per_px is not None or scale.distance_m is None:
        return scale.mm_per_px
    told = read_lens(path, (size_hw[0], size_hw[1]))
    lens = Lens(scale.focal_mm or told.focal_mm, scale.sensor_width_mm or told.sensor_width_mm)
    if lens.focal_mm is None or lens.sensor_width_mm is None:
        return None
    return to_mm_per_px(scale.distance_m, lens, (size_hw[0], size_hw[1]))
