"""The centre lines of a mask: its skeleton as a graph, freed of spurs, smoothed, a point at every pixel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
_EIGHT = np.ones((3, 3), bool)
_SPUR_WIDTHS, _SPUR_PX = 1.0, 3.0
"""A side branch no longer than this many widths, and so many pixels, is an unevenness of the mask's edge."""
_SMOOTH_PX, _SMOOTH_WIDTHS = 2.0, 0.25
"""Standard deviation of the smoothing along the line: a skeleton goes in steps of a pixel, and wanders the
more the wider the mask is."""


@dataclass(frozen=True, eq=False)
class CentreLine:
    """One branch, from a free end or a junction to the next."""

    xy: np.ndarray
    """(n, 2) float64, about a pixel apart; whole numbers are pixel centres."""
    tangents: np.ndarray
    """(n, 2) unit vectors along the line."""
    radius_px: np.ndarray
    """(n,) half the mask's width there."""
    length_px: float
    """Up to the mask's end where the end is free."""
    is_free: tuple[bool, bool]
    """Of both ends; False at a junction."""


@dataclass(frozen=True, eq=False)
class CentreLines:
    """All branches of one mask."""

    branches: tuple[CentreLine, ...]
    n_loops: int
    """Closed loops: how many cells of surface the cracks enclose."""
    thick_px: float
    """Of the mask as a whole: that of a band whose pixels are as far from its border in the mean."""
    thickest_px: float
    """Across the largest disc that the mask holds."""


@dataclass
class _Edge:
    """A chain of (y, x) points between two nodes; a node below 0 is a free end, its own."""

    nodes: tuple[int, int]
    points: np.ndarray

    @property
    def length(self) -> float:
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())


def mean_direction(lines: Sequence[CentreLine]) -> float:
    """Mean of the tangents as directions without a sense: angles are doubled (Mardia and Jupp 2000, 1.3)."""
    tangents = np.concatenate([line.tangents for line in lines])
    x, y = tangents[:, 0], -tangents[:, 1]  # y counts downwards in photos
    doubled = np.arctan2((2 * x * y).sum(), (x**2 - y**2).sum())
    return float(np.degrees(doubled / 2) % 180) % 180


def label_pieces(mask: np.ndarray, corners_connect: bool = True) -> tuple[np.ndarray, int]:
    """(H, W) number of each connected piece of a bool mask, 0 elsewhere; and how many there are."""
    from scipy import ndimage

    found: Any = ndimage.label(mask, _EIGHT if corners_connect else None)
    return found


def find_centre_lines(mask: np.ndarray) -> CentreLines:
    """Of a (H, W) bool mask with at least one pixel set. Holes smaller than the crack is wide are filled."""
    from skimage.morphology import skeletonize

    padded = np.pad(np.asarray(mask, bool), 1)
    # A band of width w has a mean distance to its border of w / 4.
    width_px = 4 * float(_distance(padded)[padded].mean())
    padded = _fill_holes(padded, max(9.0, width_px**2))
    distance = _distance(padded)
    skeleton = skeletonize(padded)
    edges = _trace(skeleton)
    n_pieces = label_pieces(skeleton)[1]
    edges = _prune(edges, distance)
    n_nodes = len({node for edge in edges for node in edge.nodes})
    branches = tuple(_to_line(edge, distance) for edge in edges)
    # Pixels beside the border are 1 px from the next pixel's centre, half a pixel from the border itself.
    thick_px = 4 * (float(distance[padded].mean()) - 0.5)
    return CentreLines(branches, max(0, len(edges) - n_nodes + n_pieces), thick_px, 2 * float(distance.max()))


