"""The file of a segmenter gives the network's masks, at any size, or there is no file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import AgreementError, BundleError, OptionError
from flawmap.records import Cleaning, Decoder, MaskSpec, ModelSpec, Photo, TrainedSegmenter
from flawmap.stages.export import ExportOptions, agreement, export_segmenter, masks, runtimes_here
from flawmap.stages.export.masks import check_masks
from flawmap.stages.export.onnx_file import to_file
from flawmap.tools.bundle import from_spec, read_bundle, to_spec
from flawmap.tools.mask_cleaning import clean_masks
from flawmap.tools.masks import to_photo_mask
from flawmap.tools.photos import read_photos
from flawmap.tools.runtime import Classifier, RuntimeOptions, open_masks
from flawmap.tools.segmenting import Segmenter, to_answer

torch = pytest.importorskip("torch")
LABELS = ("bright", "dark")
SIZES_HW = [(96, 160), (32, 32), (544, 384)]


class SmallNetwork(torch.nn.Module):
    """Bright and dark pixels by hand, beside a convolution with BatchNorm and a stride, and a resize."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        generator = torch.Generator().manual_seed(0)
        self.down = nn.Conv2d(3, 4, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean.normal_(0, 0.1, generator=generator)
        self.norm.running_var.uniform_(0.5, 2.0, generator=generator)
        self.head = nn.Conv2d(7, 2, 1)
        with torch.no_grad():
            self.down.weight.normal_(0, 0.3, generator=generator)
            self.head.weight.normal_(0, 0.2, generator=generator)
            self.head.weight[:, :3] = torch.tensor([[8.0], [-8.0]])[..., None, None]
            self.head.bias.copy_(torch.tensor([-16.0, 8.0]))
        self.eval()

    def forward(self, images: Any) -> Any:
        images = images / 255
        coarse = torch.relu(self.norm(self.down(images)))
        fine = torch.nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return self.head(torch.cat([images, fine], 1))


@pytest.fixture(scope="module")
def network() -> SmallNetwork:
    return SmallNetwork()


@pytest.fixture(scope="module")
def content(network: SmallNetwork) -> bytes:
    return to_file(network, masks._EXAMPLE_HW, masks._OUTPUTS, any_size=True)


@pytest.fixture
def spec(tiny: SimpleNamespace) -> ModelSpec:
    mask_spec = MaskSpec("drawn", 2, "unet", Cleaning((0.5, 0.6), (0.4, 0.6), (4, 0)))
    return tiny.make_spec(task="segmentation", labels=LABELS, good_labels=(), masks=mask_spec)


def draw_photo(seed: int, hw: tuple[int, int] = (70, 90)) -> np.ndarray:
    """Grey with light noise, a bright and a dark square."""
    image = np.random.default_rng(seed).integers(120, 136, (*hw, 3), dtype=np.uint8)
    image[10 + seed : 24 + seed, 8:30] = 250
    image[40:52, 20 + seed : 60] = 4
    return image


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Photo, ...]:
    files = []
    for i in range(5):
        files.append((tmp_path / f"{i}.png", f"{i}.png"))
        Image.fromarray(draw_photo(i, (70 + 40 * i, 90))).save(files[-1][0])
    return read_photos(files)[0]


@pytest.fixture
def images() -> list[np.ndarray]:
    return [draw_photo(i) for i in range(3)]


