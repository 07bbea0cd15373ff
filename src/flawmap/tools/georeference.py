"""Where on Earth the pixels of a GeoTIFF lie: GeoTIFF 1.1 (OGC 19-008r4).

Longitudes and latitudes are those of WGS 84. PROJ converts what it knows a way for that is good to ten
metres, without fetching anything; other coordinates stay what they are, and their system's name is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from flawmap.errors import require_extra

_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735
_MODEL_TYPE, _RASTER_TYPE, _GEODETIC, _PROJECTED = 1024, 1025, 2048, 3072
_IS_PROJECTED, _IS_GEODETIC, _PIXEL_IS_POINT, _USER_DEFINED = 1, 2, 2, 32767
_WGS_84 = 4326
_WORST_M = 10.0
"""How far a converted position may be off, by PROJ's own word."""
_BEYOND_DEG = 1.0
"""How far from where a system is in use its coordinates may lie; UTM is used a little beyond its zones."""


@dataclass(frozen=True)
class Georeference:
    """From pixels of the upright photo to coordinates on the ground."""

    system: int | None
    """EPSG code of the coordinates; None where the file gives none that is known by a number."""
    matrix: tuple[tuple[float, ...], tuple[float, ...]]
    """(2, 3): from (x, y, 1), pixels from the photo's corner, to easting (or longitude) and northing."""

    @property
    def is_converted(self) -> bool:
        """Whether longitudes and latitudes can be told."""
        return self.to_lon_lat(0, 0) is not None

    @property
    def name(self) -> str:
        """Of the coordinates' system."""
        return "a system without a number" if self.system is None else f"EPSG:{self.system}"

    def to_lon_lat(self, x: float, y: float) -> tuple[float, float] | None:
        """Degrees, WGS 84, of a place in the upright photo; None in a system that is not converted, and for
        coordinates outside of where it is in use."""
        convert = None if self.system is None else _find_conversion(self.system)
        return convert and convert(*(row[0] * x + row[1] * y + row[2] for row in self.matrix))


@cache
def _find_conversion(system: int) -> Callable[[float, float], tuple[float, float] | None] | None:
    """PROJ's way from (easting, northing) to degrees of WGS 84; None where it has none that is good enough.

    Raises MissingExtraError without pyproj.
    """
    require_extra("pyproj", "inspect")
    from pyproj import CRS, Transformer
    from pyproj.exceptions import ProjError

    try:
        area = CRS(system).area_of_use
        way = Transformer.from_crs(system, _WGS_84, always_xy=True, allow_ballpark=False, accuracy=_WORST_M)
    except ProjError:
        return None
    if area is None:
        return None
    west, south, east, north = area.bounds
    width = east - west if east >= west else east - west + 360

    def convert(easting: float, northing: float) -> tuple[float, float] | None:
        lon, lat = way.transform(easting, northing)
        is_place = math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 90
        in_use = is_place and (lon - west + _BEYOND_DEG) % 360 <= width + 2 * _BEYOND_DEG
        return (lon, lat) if in_use and south - _BEYOND_DEG <= lat <= north + _BEYOND_DEG else None

    return convert


def read_georeference(
    tags: Mapping[int, Any], size_wh: tuple[int, int], orientation: int
) -> Georeference | None:
    """From a TIFF's tags; None where they say nothing of the ground. `size_wh` is as stored, before
    `orientation` (the tag, 1 to 8) is undone."""
    keys = tags.get(_KEYS)
    stored = _to_matrix(tags)
    if not keys or stored is None:
        return None
    # A value in another tag (second number not 0) is a text or a fraction, never what is asked for here.
    values = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4) if keys[i + 1] == 0}
    if values.get(_RASTER_TYPE) == _PIXEL_IS_POINT:
        stored = stored @ [[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]
    matrix = stored @ _to_stored(size_wh, orientation)
    key = {_IS_PROJECTED: _PROJECTED, _IS_GEODETIC: _GEODETIC}.get(values.get(_MODEL_TYPE, 0), 0)
    code = int(values.get(key, _USER_DEFINED))
    east, north = (tuple(map(float, row)) for row in matrix)
    return Georeference(code if 0 < code < _USER_DEFINED else None, (east, north))


def _to_matrix(tags: Mapping[int, Any]) -> np.ndarray | None:
    """(2, 3): from stored pixels to coordinates; None without tie point and scale, or a transformation."""
    scale, tie, whole = (tags.get(key) for key in (_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION))
    if scale and tie and len(scale) >= 2 and len(tie) >= 6 and scale[0] and scale[1]:
        return np.array(
            [[scale[0], 0, tie[3] - scale[0] * tie[0]], [0, -scale[1], tie[4] + scale[1] * tie[1]]], float
        )
    if whole and len(whole) == 16:
        return np.array(whole, float).reshape(4, 4)[:2, [0, 1, 3]]
    return None


def _to_stored(size_wh: tuple[int, int], orientation: int) -> np.ndarray:
    """(3, 3): from (x, y, 1) of the upright photo to that of the stored one, by the orientation tag."""
    width, height = size_wh
    turned = np.eye(3)
    if orientation in (5, 6, 7, 8):
        turned = turned[[1, 0, 2]]
    if orientation in (2, 3, 7, 8):
        turned = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]]) @ turned
    if orientation in (3, 4, 6, 7):
        turned = np.array([[1, 0, 0], [0, -1, height], [0, 0, 1]]) @ turned
    return turned
