"""How far what a window shows lies from all that the training tiles showed.

A model answers for any surface, also for those it never saw. So a model folder keeps what its network makes
of the training tiles: their features, averaged over each tile, in the directions in which they differ most.
What lies far from all of them is foreign. The distance is that to the NEIGHBOUR-th nearest tile (Sun et al.
2022, "Out-of-distribution detection with deep nearest neighbors") in N_DIRECTIONS, each scaled to a variance
of one. More directions, and one distribution over all tiles (Mahalanobis), told brickwork from held-out
concrete less well.

The same features tell from how far a surface was taken. Training tiles shrunk by FAR, against parts of them
of the same size, give a linear discriminant (Fisher's, with a ridge): the remoteness. Sharpness alone does
not tell distance, since surfaces are alike at many scales.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from flawmap.records.basics import check

N_DIRECTIONS, NEIGHBOUR = 16, 5
FAR = 4
"""How many times as far away is told from the training tiles' own distance."""
_RIDGE = 1.0
"""Added to the variances of scaled features, so that the remoteness rests on what all tiles show."""
_AT_ONCE = 128
"""Windows whose distances to all tiles are held at once."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The training tiles' features, as a model folder keeps them."""

    mean: np.ndarray
    """(k,) float32."""
    directions: np.ndarray
    """(k, d) float32: features less their mean, times these, have a variance of one each."""
    tiles: np.ndarray
    """(n, d) float32."""
    far: np.ndarray
    """(k,) float32: the remoteness is features less their mean, times this."""

    def __post_init__(self) -> None:
        k, d = self.directions.shape
        fits = self.mean.shape == self.far.shape == (k,) and self.tiles.ndim == 2 and self.tiles.shape[1] == d
        got = (self.mean.shape, self.tiles.shape)
        check(fits and len(self.tiles) > 0, f"mean ({k},) and tiles (n, {d})", got)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """(n, k) features, each averaged over a window or a whole tile → (n,) float32.

        The same bits whatever the number of threads.
        """
        places = _project(features, self.mean, self.directions)
        nth = min(NEIGHBOUR, len(self.tiles)) - 1
        found = np.empty(len(places), np.float32)
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            squares = np.square(some[:, None] - self.tiles).sum(axis=2)
            found[start : start + _AT_ONCE] = np.sqrt(np.partition(squares, nth, axis=1)[:, nth])
        return found

    def remoteness(self, features: np.ndarray) -> np.ndarray:
        """(n, k) features as for distances() → (n,) float32: higher for what looks taken from afar."""
        return _project(features, self.mean, self.far[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class HeldBack:
    """One window of each photo that was held back from training, as an inspection sees it: what later photos
    are held against, many at a time."""

    flawed_scores: np.ndarray
    """(n,) float32."""
    flawed_features: np.ndarray
    """(n, d) float32, see tools.likeness."""
    good_scores: np.ndarray
    """(m,) float32."""
    good_features: np.ndarray
    """(m, d) float32."""

    def __post_init__(self) -> None:
        for scores, features in (
            (self.flawed_scores, self.flawed_features),
            (self.good_scores, self.good_features),
        ):
            fits = features.ndim == 2 and scores.shape == features.shape[:1]
            check(fits, "scores (n,) and features (n, d)", (scores.shape, features.shape))


def fit_reference(features: np.ndarray, near: np.ndarray, far: np.ndarray) -> Reference:
    """(n, k) features of training tiles → what is kept of them. Raises ValueError without any.

    `near` and `far`, both (m, k): of parts of tiles, and of whole tiles shrunk by FAR to the same size.
    """
    check(features.ndim == 2 and len(features) > 0, "features (n, k) of a tile or more", features.shape)
    mean = features.mean(axis=0)
    spread = features.std(axis=0)
    # Channels of large numbers would outweigh all others; what never differs says nothing.
    scaled = (features - mean) / np.where(spread > 0, spread, np.inf)
    _, sizes, axes = np.linalg.svd(scaled, full_matrices=False)
    kept = min(N_DIRECTIONS, max(1, int((sizes > 1e-3 * max(sizes[0], 1e-12)).sum())))
    lengths = np.maximum(sizes[:kept], 1e-12) / np.sqrt(len(features))
    directions = axes[:kept].T / lengths / np.where(spread > 0, spread, np.inf)[:, None]
    mean, directions = mean.astype(np.float32), directions.astype(np.float32)
    places = _project(features, mean, directions)
    return Reference(mean, directions, places, _discriminate(near, far, spread).astype(np.float32))


def _discriminate(near: np.ndarray, far: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(k,): Fisher's direction from near to far, for features as they are."""
    scale = np.where(spread > 0, spread, np.inf)
    near, far = near / scale, far / scale
    ends = near.mean(axis=0), far.mean(axis=0)
    away = np.concatenate([near - ends[0], far - ends[1]])
    within = away.T @ away / len(away)
    return np.linalg.solve(within + _RIDGE * np.eye(len(within)), ends[1] - ends[0]) / scale


def _project(features: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Not by matrix product, whose bits depend on the number of threads."""
    return np.einsum("nk,kd->nd", features - mean, directions).astype(np.float32)


class WindowMeans:
    """Features averaged over windows that overlap by half, gathered while a photo's map passes by."""

    def __init__(self, size_hw: tuple[int, int], window_hw: tuple[int, int]) -> None:
        """Of the map, without what was added to fill it up; both in cells."""
        self._size_hw = size_hw
        self._step_hw = tuple(max(1, side // 2) for side in window_hw)
        self._n_hw = tuple(max(1, n // step) for n, step in zip(size_hw, self._step_hw, strict=True))
        self._sums: np.ndarray | None = None
        self._top = 0

    def gather(self, bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same bands (k, h, w), from the top."""
        for band in bands:
            self._add(band)
            yield band

    def _add(self, band: np.ndarray) -> None:
        (n_rows, n_columns), (step_h, step_w) = self._n_hw, self._step_hw
        if self._sums is None:
            self._sums = np.zeros((n_rows, n_columns, len(band)))
        starts = np.arange(n_columns) * step_w
        width = min(band.shape[2], n_columns * step_w)
        for row in range(self._top // step_h, min(n_rows, -(-(self._top + band.shape[1]) // step_h))):
            first, last = row * step_h - self._top, (row + 1) * step_h - self._top
            lines = band[:, max(0, first) : last, :width].sum(axis=1, dtype=np.float64)
            self._sums[row] += np.add.reduceat(lines, starts, axis=1).T
        self._top += band.shape[1]

    def compare(self, reference: Reference) -> tuple[np.ndarray, float]:
        """(h, w) float32 distances, of the window nearest to each cell of the map; the median remoteness."""
        if self._sums is None:
            raise ValueError("wanted a map that has passed by; got none")
        n_cells = self._step_hw[0] * self._step_hw[1]
        means = self._sums / n_cells
        for axis in (0, 1):
            if means.shape[axis] > 1:
                ends = np.moveaxis(means, axis, 0)
                means = np.moveaxis((ends[:-1] + ends[1:]) / 2, 0, axis)
        rows, columns, k = means.shape
        means = means.reshape(-1, k)
        found = reference.distances(means).reshape(rows, columns)
        nearest = [
            np.clip((np.arange(size) + 0.5) / step - 0.5, 0, n - 1).astype(int)
            for size, step, n in zip(self._size_hw, self._step_hw, (rows, columns), strict=True)
        ]
        return found[np.ix_(*nearest)], float(np.median(reference.remoteness(means)))
