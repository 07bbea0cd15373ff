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
