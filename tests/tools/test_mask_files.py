"""Writers of masks: what they write, filled again, is the same pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image

from flawmap.errors import MaskError
from flawmap.tools import rle
from flawmap.tools.mask_cleaning import label_components
from flawmap.tools.mask_files import FORMS, open_mask_writer
from flawmap.tools.mask_files.outlines import trace_outlines
from flawmap.tools.masks import fill_polygon, to_photo_mask

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7))


@settings(deadline=None, max_examples=300)
@given(mask=MASKS)
def test_outlines_are_exact_and_well_formed(mask: np.ndarray) -> None:
    size_hw = (mask.shape[0], mask.shape[1])
    filled = np.zeros(size_hw, int)
    for outline, *holes in trace_outlines(rle.encode(mask), size_hw):
        rings = [np.array(ring) for ring in (outline, *holes)]
        inside = np.logical_xor.reduce([fill_polygon(ring[:-1].astype(float), size_hw) for ring in rings])
        filled += inside
        assert _turn(rings[0]) > 0 and all(_turn(hole) < 0 for hole in rings[1:])
        for ring in rings:
            steps = np.diff(ring, axis=0)
            assert (ring[0] == ring[-1]).all() and ((steps != 0).sum(axis=1) == 1).all()
            assert len({tuple(point) for point in ring[:-1].tolist()}) >= 4
    assert (filled == mask).all()  # no pixel twice: a piece is in one polygon only


@settings(deadline=None, max_examples=300)
@given(mask=MASKS)
def test_outlines_may_go_around_parts_that_touch_by_corners(mask: np.ndarray) -> None:
    size_hw = (mask.shape[0], mask.shape[1])
    polygons = trace_outlines(rle.encode(mask), size_hw, joins_corners=True)
    assert len(polygons) == label_components(mask)[1]
    filled = np.zeros(size_hw, int)
    for rings in polygons:
        corners = [np.array(ring[:-1], float) for ring in rings]
        filled += np.logical_xor.reduce([fill_polygon(ring, size_hw) for ring in corners])
        assert [_turn(np.array(ring)) > 0 for ring in rings] == [True] + [False] * (len(rings) - 1)
    assert (filled == mask).all()


def _turn(ring: np.ndarray) -> int:
    x, y = ring.T
    return int((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def test_a_ring_has_its_hole_and_a_piece_inside_it_is_another() -> None:
    mask = np.zeros((7, 7), bool)
    mask[1:6, 1:6] = True
    mask[2:5, 2:5] = False
    mask[3, 3] = True
    polygons = trace_outlines(rle.encode(mask), (7, 7))
    assert sorted(len(polygon) for polygon in polygons) == [1, 2]
    assert [[3, 3], [4, 3], [4, 4], [3, 4], [3, 3]] in polygons[1]


def _two_labels() -> np.ndarray:
    pixels = np.zeros((2, 4, 5), bool)
    pixels[0, 1:3, 1] = pixels[1, 1, 3:] = True
    return pixels


def test_png_is_binary_class_numbers_or_a_folder_per_class(tmp_path: Path) -> None:
    pixels = _two_labels()

    def write(folder: str, labels: tuple[str, ...], overlap: bool) -> Path:
        writer = open_mask_writer("png", tmp_path / folder, labels, overlap)
        writer.add("a/b.jpg", to_photo_mask(pixels[: len(labels)]))
        writer.close()
        return tmp_path / folder

    one = write("one", ("flaw",), False)
    assert np.array_equal(np.asarray(Image.open(one / "masks/a/b.png")), pixels[0] * np.uint8(255))
    two = write("two", ("crack", "stain"), False)
    assert np.array_equal(np.asarray(Image.open(two / "masks/a/b.png")), pixels[0] + 2 * pixels[1])
    assert (two / "classes.txt").read_text() == "crack\nstain\n"
    over = write("over", ("crack", "stain"), True)
    for label, wanted in zip(("crack", "stain"), pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(over / f"masks/{label}/a/b.png")) > 0, wanted)


def test_masks_of_one_stem_do_not_collide(tmp_path: Path) -> None:
    writer = open_mask_writer("png", tmp_path, ("flaw",))
    for name in ("a.jpg", "a.png"):
        writer.add(name, to_photo_mask(_two_labels()[:1]))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["a.png", "a.png.png"]


def test_rle_and_coco_say_what_severstal_and_coco_say(tmp_path: Path) -> None:
    for form in ("rle", "coco"):
        writer = open_mask_writer(form, tmp_path, ("1", "2"))
        writer.add("a.jpg", to_photo_mask(_two_labels()))
        writer.add("b.jpg", to_photo_mask(np.zeros((2, 3, 3), bool)))
        writer.close()
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines == ["ImageId,ClassId,EncodedPixels", "a.jpg,1,6 2", "a.jpg,2,14 1 18 1"]
    coco = json.loads((tmp_path / "annotations.json").read_text())
    assert [one["file_name"] for one in coco["images"]] == ["a.jpg", "b.jpg"]
    assert [(one["bbox"], one["area"], one["iscrowd"]) for one in coco["annotations"]] == [
        ([1, 1, 1, 2], 2, 0),
        ([3, 1, 2, 1], 2, 0),
    ]
    assert coco["annotations"][0]["segmentation"] == {"size": [4, 5], "counts": [5, 2, 13]}


@settings(deadline=None)
@given(mask=MASKS.filter(lambda mask: mask.any()))
def test_boxes_hold_all_pixels_closely(mask: np.ndarray) -> None:
    from flawmap.tools.mask_files.writers import _box_xywh

    rows, columns = np.nonzero(mask)
    x, y, width, height = _box_xywh(rle.encode(mask), (mask.shape[0], mask.shape[1]))
    assert (x, x + width - 1, y, y + height - 1) == (columns.min(), columns.max(), rows.min(), rows.max())


def test_geojson_is_a_feature_collection_in_pixels(tmp_path: Path) -> None:
    writer = open_mask_writer("geojson", tmp_path, ("crack", "stain"))
    writer.add("a.jpg", to_photo_mask(_two_labels()))
    writer.close()
    features = json.loads((tmp_path / "masks.geojson").read_text())["features"]
    assert [one["properties"]["label"] for one in features] == ["crack", "stain"]
    assert features[0]["geometry"]["coordinates"] == [[[[1, 1], [2, 1], [2, 3], [1, 3], [1, 1]]]]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_discarded_leaves_no_file_under_its_name(form, tmp_path: Path) -> None:
    writer = open_mask_writer(form, tmp_path, ("1", "2"))
    writer.discard()
    assert not list(tmp_path.iterdir())


def test_labels_that_would_not_come_back_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="folder's name"):
        open_mask_writer("png", tmp_path, ("a/b", "c"), overlap=True)
    with pytest.raises(MaskError, match=r"classes\.txt"):
        open_mask_writer("rle", tmp_path, ("a\nb",)).close()
    with pytest.raises(MaskError, match="255 at most"):
        open_mask_writer("png", tmp_path, tuple(map(str, range(256))))
