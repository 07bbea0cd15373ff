"""A photo in pieces gives the map of the undivided photo, whatever the pieces, and the same bits again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dense_network import make_network
from flawmap.records import LinearHead
from flawmap.tools.dense import DenseNetwork
from flawmap.tools.preprocess import to_batch
from flawmap.tools.runtime import RuntimeOptions, open_network
from flawmap.tools.segments import NotLocalError, split_network

ONE, TWO = RuntimeOptions(n_threads=1), RuntimeOptions(n_threads=2)


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
        nodes = onnx.load_from_string(segment.content).graph.node
        made_by = {node.output[0]: node.op_type for node in nodes}
        layers = [node for node in nodes if node.op_type == "Conv"]
        # Otherwise a segment's first layer computes in float.
        assert layers and all(made_by[one.input[0]] == "DequantizeLinear" for one in layers)


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
