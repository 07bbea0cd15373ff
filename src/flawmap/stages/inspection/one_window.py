"""One window of a photo, drawn by lot, which is the same kind of thing whatever the photo's size.

A photo's highest score grows with its size, and the windows of one photo are alike. One window of each, as
large as a training photo, makes photos comparable with the training photos and with one another.
"""

from __future__ import annotations

import zlib

import numpy as np

from flawmap.records import ModelSpec, Window


def draw_window(
    image: np.ndarray | None, heat: np.ndarray, size_hw: tuple[int, int], spec: ModelSpec
) -> Window | None:
    """A window of a photo of `size_hw` with flaw scores `heat` (h, w); `image` (H, W, 3) uint8 RGB where it
    is at hand. None where nothing has a score.

    The lot is drawn from the scores: the same photo gives the same window.
    """
    if not heat.size:
        return None
    draw = np.random.default_rng(zlib.crc32(np.ascontiguousarray(heat).tobytes()))
    box, cells = [], []
    for n, side, tile in zip(heat.shape, size_hw, spec.tile_hw, strict=True):
        length = min(side, tile)
        first = int(draw.integers(side - length + 1))
        box.append(slice(first, first + length))
        ends = (first, first + length)
        if spec.masks is None:  # a cell is a window's score already, of which it is the middle
            ends = ((ends[0] + ends[1]) // 2,) * 2
        low, high = (end * n // side for end in ends)
        cells.append(slice(low, max(low + 1, high)))
    return Window(float(heat[tuple(cells)].max()), None if image is None else image[tuple(box)])
