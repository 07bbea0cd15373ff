"""Tiles cover every pixel of a photo of any size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tools.tiles import blend_weights, lay_tiles


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, int], int, int]:
    tile_px = draw(st.integers(1, 70))
    return (draw(st.integers(1, 300)), draw(st.integers(1, 300))), tile_px, draw(st.integers(0, tile_px - 1))


@settings(max_examples=200, deadline=None)
@given(layouts())
def test_every_pixel_is_covered_by_tiles_within_the_photo(layout: tuple[tuple[int, int], int, int]) -> None:
    (height, width), tile_px, overlap_px = layout
    boxes = lay_tiles((height, width), tile_px, overlap_px)
    for side, first, last in ((height, 0, 2), (width, 1, 3)):
        spans = sorted({(box[first], box[last]) for box in boxes})
        assert spans[0][0] == 0 and spans[-1][1] == side
        assert all(end - start == min(side, tile_px) for start, end in spans)
        assert all(after[0] <= before[1] - overlap_px for before, after in itertools.pairwise(spans))
        assert all(after[0] > before[0] for before, after in itertools.pairwise(spans))
    rows, columns = {box[::2] for box in boxes}, {box[1::2] for box in boxes}
    assert len(boxes) == len(set(boxes)) == len(rows) * len(columns)  # so it is every row with every column
    seen = np.zeros((height, width), bool)
    for top, left, bottom, right in boxes:
        seen[top:bottom, left:right] = True
    assert seen.all()


@pytest.mark.parametrize("overlap_px", [-1, 8, 9])
def test_an_overlap_that_leaves_no_step_is_refused(overlap_px: int) -> None:
    with pytest.raises(ValueError, match="an overlap from 0 to 7"):
        lay_tiles((20, 20), 8, overlap_px)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 40))
def test_every_weight_is_above_0_and_the_inside_weighs_1(height: int, width: int, overlap_px: int) -> None:
    weights = blend_weights((height, width), overlap_px)
    assert weights.shape == (height, width) and weights.dtype == np.float32
    assert (weights > 0).all() and (weights <= 1).all()
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    inside = weights[overlap_px : height - overlap_px, overlap_px : width - overlap_px]
    assert (inside == 1).all()
