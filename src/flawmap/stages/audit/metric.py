"""How alike two photos are as pieces of one source, learned from the folder itself.

The four quarters of one photo certainly show one source, and so do crops that overlap. The directions in
which such pieces differ say nothing about the source; scaling them down (the within-class whitening of linear
discriminant analysis) leaves what tells sources apart: material, light, camera.
"""

from __future__ import annotations

import numpy as np

_REGULARISATION = 0.1
"""Share of the mean variance added to every direction, so that none is blown up by chance."""
_BLOCK = 2048


def source_features(quadrants: dict[int, np.ndarray], units: np.ndarray) -> np.ndarray:
    """(n, d) float32 whose Euclidean distances compare sources.

    `quadrants[depth]` is (n, 4, channels); `units` (n,) has one number for photos that surely share a source.
    """
    pieces = np.concatenate([quadrants[depth] for depth in sorted(quadrants)], axis=2).astype(np.float64)
    whole = pieces.mean(axis=1)
    spread = whole.std(axis=0) + 1e-6
    whole, pieces = (
        (whole - whole.mean(axis=0)) / spread,
        (pieces - pieces.mean(axis=1, keepdims=True)) / spread,
    )
    n_directions = whole.shape[1]
    counts = np.bincount(units)
    centres = np.zeros((len(counts), n_directions))
    np.add.at(centres, units, whole)
    rest = whole - centres[units] / counts[units, None]
    flat = pieces.reshape(-1, n_directions)
    # A photo is the mean of four quarters: as a prior worth one observation per direction, their scatter / 4.
    prior = flat.T @ flat / max(3 * len(whole), 1) / 4
    freedom = int((counts[counts > 0] - 1).sum())
    within = (rest.T @ rest + n_directions * prior) / (freedom + n_directions)
    within += _REGULARISATION * np.trace(within) / n_directions * np.eye(n_directions)
    values, vectors = np.linalg.eigh(within)
    return (whole @ (vectors / np.sqrt(values))).astype(np.float32)


def nearest(features: np.ndarray, n_neighbours: int) -> np.ndarray:
    """(n, n_neighbours) int64: rows of the nearest others by Euclidean distance, nearest first."""
    n = len(features)
    k = min(n_neighbours, n - 1)
    squared = np.einsum("ij,ij->i", features, features)
    found = np.empty((n, k), np.int64)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        distance = squared[None, :] - 2 * features[start:stop] @ features.T
        distance[np.arange(stop - start), np.arange(start, stop)] = np.inf
        part = np.argpartition(distance, k - 1, axis=1)[:, :k] if k else np.empty((stop - start, 0), np.int64)
        order = np.argsort(np.take_along_axis(distance, part, axis=1), axis=1, kind="stable")
        found[start:stop] = np.take_along_axis(part, order, axis=1)
    return found


def to_pairs(neighbours: np.ndarray) -> np.ndarray:
    """(m, 2) int64: each pair of a photo and a neighbour once, smaller row first, sorted."""
    rows = np.repeat(np.arange(len(neighbours)), neighbours.shape[1])
    pairs = np.sort(np.stack([rows, neighbours.ravel()], axis=1), axis=1)
    return np.unique(pairs, axis=0)


def pair_distances(features: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(m,) Euclidean distances of pairs of rows."""
    out = np.empty(len(pairs))
    for start in range(0, len(pairs), 65536):
        block = pairs[start : start + 65536]
        out[start : start + 65536] = np.linalg.norm(features[block[:, 0]] - features[block[:, 1]], axis=1)
    return out
