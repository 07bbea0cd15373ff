"""What a whole crack tells and a single profile cannot: how dark it is by itself, and how blurred the photo.

Blur hides the darkness of a narrow crack: a line of grey values across it gives little more than the product
of width and darkness. But hundreds of lines across the same crack, laid over each other by their middles,
give its shape to a fraction of a grey value, and a box that was blurred has a flatter top and steeper flanks
than a narrower, darker one that misses as much. So the readings are pooled in a few groups from narrow to
wide, and blurred boxes are fitted to all groups at once: one blur and one darkness for the whole crack, a
width for each group. Where the shapes leave it open, what is usual for open cracks and photos decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flawmap.stages.measure.profiles import CrackLook, Widths

_BIN_PX, _REACH_PX = 0.25, 6.0
"""Of the pooled shape, and how far beyond the half-width it is compared."""
_LEAST_READINGS, _PER_GROUP, _MOST_GROUPS = 8, 8, 4
_DEPTHS = np.linspace(0.3, 1.0, 57)
"""Of an open crack: the share of the surface's brightness that is missing in it."""
_BLURS_PX = np.geomspace(0.35, 2.5, 36)
_USUAL_DEPTH, _DEPTH_SD = 0.69, 0.14
"""Open cracks are mostly 0.1 to 0.5 as bright as their surface."""
_USUAL_BLUR_PX, _BLUR_LOG_SD = 0.9, 0.45
"""The mixing within pixels included."""
_MODEL_ERROR = 0.005
"""What a blurred box may be off by itself, as a share of the surface's brightness."""
_LEAST_PLACES = 8
"""Of a pooled shape, to be compared at all."""
_ALIKE = 6
"""Samples of profiles that stand side by side share pixels, and so do those next to each other across: so
many count as one. With fewer the noise of a blurred crack is taken for its shape."""


def learn_look(batches: Sequence[tuple[np.ndarray, Widths]]) -> CrackLook | None:
    """From (n, k) grey values and what was read of them, batch by batch; None for fewer than 8 readings.

    A grid of depths and blurs is weighed by how well blurred boxes fit the pooled shapes (least squares) and
    by how usual they are; the look is the mean over that posterior.
    """
    missing_px = np.concatenate([widths.missing_px for _, widths in batches] or [np.zeros(0)])
    n_readings = len(missing_px)
    if n_readings < _LEAST_READINGS:
        return None
    rank = np.argsort(np.argsort(missing_px))
    group = rank * int(np.clip(n_readings // _PER_GROUP, 1, _MOST_GROUPS)) // n_readings
    starts = np.cumsum([0, *(len(widths) for _, widths in batches)])
    laid = [_lay_over(*pair) for pair in batches]
    away, missing = (np.concatenate([part[i] for part in laid]) for i in (0, 1))
    row = np.concatenate([part[2] + start for part, start in zip(laid, starts, strict=False)])
    depth, blur = _DEPTHS[:, None], _BLURS_PX[None, :]
    misfit = ((depth - _USUAL_DEPTH) / _DEPTH_SD) ** 2 + (np.log(blur / _USUAL_BLUR_PX) / _BLUR_LOG_SD) ** 2
    for i in range(group.max() + 1):
        chosen = group[row] == i
        misfit = misfit + _misfit(away[chosen], missing[chosen])
    weight = np.exp((misfit.min() - misfit) / 2)
    weight /= weight.sum()
    log_depth = float((weight * np.log(depth)).sum())
    spread = float((weight * (np.log(depth) - log_depth) ** 2).sum() ** 0.5)
    return CrackLook(1 - float(np.exp(log_depth)), float((weight * blur).sum()), 2 * spread)


def _lay_over(profiles: np.ndarray, widths: Widths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every sample near the crack: how far from its middle, the share that is missing, and its row."""
    middle = (widths.left + widths.right) / 2
    away = np.abs(np.arange(profiles.shape[1]) - middle[:, None])
    missing = 1 - profiles / np.maximum(widths.surface, 1e-9)[:, None]
    rows, columns = np.nonzero(away <= widths.half_px[:, None] / 2 + _REACH_PX)
    return away[rows, columns], missing[rows, columns], rows


def _misfit(away: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """(depths, blurs) sum of squares, in standard deviations, between one pooled shape and blurred boxes."""
    from scipy.special import erf

    place = (away / _BIN_PX).astype(np.int64)
    counts = np.bincount(place)
    sums = [np.bincount(place, weights=values) for values in (away, missing, missing**2)]
    is_used = counts >= 2
    if is_used.sum() < _LEAST_PLACES:
        return np.zeros((len(_DEPTHS), len(_BLURS_PX)))
    n, (at, shape, squares) = counts[is_used], (total[is_used] / counts[is_used] for total in sums)
    noise = np.median(np.maximum(squares - shape**2, 0)) * _ALIKE / n
    # Where the crack runs along the rows every profile meets the pixels alike, and nothing evens out.
    model_error = _MODEL_ERROR / is_used.mean()
    surface = np.median(shape[-8:])
    shape = shape - surface
    area = 2 * np.trapezoid(np.concatenate([shape[:1], shape]), np.concatenate([[0.0], at]))
    width = area / _DEPTHS[:, None, None]
    deviations = (2**0.5 * _BLURS_PX)[:, None]
    boxes = erf((width / 2 + at) / deviations) + erf((width / 2 - at) / deviations)
    off = _DEPTHS[:, None, None] / 2 * boxes - shape
    return (off**2 / (noise + model_error**2)).sum(axis=2)
