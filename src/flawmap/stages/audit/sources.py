"""Source groups from content and names: which photos were cut from one larger photo.

In three steps. Photos with a common area (`overlap`), copies and trusted prefixes are joined for certain.
The joined units are compared by a metric learned from the folder (`metric`), scaled by how crowded each one's
surroundings are, and joined by average linkage; where the file order carries information, units side by side
need less likeness and distant ones more. The same linkage, taken further, gives blocks: groups that may yet
be of one source, which the split does not part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawmap.records import Progress, no_progress
from flawmap.stages.audit.clustering import (
    Agglomeration,
    Silhouette,
    connected,
    locally_scaled,
    renumbered,
    unit_distances,
)
from flawmap.stages.audit.metric import nearest, pair_distances, source_features, to_pairs
from flawmap.stages.audit.order import (
    Closeness,
    Order,
    find_order,
    folder_numbers,
    prefix_units,
    side_by_side,
)
from flawmap.stages.audit.overlap import find_overlaps
from flawmap.stages.audit.pictures import Pictures

_N_CANDIDATES = 20
"""Nearest photos of each that are looked at for a common area."""
_N_IN_ORDER = 4
"""Photos that follow in file order and are looked at too."""
_MAX_UNITS = 3000
"""Units that the linkage takes; more are first joined to their nearest."""
_GROUP_HEIGHT, _BLOCK_HEIGHT = 0.9, 1.1
"""Linkage heights, in units of the distance to the surroundings (1: no closer than those)."""
_ORDERED_GROUP_HEIGHT, _ORDERED_BLOCK_HEIGHT = 0.95, 1.3
_PENALTY = 1.5
_SIDE_BY_SIDE = 4
"""Places in file order within which units count as side by side."""
_REACHES = (3, 5, 8, 12, 20, 32, 50, 80, 130)
_MIN_SOURCES = 10
"""Sources that a folder is taken to have at least; fewer cannot be split."""
_MIN_SILHOUETTE = 0.1
"""Below this, groups stand out no more than chance arranges."""
_LARGEST_GROUP, _LARGEST_BLOCK = 0.10, 0.08
"""Shares of all photos beyond which likeness alone joins nothing more."""


@dataclass(frozen=True)
class Sources:
    """`groups` and the coarser `blocks`, (n,) int64 each, and where they come from."""

    groups: np.ndarray
    blocks: np.ndarray
    origin: str
    n_overlaps: int
    overlap_limit: float
    order: Order | None


def find_sources(
    names: Sequence[str],
    labels: np.ndarray,
    quadrants: dict[int, np.ndarray],
    pictures: Pictures,
    copies: np.ndarray,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Sources:
    """`labels` (n,) are numbers that tell classes apart, `copies` (m, 2) pairs that show the same photo."""
    n = len(names)
    rng = np.random.default_rng(seed)
    units = connected(n, copies)
    features = source_features(quadrants, units)
    closeness = Closeness(features, folder_numbers(names), rng)
    candidates = to_pairs(nearest(features, _N_CANDIDATES))
    first_order = find_order(names, copies[:0], closeness)
    if first_order is not None:
        candidates = np.unique(np.concatenate([candidates, _followers(first_order)]), axis=0)
    overlaps = find_overlaps(pictures, candidates, rng, progress)
    certain = np.concatenate([copies, overlaps.pairs])
    prefix = prefix_units(names, labels, closeness)
    if prefix is not None:
        certain = np.concatenate([certain, _chained(prefix[0])])
    units = connected(n, certain)
    features = source_features(quadrants, units)
    order = find_order(names, overlaps.pairs, Closeness(features, folder_numbers(names), rng))
    groups, blocks = _link(features, units, order, rng)
    words = ["content"] + ([prefix[1]] if prefix else []) + ([order.description] if order else [])
    return Sources(groups, blocks, " and ".join(words), len(overlaps.pairs), overlaps.limit, order)


def _link(
    features: np.ndarray, units: np.ndarray, order: Order | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(groups, blocks), (n,) int64 each."""
    n = len(features)
    units = _reduced(features, units)
    sizes = np.bincount(units)
    if len(sizes) < 4:
        return units, units
    distances = unit_distances(features, units)
    scaled = locally_scaled(distances, _reach(distances, features, units, rng))
    if order is None:
        linkage = Agglomeration(scaled, sizes)
        heights = (_GROUP_HEIGHT, _BLOCK_HEIGHT)
    else:
        linkage = Agglomeration(scaled, sizes, side_by_side(order, units, _SIDE_BY_SIDE), _PENALTY)
        heights = (_ORDERED_GROUP_HEIGHT, _ORDERED_BLOCK_HEIGHT)
    groups = linkage.join(heights[0], _LARGEST_GROUP * n)[units]
    blocks = linkage.join(heights[1], _LARGEST_BLOCK * n)[units]
    return renumbered(groups), renumbered(blocks)


def _reach(distances: np.ndarray, features: np.ndarray, units: np.ndarray, rng: np.random.Generator) -> int:
    """How many neighbours a unit's surroundings hold: the number whose groups stand out best.

    It must exceed the number of units that a source has, which no one tells us. Too small, and sources fall
    to pieces whose next neighbours are their own; too large, and sources run together: the silhouette shows
    both. Where nothing stands out (every photo its own source, or all alike) it is the smallest.
    """
    silhouette = Silhouette(features, units, rng)
    sizes = np.bincount(units)
    best, best_width = _REACHES[0], _MIN_SILHOUETTE
    for reach in _REACHES:
        if reach > len(sizes) / _MIN_SOURCES:
            break
        linkage = Agglomeration(locally_scaled(distances, reach), sizes)
        width = silhouette.mean(linkage.join(_GROUP_HEIGHT, _LARGEST_GROUP * len(features)))
        if width > best_width:
            best, best_width = reach, width
    return best


def _reduced(features: np.ndarray, units: np.ndarray) -> np.ndarray:
    """At most about `_MAX_UNITS` units: nearest pairs are joined first, none beyond twice the even share."""
    n_units = int(units.max()) + 1
    if n_units <= _MAX_UNITS:
        return units
    pairs = to_pairs(nearest(features, 10))
    pairs = pairs[units[pairs[:, 0]] != units[pairs[:, 1]]]
    ranked = pairs[np.argsort(pair_distances(features, pairs), kind="stable")]
    parent, sizes = list(range(n_units)), np.bincount(units).tolist()
    largest = 2 * len(features) / _MAX_UNITS

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in units[ranked].tolist():
        if n_units <= _MAX_UNITS:
            break
        a, b = root(a), root(b)
        if a != b and sizes[a] + sizes[b] <= largest:
            parent[b] = a
            sizes[a] += sizes[b]
            n_units -= 1
    return renumbered(np.array([root(i) for i in range(len(parent))])[units])


def _followers(order: Order) -> np.ndarray:
    """Pairs of photos up to `_N_IN_ORDER` places apart."""
    ranks = np.lexsort((order.position, order.chain))
    pairs = []
    for step in range(1, _N_IN_ORDER + 1):
        first, second = ranks[:-step], ranks[step:]
        same = order.chain[first] == order.chain[second]
        pairs.append(np.stack([first[same], second[same]], axis=1))
    return np.sort(np.concatenate(pairs), axis=1)


def _chained(numbers: np.ndarray) -> np.ndarray:
    order = np.argsort(numbers, kind="stable")
    same = numbers[order[:-1]] == numbers[order[1:]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)
