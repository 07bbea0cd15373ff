"""Connected regions of a mask that comes row by row.

They are kept as runs, so that memory follows what was found and not the size of the photo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MaskRegion:
    """Pixels that hang together by edges or corners."""

    runs: np.ndarray
    """(n, 3) int64: row, first column, column after the last; downwards."""
    score: float
    """The highest of its pixels."""

    @property
    def area_px(self) -> int:
        return int((self.runs[:, 2] - self.runs[:, 1]).sum())

    def paint(self, most_px: int) -> tuple[np.ndarray, tuple[int, int], int]:
        """(h, w) bool over its own box, the box's row and column, and the step of pixels that all three count
        in: 1 where the box has at most `most_px`; else a square of pixels is marked where any of them is."""
        row, begin, end = self.runs.T
        top, left = int(row[0]), int(begin.min())
        box_px = (int(row[-1]) + 1 - top) * (int(end.max()) - left)
        step = int(np.ceil(np.sqrt(box_px / most_px))) if box_px > most_px else 1
        row, begin, end = row // step, begin // step, -(-end // step)
        top, left = int(row[0]), int(begin.min())
        steps = np.zeros((int(row[-1]) + 1 - top, int(end.max()) - left + 1), np.int32)
        np.add.at(steps, (row - top, begin - left), 1)
        np.add.at(steps, (row - top, end - left), -1)
        return np.cumsum(steps, axis=1)[:, :-1] > 0, (top, left), step


class MaskRuns:
    """A mask of one label, added in bands from the top."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._height = 0

    def add(self, mask: np.ndarray, scores: np.ndarray) -> None:
        """The next rows, (h, W) bool, and what each pixel scores, (h, W) float."""
        edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        (row, begin), (_, end) = np.nonzero(edges == 1), np.nonzero(edges == -1)
        if len(row):
            firsts = np.cumsum(end - begin) - (end - begin)
            self._runs.append(np.stack([row + self._height, begin, end], axis=1))
            self._scores.append(np.maximum.reduceat(scores[mask], firsts))
        self._height += len(mask)

    def regions(self, least_score: float, least_area_px: int) -> Iterator[MaskRegion]:
        """Those of at least this score and area, from the top."""
        if not self._runs:
            return
        runs, scores = np.concatenate(self._runs), np.concatenate(self._scores)
        owner = _join(runs)
        n = int(owner.max()) + 1
        areas = np.bincount(owner, runs[:, 2] - runs[:, 1], n)
        peaks = np.zeros(n, scores.dtype)
        np.maximum.at(peaks, owner, scores)
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner, minlength=n))
        for i in np.flatnonzero((peaks >= least_score) & (areas >= least_area_px)):
            own = order[ends[i - 1] if i else 0 : ends[i]]
            yield MaskRegion(runs[own], float(peaks[i]))


def _join(runs: np.ndarray) -> np.ndarray:
    """(n,): which region each run belongs to; regions are numbered by their first runs."""
    from scipy import sparse

    row, begin, end = runs.T
    per_row = int(end.max()) + 2  # one more than a run can reach, so that rows do not mix
    first = np.searchsorted(row * per_row + end, (row + 1) * per_row + begin, "left")
    last = np.searchsorted(row * per_row + begin, (row + 1) * per_row + end, "right")
    n_below = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(runs)), n_below)
    below = np.arange(len(above)) - np.repeat(np.cumsum(n_below) - n_below, n_below) + first[above]
    touching = sparse.coo_array((np.ones(len(above), bool), (above, below)), shape=(len(runs), len(runs)))
    _, owner = sparse.csgraph.connected_components(touching, directed=False)
    _, firsts, owner = np.unique(owner, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[owner]
