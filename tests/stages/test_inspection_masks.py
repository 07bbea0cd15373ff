"""Masks of large photos: the same findings however the photo is read, and clean pieces cost little."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from flawmap.records import CascadeSpec, Cleaning, MaskSpec
from flawmap.stages.inspection import InspectOptions, inspect_photo, open_inspector
from flawmap.tools.bundle import FILES_OF_TASK, MASKS, Bundle, write_files
from flawmap.tools.cascade import Cascade
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.runtime import RuntimeOptions
from flawmap.tools.segmenting import Segmenter, stream_pieces
from flawmap.tools.tiles import lay_tiles

ONE = RuntimeOptions(n_threads=1)
CASCADE = CascadeSpec(0.3, "none", (0.5,))


def make_masks() -> bytes:
    """A network that gives each pixel's darkness, blurred over 3 × 3 pixels, as logits from -6 to 6."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = numpy_helper.from_array(np.full((1, 3, 3, 3), -12 / (27 * 255), np.float32), "kernel")
    offset = numpy_helper.from_array(np.array([6], np.float32), "offset")
    node = helper.make_node("Conv", ["image", "kernel", "offset"], ["masks"], pads=[1, 1, 1, 1])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "masks",
        [value("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [value("masks", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [kernel, offset],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()


def make_bundle(folder: Path, tiny: SimpleNamespace, task: str, **changes: Any) -> Bundle:
    masks = MaskSpec("tiny", 0, "unet", Cleaning((0.5,), min_area_px=(20,)), piece_px=256, overlap_px=64)
    values: dict[str, Any] = {"task": task, "labels": ("crack",), "good_labels": (), "masks": masks}
    head = tiny.make_head()
    weight, bias = head.weight[:1], head.bias[:1]
    one = type(head)(weight, bias)
    contents = {
        MASKS: make_masks(),
        "model.onnx": tiny.make_onnx(one),
        "weights.safetensors": save({"head.weight": weight, "head.bias": bias}),
    }
    spec = tiny.make_spec(**(values | changes))
    return write_files(folder, spec, {name: contents[name] for name in FILES_OF_TASK[spec.task]})


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
