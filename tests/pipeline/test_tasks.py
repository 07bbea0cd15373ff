"""What a run learns follows from the data set and from what is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import DatasetError, OptionError
from flawmap.pipeline.cascading import best_rule, chained, choose_skip, to_gate
from flawmap.pipeline.tasks import check_task, resolve_task, to_labels
from flawmap.records import CascadeSpec, Cleaning, Dataset, Photo
from flawmap.stages.evaluate_masks import MaskedPhoto
from flawmap.tools.cascade import Look
from flawmap.tools.mask_scores import balanced
from flawmap.tools.masks import to_photo_mask


def dataset_of(rows: list[tuple[int, ...]], labels: tuple[str, ...] = ("dark", "light")) -> Dataset:
    """A photo per row of 0/1: the labels that its mask shows."""
    masks = []
    for row in rows:
        pixels = np.zeros((len(labels), 4, 6), bool)
        for label, shown in enumerate(row):
            pixels[label, label, : 3 * shown] = True
        masks.append(to_photo_mask(pixels))
    photos = tuple(Photo(Path(f"{i}.png"), f"{i}.png", str(i), (4, 6)) for i in range(len(rows)))
    targets = np.array(rows, np.uint8)
    return Dataset(Path("set"), photos, labels, targets, is_multilabel=True, masks=tuple(masks))


ONE_KIND_EACH = dataset_of([(0, 0), (1, 0), (0, 1)])
BOTH = dataset_of([(0, 0), (1, 1), (0, 1)])


def test_masks_are_learnt_where_there_are_masks() -> None:
    for task in ("auto", "segmentation"):
        assert resolve_task(ONE_KIND_EACH, task) == (ONE_KIND_EACH, True)


def test_one_label_per_photo_follows_from_masks() -> None:
    found, learns_masks = resolve_task(ONE_KIND_EACH, "classification")
    assert not learns_masks and found.labels == ("dark", "light", "good") and found.good_labels == ("good",)
    assert found.targets.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_where_kinds_meet_a_photo_is_flawed_or_good() -> None:
    found = to_labels(BOTH, is_multilabel=False)
    assert found.labels == ("flaw", "good") and found.targets.tolist() == [[0, 1], [1, 0], [1, 0]]


def test_several_labels_are_the_kinds() -> None:
    found, learns_masks = resolve_task(BOTH, "multilabel")
    assert not learns_masks and not found.has_masks and found.targets.tolist() == BOTH.targets.tolist()


def test_what_cannot_be_is_refused() -> None:
    labels = replace(ONE_KIND_EACH, masks=())
    flawed = dataset_of([(1,), (1,)], ("flaw",))
    for dataset, task, cascade in ((labels, "segmentation", False), (labels, "auto", True)):
        with pytest.raises(DatasetError, match="no masks"):
            resolve_task(dataset, task, cascade)
    for task, cascade in (("classification", False), ("auto", True)):
        with pytest.raises(DatasetError, match="every photo of set shows a flaw"):
            resolve_task(flawed, task, cascade)
    with pytest.raises(OptionError, match="ends in masks"):
        check_task("classification", True)
    with pytest.raises(DatasetError, match="several labels each"):
        resolve_task(labels, "classification")


def test_the_gate_learns_any_flaw_first() -> None:
    gate = to_gate(BOTH)
    assert gate.labels == ("flaw", "dark", "light") and not gate.has_masks
    assert gate.targets.tolist() == [[0, 0, 0], [1, 1, 1], [1, 0, 1]]
    single = to_gate(dataset_of([(0,), (1,)], ("flaw",)))
    assert single.labels == ("flaw",) and single.targets.tolist() == [[0], [1]]


def test_at_most_one_flawed_photo_in_two_hundred_is_skipped() -> None:
    rng = np.random.default_rng(0)
    scores, flawed = rng.uniform(0.01, 0.99, 1000), np.arange(1000) < 600
    skip = choose_skip(scores, flawed, flawed)
    assert skip.lost_share == skip.skipped_share == np.mean(scores[:600] < skip.threshold) <= 0.005
    assert skip.threshold < np.sort(scores[:600])[3]
    few = choose_skip(np.array([0.3, 0.9, 0.1]), np.array([True, True, False]), np.array([True, True, False]))
    assert few.lost_share == 0 and few.threshold < 0.3


def test_a_rule_that_costs_masks_is_not_taken_however_quiet_it_is() -> None:
    def row(flaw_dice: float, overkill: float) -> dict[str, float]:
        return {"flaw_dice": flaw_dice, "balanced": float(balanced(flaw_dice, 1 - overkill))}

    nothing, dear, cheap = row(0.50, 0.30), row(0.48, 0.05), row(0.496, 0.20)
    assert best_rule([nothing, dear]) == 0
    assert best_rule([nothing, cheap, dear]) == 1
    assert best_rule([nothing, nothing]) == 0


def test_flawed_photos_of_which_masks_mark_nothing_are_skipped() -> None:
    scores, flawed = np.array([0.02, 0.03, 0.7, 0.9, 0.1, 0.2]), np.array([True] * 4 + [False] * 2)
    marked = np.array([False, False, True, True, False, False])
    skip = choose_skip(scores, flawed, marked)
    assert 0.2 < skip.threshold < 0.7
    assert (skip.lost_share, skip.skipped_share) == (0.0, 0.5)
    assert choose_skip(scores, flawed, np.zeros(6, bool)).threshold < 0.02


def test_a_chain_sees_nothing_in_photos_that_it_skips() -> None:
    levels = np.full((2, 4, 6), 200, np.uint8)
    photo = MaskedPhoto("a.png", levels > 0, levels)
    cleaning, cascade = Cleaning((0.5, 0.5)), CascadeSpec(0.3, "veto", (0.5, 0.5))
    passing = chained(photo, Look(0.3, np.array([0.9, 0.1])), cleaning, cascade)
    assert passing.probabilities is levels and passing.predicted.any(axis=(1, 2)).tolist() == [True, False]
    skipped = chained(photo, Look(0.2, np.array([0.9, 0.1])), cleaning, cascade)
    assert not skipped.probabilities.any() and not skipped.predicted.any() and skipped.truth is photo.truth
