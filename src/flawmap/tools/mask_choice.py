"""What masks are cleaned with, chosen per label on validation photos (numpy; components by scipy).

One rule decides everything: of all settings tried, those that fall behind the best by at most one standard
error of the paired difference (resampled over groups) are as good; of these the simplest is taken, and among
equally simple ones the best figure. Settings that are worse than the simplest are never taken. With a single
group the standard error is 0, so the best is taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flawmap.errors import DatasetError, OptionError
from flawmap.records import Cleaning
from flawmap.tools import mask_figures
from flawmap.tools.bootstrap import GroupResamples, draw_groups
from flawmap.tools.mask_cleaning import clean_masks, label_components, reaches, resolve_overlaps
from flawmap.tools.mask_scores import (
    LEVEL_THRESHOLDS,
    N_LEVELS,
    balanced,
    dilate,
    harmonic,
    level_curves,
    photo_counts,
    to_levels,
)
from flawmap.tools.options import Options
from flawmap.tools.plain import to_plain

Criterion = Literal["f1", "f1_tolerant", "flaw_dice", "severstal_score", "balanced"]
ValidationPhotos = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Starts a pass over the photos: (truth, probabilities), both (n_labels, H, W), always in the same order."""
_COMPARED = ("dice", "f1_tolerant", "flaw_dice", "severstal_score", "escape_rate", "overkill_rate")
_PLAIN = N_LEVELS // 2
_SHOWN_EVERY = 16


@dataclass(frozen=True)
class CleaningOptions(Options):
    """Which figure decides, and the grids that are tried. Areas are pixels of the photos as evaluated."""

    criterion: Criterion | None = None
    """For the thresholds, per label; None: `balanced` where any photo has no flaw at all, else `f1`. Pooled
    strict F1 (Dice), pooled F1 with the tolerance, or mean Dice of the photos that show the label
    (`flaw_dice`) or of all photos, 1 where both are empty; `balanced`: harmonic mean of the mean Dice of the
    photos that show the label and of the share of the others in which none of it is found, so that no label
    is given up for quiet photos."""
    tolerance_px: float = 2.0
    low_shares: tuple[float, ...] = (0.5, 0.75)
    """Low thresholds of the hysteresis, as shares of the threshold."""
    high_shares: tuple[float, ...] = (0.25, 0.5)
    """High thresholds of the hysteresis: this share of the way from the threshold up to 1."""
    areas_px: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048)
    is_exclusive: bool = False
    n_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 < share < 1 for share in (*self.low_shares, *self.high_shares)):
            raise OptionError(
                f"low_shares {self.low_shares} and high_shares {self.high_shares} have to lie between 0 and 1"
            )
        if min(self.areas_px, default=1) < 1 or self.tolerance_px < 0 or self.n_resamples < 1:
            raise OptionError(
                f"need areas_px and n_resamples of 1 or more and tolerance_px of 0 or more; got "
                f"{self.areas_px}, {self.n_resamples} and {self.tolerance_px}"
            )


@dataclass(frozen=True)
class CleaningChoice:
    """The chosen cleaning, and plain rows for the report."""

    cleaning: Cleaning
    compared: tuple[dict[str, Any], ...]
    """label, step (threshold or cleaning), threshold, low_threshold, min_area_px, criterion, value, behind
    (the best), standard_error, is_chosen. Of the 255 thresholds every sixteenth, both ends and those that
    matter."""
    figures: dict[str, dict[str, float | None]]
    """Validation figures of thresholds 0.5, of the chosen thresholds alone and of the chosen cleaning."""


