"""Where a photo was taken, by its own EXIF."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_GPS_IFD = 0x8825
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4


def read_camera_position(path: Path) -> tuple[float, float] | None:
    """(longitude, latitude) in degrees, WGS 84, of the camera; None where the file does not say, or says
    what cannot be (beyond the poles, or 0° 0°, which receivers write that have no fix)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return _to_position(image.getexif().get_ifd(_GPS_IFD))
    except Exception:  # EXIF is foreign text in a hundred broken forms, and Pillow raises as many errors
        return None


def _to_position(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    if not {_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE} <= set(gps):
        return None
    lat = _to_degrees(gps[_LATITUDE], gps[_LATITUDE_REF], "S")
    lon = _to_degrees(gps[_LONGITUDE], gps[_LONGITUDE_REF], "W")
    is_real = math.isfinite(lat) and math.isfinite(lon) and abs(lat) <= 90 and abs(lon) <= 180
    return (lon, lat) if is_real and (lon, lat) != (0, 0) else None


def _to_degrees(parts: Any, reference: Any, negative: str) -> float:
    """Degrees, minutes and seconds, the later ones left out at times, with the half of the globe."""
    degrees, minutes, seconds = [*(float(part) for part in parts), 0.0, 0.0][:3]
    value = degrees + minutes / 60 + seconds / 3600
    return -value if str(reference).strip("\x00 ").upper().startswith(negative) else value
