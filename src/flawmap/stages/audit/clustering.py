"""Join units of photos into sources: average linkage on locally scaled distances."""

from __future__ import annotations

import numpy as np

_BLOCK = 1024
_N_SILHOUETTES = 4000


def connected(n: int, pairs: np.ndarray) -> np.ndarray:
    """(n,) int64: the number of the connected component of each row, components numbered by first row."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return renumbered(connected_components(graph, directed=False)[1])


def renumbered(labels: np.ndarray) -> np.ndarray:
    """The same partition, numbered in the order in which the labels first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def unit_distances(features: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(m, m) float32: mean distance between the photos of two units."""
    sizes = np.bincount(units)
    order = np.argsort(units, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    ordered = features[order]
    squared = np.einsum("ij,ij->i", ordered, ordered)
    sums = np.zeros((len(sizes), len(sizes)), np.float32)
    for start in range(0, len(ordered), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(ordered)))
        distance = squared[rows, None] + squared[None] - 2 * ordered[rows] @ ordered.T
        np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
        np.add.at(sums, units[order[rows]], np.add.reduceat(distance, starts, axis=1))
    out = sums / np.outer(sizes, sizes).astype(np.float32)
    return (out + out.T) / 2


class Silhouette:
    """How much closer photos are to their own cluster than to the next one (Rousseeuw, 1987), on average.

    Photos rather than units are averaged over, and of many photos a sample; alone in a cluster counts as 0.
    """

    def __init__(self, features: np.ndarray, units: np.ndarray, rng: np.random.Generator) -> None:
        n, m = len(features), int(units.max()) + 1
        self._rows = np.sort(rng.permutation(n)[:_N_SILHOUETTES])
        self._units = units
        self._sizes = np.bincount(units)
        order = np.argsort(units, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])
        ordered = features[order]
        squared = np.einsum("ij,ij->i", ordered, ordered)
        self._sums = np.empty((len(self._rows), m), np.float32)
        for start in range(0, len(self._rows), _BLOCK):
            mine = features[self._rows[start : start + _BLOCK]]
            distance = (mine * mine).sum(axis=1)[:, None] + squared[None] - 2 * mine @ ordered.T
            np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
            self._sums[start : start + _BLOCK] = np.add.reduceat(distance, starts, axis=1)

    def mean(self, clusters: np.ndarray) -> float:
        """`clusters` (m,) int64: the cluster of each unit."""
        n_clusters = int(clusters.max()) + 1
        if n_clusters < 2:
            return 0.0
        order = np.argsort(clusters, kind="stable")
        starts = np.searchsorted(clusters[order], np.arange(n_clusters))
        sums = np.add.reduceat(self._sums[:, order], starts, axis=1)
        sizes = np.bincount(clusters, weights=self._sizes)
        rows = np.arange(len(self._rows))
        mine = clusters[self._units[self._rows]]
        own = sums[rows, mine] / np.maximum(sizes[mine] - 1, 1)
        means = sums / sizes
        means[rows, mine] = np.inf
        other = means.min(axis=1)
        width = (other - own) / np.maximum(np.maximum(own, other), 1e-9)
        return float(np.where(sizes[mine] > 1, width, 0).mean())


def locally_scaled(distances: np.ndarray, n_neighbours: int) -> np.ndarray:
    """Distances over the geometric mean of both units' distance to their n-th neighbour.

    After Zelnik-Manor and Perona (2004): where many sources look alike (grey walls) two pieces of one must be
    closer than where a source stands alone.
    """
    others = distances.copy()
    np.fill_diagonal(others, 0)
    k = min(n_neighbours, len(distances) - 1)
    reach = np.partition(others, k, axis=1)[:, k] + 1e-9
    return distances / np.sqrt(np.outer(reach, reach))


class Agglomeration:
    """Average linkage that can be taken to one height, read, and taken further.

    `favoured` (m, m) bool marks units that the file order puts side by side; all others count as `penalty`
    times as far apart.
    """

    def __init__(
        self,
        distances: np.ndarray,
        sizes: np.ndarray,
        favoured: np.ndarray | None = None,
        penalty: float = 1.0,
    ) -> None:
        m = len(distances)
        self._distances = distances.astype(np.float64)
        self._favoured = np.ones((m, m), bool) if favoured is None else favoured.copy()
        self._penalty = penalty
        self._sizes = sizes.astype(np.float64)
        self._is_alive = np.ones(m, bool)
        self._parent = np.arange(m)
        self._effective = np.where(self._favoured, self._distances, penalty * self._distances)
        np.fill_diagonal(self._effective, np.inf)

    def join(self, height: float, largest: float) -> np.ndarray:
        """(m,) int64: the cluster of each unit after all joins below `height` that stay within `largest`."""
        effective = np.where(self._sizes[:, None] + self._sizes[None] > largest, np.inf, self._effective)
        best = effective.min(axis=1) if len(effective) > 1 else np.full(len(effective), np.inf)
        place = effective.argmin(axis=1)
        while True:
            i = int(best.argmin())
            if not best[i] < height:
                return renumbered(self._parent)
            i, j = sorted((i, int(place[i])))
            row = self._merge(i, j)
            row = np.where(self._sizes + self._sizes[i] > largest, np.inf, row)
            effective[i] = effective[:, i] = row
            effective[j] = effective[:, j] = np.inf
            stale = self._is_alive & ((place == i) | (place == j))
            stale[i] = True
            closer = self._is_alive & ~stale & (row < best)
            best[closer], place[closer] = row[closer], i
            best[j] = np.inf
            if stale.any():
                best[stale], place[stale] = effective[stale].min(axis=1), effective[stale].argmin(axis=1)

    def _merge(self, i: int, j: int) -> np.ndarray:
        """Put cluster j into i; the effective distances of the union."""
        a, b = self._sizes[i], self._sizes[j]
        row = (a * self._distances[i] + b * self._distances[j]) / (a + b)
        self._is_alive[j] = False
        self._parent[self._parent == j] = i
        self._sizes[i], self._sizes[j] = a + b, 0
        favoured = self._favoured[i] | self._favoured[j]
        self._distances[i] = self._distances[:, i] = row
        self._favoured[i] = self._favoured[:, i] = favoured
        effective = np.where(favoured, row, self._penalty * row)
        effective[~self._is_alive] = np.inf
        effective[i] = np.inf
        self._effective[i] = self._effective[:, i] = effective
        self._effective[j] = self._effective[:, j] = np.inf
        return effective
