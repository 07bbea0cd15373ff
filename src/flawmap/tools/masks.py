"""Masks as pixels and back, and what one colour of a mask image stands for."""

from __future__ import annotations

import numpy as np

from flawmap.records import PhotoMask
from flawmap.tools import rle


def to_pixels(mask: PhotoMask) -> np.ndarray:
    """(n_labels, H, W) bool."""
    pixels = np.zeros((len(mask.runs), *mask.size_hw), bool)
    for one, runs in zip(pixels, mask.runs, strict=True):
        one[:] = rle.decode(runs, mask.size_hw)
    return pixels


def to_photo_mask(pixels: np.ndarray) -> PhotoMask:
    """From (n_labels, H, W) bool."""
    if pixels.ndim != 3 or pixels.dtype != np.bool_:
        raise ValueError(f"wanted (n_labels, H, W) bool; got {pixels.shape} {pixels.dtype}")
    return PhotoMask((pixels.shape[1], pixels.shape[2]), tuple(rle.encode(one) for one in pixels))


def to_class_indices(mask: PhotoMask) -> np.ndarray:
    """(H, W) uint8: 0 where no label is, else the label's place from 1 on; labels must not overlap."""
    if len(mask.runs) > 255:
        raise ValueError(f"wanted at most 255 labels; got {len(mask.runs)}")
    indices = np.zeros(mask.size_hw, np.uint8)
    for i, runs in enumerate(mask.runs):
        indices[rle.decode(runs, mask.size_hw)] = i + 1
    return indices


def fill_polygon(points_xy: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels whose centres lie inside a closed polygon (n, 2), by the even-odd rule.

    Pixel (column i, row j) spans i to i + 1 and j to j + 1, so that its centre is (i + 0.5, j + 0.5). A
    centre exactly on the outline counts as inside on the left and top, as outside on the right and bottom.
    What lies outside the photo is cut off.
    """
    height, width = size_hw
    (x0, y0), (x1, y1) = points_xy.T, np.roll(points_xy, -1, axis=0).T
    is_down = y1 > y0
    top, bottom = np.where(is_down, y0, y1), np.where(is_down, y1, y0)
    first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    n_rows = np.clip(np.ceil(bottom - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(points_xy)), n_rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[edge]
    share = (row + 0.5 - y0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + share * (x1[edge] - x0[edge])
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    flips = np.bincount(row * (width + 1) + column, minlength=height * (width + 1))
    flips = flips.reshape(height, width + 1)
    return np.cumsum(flips[:, :width], axis=1) % 2 == 1
