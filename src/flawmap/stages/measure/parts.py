"""A mask taken apart: its classes, and every connected region of one with the surface around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flawmap.stages.measure.centre_lines import label_pieces


@dataclass(frozen=True, eq=False)
class Region:
    """One connected region of a mask."""

    mask: np.ndarray
    """(h, w) bool: it alone, in a window of the photo."""
    area_px: int
    box_xyxy: tuple[int, int, int, int]
    """In pixels of the photo; right and bottom are exclusive."""
    origin_xy: tuple[int, int]
    """Of the window in the photo."""

    @property
    def pixels_xy(self) -> np.ndarray:
        """(n, 2) middles of the mask's pixels in the photo."""
        return np.argwhere(self.mask)[:, ::-1] + np.array(self.origin_xy)

    def crop(self, picture: np.ndarray | None) -> np.ndarray | None:
        """(h, w) of a picture of the whole photo."""
        left, top = self.origin_xy
        height, width = self.mask.shape
        return None if picture is None else picture[top : top + height, left : left + width]


def split_classes(mask: np.ndarray) -> Iterator[tuple[int | None, np.ndarray]]:
    """(class number, (H, W) bool) of each class of (H, W) uint8 class numbers, 0 where there is none; a bool
    mask has one class without a number."""
    if mask.dtype != np.uint8:
        yield None, mask
        return
    for class_index in np.flatnonzero(np.bincount(mask.ravel())[1:]) + 1:
        yield int(class_index), mask == class_index


def split_regions(mask: np.ndarray, surface_px: int = 0) -> Iterator[Region]:
    """The regions of an (H, W) bool mask (corners connect), from the top down, in windows that hold
    `surface_px` around them and as much again as a region may be thick."""
    from scipy import ndimage

    labels, _ = label_pieces(mask)
    areas = np.bincount(labels.ravel())
    for i, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        # No profile reaches further than this: a radius is at most half the shorter side.
        margin = surface_px + min(rows.stop - rows.start, columns.stop - columns.start)
        top, left = max(0, rows.start - margin), max(0, columns.start - margin)
        window = labels[top : rows.stop + margin, left : columns.stop + margin]
        box = (columns.start, rows.start, columns.stop, rows.stop)
        yield Region(window == i, int(areas[i]), box, (left, top))
