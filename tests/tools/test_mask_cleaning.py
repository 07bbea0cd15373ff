"""Cleaned masks, whatever the map: inside the low mask, large enough, seeded, exclusive, idempotent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.tools.mask_cleaning import Cleaning, area_factor, clean_masks, label_components
from flawmap.tools.mask_scores import to_levels

SMALL = settings(max_examples=40, deadline=None)


@st.composite
def maps(draw: st.DrawFn) -> np.ndarray:
    """(n_labels, H, W) float32 in coarse steps, so that equals happen; smooth enough to have components."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n_labels = draw(st.integers(1, 3))
    blocks = np.kron(rng.random((n_labels, 6, 7)), np.ones((3, 3))) ** 2
    return (np.round(8 * (0.6 * blocks + 0.4 * rng.random(blocks.shape))) / 8).astype(np.float32)


def make_cleaning(n_labels: int, area: int = 6, is_exclusive: bool = False) -> Cleaning:
    return Cleaning((0.5,) * n_labels, (0.25,) * n_labels, (area,) * n_labels, is_exclusive)


@SMALL
@given(maps(), st.integers(0, 20), st.booleans())
def test_what_is_left_is_inside_large_seeded_and_stays(p: np.ndarray, area: int, is_exclusive: bool) -> None:
    cleaning = make_cleaning(len(p), area, is_exclusive)
    masks = clean_masks(p, cleaning)
    assert not (masks & (p < 0.25)).any()
    assert not is_exclusive or masks.sum(axis=0).max() <= 1
    for mask, probability in zip(masks, p, strict=True):
        labelled, n = label_components(mask)
        for i in range(1, n + 1):
            assert (labelled == i).sum() >= area and probability[labelled == i].max() >= 0.5
    again = clean_masks(np.where(masks, p, np.float32(0)), cleaning)
    assert np.array_equal(again, masks)


@SMALL
@given(maps(), st.booleans())
def test_levels_give_the_masks_of_the_probabilities(p: np.ndarray, is_exclusive: bool) -> None:
    cleaning = make_cleaning(len(p), is_exclusive=is_exclusive)
    assert np.array_equal(
        clean_masks(to_levels(p), cleaning), clean_masks(np.minimum(p, 255 / 256), cleaning)
    )


@SMALL
@given(maps())
def test_a_larger_area_and_a_higher_threshold_only_remove(p: np.ndarray) -> None:
    cleaning = make_cleaning(len(p))
    masks = clean_masks(p, cleaning)
    assert not (clean_masks(p, replace(cleaning, thresholds=(0.75,) * len(p))) & ~masks).any()
    assert not (clean_masks(p, cleaning, area_factor=3.0) & ~masks).any()


def test_a_plain_threshold_is_just_that() -> None:
    p = np.random.default_rng(0).random((2, 20, 30)).astype(np.float32)
    masks = clean_masks(p, Cleaning((0.5, 0.75)))
    assert np.array_equal(masks[0], p[0] >= 0.5) and np.array_equal(masks[1], p[1] >= 0.75)


def test_a_diagonal_is_one_component_and_a_weak_one_goes() -> None:
    p = np.zeros((1, 12, 12), np.float32)
    p[0, range(5), range(5)] = 0.4
    assert not clean_masks(p, Cleaning((0.5,), (0.25,), (5,))).any()
    p[0, 2, 2] = 0.6
    assert clean_masks(p, Cleaning((0.5,), (0.25,), (5,))).sum() == 5
    assert not clean_masks(p, Cleaning((0.5,), (0.25,), (6,))).any()


def test_the_likelier_label_keeps_the_pixel_and_equals_go_to_the_first() -> None:
    p = np.array([[[0.6, 0.7, 0.3]], [[0.8, 0.7, 0.6]]], np.float32)
    masks = clean_masks(p, Cleaning((0.5, 0.5), is_exclusive=True))
    assert masks[:, 0].tolist() == [[False, True, False], [True, False, True]]
    higher = clean_masks(p, Cleaning((0.5, 0.9), is_exclusive=True))
    assert higher[:, 0].tolist() == [[True, True, False], [False, False, False]]


def test_a_doubtful_photo_needs_larger_masks() -> None:
    assert area_factor(0.9, 0.5) == area_factor(0.5, 0.5) == 1.0
    assert area_factor(0.25, 0.5, most=16) == pytest.approx(4.0)
    assert area_factor(0.0, 0.5, most=16) == pytest.approx(16.0)
    p = np.zeros((1, 9, 9), np.float32)
    p[0, 2:5, 2:5] = 0.9
    assert clean_masks(p, Cleaning((0.5,)), area_factor=9.0).sum() == 9
    assert not clean_masks(p, Cleaning((0.5,)), area_factor=9.1).any()
    with pytest.raises(OptionError, match="most of 1 or more"):
        area_factor(0.5, 0.5, most=0.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"thresholds": ()}, "one per label, above 0"),
        ({"thresholds": (0.0,)}, "above 0 and at most 1"),
        ({"thresholds": (0.5,), "low_thresholds": (0.6,)}, "at most its threshold"),
        ({"thresholds": (0.5,), "low_thresholds": (0.5, 0.5)}, "one per label"),
        ({"thresholds": (0.5,), "min_area_px": (1, 2)}, "give 1 whole numbers"),
        ({"thresholds": (0.5,), "min_area_px": (-1,)}, "0 or more"),
    ],
)
def test_a_cleaning_checks_itself(values: dict[str, tuple[float, ...]], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Cleaning(**values)  # type: ignore[arg-type]


def test_a_cleaning_of_other_labels_is_refused() -> None:
    with pytest.raises(OptionError, match=r"need probabilities \(2, H, W\)"):
        clean_masks(np.zeros((1, 5, 5), np.float32), Cleaning((0.5, 0.5)))