def choose_cleaning(
    photos: ValidationPhotos,
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
    options: CleaningOptions = CleaningOptions(),
) -> CleaningChoice:
    """Thresholds, hysteresis and smallest areas per label, from validation photos alone.

    First the threshold of each label by `options.criterion`, where 0.5 is the simplest. Then, with that
    threshold, hysteresis and smallest area together by a figure that sees good photos: `balanced` where any
    photo has no flaw at all, else its pooled Dice (by severstal_score a rare label would do best without any
    mask); a plain threshold is simpler than a smallest area, that than hysteresis, and both together are the
    least simple. A label without truth keeps 0.5 and no smallest area. Three passes over the photos; what is
    kept per photo are counts. Probabilities are compared in steps of 1/256, and thresholds as if labels could
    overlap; `figures` of the result come from masks cleaned as they will be. Raises DatasetError without a
    photo.
    """
    curves = [_photo_curves(*photo, options) for photo in photos()]
    if not curves:
        raise DatasetError("cleaning is chosen on validation photos; got none")
    if len(curves[0]) != len(labels):
        raise DatasetError(
            f"need masks (n_labels, H, W) of {len(labels)} labels; got {len(curves[0])} of them"
        )
    stacked = np.stack(curves)
    balance: Criterion = "balanced" if (stacked[:, :, 4, 0] == 0).all(axis=1).any() else "f1"
    resamples = draw_groups(groups, len(stacked), options.n_resamples, options.seed)
    rows: list[dict[str, Any]] = []
    highs = [
        _choose_threshold(stacked[:, i], label, options.criterion or balance, resamples, rows)
        for i, label in enumerate(labels)
    ]
    grids = [_settings(high, options) for high in highs]
    counted = [_photo_components(*photo, highs, grids, options) for photo in photos()]
    chosen = [
        _choose_setting(
            np.stack(of_label), stacked[:, i, 4, 0], grids[i], labels[i], balance, resamples, rows
        )
        for i, of_label in enumerate(zip(*counted, strict=True))
    ]
    cleaning = _to_cleaning(chosen, options)
    figures = _compare(photos, highs, cleaning, options)
    return CleaningChoice(cleaning, tuple(rows), figures)


def _photo_curves(truth: np.ndarray, probabilities: np.ndarray, options: CleaningOptions) -> np.ndarray:
    """(n_labels, 5, 255) `level_curves` of one photo; those with the tolerance only where they decide."""
    tolerance = options.tolerance_px if options.criterion == "f1_tolerant" else None
    return np.stack(
        [
            level_curves(mask, mask if tolerance is None else dilate(mask, tolerance), levels, tolerance)
            for mask, levels in zip(np.asarray(truth, bool), to_levels(probabilities), strict=True)
        ]
    )


def _addends(curves: np.ndarray, criterion: str) -> np.ndarray:
    """(n, 5, k) counts of photos → (n, m, k) what `_quality` needs the sums of."""
    said, right, near_said, near_true, true = np.moveaxis(curves, 1, 0)
    if criterion == "f1":
        return np.stack([right, said, right, true], axis=1)
    if criterion == "f1_tolerant":
        return np.stack([near_said, said, near_true, true], axis=1)
    dice = np.where(said + true > 0, 2 * right / np.maximum(said + true, 1), 1.0)
    if criterion == "balanced":
        shows = (true > 0).astype(float)
        return np.stack([dice * shows, shows, (said == 0) * (1 - shows), 1 - shows], axis=1)
    counts = true > 0 if criterion == "flaw_dice" else np.ones_like(true)
    return np.stack([dice * counts, counts], axis=1)


def _quality(sums: np.ndarray, criterion: str) -> np.ndarray:
    """(..., m, k) sums → (..., k): the label's figure; 0 where a resample has no truth."""
    if criterion in ("f1", "f1_tolerant"):
        return np.nan_to_num(harmonic(*np.moveaxis(sums, -2, 0)))
    totals, counts = sums[..., 0::2, :], sums[..., 1::2, :]
    means = totals / np.maximum(counts, 1)
    if criterion == "balanced":
        is_without = counts[..., 1, :] == 0
        return balanced(means[..., 0, :], np.where(is_without, 1.0, means[..., 1, :]))
    return means[..., 0, :]


@dataclass(frozen=True)
class _Verdict:
    chosen: int
    value: np.ndarray
    behind: np.ndarray
    standard_error: np.ndarray


