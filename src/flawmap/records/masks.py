"""Where a photo's flaws are, pixel by pixel, as runs: small in memory, and exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawmap.records.basics import check


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
