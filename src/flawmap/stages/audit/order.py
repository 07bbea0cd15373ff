"""What file names say about sources: an order in which neighbours belong together, or a shared prefix.

Names are believed only as far as the pictures bear them out: an order counts where photos that follow each
other look alike far more often than others of their folder, a prefix where photos that share it do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from flawmap.stages.audit.metric import pair_distances

_CLOSE = 0.05
"""A pair is close when only this share of random pairs of its folder is closer."""
_TRUSTED_ORDER = 0.25
"""Share of consecutive photos that must be close (chance gives `_CLOSE`)."""
_TRUSTED_PREFIX = 0.5
_N_RANDOM_PAIRS = 20000
_N_PREFIX_PAIRS = 20000
_PARALLEL = 0.9
"""Rank correlation of two folders' numbers over the links between them: from here on they run in parallel."""


@dataclass(frozen=True)
class Order:
    """`position` (n,): photos with near positions are likely of one source; `share_close` is the evidence."""

    position: np.ndarray
    chain: np.ndarray
    """(n,) int64: positions can be compared within a chain only."""
    share_close: float
    description: str


class Closeness:
    """Tells whether pairs are closer than all but `_CLOSE` of the random pairs within the same folders."""

    def __init__(self, features: np.ndarray, folders: np.ndarray, rng: np.random.Generator) -> None:
        self._features = features
        pairs = rng.integers(0, len(features), (_N_RANDOM_PAIRS, 2))
        same = (folders[pairs[:, 0]] == folders[pairs[:, 1]]) & (pairs[:, 0] != pairs[:, 1])
        pairs = pairs[same] if same.sum() >= 100 else pairs[pairs[:, 0] != pairs[:, 1]]
        self._limit = float(np.quantile(pair_distances(features, pairs), _CLOSE)) if len(pairs) else 0.0

    def share(self, pairs: np.ndarray) -> float:
        """Share of pairs that are close; 0 where there are none."""
        return float((pair_distances(self._features, pairs) <= self._limit).mean()) if len(pairs) else 0.0


def folder_numbers(names: Sequence[str]) -> np.ndarray:
    """(n,) int64: photos in one folder share a number."""
    parents = [str(PurePosixPath(name).parent) for name in names]
    known = {parent: i for i, parent in enumerate(sorted(set(parents)))}
    return np.array([known[parent] for parent in parents], np.int64)


def find_order(names: Sequence[str], links: np.ndarray, closeness: Closeness) -> Order | None:
    """The most telling order of the names, or None where no order tells anything.

    `links` (m, 2): pairs that certainly share a source; they show how the numbering of one folder runs beside
    another's.
    """
    folders = folder_numbers(names)
    best: Order | None = None
    for keys, description in _sort_keys(names):
        for chains, where in (
            (folders, "within each folder"),
            (np.zeros(len(names), np.int64), "across folders"),
        ):
            if where == "across folders" and folders.max() == 0:
                continue
            position = _positions(keys, chains)
            pairs = _consecutive(position, chains)
            share = closeness.share(pairs)
            if best is None or share > best.share_close + 0.02:
                best = Order(position, chains, share, f"{description} {where}")
    if best is None or best.share_close < _TRUSTED_ORDER:
        return None
    return _align(best, links)


def prefix_units(
    names: Sequence[str], labels: np.ndarray, closeness: Closeness
) -> tuple[np.ndarray, str] | None:
    """(number of each photo's prefix, description): the longest prefix that the pictures bear out, or None.

    A prefix is the leading words and numbers of a file name. One that only repeats the class is no source.
    """
    tokens = [_tokens(PurePosixPath(name).stem) for name in names]
    n_labels = len(np.unique(labels))
    for length in range(max((len(t) for t in tokens), default=0) - 1, 0, -1):
        prefixes = [t[:length] if len(t) > length else ("", *t) for t in tokens]
        counts = Counter(prefixes)
        n_shared = sum(count for count in counts.values() if count > 1)
        if n_shared < len(names) / 2 or len(counts) < max(8, 3 * n_labels):
            continue
        known = {prefix: i for i, prefix in enumerate(sorted(counts, key=str))}
        numbers = np.array([known[prefix] for prefix in prefixes], np.int64)
        if closeness.share(_within(numbers)) >= _TRUSTED_PREFIX:
            return numbers, f"a shared beginning of the file names (such as '{_spelled(counts)}')"
    return None


def side_by_side(order: Order, units: np.ndarray, reach: int) -> np.ndarray:
    """(m, m) bool: units that have photos within `reach` places of each other."""
    m = int(units.max()) + 1
    favoured = np.zeros((m, m), bool)
    ranks = np.lexsort((order.position, order.chain))
    for step in range(1, reach + 1):
        first, second = ranks[:-step], ranks[step:]
        same = order.chain[first] == order.chain[second]
        favoured[units[first[same]], units[second[same]]] = True
    favoured |= favoured.T
    np.fill_diagonal(favoured, False)
    return favoured


