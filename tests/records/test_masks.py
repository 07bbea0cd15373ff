"""Masks as runs check themselves, and a data set checks that they fit its photos and targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap.records import Dataset, Photo, PhotoMask


def runs(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2)


@pytest.mark.parametrize(
    ("bad", "wanted"),
    [
        (np.zeros((2, 3), np.int64), "int64 runs"),
        (np.array([[1, 1]], np.int32), "int64 runs"),
        (runs((0, 1)), "1 or more"),
        (runs((1, 0)), "1 or more"),
        (runs((5, 1), (1, 1)), "ascend"),
        (runs((1, 2), (3, 1)), "not touch"),
        (runs((1, 3), (2, 1)), "not touch"),
        (runs((12, 2)), "within 12 pixels"),
    ],
)
def test_bad_runs_say_what_was_wanted(bad: np.ndarray, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        PhotoMask((3, 4), (runs((1, 1)), bad))


def test_the_last_pixel_belongs_to_the_mask() -> None:
    assert PhotoMask((3, 4), (runs((1, 2), (12, 1)), runs())).areas_px == (3, 0)


def test_masks_are_equal_where_their_pixels_are() -> None:
    mask = PhotoMask((3, 4), (runs((1, 2)),))
    assert mask == PhotoMask((3, 4), (runs((1, 2)),)) and hash(mask) == hash(replace(mask))
    assert mask not in (PhotoMask((4, 3), mask.runs), PhotoMask((3, 4), (runs((1, 3)),)), "mask")


def make_dataset(*masks: PhotoMask, overlap: bool = False) -> Dataset:
    photos = tuple(Photo(Path(f"{i}.png"), f"{i}.png", f"{i:064x}", (3, 4)) for i in range(len(masks)))
    targets = np.array([[len(one) > 0 for one in mask.runs] for mask in masks], np.uint8)
    labels = ("crack", "stain")
    return Dataset(Path(), photos, labels, targets, is_multilabel=True, masks=masks, masks_overlap=overlap)


def test_a_dataset_of_masks_knows_which_photos_are_flawed() -> None:
    dataset = make_dataset(
        PhotoMask((3, 4), (runs((1, 2)), runs((5, 1)))), PhotoMask((3, 4), (runs(), runs()))
    )
    assert dataset.has_masks and dataset.is_flawed.tolist() == [True, False]


def test_a_dataset_refuses_masks_that_do_not_fit() -> None:
    overlapping = PhotoMask((3, 4), (runs((1, 4)), runs((4, 1))))
    dataset = make_dataset(overlapping, overlap=True)
    for wanted, changes in {
        "one label per pixel": {"masks_overlap": False},
        r"a mask of \(3, 4\)": {"masks": (PhotoMask((4, 3), overlapping.runs),)},
        "targets of": {"targets": np.array([[1, 0]], np.uint8)},
        "1 masks": {"masks": (overlapping, overlapping)},
        "flaw kinds only": {"good_labels": ("stain",)},
    }.items():
        with pytest.raises(ValueError, match=wanted):
            replace(dataset, **changes)