@pytest.fixture
def exported_once(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter takes seconds; tests of what surrounds it use one export."""
    monkeypatch.setattr(masks, "to_file", lambda *args, **kwargs: content)


def trained(network: Any) -> TrainedSegmenter:
    return TrainedSegmenter(network, "drawn", 2, "unet", (), 1.0, (64, 64), 1.0, 1)


def run_torch(network: Any, batch: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(batch)).numpy()


def batch_of(hw: tuple[int, int], n: int = 2) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 3, *hw)).astype(np.float32)


@pytest.mark.parametrize("runtime", runtimes_here())
def test_the_file_answers_at_any_size_and_in_company(
    network: SmallNetwork, content: bytes, runtime: Any, tmp_path: Path
) -> None:
    run = open_masks(content, RuntimeOptions(runtime=runtime, cache=tmp_path))
    for hw in SIZES_HW:
        batch = batch_of(hw)
        found = run(batch)
        assert found.shape == (2, 2, *hw)
        np.testing.assert_allclose(found, run_torch(network, batch), atol=1e-3)


def test_normalisation_is_folded_and_axes_are_named(content: bytes) -> None:
    import onnx

    graph = onnx.load_from_string(content).graph
    assert {"Conv"} <= {node.op_type for node in graph.node} and not has_batch_norm(content)
    (output,) = graph.output
    dims = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert output.name == "masks" and dims == ["n", 2, "h", "w"]


def has_batch_norm(content: bytes) -> bool:
    import onnx

    return any(node.op_type == "BatchNormalization" for node in onnx.load_from_string(content).graph.node)


@pytest.mark.usefixtures("exported_once")
def test_what_is_exported_is_read_and_finds_the_flaws(
    network: SmallNetwork, spec: ModelSpec, photos: tuple[Photo, ...], tmp_path: Path
) -> None:
    steps: list[int] = []
    written = export_segmenter(
        trained(network), spec, photos, tmp_path / "run" / "model", progress=lambda *a: steps.append(a[1])
    )
    read = read_bundle(tmp_path / "run")
    assert from_spec(read.spec) == from_spec(written.spec) and steps == [0, 1, 2]
    assert sorted(path.name for path in read.folder.iterdir()) == ["README.md", "flawmap.json", "masks.onnx"]
    assert set(read.spec.file_digests) == {"masks.onnx"} and read.spec.masks == spec.masks
    agreement = read.spec.agreement
    assert agreement["n_photos"] == 5 and agreement["max_difference"] < 1e-4
    assert agreement["pixels_changed"] == dict.fromkeys(runtimes_here(), 0.0)
    assert {"flawmap", "torch", "onnxruntime"} <= set(read.spec.versions)
    found = Segmenter(read).find(draw_photo(0))
    wanted = np.zeros((2, 70, 90), bool)
    wanted[0, 10:24, 8:30] = wanted[1, 40:52, 20:60] = True
    from flawmap.tools.masks import to_pixels

    pixels = to_pixels(found.mask)
    assert (
        2 * (pixels & wanted).sum() / (pixels.sum() + wanted.sum()) > 0.9
        and min(found.probabilities.values()) > 0.9
    )


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_answers_come_in_order_and_do_not_depend_on_company(
    network: SmallNetwork, spec: ModelSpec, photos: tuple[Photo, ...], tmp_path: Path, n_threads: int
) -> None:
    bundle = export_segmenter(trained(network), spec, photos, tmp_path / "model")
    segmenter = Segmenter(bundle, RuntimeOptions(n_threads=n_threads))
    images = [draw_photo(i, (60 + 7 * i, 90)) for i in range(6)]
    together = list(segmenter.predict(images))
    for image, found in zip(images, together, strict=True):
        assert found.mask == segmenter.find(image).mask and found.mask.size_hw == image.shape[:2]
    with pytest.raises(OptionError, match=r"an image \(H, W, 3\) uint8 RGB"):
        segmenter.find(images[0].astype(np.float32))


def altered(content: bytes, factor: float) -> bytes:
    """The file with one of its weights changed after the export."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    (weight,) = [w for w in model.graph.initializer if w.name.endswith("head.weight")]
    values = numpy_helper.to_array(weight) * np.float32(factor)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return model.SerializeToString()


@pytest.mark.parametrize("factor", [1.5, 0.0, -1.0, np.nan])
def test_a_broken_export_raises_and_leaves_no_folder(
    network: SmallNetwork,
    content: bytes,
    spec: ModelSpec,
    photos: tuple[Photo, ...],
    tmp_path: Path,
    factor,
    monkeypatch,
) -> None:
    broken = altered(content, factor)
    monkeypatch.setattr(masks, "to_file", lambda *args, **kwargs: broken)
    with pytest.raises(AgreementError, match=r"disagree in onnxruntime: .* No model was written"):
        export_segmenter(trained(network), spec, photos, tmp_path / "run" / "model")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("factor", [1.1, np.nan])
def test_files_that_differ_where_no_threshold_lies_are_refused_too(
    network: SmallNetwork, content: bytes, images: list[np.ndarray], spec: ModelSpec, factor: float
) -> None:
    assert spec.masks is not None
    far = replace(spec.masks, cleaning=Cleaning((1.0, 1.0)))
    with pytest.raises(AgreementError, match=r"differs by .* at most 0.01 is allowed"):
        check_masks(network, altered(content, factor), images, far)


def test_pixels_that_change_sides_of_the_low_threshold_count() -> None:
    wanted, found = np.full((1, 4, 4), 0.395), np.full((1, 4, 4), 0.405)
    assert agreement.count_sides_changed(wanted, found, Cleaning((0.5,))) == 0
    assert agreement.count_sides_changed(wanted, found, Cleaning((0.5,), (0.4,))) == 16
    assert agreement.count_sides_changed(wanted, found, Cleaning((0.4,))) == 16


def test_a_network_that_learns_on_is_not_disturbed(
    network: SmallNetwork, content: bytes, images: list[np.ndarray], spec: ModelSpec
) -> None:
    assert spec.masks is not None
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    try:
        check_masks(network, content, images, spec.masks)
        assert network.training and network.norm.training
    finally:
        network.eval()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.usefixtures("exported_once")
def test_without_photos_nothing_is_exported(network: SmallNetwork, spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(AgreementError, match="real photos"):
        export_segmenter(trained(network), spec, (), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.usefixtures("exported_once")
def test_photos_for_the_check_are_limited_and_folders_are_kept(
    network: SmallNetwork, spec: ModelSpec, photos: tuple[Photo, ...], tmp_path: Path
) -> None:
    options, folder = ExportOptions(n_photos=2), tmp_path / "model"
    assert export_segmenter(trained(network), spec, photos, folder, options).spec.agreement["n_photos"] == 2
    with pytest.raises(BundleError, match="--overwrite"):
        export_segmenter(trained(network), spec, photos, folder, options)
    export_segmenter(trained(network), spec, photos, folder, ExportOptions(overwrite=True))
    assert read_bundle(folder).spec.agreement["n_photos"] == 5


@pytest.fixture
def bundle_folder(network, spec, photos, tmp_path: Path, exported_once: None, monkeypatch) -> Path:
    monkeypatch.setattr(masks, "runtimes_here", lambda: ("onnxruntime",))
    return export_segmenter(trained(network), spec, photos, tmp_path / "model").folder


def test_a_missing_or_altered_file_is_refused(bundle_folder: Path) -> None:
    file = bundle_folder / "masks.onnx"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"masks\.onnx was altered"):
        read_bundle(bundle_folder)
    file.unlink()
    with pytest.raises(BundleError, match=r"cannot read .*masks\.onnx"):
        read_bundle(bundle_folder)


def test_a_segmenter_is_no_classifier_and_the_reverse(bundle_folder: Path, tiny_bundle) -> None:
    with pytest.raises(BundleError):
        Classifier(read_bundle(bundle_folder))
    with pytest.raises(ValueError, match="a model that gives masks; got classification"):
        Segmenter(tiny_bundle)
    with pytest.raises(BundleError, match="its inputs are"):
        open_masks(tiny_bundle.model_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"overlap_px": 2000}, "masks: wanted overlap_px from 0 to below piece_px 1024; got 2000"),
        ({"overlap_px": -1}, "overlap_px from 0 .* got -1"),
        ({"piece_px": 0}, "piece_px of 1 or more; got 0"),
        ({"multiple": 0}, "a multiple of 1 or more; got 0"),
        ({"decoder": "segformer"}, "masks: decoder: wanted 'unet', .* got 'segformer'"),
        ({"cleaning": Cleaning((0.5,))}, "masks: wanted 2 thresholds, one per label; got 1"),
        ({"cleaning": {"thresholds": [0.0, 2.0]}}, "masks: cleaning: thresholds are"),
    ],
)
def test_a_spec_that_cannot_be_run_is_refused(spec: ModelSpec, change: dict[str, Any], message: str) -> None:
    import json

    from flawmap.tools.plain import to_plain

    values = json.loads(from_spec(spec))
    values["masks"] |= {name: to_plain(value) for name, value in change.items()}
    with pytest.raises(BundleError, match=message):
        to_spec(json.dumps(values).encode())


