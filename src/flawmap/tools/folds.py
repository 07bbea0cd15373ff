"""Folds that keep groups together, spread the labels evenly, and do not depend on the files' names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from flawmap.tools.bootstrap import sum_by_group, to_codes


def assign_folds(
    groups: Sequence[str], targets: np.ndarray, digests: Sequence[str], n_folds: int, seed: int = 0
) -> tuple[np.ndarray, int]:
    """((n,) fold of each photo, number of folds), photos of one group in one fold.

    Groups with the most uneven labels choose first; each takes the fold that leaves the labels spread most
    evenly (as scikit-learn's StratifiedGroupKFold does). Groups are told apart and ordered by what they hold,
    so names and order of the files do not matter. There are never more folds than groups; where there is one
    group only, single photos are dealt out instead.
    """
    codes, n_groups = to_codes(groups, len(targets))
    if n_groups == 1:
        codes, n_groups = to_codes(digests, len(targets))
    n_folds = min(n_folds, n_groups)
    if n_folds < 2:
        return np.zeros(len(targets), np.int64), n_folds
    counts = sum_by_group(targets, codes, n_groups)
    keys = _content_keys(codes, n_groups, digests, seed)
    order = sorted(range(n_groups), key=lambda g: (-float(counts[g].std()), -counts[g].sum(), keys[g]))
    totals = np.maximum(counts.sum(axis=0), 1.0)
    filled = np.zeros((n_folds, targets.shape[1]))
    sizes = np.zeros(n_folds)
    fold_of_group = np.zeros(n_groups, np.int64)
    for group in order:
        shares = filled / totals
        change = _spread_after(shares, counts[group] / totals)
        best = min(range(n_folds), key=lambda fold: (round(float(change[fold]), 12), sizes[fold], fold))
        fold_of_group[group] = best
        filled[best] += counts[group]
        sizes[best] += counts[group].sum()
    return fold_of_group[codes], n_folds


def _content_keys(codes: np.ndarray, n_groups: int, digests: Sequence[str], seed: int) -> list[str]:
    """Per group a key that only its photos' contents and the seed decide."""
    least = [""] * n_groups
    for code, digest in zip(codes, digests, strict=True):
        least[code] = min(least[code], digest) if least[code] else digest
    return [hashlib.blake2b(f"{seed}:{digest}".encode(), digest_size=16).hexdigest() for digest in least]


def _spread_after(shares: np.ndarray, added: np.ndarray) -> np.ndarray:
    """(n_folds,) mean spread of the labels over the folds if `added` went to each fold in turn."""
    n_folds = len(shares)
    total, squares = shares.sum(axis=0) + added, (shares**2).sum(axis=0)
    after = squares + 2 * shares * added + added**2
    return np.sqrt(np.maximum(after / n_folds - (total / n_folds) ** 2, 0.0)).mean(axis=1)
