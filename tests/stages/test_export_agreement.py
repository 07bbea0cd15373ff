"""Two files agree, or a sentence says in what they do not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from flawmap.records import Cleaning
from flawmap.stages.export.agreement import (
    MapDifferences,
    MaskCounts,
    compare_labels,
    compare_masks,
    count_masks,
    count_sides_changed,
)

N = 200


def logits_of(is_flaw: np.ndarray) -> np.ndarray:
    """Sure answers for labels (crack, good)."""
    return np.where(is_flaw[:, None], [3.0, -3.0], [-3.0, 3.0])


@pytest.fixture
def truth() -> np.ndarray:
    """(N,) bool: every other photo is cracked."""
    return np.arange(N) % 2 == 0


def to_targets(is_flaw: np.ndarray) -> np.ndarray:
    return np.stack([is_flaw, ~is_flaw], axis=1).astype(np.uint8)


def test_equal_answers_agree_in_every_precision(tiny: SimpleNamespace, truth: np.ndarray) -> None:
    logits = logits_of(truth)
    for precision in ("float32", "int8"):
        found = compare_labels(logits, logits, tiny.make_spec(), precision, to_targets(truth))
        assert found.passes and found.changed == 0 and found.before == found.after == 1.0


def test_float32_is_held_to_a_thousandth(tiny: SimpleNamespace, truth: np.ndarray) -> None:
    logits = np.tile([0.2, 0.0], (N, 1))
    for shift, passes in ((0.003, True), (0.006, False)):  # of logits; a quarter of it of probabilities
        found = compare_labels(logits, logits + np.array([shift, 0.0]), tiny.make_spec(), "float32")
        assert found.passes == passes and found.figure is None
    assert "a probability differs by" in found.failures[0] and "0.001" in found.failures[0]


@pytest.mark.parametrize(("n_changed", "passes"), [(0, True), (2, True), (3, False)])
def test_one_label_in_a_hundred_may_change(
    tiny: SimpleNamespace, truth: np.ndarray, n_changed: int, passes: bool
) -> None:
    """Mistakes of the first file that the second one mends: F1 rises, and labels change all the same."""
    before = truth.copy()
    before[: 2 * n_changed : 2] = False
    found = compare_labels(logits_of(before), logits_of(truth), tiny.make_spec(), "int8", to_targets(truth))
    assert found.changed == n_changed / N and found.passes == passes
    assert found.after == 1.0 and (
        passes or "1.50% of the labels change (3 of 200 changed), at most" in found.failures[0]
    )


def test_f1_may_hardly_fall(tiny: SimpleNamespace, truth: np.ndarray) -> None:
    missed = truth.copy()
    missed[[0, 2]] = False
    found = compare_labels(
        logits_of(truth), logits_of(missed), tiny.make_spec(), "float16", to_targets(truth)
    )
    expected = 2 * 98 / (98 + 100)
    assert found.after == pytest.approx(expected) and not found.passes
    wanted = f"F1 falls from 1.0000 to {expected:.4f} (2 of 200 changed), at most 0.005 is allowed"
    assert found.failures == (wanted,)
    assert "F1 0.9899 (before: 1.0000)" in found.text and "1.00% of the labels changed" in found.text


@pytest.mark.parametrize(("n", "n_needed"), [(60, 201), (160, 201), (240, None)])
def test_it_says_from_how_many_photos_on_one_changed_label_is_within_the_limits(
    tiny: SimpleNamespace, n: int, n_needed: int | None
) -> None:
    classes = np.arange(n) % 4
    logits = 4.0 * np.eye(4)[classes]
    after = logits.copy()
    after[0] = logits[1]
    spec = tiny.make_spec(labels=("a", "b", "c", "d"), good_labels=())
    found = compare_labels(logits, after, spec, "int8", np.eye(4, dtype=np.uint8)[classes])
    assert found.n_changed == 1 and found.passes == (n_needed is None)
    assert found.n_needed == n_needed
    mended = compare_labels(after, logits, spec, "int8", np.eye(4, dtype=np.uint8)[classes])
    assert mended.n_needed == (100 if n < 100 else None), "F1 rises: only the share of labels counts"


def test_several_classes_are_judged_by_macro_f1(tiny: SimpleNamespace) -> None:
    classes = np.arange(N) % 3
    logits = 4.0 * np.eye(3)[classes]
    spec = tiny.make_spec(labels=("a", "b", "c"), good_labels=())
    found = compare_labels(logits, logits, spec, "int8", np.eye(3, dtype=np.uint8)[classes])
    assert (found.figure, found.after) == ("macro_f1", 1.0) and found.passes


def test_a_reduced_precision_needs_labels(tiny: SimpleNamespace, truth: np.ndarray) -> None:
    found = compare_labels(logits_of(truth), logits_of(truth), tiny.make_spec(), "int8")
    assert not found.passes and "labelled" in found.failures[0]


def test_what_is_no_number_agrees_with_nothing(tiny: SimpleNamespace, truth: np.ndarray) -> None:
    broken = logits_of(truth)
    broken[3] = np.nan
    assert not compare_labels(logits_of(truth), broken, tiny.make_spec(), "float32").passes
    differences = MapDifferences(0.0, float("nan"))
    assert not compare_masks(MaskCounts(100), 1, False, differences).passes


def test_masks_are_counted_by_pixel() -> None:
    truth = np.zeros((2, 10, 10), bool)
    truth[0, :2] = True
    before, after = truth.copy(), truth.copy()
    after[0, 1, :5] = False
    after[1, 9, 9] = True
    counts = count_masks(before, after, truth)
    assert counts == MaskCounts(100, 6, 20, 20, 16, 20, 15)
    assert counts + counts == MaskCounts(200, 12, 40, 40, 32, 40, 30)
    found = compare_masks(counts, 1, True)
    assert (found.before, found.changed) == (1.0, 0.06) and found.after == pytest.approx(30 / 36)
    assert [text.split()[0] for text in found.failures] == ["Dice", "6.00%"]


def test_another_label_at_the_same_place_is_a_change() -> None:
    before, after = np.zeros((2, 2, 4, 4), bool)
    before[0], after[1] = True, True
    assert count_masks(before, after, None).n_changed == 16


def test_maps_decide_in_float32() -> None:
    counts = MaskCounts(n_pixels=10_000)
    assert compare_masks(counts, 1, False, MapDifferences(1e-5, 1e-3)).passes
    for bad in (MapDifferences(1e-3, 0.0), MapDifferences(0.0, 0.1), MapDifferences(0.0, 0.0, 0.01)):
        assert len(compare_masks(counts, 1, False, bad).failures) == 1


def test_pixels_change_sides_of_either_threshold() -> None:
    before, after = np.full((1, 4, 4), 0.395), np.full((1, 4, 4), 0.405)
    assert count_sides_changed(before, after, Cleaning((0.5,))) == 0
    assert count_sides_changed(before, after, Cleaning((0.5,), (0.4,))) == 16
