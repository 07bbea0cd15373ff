"""Regions of a classifier's cells lie on the photo, whose last cells may show little of it."""

from __future__ import annotations

import numpy as np

from flawmap.records import FindingSpec
from flawmap.stages.inspection.findings import find_regions
from flawmap.tools.bundle import Bundle
from flawmap.tools.classifier_maps import ScoreMaps

CELL_PX = 15.65625
EVERYTHING = FindingSpec(least_score=0.5, least_area_px=0, chosen_by="the test")


def maps_of(spec, lit: np.ndarray) -> ScoreMaps:
    """All windows score; only `lit` (h, w) cells speak for a flaw."""
    is_flaw = spec.is_flaw_label[:, None, None]
    probabilities = np.where(is_flaw, 0.9, 0.1) * np.ones(lit.shape)
    evidence = np.where(is_flaw, lit, 0.0)
    return ScoreMaps(
        probabilities.astype(np.float32),
        np.full(lit.shape, 0.9, np.float32),
        evidence.astype(np.float32),
        CELL_PX,
    )


def test_a_region_at_the_last_cells_lies_on_the_photo(tiny_bundle: Bundle) -> None:
    """The seventh row of cells shows a pixel of the photo, else its mirror image; what is lit there is lit
    beyond the photo alone, as a stronger region stands nearby."""
    lit = np.full((7, 6), -20.0)
    lit[3:5, 2:4], lit[6, 2:4] = 50.0, 35.0
    size_hw = (95, 90)
    found = find_regions(maps_of(tiny_bundle.spec, lit), tiny_bundle.spec, size_hw, EVERYTHING, None)
    assert found
    for one in found:
        left, top, right, bottom = one.box_xyxy
        assert 0 <= left < right <= size_hw[1] and 0 <= top < bottom <= size_hw[0]
        assert all(0 <= x <= size_hw[1] and 0 <= y <= size_hw[0] for x, y in one.polygon)


def test_what_lies_beyond_the_photo_has_no_area(tiny_bundle: Bundle) -> None:
    """A photo that ends a tenth into its last row and column of cells, lit along its lower border."""
    size_hw = (round(6.1 * CELL_PX), round(5.1 * CELL_PX))
    lit = np.full((7, 6), -20.0)
    lit[5:] = 50.0
    (found,) = find_regions(maps_of(tiny_bundle.spec, lit), tiny_bundle.spec, size_hw, EVERYTHING, None)
    left, top, right, bottom = found.box_xyxy
    assert (left, right, bottom) == (0, *size_hw[::-1]) and 4 * CELL_PX < top < 6 * CELL_PX
    assert found.area_px == round((right - left) * (bottom - top))


def test_findings_of_any_scores_lie_on_photos_of_any_size(tiny_bundle: Bundle) -> None:
    draw = np.random.default_rng(0)
    n_found = 0
    for _ in range(60):
        size_hw = tuple(int(side) for side in draw.integers(1, 130, 2))
        n_cells = [int(np.ceil(side / CELL_PX)) for side in size_hw]
        maps = maps_of(tiny_bundle.spec, draw.normal(0, 20, n_cells))
        for one in find_regions(maps, tiny_bundle.spec, size_hw, EVERYTHING, None):
            left, top, right, bottom = one.box_xyxy
            assert 0 <= left < right <= size_hw[1] and 0 <= top < bottom <= size_hw[0]
            assert 1 <= one.area_px <= round((right - left) * (bottom - top)) + 1
            n_found += 1
    assert n_found > 100
