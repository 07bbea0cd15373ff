"""The figures of masks as functions of sums over photos, for a set and for resamples of it (numpy only).

Pixels are pooled: the sums of all photos are divided, not the figures of single photos averaged, save where
it is said. Without a true pixel there is no Dice, IoU, recall or F1 (NaN); false alarms on good photos show
in precision, pixel_accuracy, severstal_score and overkill_rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flawmap.tools.bootstrap import GroupResamples
from flawmap.tools.mask_scores import LEVEL_THRESHOLDS, curve_f1, harmonic
from flawmap.tools.scores import rates

CEILING = ("ods_f1", "ois_f1", "ods_f1_tolerant", "ois_f1_tolerant")
"""Figures whose thresholds are chosen on the very truth that they are judged by: one for all kinds of flaws,
without any cleaning. They bound no mask that is made otherwise."""
CEILING_OF = {"dice": "ods_f1", "f1_tolerant": "ods_f1_tolerant"}
"""Figure → the same at the best single threshold for the set."""
FIGURES = (
    "dice",
    "iou",
    "mean_iou",
    "pixel_accuracy",
    "pixel_accuracy_empty",
    "precision",
    "recall",
    "f1",
    "f1_tolerant",
    *CEILING,
    "cldice",
    "severstal_score",
    "severstal_score_empty",
    "flaw_dice",
    "escape_rate",
    "overkill_rate",
)
PER_CLASS = tuple(name for name in FIGURES if name not in ("ods_f1_tolerant", "ois_f1_tolerant"))
"""Those of each label; its ceilings are strict: with a tolerance every label's probabilities would have to be
dilated."""


_Add = Callable[[np.ndarray], np.ndarray]
"""(n, ...) of photos → their sum (...), or that of each resample (n_resamples, ...)."""


def stack_counts(counts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """`photo_counts` of n photos → name → (n, ...); what any photo lacks (curves) is left out."""
    shared = [name for name in counts[0] if all(name in count for count in counts)]
    return {name: np.stack([count[name] for count in counts]) for name in shared}


def _figures(stacked: Mapping[str, np.ndarray], add: _Add) -> dict[str, np.ndarray]:
    """Stacked counts, whose sums have a leading shape (...) → name → (...) float64; `class:<name>` are
    (..., n_labels).

    dice, iou, precision, recall, f1: any-flaw pixels of all photos pooled (f1 is dice). mean_iou: mean of the
    IoU of flaw and of background. f1_tolerant: of pooled precision (predicted pixels with a true one within
    the tolerance) and recall (true pixels with a predicted one within it). severstal_score: mean Dice of all
    pairs of photo and label, 1 where both are empty, as the Severstal contest on Kaggle (2019) counts; its
    `_empty` is what an answer without any mask gets. flaw_dice: mean Dice of the pairs that have truth.
    escape_rate: photos with a flaw in which nothing was found; overkill_rate: photos without one in which
    something was. Of a label each is the same as if there were no other.
    """
    of_photos = {**stacked, "flaw_dice": stacked["dice"] * stacked["has_truth"]}
    curves = of_photos.pop("label_curves", None)
    sums = {name: add(values) for name, values in of_photos.items()}
    by_column = _pixel_rates(sums) | _photo_rates(sums)
    found = {name: values[..., 0] for name, values in by_column.items()}
    found |= {f"class:{name}": values[..., 1:] for name, values in by_column.items()}
    with_truth = sums["has_truth"][..., 1:].sum(axis=-1)
    for name in ("severstal_score", "severstal_score_empty"):
        found[name] = by_column[name][..., 1:].mean(axis=-1)
    found["flaw_dice"] = _share(sums["flaw_dice"][..., 1:].sum(axis=-1), with_truth)
    if "curves" in sums:
        found |= _ceilings(sums)
    if curves is not None:
        found |= _label_ceilings(curves, add, sums)
    return found


def _photo_rates(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name → (..., columns), where every photo counts as much as any other."""
    n, shown = sums["n"][..., None], sums["has_truth"]
    return {
        "severstal_score": _share(sums["dice"], n),
        "severstal_score_empty": _share(n - shown, n),
        "flaw_dice": _share(sums["flaw_dice"], shown),
        "escape_rate": _share(sums["escaped"], shown),
        "overkill_rate": _share(sums["overkilled"], n - shown),
    }


