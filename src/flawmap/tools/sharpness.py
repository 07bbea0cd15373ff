"""How sharp a photo is, whatever it shows: its finest detail against detail four times as coarse.

In surfaces and scenes alike the contrast per octave of spatial frequency changes little (Field 1987,
"Relations between the statistics of natural images and the response properties of cortical cells"); blur
takes the finest octaves away first. So the ratio of the two tells blur and enlargement without a reference
photo, and is nearly independent of contrast and brightness. Detail is the variance of the Laplacian.
"""

from __future__ import annotations

import numpy as np

ROUNDING = 20 * (0.299**2 + 0.587**2 + 0.114**2) / 12
"""What rounding to whole levels adds to the finest detail: 1/12 a channel, times the Laplacian's squares."""
LEAST_DETAIL = 0.25
"""Squared grey levels: a coarse variance below is next to nothing, and says nothing about sharpness."""
LOWEST = -8.0
"""The value of nothing but slopes."""


def sharpness(image: np.ndarray) -> float:
    """(H, W, 3) uint8 RGB → log2 of the finest detail's variance over the coarse one's, from -8 (nothing but
    slopes) up; 0 for photos without any detail, or too small."""
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    quarter = _halve(_halve(grey))
    if min(quarter.shape) < 3:
        return 0.0
    fine, coarse = _detail(grey), _detail(quarter)
    if coarse < LEAST_DETAIL:
        return 0.0
    return max(LOWEST, float(np.log2(max(fine - ROUNDING, 1e-6) / coarse)))


def _halve(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape[0] // 2 * 2, grey.shape[1] // 2 * 2
    return grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def _detail(grey: np.ndarray) -> float:
    """Variance of the Laplacian by five points."""
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.square(around - 4 * middle).mean())
