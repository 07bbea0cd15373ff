"""Where on Earth the pixels of a GeoTIFF lie: GeoTIFF 1.1 (OGC 19-008r4).

Longitudes and latitudes are those of WGS 84. Degrees of ETRS89 and NAD83, and UTM on these, are taken as they
are: they differ from WGS 84 by less than a metre in Europe, and by up to two in North America. All else keeps
its coordinates for itself, and its name is told.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735
_MODEL_TYPE, _RASTER_TYPE, _GEODETIC, _PROJECTED = 1024, 1025, 2048, 3072
_IS_PROJECTED, _IS_GEODETIC, _PIXEL_IS_POINT, _USER_DEFINED = 1, 2, 2, 32767
_WGS_84, _ETRS89, _NAD83 = (4326, 4979), (4258, 4937), (4269, 6318)
_DEGREES = (*_WGS_84, *_ETRS89, *_NAD83)
_ZONES = {32600: range(1, 61), 32700: range(1, 61), 25800: range(28, 39), 26900: range(1, 24)}
"""UTM by the hundreds of its EPSG codes: WGS 84 north and south, ETRS89, NAD83; the rest is the zone."""
_SOUTH = 32700


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
        return self.system in _DEGREES or self._utm is not None

    @property
    def name(self) -> str:
        """Of the coordinates' system."""
        return "a system without a number" if self.system is None else f"EPSG:{self.system}"

    def to_lon_lat(self, x: float, y: float) -> tuple[float, float] | None:
        """Degrees, WGS 84, of a place in the upright photo; None in a system that is not converted, and for
        coordinates beyond Earth."""
        east, north = (row[0] * x + row[1] * y + row[2] for row in self.matrix)
        if self.system in _DEGREES:
            return (east, north) if abs(east) <= 180 and abs(north) <= 90 else None
        if self._utm is None or not (0 < east < 1e6 and 0 <= north <= 1e7):
            return None
        hundreds, zone = self._utm
        return utm_to_lon_lat(east, north, zone, is_south=hundreds == _SOUTH)

    @property
    def _utm(self) -> tuple[int, int] | None:
        """The hundreds of the code, and the zone."""
        zone = (self.system or 0) % 100
        hundreds = (self.system or 0) - zone
        return (hundreds, zone) if zone in _ZONES.get(hundreds, ()) else None


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


def utm_to_lon_lat(easting: float, northing: float, zone: int, *, is_south: bool) -> tuple[float, float]:
    """Degrees. Krüger's series to the third power of n, by Karney, "Transverse Mercator with an accuracy of a
    few nanometers", J. Geodesy 85 (2011), equations 7 to 15, 25 and 36: within a millimetre in a zone.
    """
    n = 1 / (2 * 298.257223563 - 1)  # WGS 84, whose flattening GRS 80 shares to ten digits
    circle = 6_378_137 / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    beta = (n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96, n**2 / 48 + n**3 / 15, 17 * n**3 / 480)
    delta = (2 * n - 2 * n**2 / 3 - 2 * n**3, 7 * n**2 / 3 - 8 * n**3 / 5, 56 * n**3 / 15)
    north = (northing - (10_000_000 if is_south else 0)) / (0.9996 * circle)
    east = (easting - 500_000) / (0.9996 * circle)
    turn = complex(north, east)
    turn -= sum(one * cmath.sin(2 * j * turn) for j, one in enumerate(beta, start=1))
    conformal = math.asin(math.sin(turn.real) / math.cosh(turn.imag))
    lat = conformal + sum(one * math.sin(2 * j * conformal) for j, one in enumerate(delta, start=1))
    lon = math.degrees(math.atan2(math.sinh(turn.imag), math.cos(turn.real))) + 6 * zone - 183
    return (lon + 180) % 360 - 180, math.degrees(lat)
