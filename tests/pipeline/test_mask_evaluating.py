"""Labels of a data set are held against those of a model that gives masks; a chain has ceilings too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import DatasetError
from flawmap.pipeline.mask_evaluating import evaluate_mask_model, match_labels
from flawmap.pipeline.settings import RunOptions
from flawmap.records import CascadeSpec, Cleaning, Dataset, MaskSpec, ModelSpec, Photo, no_progress
from flawmap.stages.dataset import read_dataset
from flawmap.tools.cascade import Cascade
from flawmap.tools.masks import to_photo_mask
from flawmap.tools.runtime import RuntimeOptions
from tiny_masks import make_bundle


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


def test_the_ceiling_of_a_chain_finds_nothing_where_a_photo_is_skipped(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, side in (("large", 30), ("small", 10)):
        image = np.full((64, 64, 3), 230, np.uint8)
        image[10 : 10 + side, 10 : 10 + side] = 10
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(255 * (image[:, :, 0] < 99).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    dataset = read_dataset(tmp_path)
    bundle = make_bundle(tmp_path / "model", tiny, "cascade", cascade=CascadeSpec(0.0, "none", (0.5,)))
    model = Cascade(bundle, RuntimeOptions(n_threads=1))
    scores = [model.look(np.asarray(Image.open(photo.path))).flaw_score for photo in dataset.photos]
    assert [photo.name for photo in dataset.photos] == ["images/large.png", "images/small.png"]

    def judge(skip_threshold: float) -> dict[str, float]:
        model.cascade = replace(model.cascade, skip_threshold=skip_threshold)
        return evaluate_mask_model(model, dataset, (0, 1), None, RunOptions(), no_progress).metrics

    passing, skipping = judge(0.0), judge(float(np.mean(scores)))
    assert passing["ods_f1"] > 0.95 and skipping["recall"] == pytest.approx(0.9, abs=0.02)
    assert skipping["ois_f1"] == pytest.approx(0.5, abs=0.02)  # one of two photos with a flaw
    assert skipping["dice"] <= skipping["ods_f1"] == pytest.approx(2 * 900 / (2 * 900 + 100), abs=0.01)
    assert 0 < skipping["ods_threshold"] < 1 and skipping["ods_f1_tolerant"] is not None
