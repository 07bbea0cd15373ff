"""Runs are exact: whatever is encoded comes back, and what is broken is refused with the place and reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flawmap.errors import MaskError
from flawmap.records import PhotoMask
from flawmap.tools import rle
from flawmap.tools.masks import fill_polygon, to_class_indices, to_photo_mask, to_pixels

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


@settings(deadline=None)
@given(mask=MASKS)
def test_every_way_of_writing_a_mask_brings_it_back(mask: np.ndarray) -> None:
    size_hw = (mask.shape[0], mask.shape[1])
    runs = rle.encode(mask)
    PhotoMask(size_hw, (runs,))
    assert (rle.decode(runs, size_hw) == mask).all()
    assert np.array_equal(rle.parse_runs(rle.to_text(runs), size_hw), runs)
    assert np.array_equal(rle.from_counts(rle.to_counts(runs, size_hw), size_hw), runs)
    assert rle.unpack_counts(pack_counts(rle.to_counts(runs, size_hw))) == rle.to_counts(runs, size_hw)


@settings(deadline=None)
@given(pixels=hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_masks_of_several_labels_come_back(pixels: np.ndarray) -> None:
    assert (to_pixels(to_photo_mask(pixels)) == pixels).all()


@settings(deadline=None)
@given(masks=st.integers(1, 4).flatmap(lambda n: hnp.arrays(bool, (n, 5, 4))))
def test_union_is_any(masks: np.ndarray) -> None:
    joined = rle.union([rle.encode(one) for one in masks])
    assert np.array_equal(joined, rle.encode(masks.any(axis=0)))


@pytest.mark.parametrize("box", [(0, 7, 0, 5), (0, 7, 2, 4), (3, 7, 0, 5), (2, 5, 1, 3)])
def test_a_crop_has_the_runs_of_the_whole(box: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = box
    for fill in (True, False):
        mask = np.zeros((7, 5), bool)
        inside = np.random.default_rng(0).random((bottom - top, right - left)) < 0.7
        mask[top:bottom, left:right] = inside | fill
        runs = rle.encode_crop(mask[top:bottom, left:right], (top, left), 7)
        np.testing.assert_array_equal(runs, rle.encode(mask))
    assert not len(rle.encode_crop(np.zeros((2, 2), bool), (1, 1), 7))


def pack_counts(counts: list[int]) -> str:
    """COCO's compression, from its description."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            is_last = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if is_last else bits | 32))
            if is_last:
                break
    return text


def test_pixels_are_numbered_down_the_columns_from_one() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1:, 0] = mask[0, 1] = True  # pixels 2, 3 and 4: one run over the end of a column
    assert rle.encode(mask).tolist() == [[2, 3]]
    assert rle.to_counts(rle.encode(mask), (3, 4)) == [1, 3, 8]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3", "3 numbers"),
        ("1 x", "'x' in its runs"),
        ("1 -2", "'-2' in its runs"),
        ("1.0 2", "'1.0' in its runs"),
        ("1 99999999999999999999", "in its runs"),
        ("٣ 1", "in its runs"),
        ("0 3", "starts before pixel 1"),
        ("4 0", "has the length 0"),
        ("12 2", "ends at pixel 13 of 12"),
        ("5 1 1 1", r"run 2 \(1 1\) is out of order"),
        ("1 3 3 1", r"overlaps the run before it \(1 3\)"),
    ],
)
def test_broken_runs_say_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(MaskError, match=reason) as caught:
        rle.parse_runs(text, (3, 4))
    assert "\n" not in str(caught.value)


def test_runs_that_touch_are_joined() -> None:
    assert rle.parse_runs(" 1 2\t3 1 6 1 ", (3, 4)).tolist() == [[1, 3], [6, 1]]
    assert rle.from_counts([0, 2, 0, 1, 2, 1, 6], (3, 4)).tolist() == [[1, 3], [6, 1]]
    assert rle.parse_runs("", (3, 4)).shape == (0, 2)


@pytest.mark.parametrize("counts", [[1, 2], [13], [-1, 13], [1.5, 10.5]])
def test_counts_that_do_not_fit_are_refused(counts: list[int]) -> None:
    with pytest.raises(MaskError, match="counts"):
        rle.from_counts(counts, (3, 4))


@pytest.mark.parametrize("text", ["P", "~", "0/"])
def test_broken_compressed_counts_are_refused(text: str) -> None:
    with pytest.raises(MaskError, match="compressed counts"):
        rle.unpack_counts(text)


def test_class_indices_name_the_label() -> None:
    pixels = np.zeros((2, 2, 2), bool)
    pixels[0, 0, 0] = pixels[1, 1, 1] = True
    assert to_class_indices(to_photo_mask(pixels)).tolist() == [[1, 0], [0, 2]]


# Polygons


@settings(deadline=None)
@given(st.tuples(*[st.integers(-2, 9)] * 4), st.booleans())
def test_a_box_fills_the_pixels_it_covers(box: tuple[int, int, int, int], turned: bool) -> None:
    (x0, x1), (y0, y1) = sorted(box[:2]), sorted(box[2:])
    points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
    wanted = np.zeros((6, 7), bool)
    wanted[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    assert (fill_polygon(points[::-1] if turned else points, (6, 7)) == wanted).all()


def test_a_polygon_takes_the_pixels_whose_centres_it_holds() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        points = rng.uniform(-1, 12, (rng.integers(3, 9), 2))
        inside = [[_is_inside(points, x + 0.5, y + 0.5) for x in range(11)] for y in range(9)]
        assert fill_polygon(points, (9, 11)).tolist() == inside


def _is_inside(points: np.ndarray, x: float, y: float) -> bool:
    """By crossings of a ray to the left, one edge at a time."""
    n_crossings = 0
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y):
            n_crossings += x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x
    return n_crossings % 2 == 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_some_columns_are_those_of_the_whole(share: float) -> None:
    mask = np.random.default_rng(3).random((7, 9)) < share
    runs = rle.encode(mask)
    for first in range(10):
        for last in range(first, 10):
            assert np.array_equal(rle.decode_columns(runs, 7, first, last), mask[:, first:last])