def _distance(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32: from each pixel of the mask to the nearest outside; 0 there."""
    import cv2

    return cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _fill_holes(mask: np.ndarray, largest_px: float) -> np.ndarray:
    holes, _ = label_pieces(~mask, corners_connect=False)
    sizes = np.bincount(holes.ravel())
    is_filled = sizes <= largest_px
    is_filled[holes[0, 0]] = False
    return mask | (is_filled[holes] & ~mask)


def _trace(skeleton: np.ndarray) -> list[_Edge]:
    """The skeleton's chains between junctions and free ends."""
    from scipy import ndimage

    n_around = ndimage.convolve(skeleton.astype(np.uint8), _EIGHT.astype(np.uint8), mode="constant") - 1
    is_node = skeleton & (n_around >= 3)
    nodes, n_nodes = label_pieces(is_node)
    at = np.argwhere(is_node)
    which = nodes[is_node] - 1
    sums = [np.bincount(which, weights=at[:, axis], minlength=n_nodes) for axis in (0, 1)]
    centres = np.stack(sums, axis=1) / np.bincount(which, minlength=n_nodes)[:, None]
    chains = _order_chains(skeleton & ~is_node)
    edges: list[_Edge] = []
    next_free = -n_nodes - 1  # those down to -n_nodes are for junctions that lose all but one edge
    for chain in chains:
        is_loop = (
            len(chain) > 2 and max(abs(chain[0][0] - chain[-1][0]), abs(chain[0][1] - chain[-1][1])) <= 1
        )
        ends = _nodes_at_ends(chain, nodes)
        if is_loop and ends == (0, 0):
            edges.append(_Edge((next_free, next_free), np.array([*chain, chain[0]], float)))
            next_free -= 1
            continue
        points, named = [np.array(chain, float)], []
        for place, node in zip((0, 1), ends, strict=True):
            if node:
                points.insert(0 if place == 0 else len(points), centres[node - 1 : node])
            named.append(node or next_free)
            next_free -= not node
        edges.append(_Edge((named[0], named[1]), np.concatenate(points)))
    if not edges:  # no more than a dot or a small cross
        dots = centres if n_nodes else np.argwhere(skeleton).astype(float)
        edges = [_Edge((next_free - 2 * i, next_free - 2 * i - 1), dot[None]) for i, dot in enumerate(dots)]
    return edges


def _order_chains(chains: np.ndarray) -> list[list[tuple[int, int]]]:
    """The pixels of each unbranched chain, from one end to the other; of a loop, all the way round."""
    left = set(map(tuple, np.argwhere(chains).tolist()))
    steps = {
        at: [(at[0] + dy, at[1] + dx) for dy, dx in _AROUND if (at[0] + dy, at[1] + dx) in left]
        for at in left
    }
    starts = sorted(at for at, beside in steps.items() if len(beside) <= 1)
    ordered = []
    for start in (*starts, *sorted(left)):
        if start not in left:
            continue
        chain = [start]
        left.discard(start)
        while ahead := [at for at in steps[chain[-1]] if at in left]:
            chain.append(ahead[0])
            left.discard(ahead[0])
        ordered.append(chain)
    return ordered


def _nodes_at_ends(chain: list[tuple[int, int]], nodes: np.ndarray) -> tuple[int, int]:
    """The junction beside the first and the last pixel, 0 where there is none."""

    def beside(at: tuple[int, int]) -> list[int]:
        window = nodes[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2]
        return sorted({int(node) for node in window.ravel() if node})

    first, last = beside(chain[0]), beside(chain[-1])
    if len(chain) == 1:
        return (first[0] if first else 0, first[1] if len(first) > 1 else 0)
    return (first[0] if first else 0, last[0] if last else 0)


def _prune(edges: list[_Edge], distance: np.ndarray) -> list[_Edge]:
    """Without spurs: at each junction the shortest goes first, and what remains of two edges is joined."""
    edges = _join(edges)
    while True:
        spurs: dict[int, tuple[float, int]] = {}
        for i, edge in enumerate(edges):
            node = max(edge.nodes)
            if min(edge.nodes) >= 0 or node < 0:
                continue
            end = edge.points[0] if edge.nodes[0] == node else edge.points[-1]
            width_px = 2 * distance[round(end[0]), round(end[1])]
            if edge.length <= _SPUR_WIDTHS * width_px + _SPUR_PX:
                spurs[node] = min(spurs.get(node, (np.inf, -1)), (edge.length, i))
        if not spurs:
            return edges
        gone = {i for _, i in spurs.values()}
        edges = _join([edge for i, edge in enumerate(edges) if i not in gone])


def _join(edges: list[_Edge]) -> list[_Edge]:
    """Edges that meet at a node of only two ends become one."""
    at_node: dict[int, list[int]] = defaultdict(list)
    joined: dict[int, _Edge] = dict(enumerate(edges))
    for i, edge in joined.items():
        for node in edge.nodes:
            at_node[node].append(i)
    for node, ends in at_node.items():
        if node < 0 or len(ends) != 2 or ends[0] == ends[1]:
            continue
        first, second = (joined[i] for i in ends)
        a = first if first.nodes[1] == node else _turned(first)
        b = second if second.nodes[0] == node else _turned(second)
        whole = _Edge((a.nodes[0], b.nodes[1]), np.concatenate([a.points, b.points[1:]]))
        kept, dropped = ends
        joined[kept] = whole
        del joined[dropped]
        for other in whole.nodes:
            at_node[other] = [kept if i == dropped else i for i in at_node[other]]
    is_lone = {node for node, ends in at_node.items() if len(ends) == 1}
    return [_freed(edge, is_lone) for edge in joined.values()]


def _freed(edge: _Edge, lone: set[int]) -> _Edge:
    """With free ends where a node has no other edge."""
    first, last = (-node if node in lone and node > 0 else node for node in edge.nodes)
    return _Edge((first, last), edge.points)


def _turned(edge: _Edge) -> _Edge:
    return _Edge((edge.nodes[1], edge.nodes[0]), edge.points[::-1])


def _to_line(edge: _Edge, distance: np.ndarray) -> CentreLine:
    """Smoothed, a point about every pixel, in the (x, y) of the mask before it was padded."""
    is_loop = edge.nodes[0] == edge.nodes[1] and len(edge.points) > 1
    is_free = (edge.nodes[0] < 0 and not is_loop, edge.nodes[1] < 0 and not is_loop)
    points = _cut_ends(edge.points, is_free, distance)
    rows, columns = np.round(points).astype(np.int64).T
    radii = distance[rows, columns]
    yx = _smooth(points, _SMOOTH_PX + _SMOOTH_WIDTHS * 2 * float(np.median(radii)))
    steps = np.hypot(*np.diff(yx, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    length = float(along[-1])
    at = np.linspace(0, length, max(1, round(length)) + 1) if length > 0 else np.zeros(1)
    xy = np.stack([np.interp(at, along, yx[:, 1]), np.interp(at, along, yx[:, 0])], axis=1) - 1
    tangents = _tangents(xy)
    for end, sense in ((0, -1), (-1, 1)):
        if is_free[end]:
            length += _reach(distance, xy[end] + 1, sense * tangents[end])
    return CentreLine(xy, tangents, np.interp(at, along, radii), length, is_free)


def _cut_ends(points: np.ndarray, is_free: tuple[bool, bool], distance: np.ndarray) -> np.ndarray:
    """Without the last one and a half half-widths at free ends, where a skeleton turns into a corner of the
    mask; all of it, where that would be more than a third."""
    rows, columns = np.round(points).astype(np.int64).T
    n_cut = int(1.5 * np.median(distance[rows, columns]))
    if 3 * n_cut * sum(is_free) > len(points):
        return points
    return points[n_cut * is_free[0] : len(points) - n_cut * is_free[1]]


def _reach(distance: np.ndarray, xy: np.ndarray, direction: np.ndarray) -> float:
    """How far it is from a point in the mask, straight on, to the mask's end."""
    steps = np.arange(0.5, 4 * distance.max() + 2, 0.5)
    columns, rows = np.round(xy[:, None] + direction[:, None] * steps).astype(np.int64)
    is_in = (rows >= 0) & (columns >= 0) & (rows < distance.shape[0]) & (columns < distance.shape[1])
    is_in[is_in] = distance[rows[is_in], columns[is_in]] > 0
    return float(steps[np.argmin(is_in)]) if not is_in.all() else float(steps[-1])


def _smooth(points: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian, with the ends held: beyond them the line goes on as its mirror image through the end."""
    from scipy import ndimage

    n_points = len(points)
    if n_points < 3:
        return points
    reach = min(n_points - 1, int(4 * sigma_px))
    before = 2 * points[0] - points[reach:0:-1]
    after = 2 * points[-1] - points[-2 : -2 - reach : -1]
    line = np.concatenate([before, points, after])
    return ndimage.gaussian_filter1d(line, sigma_px, axis=0, mode="nearest")[reach : reach + n_points]


def _tangents(xy: np.ndarray) -> np.ndarray:
    if len(xy) < 2:
        return np.tile([1.0, 0.0], (len(xy), 1))
    steps = np.gradient(xy, axis=0)
    return steps / np.maximum(np.hypot(*steps.T), 1e-9)[:, None]
