"""What one photo's masks add to the sums that figures of masks are made of (numpy; skeletons: scikit-image).

Throughout, truth and prediction of a photo are (n_labels, H, W) bool and may overlap; "any flaw" is their
union. Probabilities are (n_labels, H, W) floats from 0 to 1, or uint8 levels as `to_levels` makes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from flawmap.errors import DatasetError

N_LEVELS = 256
"""Probabilities are told apart in steps of 1/256. Thresholds that are multiples of it are exact on levels."""
LEVEL_THRESHOLDS = np.arange(1, N_LEVELS) / N_LEVELS
"""(255,) the grid of thresholds: 1/256 to 255/256, 0.5 among them."""


def to_levels(probabilities: np.ndarray) -> np.ndarray:
    """Floats 0..1 → uint8 floor(256 p), at most 255, so that level ≥ k is p ≥ k/256; uint8 stays as it is."""
    if probabilities.dtype == np.uint8:
        return probabilities
    return np.clip(probabilities * N_LEVELS, 0, N_LEVELS - 1).astype(np.uint8)


def dilate(values: np.ndarray, radius_px: float) -> np.ndarray:
    """(..., H, W) bool or uint8 → the maximum over the disk dx² + dy² ≤ radius_px²; outside counts as 0.

    Rows are widened step by step and then moved up and down: some 4 radius_px maxima per pixel.
    """
    reach = math.floor(radius_px)
    out, row, width = values.copy(), values.copy(), 0
    for dy in range(reach, -1, -1):
        wanted = math.floor(math.sqrt(radius_px**2 - dy**2) + 1e-9)
        while width < wanted:
            width += 1
            np.maximum(row[..., width:], values[..., :-width], out=row[..., width:])
            np.maximum(row[..., :-width], values[..., width:], out=row[..., :-width])
        if dy == 0:
            np.maximum(out, row, out=out)
        else:
            np.maximum(out[..., dy:, :], row[..., :-dy, :], out=out[..., dy:, :])
            np.maximum(out[..., :-dy, :], row[..., dy:, :], out=out[..., :-dy, :])
    return out


def photo_counts(
    truth: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray | None = None,
    tolerance_px: float = 2.0,
    has_cldice: bool = True,
) -> dict[str, np.ndarray]:
    """Name → float64 addend of one photo; sums over photos go into `mask_figures.figures`.

    (1 + n_labels) columns, any flaw first: `hits` (3, columns: right, false, missed pixels), `near` (2,
    columns: predicted pixels with a true one within `tolerance_px`, true pixels with a predicted one),
    `dice` (1 where truth and prediction are both empty), `has_truth`, `escaped`, `overkilled`, `skeleton`
    (columns, 4). With probabilities also `score` (columns), the highest; of any flaw `curves` (5, 255) and
    `ois` (2), see `level_curves`; of each label `label_curves` (n_labels, 2, 255: predicted, right) and
    `label_ois`. Distances are Euclidean between pixel centres and neither mask is thinned. Raises
    DatasetError for shapes that do not fit.
    """
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    if truth.ndim != 3 or truth.shape != predicted.shape:
        raise DatasetError(
            f"need truth and prediction (n_labels, H, W) of one shape; "
            f"got {truth.shape} and {predicted.shape}"
        )
    if probabilities is not None and probabilities.shape != truth.shape:
        raise DatasetError(
            f"need probabilities of the truth's shape {truth.shape}; got {probabilities.shape}"
        )
    truths, said = _with_any(truth), _with_any(predicted)
    near_truth = [dilate(mask, tolerance_px) if mask.any() else mask for mask in truths]
    columns = _twice(
        [_mask_counts(*masks, tolerance_px) for masks in zip(truths, said, near_truth, strict=True)]
    )
    hits = np.stack([column[:3] for column in columns], axis=1)
    has_truth = hits[0] + hits[2] > 0
    both = 2 * hits[0] + hits[1] + hits[2]
    is_said = hits[0] + hits[1] > 0
    counts = {
        "n": np.ones(()),
        "pixels": np.float64(truth[0].size),
        "hits": hits,
        "near": np.stack([column[3:] for column in columns], axis=1),
        "dice": np.where(both > 0, 2 * hits[0] / np.maximum(both, 1), 1.0),
        "has_truth": has_truth.astype(np.float64),
        "escaped": (has_truth & ~is_said).astype(np.float64),
        "overkilled": (is_said & ~has_truth).astype(np.float64),
    }
    if has_cldice:
        lines = zip(truths, said, _skeletons(truths), _skeletons(said), strict=True)
        counts["skeleton"] = np.stack(_twice([_skeleton_counts(*masks) for masks in lines]))
    if probabilities is not None:
        counts |= _level_counts(truth, truths[0], near_truth[0], to_levels(probabilities), tolerance_px)
    return counts


def empty_counts(counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`photo_counts` of a photo → those of an answer without any mask."""
    has_truth, nothing = counts["has_truth"], np.zeros_like(counts["hits"][0])
    found = {
        "n": counts["n"],
        "pixels": counts["pixels"],
        "hits": np.stack([nothing, nothing, counts["hits"][0] + counts["hits"][2]]),
        "near": np.zeros_like(counts["near"]),
        "dice": 1 - has_truth,
        "has_truth": has_truth,
        "escaped": has_truth,
        "overkilled": nothing,
    }
    if "skeleton" in counts:
        found["skeleton"] = counts["skeleton"] * (0, 0, 0, 1)
    return found