def test_a_task_and_its_masks_belong_together(spec: ModelSpec, tiny: SimpleNamespace) -> None:
    with pytest.raises(BundleError, match="a segmentation model lacks masks"):
        to_spec(from_spec(replace(spec, masks=None)))
    with pytest.raises(BundleError, match="a classification model has masks"):
        to_spec(from_spec(tiny.make_spec(masks=spec.masks)))


def test_masks_need_no_training_framework(bundle_folder: Path, tmp_path: Path) -> None:
    """As without flawmap[train]: those imports fail, and masks are still found and cleaned."""
    blocked = ["torch", "torchvision", "timm", "sklearn", "skimage", "lightning", "onnx", "safetensors"]
    code = f"""
import sys
for name in {[*blocked, "segmentation_models_pytorch", "matplotlib", "pandas"]!r}:
    sys.modules[name] = None
from flawmap.tools.bundle import read_bundle
from flawmap.tools.photos import read_image
from flawmap.tools.mask_cleaning import clean_masks
from flawmap.tools.masks import to_photo_mask
from flawmap.tools.segmenting import Segmenter, to_answer
found = Segmenter(read_bundle({str(bundle_folder)!r})).find(read_image({str(tmp_path / "0.png")!r}))
print(*(area > 200 for area in found.mask.areas_px), found.mask.size_hw)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True True (70, 90)" and done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("decoder", get_args(Decoder))
def test_every_decoder_is_exported_for_any_size(
    decoder: str, images: list[np.ndarray], spec: ModelSpec, tmp_path: Path
) -> None:
    from flawmap.tools.backbones import SegmenterNetwork
    from flawmap.tools.zoo import bundled_entries

    (entry,) = [e for e in bundled_entries() if e.id == "mobilenetv2"]
    network = SegmenterNetwork(entry, 3, decoder, 2, pretrained=entry.is_available)
    content = to_file(network, masks._EXAMPLE_HW, masks._OUTPUTS, any_size=True)
    assert not has_batch_norm(content)
    assert spec.masks is not None
    agreement = check_masks(network, content, [*images, draw_photo(0, (300, 180))], spec.masks)
    assert agreement["max_difference"] < 1e-3
    for runtime in runtimes_here():
        run = open_masks(content, RuntimeOptions(runtime=runtime, cache=tmp_path))
        for hw in SIZES_HW:
            batch = batch_of(hw, 1)
            wanted = run_torch(network, batch)
            np.testing.assert_allclose(run(batch), wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


def test_what_is_surely_none_stays_a_number_in_the_file(tmp_path: Path) -> None:
    from flawmap.tools.backbones import SegmenterNetwork, spare_work
    from flawmap.tools.zoo import bundled_entries

    (entry,) = [e for e in bundled_entries() if e.id == "efficientnet_lite0"]
    network = SegmenterNetwork(entry, 2, "unet", 3, is_exclusive=True, pretrained=False)
    with torch.no_grad():
        network.head[0].bias.copy_(torch.tensor([-60.0, 50.0, 0.0, -50.0]))
    content = to_file(spare_work(network), masks._EXAMPLE_HW, masks._OUTPUTS, any_size=True)
    batch = batch_of((64, 96), 1)
    wanted = run_torch(network, batch)
    for runtime in runtimes_here():
        found = open_masks(content, RuntimeOptions(runtime=runtime, cache=tmp_path))(batch)
        assert wanted.max() < -50 and np.isfinite(found).all()
        np.testing.assert_allclose(found, wanted, atol=1e-2)


@pytest.mark.parametrize(("area_px", "review"), [(4, False), (100, True)])
def test_a_person_looks_where_all_that_was_sure_is_too_small(
    area_px: int, review: bool, spec: ModelSpec
) -> None:
    assert spec.masks is not None
    cleaning = replace(spec.masks.cleaning, min_area_px=(area_px, area_px))
    spec = replace(spec, masks=replace(spec.masks, cleaning=cleaning))
    sure = np.full((2, 20, 20), 0.1, np.float32)
    sure[0, 5:9, 5:9] = 0.9
    mask = to_photo_mask(clean_masks(sure, cleaning))
    answer = to_answer(mask, sure.max(axis=(1, 2)), spec)
    assert answer.review is review and answer.label == ("" if review else "bright")
    assert not to_answer(mask, np.array([0.1, 0.2]), spec).review
