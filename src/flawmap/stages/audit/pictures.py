"""Small copies of every photo, made in one reading: what duplicates, overlaps and the summary look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image

from flawmap.records import Photo, Progress, no_progress
from flawmap.tools.photos import PhotoOptions, read_again

DETAIL_PX = 128
"""Side of the canvas on which shifts between photos are sought; a power of two for the Fourier transform."""
_FITTED_PX = 112
"""Longer side that the middle photo of a set gets there; all share its scale, so that crops match."""
SQUARE_PX = 64
"""Side of the square in which whole photos are compared, whatever their size was."""


@dataclass(frozen=True)
class Pictures:
    """One row per photo.

    `details` is (n, DETAIL_PX, DETAIL_PX) int8: grey at the common scale without its smooth part, in quarters
    of its spread, zero outside the photo. `squares` is (n, SQUARE_PX, SQUARE_PX) uint8 grey.
    """

    details: np.ndarray
    sizes: np.ndarray
    """(n, 2) height and width of the photo on the canvas."""
    squares: np.ndarray
    brightness: np.ndarray
    """(n,) mean grey, 0..255."""
    contrast: np.ndarray
    """(n,) standard deviation of the grey values."""
    is_grey: np.ndarray
    """(n,) bool: the three channels are equal."""

    def take(self, rows: np.ndarray) -> Pictures:
        """These rows, in this order."""
        return Pictures(*(getattr(self, column.name)[rows] for column in fields(self)))


def read_pictures(
    photos: Sequence[Photo], options: PhotoOptions, progress: Progress = no_progress
) -> Pictures:
    """Read every photo once. One that has gone since it was listed raises PhotoError."""
    n = len(photos)
    middle = float(np.median([max(photo.size_hw) for photo in photos])) if n else 1.0
    scale = _FITTED_PX / middle
    details = np.zeros((n, DETAIL_PX, DETAIL_PX), np.int8)
    sizes = np.zeros((n, 2), np.int64)
    squares = np.zeros((n, SQUARE_PX, SQUARE_PX), np.uint8)
    brightness, contrast = np.zeros(n), np.zeros(n)
    is_grey = np.zeros(n, bool)
    for i, image in enumerate(read_again(photos, options)):
        is_grey[i] = _is_grey(image)
        grey = Image.fromarray(image).convert("L")
        small = _shrink(grey, scale)
        sizes[i] = small.shape
        details[i, : small.shape[0], : small.shape[1]] = _detail(small)
        squares[i] = np.asarray(grey.resize((SQUARE_PX, SQUARE_PX), Image.Resampling.BOX))
        brightness[i], contrast[i] = squares[i].mean(), small.std()
        progress("audit: reading photos", i + 1, n)
    return Pictures(details, sizes, squares, brightness, contrast, is_grey)


def _is_grey(image: np.ndarray) -> bool:
    green = image[..., 1]
    return bool((image[..., 0] == green).all() and (image[..., 2] == green).all())


def _shrink(grey: Image.Image, scale: float) -> np.ndarray:
    width, height = (max(8, round(side * scale)) for side in grey.size)
    small = grey.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, np.float32)[:DETAIL_PX, :DETAIL_PX]


def _detail(grey: np.ndarray) -> np.ndarray:
    """(h, w) int8: grey less its blurred copy, clipped at four spreads: no stain outweighs the rest."""
    from scipy.ndimage import uniform_filter

    smooth = uniform_filter(uniform_filter(grey, 7, mode="nearest"), 7, mode="nearest")
    rough = grey - smooth
    spread = float(rough.std())
    if spread < 1e-3:
        return np.zeros(grey.shape, np.int8)
    return np.clip(np.rint(rough / spread * 30), -120, 120).astype(np.int8)
