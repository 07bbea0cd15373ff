"""Folds keep groups together, spread labels, and forget names and order."""

from __future__ import annotations

import numpy as np
import pytest

from flawmap.tools.folds import assign_folds


def tiles(n_groups: int, n_per_group: int, seed: int = 0) -> tuple[list[str], np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    groups = [f"wall{i // n_per_group}" for i in range(n_groups * n_per_group)]
    targets = np.eye(3, dtype=np.uint8)[rng.choice(3, len(groups), p=[0.6, 0.3, 0.1])]
    return groups, targets, [f"{value:032x}" for value in rng.permutation(len(groups))]


def test_groups_stay_together_and_labels_are_spread() -> None:
    groups, targets, digests = tiles(60, 5)
    fold_of, n_folds = assign_folds(groups, targets, digests, 5)
    assert n_folds == 5
    for group in set(groups):
        assert len({fold_of[i] for i in range(300) if groups[i] == group}) == 1
    shares = np.stack([targets[fold_of == fold].sum(axis=0) for fold in range(5)]) / targets.sum(axis=0)
    assert np.abs(shares - 0.2).max() < 0.06


@pytest.mark.parametrize("seed", range(3))
def test_order_and_names_change_nothing(seed: int) -> None:
    groups, targets, digests = tiles(30, 4, seed)
    fold_of, _ = assign_folds(groups, targets, digests, 4, seed=7)
    order = np.random.default_rng(seed).permutation(len(groups))
    renamed = [groups[i][::-1] for i in order]
    shuffled, _ = assign_folds(renamed, targets[order], [digests[i] for i in order], 4, seed=7)
    assert shuffled.tolist() == fold_of[order].tolist()


def test_another_seed_deals_differently() -> None:
    groups, targets, digests = tiles(40, 1)
    first, _ = assign_folds(groups, targets, digests, 4, seed=0)
    second, _ = assign_folds(groups, targets, digests, 4, seed=1)
    assert first.tolist() != second.tolist()


def test_few_groups_give_few_folds_and_one_group_is_dealt_by_photo() -> None:
    groups, targets, digests = tiles(3, 6)
    fold_of, n_folds = assign_folds(groups, targets, digests, 5)
    assert n_folds == 3 and set(fold_of.tolist()) == {0, 1, 2}
    fold_of, n_folds = assign_folds(["one"] * 18, targets, digests, 5)
    assert n_folds == 5 and np.bincount(fold_of).min() >= 3
    assert assign_folds(["one"], targets[:1], digests[:1], 5)[1] == 1
