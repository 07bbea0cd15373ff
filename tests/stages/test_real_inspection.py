"""On real photos, with the backbone that is shipped: pieces and strips give the undivided photo's map."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flawmap.tools.dense import DenseNetwork
from flawmap.tools.photos import read_image
from flawmap.tools.preprocess import to_batch
from flawmap.tools.runtime import RuntimeOptions, open_network

pytestmark = pytest.mark.data
ONE = RuntimeOptions(n_threads=1)


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory, tiny: SimpleNamespace) -> Path:
    """EfficientNet-Lite0 with weights as they come, at depth 4."""
    pytest.importorskip("torch")
    from flawmap.records import Cut
    from flawmap.stages.export import to_onnx
    from flawmap.tools.backbones import ClassifierNetwork
    from flawmap.tools.zoo import bundled_entries

    entry = next(one for one in bundled_entries() if one.id == "efficientnet_lite0")
    network = ClassifierNetwork(entry, Cut(4, "average+maximum"), 2).eval()
    file = tmp_path_factory.mktemp("network") / "model.onnx"
    file.write_bytes(to_onnx(network, tiny.make_spec().preprocessing))
    return file


@pytest.mark.parametrize("piece_px", [128, 256, 512])
def test_pieces_give_the_undivided_map(network_file: Path, real_sets: Path, piece_px: int) -> None:
    image = read_image(real_sets / "photos" / "pure_crack_16.jpg")[:768, :992]
    whole = open_network(network_file, ONE)(to_batch([image]))[0][0]
    found = DenseNetwork(network_file, ONE, piece_px).features(image)
    assert np.abs(found - whole).max() < 1e-4


def test_strips_give_the_undivided_map(network_file: Path, real_sets: Path) -> None:
    image = read_image(real_sets / "photos" / "pure_crack_16.jpg")[:320, :1280]
    whole = open_network(network_file, ONE)(to_batch([image]))[0][0]
    found = DenseNetwork(network_file, ONE, strip_px=448).features(image)
    assert np.abs(found - whole).max() < 1e-4