def _choose_simplest(
    addends: np.ndarray, criterion: str, complexity: np.ndarray, resamples: GroupResamples
) -> _Verdict:
    """The rule of this module for (n, m, k) addends of k settings; setting 0 is the simplest, equals go by
    their order. What a setting falls behind is measured resample by resample against the same best."""
    value = _quality(addends.sum(axis=0), criterion)
    best = int(np.argmax(value))
    drawn = _quality(resamples.sums(addends), criterion)
    error = (drawn[:, [best]] - drawn).std(axis=0)
    behind = value[best] - value
    is_as_good = (behind <= error + 1e-12) & (value >= value[0])
    order = np.lexsort((np.arange(len(value)), -value, complexity, ~is_as_good))
    return _Verdict(int(order[0]), value, behind, error)


def _choose_threshold(
    curves: np.ndarray,
    label: str,
    criterion: str,
    resamples: GroupResamples,
    rows: list[dict[str, Any]],
) -> int:
    """The level k (threshold k / 256) for one label from its (n, 5, 255) curves; rows get what was tried."""
    order = np.argsort(np.abs(np.arange(1, N_LEVELS) - _PLAIN), kind="stable")
    if not curves[:, 4, 0].any():
        return _PLAIN
    verdict = _choose_simplest(
        _addends(curves[:, :, order], criterion), criterion, (np.arange(len(order)) > 0) * 1, resamples
    )
    ends = {int(np.argmin(order)), int(np.argmax(order))}
    matters = {0, verdict.chosen, int(np.argmax(verdict.value)), *ends}
    for i in np.argsort(order):
        if int(i) in matters or (order[i] + 1) % _SHOWN_EVERY == 0:
            setting = _Setting(int(order[i]) + 1, int(order[i]) + 1, 0)
            rows.append(_row(label, "threshold", setting, criterion, verdict, int(i)))
    return int(order[verdict.chosen]) + 1


@dataclass(frozen=True)
class _Setting:
    """Levels of the high and the low threshold, and the smallest area (0: none)."""

    high: int
    low: int
    area_px: int

    @property
    def complexity(self) -> int:
        return 2 * (self.high != self.low) + (self.area_px > 0)


def _settings(level: int, options: CleaningOptions) -> list[_Setting]:
    """All that is tried for a label with this threshold, the plain threshold first."""
    lows = [level, *(max(1, round(level * share)) for share in options.low_shares)]
    highs = [level, *(min(N_LEVELS - 1, round(level + s * (N_LEVELS - level))) for s in options.high_shares)]
    grid = itertools.product(highs, lows, (0, *options.areas_px))
    return list(dict.fromkeys(itertools.starmap(_Setting, grid)))


def _photo_components(
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: Sequence[int],
    grids: Sequence[Sequence[_Setting]],
    options: CleaningOptions,
) -> list[np.ndarray]:
    """Per label (2, k) pixels of one photo: in the mask that each setting leaves, and right ones of these.

    The components of a low threshold are listed once with size, highest level and right pixels: they answer
    for every high threshold and area. Labels that exclude each other are resolved with the other labels at
    their plain thresholds.
    """
    levels = to_levels(probabilities)
    plain = np.stack([reaches(p, k / N_LEVELS) for p, k in zip(levels, thresholds, strict=True)])
    counted = []
    for i, settings in enumerate(grids):
        of_low = {}
        for low in {setting.low for setting in settings}:
            mask = levels[i] >= low
            if options.is_exclusive and len(levels) > 1:
                rivals = plain.copy()
                rivals[i] = mask
                mask = resolve_overlaps(rivals, levels)[i]
            of_low[low] = _components(mask, levels[i], np.asarray(truth[i], bool))
        counted.append(np.stack([_kept(of_low[s.low], s) for s in settings], axis=1))
    return counted


