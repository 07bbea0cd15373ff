"""A finding's outline as pixels of a picture."""

from __future__ import annotations

import numpy as np

from flawmap.records import Finding

Point = tuple[float, float]


def outline_of(finding: Finding) -> list[Point]:
    """The polygon, or the box of a finding that has none; (x, y) in pixels of the photo."""
    left, top, right, bottom = finding.box_xyxy
    box = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return list(finding.polygon) if len(finding.polygon) >= 3 else box


def fill_finding(
    finding: Finding, size_hw: tuple[int, int], scale: float = 1.0, corner_xy: Point = (0.0, 0.0)
) -> np.ndarray:
    """(h, w) bool: the finding without its holes, a pixel wide at least, in a picture of `size_hw` that has
    `scale` pixels per pixel of the photo and begins at `corner_xy` in it."""
    from PIL import Image, ImageDraw

    x0, y0 = corner_xy
    outline, *holes = (
        [((x - x0) * scale, (y - y0) * scale) for x, y in line]
        for line in (outline_of(finding), *finding.holes)
    )
    canvas = Image.new("1", (size_hw[1], size_hw[0]))
    draw = ImageDraw.Draw(canvas)
    draw.polygon(outline, fill=1)
    for hole in holes:
        draw.polygon(hole, fill=0)
    for line in (outline, *holes):
        draw.line([*line, line[0]], fill=1)
    return np.array(canvas)
