"""Labels of a data set are held against those of a model that gives masks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flawmap.errors import DatasetError
from flawmap.pipeline.mask_evaluating import match_labels
from flawmap.records import Cleaning, Dataset, MaskSpec, ModelSpec, Photo
from flawmap.tools.masks import to_photo_mask


@pytest.fixture
def spec(tiny: SimpleNamespace) -> ModelSpec:
    masks = MaskSpec("drawn", 2, "unet", Cleaning((0.5, 0.5)))
    return tiny.make_spec(task="segmentation", labels=("pit", "scratch"), good_labels=(), masks=masks)


def marked(*labels: str, shown: int) -> Dataset:
    """One photo that shows the label of that number."""
    mask = np.zeros((len(labels), 4, 4), bool)
    mask[shown, 1:3, 1:3] = True
    photo = Photo(Path("a.png"), "a.png", digest="0" * 64, size_hw=(4, 4))
    return Dataset(
        root=Path("set"),
        photos=(photo,),
        labels=labels,
        targets=mask.any(axis=(1, 2))[None].astype(np.uint8),
        good_labels=(),
        is_multilabel=True,
        parts=(None,),
        groups=(None,),
        unreadable=(),
        ignored=(),
        layout="drawn",
        masks=(to_photo_mask(mask),),
    )


def test_labels_go_by_their_names(spec: ModelSpec) -> None:
    assert match_labels(marked("scratch", "pit", shown=0), spec) == [1, 0]


def test_a_label_that_no_photo_shows_need_not_be_known(spec: ModelSpec) -> None:
    assert match_labels(marked("pit", "scratch", "6", shown=0), spec) == [0, 1, None]


def test_an_unknown_label_is_told_with_a_photo_that_shows_it(spec: ModelSpec) -> None:
    with pytest.raises(DatasetError, match=r"marks '7' \(1 photo, such as a\.png\).*knows pit, scratch\. "):
        match_labels(marked("pit", "6", "7", shown=2), spec)
