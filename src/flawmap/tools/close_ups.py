"""Where a close-up of a finding is cut from its photo, at the photo's own pixels."""

from __future__ import annotations

import numpy as np

from flawmap.records import Finding

CLOSE_UP_PX = 480
"""A side of a close-up; less where the photo is smaller."""
_CANVAS_PX = 400
"""Outlines larger than a close-up are looked at as masks of so many pixels a side."""


def cut_close_up(image: np.ndarray, finding: Finding) -> np.ndarray:
    """A finding's surroundings in an upright photo, (H, W, 3) uint8 RGB, at full size."""
    left, top = close_up_corner(finding, image.shape[:2])
    return image[top : top + CLOSE_UP_PX, left : left + CLOSE_UP_PX].copy()


def close_up_corner(finding: Finding, size_hw: tuple[int, ...]) -> tuple[int, int]:
    """(x, y) of a close-up's upper left pixel in a photo of `size_hw`: around the finding's middle, or around
    its broadest place where it is larger than a close-up, whose middle need not lie on the flaw."""
    left, top, right, bottom = finding.box_xyxy
    middle = ((left + right) / 2, (top + bottom) / 2)
    if max(right - left, bottom - top) > CLOSE_UP_PX and len(finding.polygon) >= 3:
        middle = _broadest_place(finding)
    x, y = (
        max(0, min(round(at - CLOSE_UP_PX / 2), side - CLOSE_UP_PX))
        for at, side in zip(middle, size_hw[::-1], strict=True)
    )
    return x, y


def _broadest_place(finding: Finding) -> tuple[float, float]:
    """(x, y) in pixels of the photo: of all places within the outline, that furthest from it."""
    from PIL import Image, ImageDraw
    from scipy.ndimage import distance_transform_edt

    left, top, right, bottom = finding.box_xyxy
    scale = _CANVAS_PX / max(right - left, bottom - top)
    corners = [((x - left) * scale + 1, (y - top) * scale + 1) for x, y in finding.polygon]
    canvas = Image.new("1", (round((right - left) * scale) + 3, round((bottom - top) * scale) + 3))
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    depth = np.asarray(distance_transform_edt(np.asarray(canvas)))
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return left + (float(x) - 1) / scale, top + (float(y) - 1) / scale
