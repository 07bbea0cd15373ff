"""Every window of a photo scored at once: sliding averages and maxima of a feature map, and the linear head.

A window is as large as a training tile and steps by one cell of the map. Its average is the mean of its
cells' own logits (the head is linear, so it is applied before averaging); its maxima are taken per channel,
by doubling: a maximum over 2 n cells is that of two over n.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from flawmap.records import LinearHead, Pooling

WINDOWS_AT_ONCE = 512
"""Side by side, so that what is made in between does not grow with the photo's width."""


@dataclass(frozen=True)
class WindowMaps:
    """What the windows of a photo say, per cell of its feature map."""

    logits: np.ndarray
    """(n_labels, h, w) float32: of the window that has the cell in its middle; near the photo's border, of
    the nearest window. Where several have it in their middle, their mean."""
    evidence: np.ndarray
    """(n_labels, h, w) float32: the cell's part of the logits of that window: exact for averages (a
    class-activation map); of a maximum every cell that comes near it has a part."""


def score_windows(
    bands: Iterable[np.ndarray],
    map_hw: tuple[int, int],
    window_hw: tuple[int, int],
    head: LinearHead,
    pooling: Pooling,
) -> WindowMaps:
    """Features (k, h, w) in bands from the top, together `map_hw` → what each window says.

    `window_hw` in cells, not larger than the map.
    """
    return to_cells(*slide_windows(bands, map_hw, window_hw, head, pooling))


def slide_windows(
    bands: Iterable[np.ndarray],
    map_hw: tuple[int, int],
    window_hw: tuple[int, int],
    head: LinearHead,
    pooling: Pooling,
) -> tuple[np.ndarray, np.ndarray]:
    """As score_windows() → logits (n_labels, h - window_h + 1, w - window_w + 1) of every window, and the
    cells' parts (n_labels, h, w)."""
    (height, width), (window_h, window_w) = map_hw, window_hw
    if window_h > height or window_w > width:
        raise ValueError(f"wanted a map of {window_hw} cells or more; got {map_hw}")
    n_labels = len(head.bias)
    logits = np.zeros((n_labels, height - window_h + 1, width - window_w + 1), np.float32)
    evidence = np.zeros((n_labels, height, width), np.float32)
    down, across = _windows_of(height, window_h), _windows_of(width, window_w)
    kept, top = None, 0
    for band in bands:
        rows = band if kept is None else np.concatenate([kept, band], axis=1)
        bottom = top + rows.shape[1] - window_h + 1
        if bottom <= top:
            kept = rows
            continue
        ready = _between(down, top, bottom)
        for left in range(0, logits.shape[2], WINDOWS_AT_ONCE):
            right = min(left + WINDOWS_AT_ONCE, logits.shape[2])
            some = rows[:, :, left : right + window_w - 1]
            found, own, parts = _score(some, window_hw, head, pooling)
            logits[:, top:bottom, left:right] = found
            cells = _between(across, left, right)
            here = (slice(None), _moved(ready, -top), _moved(cells, -left))
            evidence[:, ready, cells] = own[here]
            if parts is not None:
                maxima, weight = parts
                around = maxima[:, down[ready] - top][:, :, across[cells] - left]
                evidence[:, ready, cells] += _apply(weight, some[here] * _shares(some[here], around))
        kept, top = rows[:, bottom - top :].copy(), bottom
    return logits, evidence


def _between(windows: np.ndarray, first: int, last: int) -> slice:
    """The cells whose windows are these; `windows` never falls."""
    start, end = np.searchsorted(windows, (first, last))
    return slice(int(start), int(end))


def _moved(cells: slice, by: int) -> slice:
    return slice(cells.start + by, cells.stop + by)


def to_cells(logits: np.ndarray, evidence: np.ndarray) -> WindowMaps:
    """Logits of every window → of the windows around each cell."""
    height, width = evidence.shape[1:]
    for axis, n_cells in ((1, height), (2, width)):
        n_windows = logits.shape[axis]
        first = _windows_of(n_cells, n_cells - n_windows + 1)
        last = np.clip(np.arange(n_cells) - (n_cells - n_windows) // 2, 0, n_windows - 1)
        logits = (np.take(logits, first, axis) + np.take(logits, last, axis)) / np.float32(2)
    return WindowMaps(logits, evidence)


def _windows_of(n_cells: int, window: int) -> np.ndarray:
    """(n_cells,): the window that has each cell in its middle (of two the first), or the nearest one."""
    return np.clip(np.arange(n_cells) - window // 2, 0, n_cells - window)


def _score(
    rows: np.ndarray, window_hw: tuple[int, int], head: LinearHead, pooling: Pooling
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Windows' logits; the cells' parts of the averages; of pooling with maxima, these and their weights."""
    n_channels, n_cells = len(rows), window_hw[0] * window_hw[1]
    own = _apply(head.weight[:, :n_channels], rows) / np.float32(n_cells)
    logits = _sliding_sums(own, window_hw) + head.bias[:, None, None]
    if pooling == "average":
        return logits.astype(np.float32), own, None
    weight = head.weight[:, n_channels:]
    maxima = sliding_maxima(rows, window_hw)
    return (logits + _apply(weight, maxima)).astype(np.float32), own, (maxima, weight)


def _shares(values: np.ndarray, maxima: np.ndarray) -> np.ndarray:
    """How far a cell carries its window's maximum: 1 where it stands, falling to 0 at half of it, since cells
    that come near it would carry it as well."""
    above = maxima > 0
    half = np.where(above, 2 * values / np.where(above, maxima, 1) - 1, values == maxima)
    return np.maximum(half, 0).astype(np.float32)


def _apply(weight: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """(n, k) × (k, h, w) → (n, h, w). Not by matrix product, whose bits depend on the number of threads."""
    return np.einsum("nk,khw->nhw", weight, maps)


def _sliding_sums(maps: np.ndarray, window_hw: tuple[int, int]) -> np.ndarray:
    """(n, h, w) → (n, h - window_h + 1, w - window_w + 1), summed one by one, so that a window's sum does not
    depend on what stands beside it."""
    sums = maps.astype(np.float64)
    for axis, window in ((1, window_hw[0]), (2, window_hw[1])):
        n = sums.shape[axis] - window + 1
        total = _cut(sums, axis, 0, n).copy()
        for i in range(1, window):
            total += _cut(sums, axis, i, n)
        sums = total
    return sums


def sliding_maxima(maps: np.ndarray, window_hw: tuple[int, int]) -> np.ndarray:
    """(k, h, w) → (k, h - window_h + 1, w - window_w + 1): the highest value of each window."""
    for axis, window in ((1, window_hw[0]), (2, window_hw[1])):
        reached = 1
        while reached < window:
            step = min(reached, window - reached)
            n = maps.shape[axis] - step
            maps = np.maximum(_cut(maps, axis, 0, n), _cut(maps, axis, step, n))
            reached += step
    return maps


def _cut(maps: np.ndarray, axis: int, start: int, length: int) -> np.ndarray:
    return maps[:, start : start + length] if axis == 1 else maps[:, :, start : start + length]