def _tokens(stem: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+|[^\W\d_]+", stem))


def _spelled(counts: Counter[tuple[str, ...]]) -> str:
    prefix = max(sorted(counts, key=str), key=lambda p: counts[p])
    return "_".join(part for part in prefix if part)


def _within(numbers: np.ndarray) -> np.ndarray:
    """Up to `_N_PREFIX_PAIRS` pairs of rows with the same number: each with the next ones."""
    order = np.argsort(numbers, kind="stable")
    pairs = []
    for step in (1, 2, 3):
        same = numbers[order[:-step]] == numbers[order[step:]]
        pairs.append(np.stack([order[:-step][same], order[step:][same]], axis=1))
    return np.concatenate(pairs)[:_N_PREFIX_PAIRS]


def _sort_keys(names: Sequence[str]) -> list[tuple[list[tuple], str]]:
    """Ways to sort: as a person reads the names, and by each number in them first."""
    stems = [PurePosixPath(name).stem for name in names]
    natural = [
        tuple((0, int(t), "") if t.isdigit() else (1, 0, t.lower()) for t in _tokens(s)) for s in stems
    ]
    ways: list[tuple[list[tuple], str]] = [(natural, "file order")]
    numbers = [[int(t) for t in _tokens(s) if t.isdigit()] for s in stems]
    n_common = min((len(values) for values in numbers), default=0)
    for field in range(1, n_common + 1):
        key = [((0, values[-field], ""), *whole) for values, whole in zip(numbers, natural, strict=True)]
        if n_common > 1 or any(len(whole) > 1 for whole in natural):
            ways.append((key, f"order of number {n_common - field + 1} in the names"))
    return ways


def _positions(keys: list[tuple], chains: np.ndarray) -> np.ndarray:
    """(n,) float: the rank of each photo in its chain; equal keys share a rank."""
    position = np.zeros(len(keys))
    for chain in np.unique(chains):
        rows = np.flatnonzero(chains == chain)
        ranked = {key: rank for rank, key in enumerate(sorted({keys[row] for row in rows}))}
        position[rows] = [ranked[keys[row]] for row in rows]
    return position


def _consecutive(position: np.ndarray, chains: np.ndarray) -> np.ndarray:
    ranks = np.lexsort((position, chains))
    same = chains[ranks[:-1]] == chains[ranks[1:]]
    return np.stack([ranks[:-1][same], ranks[1:][same]], axis=1)


def _align(order: Order, links: np.ndarray) -> Order:
    """Lay the chains that run side by side onto one: each is mapped onto the longest by the links between."""
    chains, counts = np.unique(order.chain, return_counts=True)
    main = chains[counts.argmax()]
    position, chain = order.position.copy(), order.chain.copy()
    for other in chains[chains != main]:
        mapped = _map_chain(order, links, int(main), int(other))
        if mapped is not None:
            rows = np.flatnonzero(order.chain == other)
            position[rows] = mapped
            chain[rows] = main
    n_aligned = len(chains) - len(np.unique(chain))
    words = order.description + (f", {n_aligned + 1} folders side by side" if n_aligned else "")
    return Order(position, chain, order.share_close, words)


def _map_chain(order: Order, links: np.ndarray, main: int, other: int) -> np.ndarray | None:
    """Positions of a chain on the main one, where enough links agree on a rising map; else None."""
    a, b = links[:, 0], links[:, 1]
    swap = (order.chain[a] == other) & (order.chain[b] == main)
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    across = (order.chain[a] == main) & (order.chain[b] == other)
    at_main, at_other = order.position[a[across]], order.position[b[across]]
    if len(np.unique(at_other)) < 8 or len(np.unique(at_main)) < 8:
        return None
    if not np.corrcoef(_ranks(at_main), _ranks(at_other))[0, 1] > _PARALLEL:
        return None
    places, counts = np.unique(at_other, return_counts=True)
    means = np.array([at_main[at_other == place].mean() for place in places])
    return np.interp(order.position[order.chain == other], places, _rising(means, counts))


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _rising(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nearest sequence that never falls (pool adjacent violators)."""
    pools: list[list[float]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append([value, float(weight), 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            high, high_weight, high_n = pools.pop()
            low, low_weight, low_n = pools.pop()
            total = high_weight + low_weight
            pools.append([(high * high_weight + low * low_weight) / total, total, high_n + low_n])
    return np.repeat([pool[0] for pool in pools], [int(pool[2]) for pool in pools])