def _components(mask: np.ndarray, levels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(3, n) size, highest level and right pixels of each 8-connected component."""
    labelled, n = label_components(mask)
    numbers = labelled[mask] - 1
    highest = np.zeros(n, np.uint8)
    np.maximum.at(highest, numbers, levels[mask])
    right = np.bincount(numbers, weights=truth[mask], minlength=n)
    return np.stack([np.bincount(numbers, minlength=n), highest, right]).astype(np.float64)


def _kept(components: np.ndarray, setting: _Setting) -> np.ndarray:
    """(2,) pixels and right pixels of the components that a setting keeps."""
    size, highest, right = components
    kept = (size >= setting.area_px) & (highest >= setting.high)
    return np.array([size[kept].sum(), right[kept].sum()])


def _choose_setting(
    counted: np.ndarray,
    n_true: np.ndarray,
    settings: Sequence[_Setting],
    label: str,
    criterion: str,
    resamples: GroupResamples,
    rows: list[dict[str, Any]],
) -> _Setting:
    """One label's setting from (n, 2, k) counts and (n,) true pixels; what was tried goes to rows."""
    if not n_true.any():
        return settings[0]
    true = np.broadcast_to(n_true[:, None], counted[:, 0].shape)
    unused = np.zeros_like(counted[:, 0])
    addends = _addends(np.stack([counted[:, 0], counted[:, 1], unused, unused, true], axis=1), criterion)
    complexity = np.array([setting.complexity for setting in settings])
    verdict = _choose_simplest(addends, criterion, complexity, resamples)
    for i, setting in enumerate(settings):
        rows.append(_row(label, "cleaning", setting, criterion, verdict, i))
    return settings[verdict.chosen]


def _row(
    label: str, step: str, setting: _Setting, criterion: str, verdict: _Verdict, index: int
) -> dict[str, Any]:
    return {
        "label": label,
        "step": step,
        "threshold": setting.high / N_LEVELS,
        "low_threshold": setting.low / N_LEVELS,
        "min_area_px": setting.area_px,
        "criterion": criterion,
        "value": float(verdict.value[index]),
        "behind": float(verdict.behind[index]),
        "standard_error": float(verdict.standard_error[index]),
        "is_chosen": index == verdict.chosen,
    }


def _to_cleaning(chosen: Sequence[_Setting], options: CleaningOptions) -> Cleaning:
    has_hysteresis = any(setting.high != setting.low for setting in chosen)
    return Cleaning(
        thresholds=tuple(setting.high / N_LEVELS for setting in chosen),
        low_thresholds=tuple(setting.low / N_LEVELS for setting in chosen) if has_hysteresis else None,
        min_area_px=tuple(setting.area_px for setting in chosen),
        is_exclusive=options.is_exclusive,
    )


def _compare(
    photos: ValidationPhotos, levels: Sequence[int], cleaning: Cleaning, options: CleaningOptions
) -> dict[str, dict[str, float | None]]:
    """Validation figures of the plain, the half-way and the chosen cleaning, by cleaning every photo."""
    n_labels = len(levels)
    cleanings = {
        "plain": Cleaning(
            (LEVEL_THRESHOLDS[_PLAIN - 1].item(),) * n_labels, is_exclusive=options.is_exclusive
        ),
        "thresholds": Cleaning(tuple(k / N_LEVELS for k in levels), is_exclusive=options.is_exclusive),
        "chosen": cleaning,
    }
    counts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in cleanings}
    for truth, name, masks in _cleaned(photos, cleanings):
        counts[name].append(photo_counts(truth, masks, tolerance_px=options.tolerance_px, has_cldice=False))
    found = {
        name: mask_figures.figures_of_set(mask_figures.stack_counts(of_photos))
        for name, of_photos in counts.items()
    }
    return {name: {key: to_plain(values[key]) for key in _COMPARED} for name, values in found.items()}


def _cleaned(
    photos: ValidationPhotos, cleanings: dict[str, Cleaning]
) -> Iterator[tuple[np.ndarray, str, np.ndarray]]:
    for truth, probabilities in photos():
        levels = to_levels(probabilities)
        for name, cleaning in cleanings.items():
            yield truth, name, clean_masks(levels, cleaning)
