"""Outlines of masks along the edges of their pixels: filled again, they give the same pixels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import ArrayLike

from flawmap.tools import rle

Ring = list[list[int]]
Polygon = list[Ring]
_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)


def trace_outlines(
    runs: np.ndarray, size_hw: tuple[int, int], *, joins_corners: bool = False
) -> list[Polygon]:
    """Polygons as GeoJSON has them: per piece of mask, its outline and then its holes, closed, as [x, y].

    Pieces hang together by edges, not by corners; with `joins_corners` by both, and an outline then passes
    twice through a corner where two pixels touch. By the numbers, outlines run against the clock and holes
    with it, as RFC 7946 wants; as seen in a photo, whose y points down, it is the other way round.
    """
    mask = np.pad(rle.decode(runs, size_hw), 1)
    pieces: dict[int, Polygon] = defaultdict(list)
    piece_of = _label_pieces(mask, 1 if joins_corners else 0)
    for ring, (x, y) in _trace_rings(mask, joins_corners):
        own = pieces[int(piece_of[y + 1, x + 1])]
        if signed_area(ring) > 0:
            own.insert(0, ring)
        else:
            own.append(ring)
    return list(pieces.values())


def _trace_rings(mask: np.ndarray, joins_corners: bool) -> list[tuple[Ring, tuple[int, int]]]:
    """Every closed line of pixel edges, corners only, and a pixel (x, y) of the mask that lies along it.

    `mask` has a rim of one empty pixel. Edges run so that the mask is at their right, as seen in a photo;
    where two pixels touch by a corner, the line turns right, towards its own pixel, or left, towards the
    other one, where corners join.
    """
    inside = mask[1:-1, 1:-1]
    steps: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    sides = (
        (~mask[:-2, 1:-1], _RIGHT, (0, 0)),  # above is empty: along the top edge
        (~mask[1:-1, 2:], _DOWN, (1, 0)),
        (~mask[2:, 1:-1], _LEFT, (1, 1)),
        (~mask[1:-1, :-2], _UP, (0, 1)),
    )
    for is_empty, step, (dx, dy) in sides:
        for y, x in np.argwhere(inside & is_empty).tolist():
            steps[x + dx, y + dy].append(step)
    rings = []
    for start in sorted(steps, key=lambda point: (point[1], point[0])):
        while steps[start]:
            rings.append(_follow(start, steps, -1 if joins_corners else 1))
    return rings


def _follow(
    start: tuple[int, int], steps: dict[tuple[int, int], list[tuple[int, int]]], side: int
) -> tuple[Ring, tuple[int, int]]:
    """`side`: 1 to turn right where there is a choice, -1 to turn left."""
    step = first = steps[start].pop()
    (x, y), ring = start, [list(start)]
    beside = {_RIGHT: (0, 0), _DOWN: (-1, 0), _LEFT: (-1, -1), _UP: (0, -1)}[step]
    while True:
        x, y = x + step[0], y + step[1]
        turned, choices = (-side * step[1], side * step[0]), steps[x, y]
        if (x, y) == start and (not choices or first == turned):  # else it passes here and goes on
            break
        following = turned if turned in choices else choices[0]
        choices.remove(following)
        if following != step:
            ring.append([x, y])
        step = following
    if step == first and len(ring) > 1:  # the start is no corner
        ring = ring[1:]
    return [*ring, ring[0]], (start[0] + beside[0], start[1] + beside[1])


def signed_area(closed: ArrayLike) -> float:
    """What a closed line, (n, 2), encloses; positive for outlines, negative for holes."""
    x, y = np.asarray(closed).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2


def _label_pieces(mask: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) int64: the number of each pixel's piece; 0 outside. `reach`: 0 where pixels of a piece share
    edges, 1 where they share edges or corners.

    Runs of each row are joined with those of the row above that they touch (union-find).
    """
    height, width = mask.shape
    edges = np.diff(mask.astype(np.int8), axis=1)  # the rim is empty, so that no run crosses a row's end
    row, begin = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    parent = list(range(len(row) + 1))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first = np.searchsorted(row, np.arange(height + 1))
    for y in range(1, height):
        i, j = int(first[y - 1]), int(first[y])
        while i < first[y] and j < first[y + 1]:
            if begin[i] < end[j] + reach and begin[j] < end[i] + reach:
                parent[root(j + 1)] = root(i + 1)
            if end[i] < end[j]:
                i += 1
            else:
                j += 1
    labels = np.zeros((height, width), np.int64)
    for i in range(len(row)):
        labels[row[i], begin[i] + 1 : end[i] + 1] = root(i + 1)
    return labels
