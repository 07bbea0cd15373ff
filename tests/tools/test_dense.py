"""A photo in pieces gives the map of the undivided photo, whatever the pieces and the form of the file, and
the same bits again."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dense_network import make_network
from flawmap.records import LinearHead, Precision
from flawmap.tools.dense import DenseNetwork
from flawmap.tools.preprocess import to_batch
from flawmap.tools.runtime import RuntimeOptions, open_network
from flawmap.tools.segments import NotLocalError, split_network

ONE, TWO = RuntimeOptions(n_threads=1), RuntimeOptions(n_threads=2)
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)
needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="NNCF is not installed")


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    head = LinearHead(np.ones((2, 6), np.float32), np.zeros(2, np.float32))
    file = tmp_path_factory.mktemp("network") / "model.onnx"
    file.write_bytes(make_network(head, "average"))
    return file


@pytest.fixture(scope="module")
def int8_file(network_file: Path) -> Path:
    """The same network in eight bits, fitted to drawn photos."""
    from flawmap.stages.export.forms.onnx_files import to_onnx_form

    file = network_file.parent / "int8.onnx"
    file.write_bytes(*to_onnx_form(network_file, "int8", [draw((64, 96), seed) for seed in range(4)]))
    return file


def draw(size_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


@pytest.mark.parametrize("piece_px", [32, 64, 96, 512])
@pytest.mark.parametrize("size_hw", [(32, 32), (64, 288), (288, 352)])
def test_pieces_give_the_undivided_map(network_file: Path, piece_px: int, size_hw: tuple[int, int]) -> None:
    image = draw(size_hw)
    whole = open_network(network_file, ONE)(to_batch([image]))[0][0]
    found = DenseNetwork(network_file, ONE, piece_px).features(image)
    assert found.shape == whole.shape
    np.testing.assert_allclose(found, whole, atol=1e-4 * np.abs(whole).max())


def test_eight_bits_stay_eight_bits_in_pieces(int8_file: Path) -> None:
    import onnx

    image = draw((288, 352))
    whole = open_network(int8_file, ONE)(to_batch([image]))[0][0]
    found = DenseNetwork(int8_file, ONE, 64).features(image)
    steps = np.diff(np.unique(np.round(whole[0], 4)))  # the features' own resolution
    assert np.abs(found - whole).max() <= 1.5 * steps.min()
    segments = split_network(int8_file)
    assert len(segments) > 2
    for segment in segments:
        nodes = onnx.load_from_string(segment.network).graph.node
        made_by = {node.output[0]: node.op_type for node in nodes}
        layers = [node for node in nodes if node.op_type == "Conv"]
        # Otherwise a segment's first layer computes in float.
        assert layers and all(made_by[one.input[0]] == "DequantizeLinear" for one in layers)


def test_half_precision_stays_half_precision_in_pieces(network_file: Path) -> None:
    """Cut in 16 bits, handed on in 32, which changes no number."""
    from flawmap.stages.export.forms.onnx_files import to_onnx_form

    file = network_file.parent / "half.onnx"
    file.write_bytes(*to_onnx_form(network_file, "float16", []))
    image = draw((288, 352))
    whole = open_network(file, ONE)(to_batch([image]))[0][0]
    found = DenseNetwork(file, ONE, 64).features(image)
    step = 2.0**-10  # of 16 bits; sums are made in another order in pieces of another size
    np.testing.assert_allclose(found, whole, atol=2 * step * np.abs(whole).max())
    assert [one.stride for one in split_network(file)] == [one.stride for one in split_network(network_file)]


@pytest.fixture
def openvino_options(tmp_path: Path) -> RuntimeOptions:
    return RuntimeOptions(runtime="openvino", n_threads=2, cache=tmp_path)


def write_openvino(network_file: Path, precision: Precision) -> Path:
    from flawmap.stages.export.forms.openvino_files import to_openvino_form

    file = network_file.parent / precision / "model.xml"
    file.parent.mkdir(exist_ok=True)
    images = [draw((64, 96), seed) for seed in range(4)]
    for ending, content in zip(
        (".xml", ".bin"), to_openvino_form(network_file, precision, images), strict=True
    ):
        file.with_suffix(ending).write_bytes(content)
    return file


@needs_openvino
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("float32", 1e-4),
        ("float16", 1e-4),
        ("bfloat16", 0.02),
        pytest.param("int8", 0.05, marks=[needs_nncf, pytest.mark.slow]),
    ],
)
def test_openvino_files_in_pieces_give_the_undivided_map(
    network_file: Path, openvino_options: RuntimeOptions, precision: Precision, tolerance: float
) -> None:
    file = write_openvino(network_file, precision)
    options = replace(openvino_options, precision=precision)
    image = draw((288, 352))
    whole = open_network(file, options)(to_batch([image]))[0][0]
    found = DenseNetwork(file, options, 64).features(image)
    assert found.shape == whole.shape
    np.testing.assert_allclose(found, whole, atol=tolerance * np.abs(whole).max())
    plain, own = split_network(network_file), split_network(file)
    assert [replace(one, network=None) for one in own] == [replace(one, network=None) for one in plain]


@needs_openvino
def test_eight_bits_of_openvino_begin_each_segment(network_file: Path) -> None:
    """A convolution computes in eight bits only if it sees what it reads quantised."""
    from flawmap.tools.openvino_import import import_openvino

    openvino = import_openvino()
    model = openvino.Core().read_model(write_openvino(network_file, "float32"))
    ends = [np.array(end, np.float32) for end in (-4, 4, -4, 4)]
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            quantised = openvino.opset13.fake_quantize(node.input_value(0), *ends, levels=256)
            node.input(0).replace_source_output(quantised.output(0))
    file = network_file.parent / "eight.xml"
    openvino.save_model(model, file, compress_to_fp16=False)
    segments = split_network(file)
    assert len(segments) > 2
    for segment in segments:
        layers = [one for one in segment.network.get_ordered_ops() if one.get_type_name() == "Convolution"]
        read = [one.input_value(0).get_node().get_type_name() for one in layers]
        assert layers and set(read) == {"FakeQuantize"}


@needs_openvino
def test_openvino_networks_that_see_the_whole_photo_are_not_local(network_file: Path) -> None:
    file = write_openvino(network_file, "float32")
    with pytest.raises(NotLocalError, match="neighbourhoods"):
        split_network(file, "logits")


def test_files_of_one_size_are_not_taken_apart(tmp_path: Path) -> None:
    with pytest.raises(NotLocalError, match="one size"):
        split_network(tmp_path / "model.tflite")


def test_the_same_bits_whatever_the_threads(network_file: Path) -> None:
    image = draw((256, 320))
    one, two = (DenseNetwork(network_file, options, 64).features(image) for options in (ONE, TWO))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("options", [ONE, TWO])
def test_a_wide_photo_in_strips_gives_the_undivided_map(network_file: Path, options: RuntimeOptions) -> None:
    image = draw((704, 992))
    whole = open_network(network_file, ONE)(to_batch([image]))[0][0]
    in_strips = DenseNetwork(network_file, options, piece_px=64, strip_px=256)
    asked: list[tuple[int, int]] = []

    def read(top: int, bottom: int) -> np.ndarray:
        asked.append((top, bottom))
        return image[top:bottom]

    found = np.concatenate(list(in_strips.stream(read, (704, 992))), axis=1)
    np.testing.assert_allclose(found, whole, atol=1e-4 * np.abs(whole).max())
    assert [end for _, end in asked[:-1]] == [start for start, _ in asked[1:]], "no row is read twice"
    alone = DenseNetwork(network_file, ONE, piece_px=64, strip_px=256).features(image)
    assert found.tobytes() == alone.tobytes()


def test_segments_follow_each_other(network_file: Path) -> None:
    segments = split_network(network_file)
    strides = [segment.first_stride for segment in segments]
    assert len(segments) > 1 and strides[0] == 1
    for segment, following in pairwise(segments):
        assert following.first_stride == segment.first_stride * segment.stride
    assert segments[-1].first_stride * segments[-1].stride == 16


def test_a_network_that_sees_the_whole_photo_is_not_local(network_file: Path) -> None:
    with pytest.raises(NotLocalError, match="neighbourhoods"):
        split_network(network_file, "logits")


def test_sides_have_to_fit(network_file: Path) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        DenseNetwork(network_file, ONE).features(draw((33, 64)))
