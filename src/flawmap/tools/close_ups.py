"""Where a close-up of a finding is cut from its photo, at the photo's own pixels."""

from __future__ import annotations

import numpy as np

from flawmap.records import Finding
from flawmap.tools.fill import fill_finding

CLOSE_UP_PX = 480
"""A side of a close-up; less where the photo is smaller."""
_CANVAS_PX = 400
"""Outlines larger than a close-up are looked at as masks of so many pixels a side."""


def cut_close_up(image: np.ndarray, finding: Finding) -> np.ndarray:
    """A finding's surroundings in an upright photo, (H, W, 3) uint8 RGB, at full size."""
    left, top = close_up_corner(finding, image.shape[:2])
    return image[top : top + CLOSE_UP_PX, left : left + CLOSE_UP_PX].copy()


def close_up_corner(finding: Finding, size_hw: tuple[int, ...]) -> tuple[int, int]:
    """(x, y) of a close-up's upper left pixel in a photo of `size_hw`: around the finding's middle, or, where
    it is larger than a close-up, around the place where most of it lies: its middle may be a hole."""
    left, top, right, bottom = finding.box_xyxy
    middle = ((left + right) / 2, (top + bottom) / 2)
    if max(right - left, bottom - top) > CLOSE_UP_PX and len(finding.polygon) >= 3:
        middle = _fullest_place(finding)
    x, y = (
        max(0, min(round(at - CLOSE_UP_PX / 2), side - CLOSE_UP_PX))
        for at, side in zip(middle, size_hw[::-1], strict=True)
    )
    return x, y


def _fullest_place(finding: Finding) -> tuple[float, float]:
    """(x, y) in pixels of the photo: what has most of the finding within half a close-up around it."""
    from scipy.ndimage import gaussian_filter

    left, top, right, bottom = finding.box_xyxy
    scale = _CANVAS_PX / max(right - left, bottom - top)
    size_hw = (round((bottom - top) * scale) + 3, round((right - left) * scale) + 3)
    inside = fill_finding(finding, size_hw, scale, (left - 1 / scale, top - 1 / scale))
    near = gaussian_filter(inside.astype(np.float32), scale * CLOSE_UP_PX / 4, mode="constant")
    y, x = np.unravel_index(near.argmax(), near.shape)
    return left + (float(x) - 1) / scale, top + (float(y) - 1) / scale
