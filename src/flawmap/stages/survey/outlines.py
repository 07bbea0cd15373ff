"""Outlines of findings as shares of a photo, so that those of several photos can be held over one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flawmap.records import Finding

CANVAS_PX = 400
"""Outlines are compared as masks of this many pixels a side."""
_EARTH_M = 6_371_000


def to_shares(
    polygon: Sequence[Sequence[float]], box_xyxy: Sequence[float], size_wh: tuple[int, int]
) -> np.ndarray:
    """(n, 2) shares of a photo's width and height: a finding's outline, or its box where it has none."""
    left, top, right, bottom = box_xyxy
    box = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.array(polygon if len(polygon) >= 3 else box, float) / size_wh


def outline_of(finding: Finding, size_wh: tuple[int, int]) -> np.ndarray:
    """(n, 2) shares of the width and height of the photo that shows it."""
    return to_shares(finding.polygon, finding.box_xyxy, size_wh)


def fill_outline(shares: np.ndarray) -> np.ndarray:
    """(CANVAS_PX, CANVAS_PX) bool: the outline filled, and a pixel wide at least."""
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (CANVAS_PX, CANVAS_PX))
    points = [(float(x), float(y)) for x, y in np.clip(shares, -2, 3) * CANVAS_PX]
    ImageDraw.Draw(canvas).polygon(points, fill=1, outline=1, width=3)
    return np.asarray(canvas)


def distance_m(one: tuple[float, float] | None, other: tuple[float, float] | None) -> float:
    """Between two places (longitude, latitude in degrees), over short ways; infinite where one is unknown."""
    if one is None or other is None:
        return math.inf
    (lon_a, lat_a), (lon_b, lat_b) = one, other
    east = math.radians(lon_b - lon_a) * math.cos(math.radians((lat_a + lat_b) / 2))
    return _EARTH_M * math.hypot(east, math.radians(lat_b - lat_a))
