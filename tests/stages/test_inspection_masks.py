"""Masks of large photos: the same findings however the photo is read, and clean pieces cost little."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_fill_holes

from flawmap.records import CascadeSpec
from flawmap.stages.inspection import InspectOptions, inspect_photo, open_inspector
from flawmap.stages.inspection.findings import find_in_mask
from flawmap.tools import rle
from flawmap.tools.cascade import Cascade
from flawmap.tools.masks import fill_polygon
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.row_regions import MaskRuns
from flawmap.tools.runtime import RuntimeOptions
from flawmap.tools.segmenting import Segmenter, stream_pieces
from flawmap.tools.tiles import lay_tiles
from tiny_masks import make_bundle

ONE = RuntimeOptions(n_threads=1)
CASCADE = CascadeSpec(0.3, "none", (0.5,))


def draw(size_hw: tuple[int, int] = (900, 640)) -> np.ndarray:
    """Bright with some noise; a crack that steps down through every piece, and a speck of 16 pixels."""
    image = np.random.default_rng(0).integers(190, 240, (*size_hw, 3), dtype=np.uint8)
    for row in range(100, min(800, size_hw[0])):
        image[row, 100 + row // 2 : 112 + row // 2] = 10
    image[40:44, 600:604] = 0
    return image


def test_a_crack_through_all_pieces_is_one_finding(tiny: SimpleNamespace, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", tiny, "segmentation")
    Image.fromarray(draw()).save(tmp_path / "a.tif")
    found = []
    for cap, n_threads in ((100.0, 1), (100.0, 2), (0.1, 1)):
        if cap < 1:
            pytest.importorskip("pyvips")
        options = InspectOptions(
            photos=PhotoOptions(max_megapixels=cap), runtime=RuntimeOptions(n_threads=n_threads)
        )
        seen = inspect_photo(open_inspector(bundle.folder, options), tmp_path / "a.tif")
        assert seen.heat is not None and seen.heat.shape == (113, 80)
        found.append(seen.inspection)
    assert found[0] == found[1] == found[2] and found[0].error == ""
    (finding,) = found[0].findings
    assert finding.label == "crack" and finding.score > 0.99
    assert np.abs(np.array(finding.box_xyxy) - (150, 100, 511, 800)).max() <= 2
    assert abs(finding.area_px - 700 * 12) < 0.15 * 700 * 12


@pytest.mark.parametrize("cap", [100.0, 0.02])
def test_a_finding_has_its_mask_to_the_pixel(tiny: SimpleNamespace, tmp_path: Path, cap: float) -> None:
    """Two pieces that touch at a corner, one with a hole: an outline shows neither."""
    if cap < 1:
        pytest.importorskip("pyvips")
    image = np.full((200, 300, 3), 240, np.uint8)
    image[50:90, 100:180] = image[90:130, 180:240] = 0
    image[60:75, 120:150] = 240
    Image.fromarray(image).save(tmp_path / "a.tif")
    bundle = make_bundle(tmp_path / "model", tiny, "segmentation")

    def read(top: int, bottom: int) -> np.ndarray:
        return image[top:bottom]

    wanted = np.concatenate(list(Segmenter(bundle, ONE).stream(read, (200, 300))), axis=1)[0] >= 0.5
    wanted[0] = False  # the photo's corners, where the network sees black beyond: too small for a finding
    options = InspectOptions(photos=PhotoOptions(max_megapixels=cap), runtime=ONE)
    (found,) = inspect_photo(open_inspector(bundle.folder, options), tmp_path / "a.tif").inspection.findings
    mask = rle.decode(rle.parse_runs(found.runs or "", (200, 300)), (200, 300))
    np.testing.assert_array_equal(mask, wanted)
    assert found.area_px == mask.sum() and mask[55, 110] and mask[120, 230] and not mask[65, 130]


SLANTING = np.eye(6, dtype=bool)
HOOK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 1]], bool)
TWO_AND_A_SPECK = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool)


@pytest.mark.parametrize("shape", [SLANTING, SLANTING[::-1], HOOK, TWO_AND_A_SPECK])
def test_box_and_outline_hold_all_parts_that_touch_by_corners(shape: np.ndarray) -> None:
    """A region hangs together by corners too; its outline is one line around all of it."""
    mask = np.zeros((40, 60), bool)
    mask[7 : 7 + len(shape), 20 : 20 + shape.shape[1]] = shape
    runs = MaskRuns()
    runs.add(mask, np.ones(mask.shape))
    (found,) = find_in_mask(runs, "crack", mask.shape, (0.5, 1))
    height, width = shape.shape
    assert found.box_xyxy == (20, 7, 20 + width, 7 + height) and found.area_px == shape.sum()
    filled = fill_polygon(np.array(found.polygon), mask.shape)
    ring = binary_fill_holes(mask) & ~mask
    np.testing.assert_array_equal(filled & ~ring, mask)


def test_what_is_asked_of_a_finding_and_where(tiny: SimpleNamespace, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "model", tiny, "segmentation")
    Image.fromarray(draw()).save(tmp_path / "a.png")
    (tmp_path / "top.json").write_text("[[0, 0], [640, 0], [640, 300], [0, 300]]")
    options = InspectOptions(region=tmp_path / "top.json", runtime=ONE)
    top = inspect_photo(open_inspector(bundle.folder, options), tmp_path / "a.png").inspection
    assert top.share_seen == pytest.approx(1 / 3) and top.findings[0].box_xyxy[3] == 300
    for options in (InspectOptions(least_area_px=20_000), InspectOptions(least_score=0.9999)):
        inspector = open_inspector(bundle.folder, options)
        assert inspect_photo(inspector, tmp_path / "a.png").inspection.findings == ()


@pytest.mark.parametrize(("piece_px", "overlap_px"), [(128, 32), (200, 40), (250, 50)])
def test_the_same_mask_whatever_the_piece_size(
    tiny: SimpleNamespace, tmp_path: Path, piece_px: int, overlap_px: int
) -> None:
    """At its border, where it sees zeros beyond, a piece has a share of 1 / (overlap + 1); that is how far
    probabilities may go apart. The photo's own border is seen mirrored or not, by the piece's size."""
    image = draw((300, 700))
    model = Segmenter(make_bundle(tmp_path / "model", tiny, "segmentation"), ONE)

    def read(top: int, bottom: int) -> np.ndarray:
        return image[top:bottom]

    wanted = np.concatenate(list(model.stream(read, (300, 700))), axis=1)
    bands = stream_pieces(model.probabilities, read, (300, 700), (piece_px, overlap_px), n_threads=2)
    found = np.concatenate(list(bands), axis=1)
    assert found.shape == wanted.shape == (1, 300, 700)
    assert np.abs(found - wanted)[:, 1:-1, 1:-1].max() < 1 / (overlap_px + 1) + 1 / 65
    assert ((found >= 0.5) != (wanted >= 0.5)).mean() < 1e-4


def test_a_cascade_computes_masks_where_its_first_stage_asks_for_them(
    tiny: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "model", tiny, "cascade", cascade=CASCADE)
    image = np.random.default_rng(0).integers(190, 240, (256, 512, 3), dtype=np.uint8)
    image[100:130, 60:200] = 10
    Image.fromarray(image).save(tmp_path / "a.png")
    inspector = open_inspector(bundle.folder, InspectOptions(runtime=ONE))
    (finding,) = inspect_photo(inspector, tmp_path / "a.png").inspection.findings
    assert np.abs(np.array(finding.box_xyxy) - (60, 100, 200, 130)).max() <= 2
    model, n_masked = Cascade(bundle, ONE), 0
    probabilities = model.segmenter.probabilities

    def count(piece: np.ndarray) -> np.ndarray:
        nonlocal n_masked
        n_masked += 1
        return probabilities(piece)

    monkeypatch.setattr(model.segmenter, "probabilities", count)
    (band, *_) = list(model.stream(lambda top, bottom: image[top:bottom], image.shape[:2]))
    assert band.shape == (1, 48, 512)
    assert 0 < n_masked < 0.4 * len(lay_tiles(image.shape[:2], 64, 16))
