"""Regions of a mask that comes in bands are those of the whole mask."""

from __future__ import annotations

import numpy as np
import pytest

from flawmap.records import Cleaning
from flawmap.tools.mask_cleaning import clean_masks, label_components
from flawmap.tools.row_regions import MaskRuns


def collect(mask: np.ndarray, scores: np.ndarray, band: int) -> MaskRuns:
    runs = MaskRuns()
    for top in range(0, len(mask), band):
        runs.add(mask[top : top + band], scores[top : top + band])
    return runs


@pytest.mark.parametrize("band", [1, 7, 100])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.98])
def test_bands_give_the_regions_of_the_whole_mask(band: int, share: float) -> None:
    rng = np.random.default_rng(round(100 * share))
    mask, scores = rng.random((60, 45)) < share, rng.random((60, 45)).astype(np.float32)
    labelled, n = label_components(mask)
    regions = list(collect(mask, scores, band).regions(0.0, 1))
    assert len(regions) == n
    painted = np.zeros(mask.shape, int)
    for region in regions:
        inside, (top, left), step = region.paint(10_000)
        assert step == 1 and inside.sum() == region.area_px
        painted[top : top + inside.shape[0], left : left + inside.shape[1]][inside] += 1
        rows, columns = np.nonzero(inside)
        numbers = labelled[rows + top, columns + left]
        assert (numbers == numbers[0]).all() and region.score == scores[labelled == numbers[0]].max()
    np.testing.assert_array_equal(painted, mask.astype(int))


def test_what_is_kept_is_what_cleaning_keeps() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.random((1, 50, 70)).astype(np.float32)
    cleaning = Cleaning((0.95,), (0.6,), (4,))
    wanted = clean_masks(probabilities, cleaning)[0]
    found = np.zeros_like(wanted)
    for region in collect(probabilities[0] >= 0.6, probabilities[0], 16).regions(0.95, 4):
        for row, begin, end in region.runs:
            found[row, begin:end] = True
    np.testing.assert_array_equal(found, wanted)


def test_a_region_too_large_to_paint_is_painted_coarsely() -> None:
    mask = np.zeros((400, 300), bool)
    mask[np.arange(400), np.arange(400) * 3 // 4] = True
    (region,) = collect(mask, mask.astype(np.float32), 64).regions(0.5, 1)
    inside, corner, step = region.paint(1000)
    assert step == 11 and inside.size < 1100 and corner == (0, 0)
    rows, columns = np.nonzero(mask)
    assert inside[rows // step, columns // step].all()
    assert not list(collect(np.zeros((9, 9), bool), np.zeros((9, 9)), 4).regions(0.0, 0))
