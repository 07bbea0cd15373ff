"""Millimetres per pixel: given, or from the distance and the lens.

A lens at distance D maps the surface onto the sensor at f / (D - f) (thin lens in focus, the sensor parallel
to the surface), so that a pixel shows sensor width / pixels × (D - f) / f. A tilted photo needs a marker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import OptionError, PhotoError, option
from flawmap.tools.options import Options
from flawmap.tools.surface import Scale

_FOCAL_TAG, _FOCAL_35_TAG = 0x920A, 0xA405
_PLANE_RESOLUTION_TAG, _PLANE_UNIT_TAG = 0xA20E, 0xA210
_EXIF_TAG = 0x8769
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Of FocalPlaneResolutionUnit: inch, centimetre, millimetre, micrometre (EXIF 2.32, tag 0xA210)."""
_LENS = ("--focal-mm", "--sensor-width-mm")
_DIAGONAL_35_MM = math.hypot(36, 24)


@dataclass(frozen=True)
class ScaleOptions(Options):
    """Where a photo's scale comes from: one of these, or none at all."""

    mm_per_px: float | None = None
    distance_m: float | None = None
    """From the lens to the surface, taken straight on; with `focal_mm` and `sensor_width_mm` where the
    photo's EXIF does not have them."""
    focal_mm: float | None = None
    sensor_width_mm: float | None = None
    """Along the photo's longer side."""
    marker_mm: float | None = None
    """Width of the marker's black square that each photo shows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [flag for flag, value in self._flags() if value is not None]
        for flag, value in self._flags():
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"{option(flag)} is {value:g}; a number above 0 was wanted")
        sources = [flag for flag in given if flag not in _LENS]
        if len(sources) > 1:
            told = " and ".join(option(flag) for flag in sources)
            raise OptionError(f"{told} are given; one source of the scale was wanted: leave out all but one")
        lens = [flag for flag in given if flag in _LENS]
        if lens and sources and sources != ["--distance-m"]:
            raise OptionError(
                f"{option(lens[0])} goes with {option('--distance-m')}, and {option(sources[0])} gives the "
                "scale already: leave out one of them"
            )
        if lens and not sources:
            raise OptionError(f"a lens gives no scale by itself; give {option('--distance-m')} too")
        if self.distance_m is not None and self.focal_mm is not None:
            _check_distance(self.distance_m, self.focal_mm)

    def _flags(self) -> tuple[tuple[str, float | None], ...]:
        return (
            ("--mm-per-px", self.mm_per_px),
            ("--distance-m", self.distance_m),
            ("--marker-mm", self.marker_mm),
            ("--focal-mm", self.focal_mm),
            ("--sensor-width-mm", self.sensor_width_mm),
        )

    @property
    def needs_photo(self) -> bool:
        """Whether the scale is read off the photo."""
        return self.distance_m is not None or self.marker_mm is not None


def find_scale(
    options: ScaleOptions, image: np.ndarray | None = None, photo: Path | None = None
) -> Scale | None:
    """The scale of a photo, (H, W, 3) uint8 RGB and the file it came from; None where none is asked for.

    Raises OptionError for what is missing, PhotoError where the photo shows no marker, or its EXIF names a
    focal length that the distance rules out.
    """
    if options.mm_per_px is not None:
        return Scale.uniform(options.mm_per_px)
    if not options.needs_photo:
        return None
    if image is None:
        raise OptionError(f"the scale is to be read off the photo; give {option('--photo')}")
    if options.marker_mm is not None:
        from flawmap.tools.markers import find_marker_scale  # needs OpenCV

        return find_marker_scale(image, options.marker_mm)
    size_hw = (image.shape[0], image.shape[1])
    told = Lens() if photo is None else read_lens(photo, size_hw)
    lens = Lens(options.focal_mm or told.focal_mm, options.sensor_width_mm or told.sensor_width_mm)
    distance_m = float(options.distance_m or 0)
    if options.focal_mm is None and told.focal_mm is not None and _is_too_near(distance_m, told.focal_mm):
        raise PhotoError(
            f"its EXIF gives a focal length of {told.focal_mm:g} mm, and {option('--distance-m')} is "
            f"{distance_m:g}, not twice that; give {option('--focal-mm')}, or the distance in metres"
        )
    return Scale.uniform(to_mm_per_px(distance_m, lens, size_hw))


@dataclass(frozen=True)
class Lens:
    """What a photo was taken with, as far as it is known."""

    focal_mm: float | None = None
    sensor_width_mm: float | None = None
    """Along the photo's longer side."""


def to_mm_per_px(distance_m: float, lens: Lens, size_hw: tuple[int, int]) -> float:
    """The scale of a photo of this size, taken straight on. Raises OptionError for what is missing or wrong.

    The photo must hold the whole sensor: one that was cropped later has another scale.
    """
    for flag, value in (
        ("--distance-m", distance_m),
        ("--focal-mm", lens.focal_mm),
        ("--sensor-width-mm", lens.sensor_width_mm),
    ):
        if value is None:
            raise OptionError(f"{option(flag)} is missing, and the photo's EXIF does not have it: give it")
        if not 0 < value < math.inf:
            raise OptionError(f"{option(flag)} is {value}; a number above 0 was wanted")
    focal_mm, sensor_mm = float(lens.focal_mm or 0), float(lens.sensor_width_mm or 0)
    _check_distance(distance_m, focal_mm)
    return sensor_mm / max(size_hw) * (1000 * distance_m - focal_mm) / focal_mm


def _check_distance(distance_m: float, focal_mm: float) -> None:
    if _is_too_near(distance_m, focal_mm):
        raise OptionError(
            f"{option('--distance-m')} is {distance_m:g}, not twice the focal length of {focal_mm:g} mm; the "
            "distance from lens to surface in metres was wanted"
        )


def _is_too_near(distance_m: float, focal_mm: float) -> bool:
    return 1000 * distance_m <= 2 * focal_mm


def read_lens(photo: Path, size_hw: tuple[int, int]) -> Lens:
    """What the photo's EXIF says of its lens; None for what it does not say.

    The sensor's width comes from the focal plane's resolution, else from the 35 mm equivalent, which
    compares diagonals (CIPA DCG-001). Broken EXIF says nothing. Raises PhotoError where no image is.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(photo) as opened:
            tags: Mapping[int, Any] = opened.getexif().get_ifd(_EXIF_TAG)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise PhotoError(f"{photo}: its EXIF cannot be read ({error})") from None
    except Exception:  # Pillow raises all kinds on broken EXIF, which is the same as none
        return Lens()
    focal_mm = _to_number(tags.get(_FOCAL_TAG))
    return Lens(focal_mm, _to_sensor_width(tags, focal_mm, size_hw))


def _to_sensor_width(
    tags: Mapping[int, Any], focal_mm: float | None, size_hw: tuple[int, int]
) -> float | None:
    resolution, unit = _to_number(tags.get(_PLANE_RESOLUTION_TAG)), tags.get(_PLANE_UNIT_TAG, 2)
    if resolution is not None and unit in _MM_PER_UNIT:
        return max(size_hw) / resolution * _MM_PER_UNIT[unit]
    focal_35_mm = _to_number(tags.get(_FOCAL_35_TAG))
    if focal_mm is None or focal_35_mm is None:
        return None
    diagonal_mm = _DIAGONAL_35_MM * focal_mm / focal_35_mm
    return diagonal_mm * max(size_hw) / math.hypot(*size_hw)


def _to_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < math.inf else None
