"""Pure geometry of tiles laid over a photo: every pixel is covered, and weights of overlapping tiles."""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]
"""top, left, bottom, right; the last two are not included."""


def lay_tiles(size_hw: tuple[int, int], tile_px: int, overlap_px: int) -> list[Box]:
    """Boxes of at most tile_px × tile_px, row by row, that cover the photo; neighbours overlap by at least
    overlap_px. The last of a row or column is moved back into the photo rather than made smaller."""
    if not 0 <= overlap_px < tile_px:
        raise ValueError(f"wanted an overlap from 0 to {tile_px - 1}; got {overlap_px}")
    tops, lefts = (lay_starts(side, tile_px, overlap_px) for side in size_hw)
    height, width = size_hw
    return [
        (top, left, min(top + tile_px, height), min(left + tile_px, width)) for top in tops for left in lefts
    ]


def lay_starts(side: int, tile_px: int, overlap_px: int = 0) -> list[int]:
    """Where the tiles of lay_tiles() begin along one side of a photo."""
    if side <= tile_px:
        return [0]
    n = -(-(side - overlap_px) // (tile_px - overlap_px))
    last = side - tile_px
    return [last * i // (n - 1) for i in range(n)]


def blend_weights(size_hw: tuple[int, int], overlap_px: int) -> np.ndarray:
    """(h, w) float32 above 0: 1 inside a tile, falling in a straight line over the overlap at its edges."""
    height, width = (edge_ramp(side, overlap_px) for side in size_hw)
    return height[:, None] * width[None, :]


def edge_ramp(side: int, overlap_px: int) -> np.ndarray:
    """(side,) float32: the weights along one side of a tile; blend_weights() are their products."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1.0
    return np.minimum(1.0, distance / (overlap_px + 1.0)).astype(np.float32)
