"""The flaw score of one window of a photo, which is the same kind of number whatever the photo's size.

A photo's highest score grows with its size, and the windows of one photo are alike. One window of each,
drawn by lot, makes photos of any size comparable with the training photos, and with one another.
"""

from __future__ import annotations

import zlib

import numpy as np

from flawmap.records import InspectedPhoto, ModelSpec


def score_one_window(seen: InspectedPhoto, spec: ModelSpec) -> float | None:
    """Of a window as large as a training photo; None for a photo that was not read.

    The lot is drawn from the scores themselves: the same photo gives the same window.
    """
    size_hw = (seen.inspection.height_px, seen.inspection.width_px)
    if seen.heat is None or not seen.heat.size or None in size_hw:
        return None
    draw = np.random.default_rng(zlib.crc32(np.ascontiguousarray(seen.heat).tobytes()))
    cells = []
    for n, side, tile in zip(seen.heat.shape, size_hw, spec.tile_hw, strict=True):
        # A classifier's cell is a window's score already; of masks each is that of a place.
        wide = 1 if spec.masks is None else min(n, max(1, round(n * tile / side)))
        first = int(draw.integers(n - wide + 1))
        cells.append(slice(first, first + wide))
    return float(seen.heat[tuple(cells)].max())
