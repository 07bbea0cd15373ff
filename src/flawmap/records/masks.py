"""Where a photo's flaws are, pixel by pixel, as runs: small in memory, and exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flawmap.errors import OptionError
from flawmap.records.basics import Decoder, check


@dataclass(frozen=True, eq=False)
class PhotoMask:
    """The flaw pixels of one photo, upright as the photo is read.

    `runs` has, per label, an (n_runs, 2) int64 array of (start, length). Pixels are numbered from 1 down the
    columns, then rightwards, as in Severstal's tables; runs ascend and never touch, so that every mask is
    written in one way only.
    """

    size_hw: tuple[int, int]
    runs: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        height, width = self.size_hw
        check(height > 0 and width > 0, "a size of 1 × 1 or more", self.size_hw)
        for label, runs in enumerate(self.runs):
            _check_runs(runs, height * width, f"in label {label}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PhotoMask):
            return NotImplemented
        same_frame = self.size_hw == other.size_hw and len(self.runs) == len(other.runs)
        return same_frame and all(map(np.array_equal, self.runs, other.runs))

    def __hash__(self) -> int:
        return hash((self.size_hw, *(runs.tobytes() for runs in self.runs)))

    @property
    def areas_px(self) -> tuple[int, ...]:
        """Flaw pixels of each label."""
        return tuple(int(runs[:, 1].sum()) for runs in self.runs)


def _check_runs(runs: np.ndarray, n_pixels: int, where: str) -> None:
    is_table = runs.ndim == 2 and runs.shape[1] == 2 and runs.dtype == np.int64
    check(is_table, f"(n, 2) int64 runs {where}", f"{runs.shape} {runs.dtype}")
    check(bool((runs >= 1).all()), f"starts and lengths of 1 or more {where}", runs.min(initial=1))
    ends = runs.sum(axis=1)
    check(bool((runs[1:, 0] > ends[:-1]).all()), f"runs that ascend and do not touch {where}", "others")
    last = int(ends[-1]) - 1 if len(ends) else 0
    check(last <= n_pixels, f"runs within {n_pixels} pixels {where}", last)


def have_overlap(runs: Sequence[np.ndarray]) -> bool:
    """Whether a pixel lies in the runs of two labels."""
    together = np.concatenate([np.zeros((0, 2), np.int64), *runs])
    together = together[np.argsort(together[:, 0], kind="stable")]
    return bool((together[1:, 0] < together.sum(axis=1)[:-1]).any())


@dataclass(frozen=True)
class Cleaning:
    """How masks are made from probabilities, one entry per label. Plain JSON values."""

    thresholds: tuple[float, ...]
    """A component is kept where one of its pixels reaches this; above 0, at most 1."""
    low_thresholds: tuple[float, ...] | None = None
    """Pixels that reach this belong to the component (hysteresis); None: the same as `thresholds`."""
    min_area_px: tuple[int, ...] = ()
    """8-connected components of fewer pixels are removed; empty: none is."""
    is_exclusive: bool = False
    """Whether labels may not overlap: a pixel goes to the likeliest of the labels whose masks hold it."""

    def __post_init__(self) -> None:
        n_labels = len(self.thresholds)
        if not n_labels or not all(0 < t <= 1 for t in self.thresholds):
            raise OptionError(f"thresholds are {self.thresholds}; give one per label, above 0 and at most 1")
        lows = self.thresholds if self.low_thresholds is None else self.low_thresholds
        if len(lows) != n_labels or not all(0 < a <= b for a, b in zip(lows, self.thresholds, strict=True)):
            raise OptionError(
                f"low_thresholds are {self.low_thresholds}; give one per label, above 0 and at most its "
                f"threshold {self.thresholds}"
            )
        if not self.min_area_px:
            object.__setattr__(self, "min_area_px", (0,) * n_labels)
        if len(self.min_area_px) != n_labels or min(self.min_area_px) < 0:
            raise OptionError(
                f"min_area_px is {self.min_area_px}; give {n_labels} whole numbers, one per label, 0 or more"
            )

    @property
    def lows(self) -> tuple[float, ...]:
        """What a pixel has to reach, hysteresis or not."""
        return self.thresholds if self.low_thresholds is None else self.low_thresholds


@dataclass(frozen=True)
class MaskSpec:
    """What `masks.onnx` of a model folder is, and how its probabilities become masks."""

    backbone_id: str
    depth: int
    decoder: Decoder
    cleaning: Cleaning
    multiple: int = 32
    """Height and width of what the file is given are multiples of this."""
    flips: bool = False
    """Whether each photo is also looked at mirrored (left-right, up-down, both) and the answers averaged."""
    piece_px: int = 1024
    """Larger photos are looked at in pieces of this side, blended where they overlap."""
    overlap_px: int = 128
    macs_per_px: float = 0.0
    """Multiply-accumulates of one pass."""

    def __post_init__(self) -> None:
        check(self.multiple > 0, "a multiple of 1 or more", self.multiple)
        check(self.piece_px > 0, "piece_px of 1 or more", self.piece_px)
        is_less = 0 <= self.overlap_px < self.piece_px
        check(is_less, f"overlap_px from 0 to below piece_px {self.piece_px}", self.overlap_px)


CascadeRule = Literal["area", "veto", "none"]


@dataclass(frozen=True)
class CascadeSpec:
    """How the stages of a cascade hand on: chosen on validation photos."""

    skip_threshold: float
    """Photos of a lower flaw score are good, and their masks are not computed."""
    rule: CascadeRule
    """What a label's low score does to its mask: raise the smallest area, remove it, or nothing."""
    label_thresholds: tuple[float, ...]
    """Below its own a label's score counts as low."""
    most: float = 16.0
    """By how much a score of 0 raises the smallest area."""


@dataclass(frozen=True)
class MaskRow:
    """One photo's own figures, of any flaw; None where there is no true pixel."""

    name: str
    dice: float
    """1 where truth and prediction are both empty."""
    f1_tolerant: float | None
    true_px: int
    found_px: int
    true_labels: tuple[str, ...] = ()
    """Those of which a pixel is marked."""
    found_labels: tuple[str, ...] = ()

    @property
    def lies_elsewhere(self) -> bool:
        """Whether about as much was found as is marked, but hardly any of it in the same place."""
        is_as_large = self.true_px <= 4 * self.found_px and self.found_px <= 4 * self.true_px
        return self.f1_tolerant is not None and self.f1_tolerant < 0.25 and is_as_large


@dataclass(frozen=True)
class MaskEvaluation:
    """Masks against the truth. `metrics` holds the figures that `flawmap evaluate --json` writes."""

    metrics: dict[str, Any]
    rows: tuple[MaskRow, ...]
    """One per photo, in the order given."""
    best: tuple[int, ...]
    """Rows of highest Dice among photos with a flaw, best first."""
    typical: tuple[int, ...]
    """Rows nearest the median Dice of photos with a flaw, nearest first."""
    worst: tuple[int, ...]
    """Rows of lowest Dice of all photos, worst first; among equals the most wrong pixels first."""