def _twice(columns: list[np.ndarray]) -> list[np.ndarray]:
    """Of a single label its column stands for any flaw too."""
    return columns * 2 if len(columns) == 1 else columns


def _level_counts(
    truth: np.ndarray, any_truth: np.ndarray, near_truth: np.ndarray, levels: np.ndarray, tolerance_px: float
) -> dict[str, np.ndarray]:
    """What `photo_counts` has of levels (n_labels, H, W) at every threshold."""
    curves = level_curves(any_truth, near_truth, levels.max(axis=0), tolerance_px)
    of_labels = np.stack([level_curves(*masks, None) for masks in zip(truth, truth, levels, strict=True)])
    highest = levels.max(axis=(1, 2), initial=0) / N_LEVELS
    return {
        "curves": curves,
        "ois": curve_f1(curves).max(axis=-1),
        "label_curves": of_labels[:, :2].astype(np.uint32),  # a photo's pixels: half the memory of floats
        "label_ois": curve_f1(of_labels)[:, 0].max(axis=-1),
        "score": np.concatenate([[highest.max()], highest]),
    }


def _with_any(masks: np.ndarray) -> np.ndarray:
    """(1 + n_labels, H, W), any flaw first; of a single label just that one, which is any flaw too."""
    return masks if len(masks) == 1 else np.concatenate([np.any(masks, axis=0, keepdims=True), masks])


def _mask_counts(truth: np.ndarray, said: np.ndarray, near_truth: np.ndarray, radius_px: float) -> np.ndarray:
    """(5,) right, false and missed pixels; predicted pixels near the truth, true ones near the prediction."""
    n_true, n_said = np.count_nonzero(truth), np.count_nonzero(said)
    if not n_true or not n_said:
        return np.array([0, n_said, n_true, 0, 0], np.float64)
    right = np.count_nonzero(truth & said)
    near_said = np.count_nonzero(said & near_truth)
    near_true = np.count_nonzero(truth & dilate(said, radius_px))
    return np.array([right, n_said - right, n_true - right, near_said, near_true], np.float64)


def _skeletons(masks: np.ndarray) -> list[np.ndarray]:
    """Of each mask; a label that is all that is there shares that of any flaw."""
    lines = [skeleton(masks[0])]
    return lines + [lines[0] if np.array_equal(mask, masks[0]) else skeleton(mask) for mask in masks[1:]]


def _skeleton_counts(
    truth: np.ndarray, said: np.ndarray, true_line: np.ndarray, said_line: np.ndarray
) -> np.ndarray:
    """(4,) pixels: predicted skeleton inside the truth, all of it; true skeleton found, all of it."""
    masks = (said_line & truth, said_line, true_line & said, true_line)
    return np.array([np.count_nonzero(mask) for mask in masks], np.float64)


def skeleton(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool → its centre lines, one pixel wide (Zhang and Suen, 1984, by scikit-image)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return mask
    from skimage.morphology import skeletonize

    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    thin = np.zeros_like(mask)
    thin[box] = skeletonize(np.pad(mask[box], 1))[1:-1, 1:-1]
    return thin


def level_curves(
    truth: np.ndarray, near_truth: np.ndarray, levels: np.ndarray, tolerance_px: float | None
) -> np.ndarray:
    """(5, 255) float64 pixels at every threshold of the grid, in one pass by histograms; all maps (H, W).

    Rows: predicted, right, predicted near the truth, true near the prediction, true. With tolerance None the
    third and the fourth row stay 0. A true pixel is near a prediction at threshold t where the highest level
    within the tolerance reaches t, so that the dilated levels serve all thresholds.
    """
    curves = np.zeros((5, N_LEVELS - 1))
    curves[0] = _tail(levels)
    n_true = np.count_nonzero(truth)
    if n_true:
        curves[1] = _tail(levels[truth])
        if tolerance_px is not None:
            curves[2] = _tail(levels[near_truth])
            curves[3] = _tail(dilate(levels, tolerance_px)[truth])
        curves[4] = n_true
    return curves


def _tail(levels: np.ndarray) -> np.ndarray:
    """(255,) how many levels reach 1, 2 … 255."""
    counted = np.bincount(levels.ravel(), minlength=N_LEVELS)
    return counted[::-1].cumsum()[::-1][1:]


def curve_f1(curves: np.ndarray) -> np.ndarray:
    """(..., 5, k) summed `level_curves` → (..., 2, k): F1 and tolerant F1; 0 where it has no meaning."""
    said, right, near_said, near_true, true = np.moveaxis(curves, -2, 0)
    tolerant = harmonic(near_said, said, near_true, true)
    return np.nan_to_num(np.stack([harmonic(right, said, right, true), tolerant], axis=-2))


def balanced(flaw_dice: np.ndarray | float, quiet: np.ndarray | float) -> np.ndarray:
    """Harmonic mean of the mean Dice of photos with a flaw and of the share of others in which nothing is
    found: neither makes up for the other, and to find nothing anywhere is worth 0."""
    one = np.ones(())
    return harmonic(np.asarray(flaw_dice), one, np.asarray(quiet), one)


def harmonic(right: np.ndarray, said: np.ndarray, found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """F1 of precision right / said and recall found / true; 0 where nothing is right, NaN without truth."""
    precision, recall = right / np.maximum(said, 1), found / np.maximum(true, 1)
    total = precision + recall
    f1 = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)
    return np.where(true > 0, f1, np.nan)
