"""Whether a region of a mask is a line, which has a width, or a patch, which has an area alone.

A crack reaches far against its thickness, by the mask's own pixels; and its length times the width that was
read gives about the area that the mask marks. A blob fails the first. A stain or a scratched band with a few
dark lines in it fails the second: what was read across it is the width of something else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flawmap.stages.measure.centre_lines import CentreLines

_LEAST_SLENDERNESS = 4.0
"""A crack reaches at least this many times as far as it is wide."""
_MOST_SHARE, _RIM_PX = 1.25, 5.0
"""The area over the length may be larger than the width that was read by this factor, and by so much on
either side: masks are drawn and learned wider than fine cracks are. Of masks drawn by hand around real cracks
it is larger by up to 5 px in all, or by up to 1.3 where it is more than 20 px."""
_WIDER, _WIDER_PX = 1.15, 2.0
"""The width may be larger than the area over the length by this factor and so much in all: around real cracks
it is by up to 1.5 px, or by up to 1.1 where it is more than 8 px."""


def why_no_line(lines: CentreLines, area_px: int, width_mean_px: float) -> str:
    """Why a region with these centre lines, area and mean width is no line; "" where it is one.

    A net of cracks is a line: it is as thick as its cracks, and reaches as far as the net.
    """
    own_px = area_px / max(1.0, sum(line.length_px for line in lines.branches))
    reach_px, thick_px = _reach_px(lines), max(own_px, lines.thick_px)
    if reach_px < _LEAST_SLENDERNESS * thick_px:
        return (
            f"it is {reach_px:.0f} px long and about {thick_px:.0f} px thick; a crack is "
            f"{_LEAST_SLENDERNESS:.0f} times as long as thick"
        )
    is_too_narrow = own_px > _MOST_SHARE * width_mean_px + 2 * _RIM_PX
    if is_too_narrow or is_wider_than_mask(width_mean_px, own_px):
        return (
            f"the lines read across it are {width_mean_px:.0f} px wide, its area over its length is "
            f"{own_px:.0f} px"
        )
    return ""


def is_wider_than_mask(width_px: Any, thick_px: Any) -> Any:
    """Whether widths, read off the photo where the mask is so thick, are those of something else, such as a
    brick between two joints. Numbers or arrays."""
    return width_px > _WIDER * thick_px + _WIDER_PX


def _reach_px(lines: CentreLines) -> float:
    """The longest branch, or how far apart the ends of all are: many short branches of a blob add up to
    nothing."""
    import cv2

    points = np.concatenate([line.xy for line in lines.branches]).astype(np.float32)
    hull = cv2.convexHull(points)[:, 0]
    apart = float(np.hypot(*np.moveaxis(hull[:, None] - hull[None], 2, 0)).max())
    return max(apart, *(line.length_px for line in lines.branches))