def _pixel_rates(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name → (..., columns), pixels pooled."""
    right, false, missed = np.moveaxis(sums["hits"], -2, 0)
    pixels = sums["pixels"][..., None]
    found = rates(sums["hits"], sums["pixels"])
    del found["specificity"]
    true = right + missed
    found["dice"] = found["f1"]
    found["iou"] = np.where(true > 0, right / np.maximum(true + false, 1), np.nan)
    found["mean_iou"] = 0.5 * (found["iou"] + _share(pixels - true - false, pixels - right))
    found["pixel_accuracy"] = _share(pixels - false - missed, pixels)
    found["pixel_accuracy_empty"] = _share(pixels - true, pixels)
    near_said, near_true = np.moveaxis(sums["near"], -2, 0)
    found["f1_tolerant"] = harmonic(near_said, right + false, near_true, true)
    if "skeleton" in sums:
        found["cldice"] = _cldice(sums["skeleton"])
    return found


def _cldice(counted: np.ndarray) -> np.ndarray:
    """Centre-line Dice, skeleton pixels pooled over the photos.

    Harmonic mean of the share of the predicted skeleton inside the true mask and of the true skeleton inside
    the predicted mask (S. Shit et al., clDice, CVPR 2021, equations 1 and 2).
    """
    inside, said, found, true = np.moveaxis(counted, -1, 0)
    return harmonic(inside, said, found, true)


def _ceilings(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Optimal data set scale: pooled F1 at the best common threshold of the grid. Optimal image scale: mean
    over the photos that have truth of each photo's F1 at its own best threshold.

    So the scripts of the crack literature count (strict pixels; DeepCrack, Y. Liu et al., 2019, and its
    successors), whose grid has steps of 0.01; `_tolerant` is the same with the tolerance of f1_tolerant.
    """
    best = curve_f1(sums["curves"])
    flawed = sums["has_truth"][..., 0]
    mean = _share(sums["ois"], flawed[..., None])
    ods = np.where(flawed[..., None] > 0, best.max(axis=-1), np.nan)
    return {
        "ods_f1": ods[..., 0],
        "ods_f1_tolerant": ods[..., 1],
        "ods_threshold": np.where(flawed > 0, LEVEL_THRESHOLDS[best[..., 0, :].argmax(axis=-1)], np.nan),
        "ois_f1": mean[..., 0],
        "ois_f1_tolerant": mean[..., 1],
    }


def _label_ceilings(curves: np.ndarray, add: _Add, sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The strict ones of each label from (n, n_labels, 2, 255) curves. Label by label: the sums of all
    resamples take 4 MB for each."""
    true = (sums["hits"][..., 0, 1:] + sums["hits"][..., 2, 1:])[..., None]
    best = []
    for i in range(curves.shape[1]):
        said, right = np.moveaxis(add(curves[:, i]), -2, 0)
        best.append(harmonic(right, said, right, true[..., i, :]).max(axis=-1))
    ois = _share(sums["label_ois"], sums["has_truth"][..., 1:])
    return {"class:ods_f1": np.stack(best, axis=-1), "class:ois_f1": ois}


def is_above_ceiling(metrics: Mapping[str, Any]) -> bool:
    """Whether a figure of the set beats what the best single threshold gives."""
    pairs = [(metrics.get(own), metrics.get(ceiling)) for own, ceiling in CEILING_OF.items()]
    return any(own is not None and best is not None and own > best for own, best in pairs)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def figures_of_set(stacked: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The figures of all photos from their stacked counts."""
    return _figures(stacked, lambda values: values.sum(axis=0))


def figures_of_resamples(
    stacked: Mapping[str, np.ndarray], resamples: GroupResamples
) -> dict[str, np.ndarray]:
    """The same for every resample: (n_resamples,) or (n_resamples, n_labels); thresholds of ODS anew."""
    return _figures(stacked, resamples.sums)
