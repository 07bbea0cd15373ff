"""From probabilities to masks: thresholds, hysteresis, smallest areas (numpy; components by scipy)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import Cleaning
from flawmap.tools.mask_scores import N_LEVELS

_NEIGHBOURS = np.ones((3, 3), bool)


def clean_masks(probabilities: np.ndarray, cleaning: Cleaning, area_factor: float = 1.0) -> np.ndarray:
    """(n_labels, H, W) floats 0..1, or uint8 levels of 1/256 → (n_labels, H, W) bool masks.

    In this order: low thresholds; where labels exclude each other the likeliest of those that hold a pixel
    (equals: the first); of the 8-connected components left, those that reach the threshold and the smallest
    area. `area_factor` multiplies the smallest areas, see `area_factor`; an area of 0 counts as 1 there.
    Raises OptionError for a cleaning of other labels.
    """
    if probabilities.ndim != 3 or len(probabilities) != len(cleaning.thresholds):
        raise OptionError(
            f"need probabilities ({len(cleaning.thresholds)}, H, W), as many labels as the cleaning has; "
            f"got {probabilities.shape}"
        )
    masks = to_candidates(probabilities, cleaning)
    settings = zip(cleaning.thresholds, cleaning.lows, cleaning.min_area_px, strict=True)
    for i, (high, low, area) in enumerate(settings):
        seeds = reaches(probabilities[i], high) if high > low else None
        least_px = math.ceil(max(area, 1) * area_factor)
        masks[i] = keep_components(masks[i], least_px, seeds)
    return masks


def to_candidates(probabilities: np.ndarray, cleaning: Cleaning) -> np.ndarray:
    """The first two steps of clean_masks(), which look at single pixels: the same arrays in and out."""
    masks = np.stack([reaches(p, low) for p, low in zip(probabilities, cleaning.lows, strict=True)])
    return resolve_overlaps(masks, probabilities) if cleaning.is_exclusive and len(masks) > 1 else masks


def reaches(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Where the probability is at least the threshold; levels are rounded down, so none is let in wrongly."""
    if probabilities.dtype == np.uint8:
        return probabilities >= math.ceil(threshold * N_LEVELS)
    return probabilities >= threshold


def resolve_overlaps(masks: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n_labels, H, W) bool masks → the same without overlaps: the likeliest label keeps the pixel."""
    winner = np.where(masks, probabilities, probabilities.dtype.type(0)).argmax(axis=0)
    return masks & (winner == np.arange(len(masks))[:, None, None])


def keep_components(mask: np.ndarray, min_area_px: int, seeds: np.ndarray | None = None) -> np.ndarray:
    """The 8-connected components of (H, W) bool of at least `min_area_px` that hold a seed, where given."""
    if min_area_px <= 1 and seeds is None:
        return mask
    labelled, n = label_components(mask)
    kept = np.bincount(labelled.ravel(), minlength=n + 1) >= min_area_px
    if seeds is not None:
        seeded = np.zeros(n + 1, bool)
        seeded[labelled[mask & seeds]] = True
        kept &= seeded
    kept[0] = False
    return kept[labelled]


def label_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """(H, W) bool → (H, W) int32 numbers of its 8-connected components from 1 on (0: none), and how many."""
    from scipy import ndimage

    found: Any = ndimage.label(mask, _NEIGHBOURS)
    return found[0], int(found[1])


def area_factor(photo_score: float, threshold: float, most: float = 16.0) -> float:
    """By how much a photo-level model's doubt raises the smallest area of a mask, for `clean_masks`.

    1 where the flaw score (0..1) reaches the threshold; below it the factor grows steadily on a logarithmic
    scale, to `most` at score 0.
    """
    if not 0 < threshold <= 1 or not most >= 1:
        raise OptionError(f"need a threshold above 0 to 1 and most of 1 or more; got {threshold} and {most}")
    return float(most ** (1.0 - min(max(photo_score, 0.0), threshold) / threshold))
