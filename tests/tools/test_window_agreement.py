"""Windows of the dense pass are decided as crops are, where cells see beyond their window.

A crop sees zeros where the dense pass sees its neighbours, so the two cannot be identical: the threshold is
chosen again on dense scores of other photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from flawmap.records import LinearHead
from flawmap.tools.dense import DenseNetwork
from flawmap.tools.probe import fit_head
from flawmap.tools.runtime import RuntimeOptions
from flawmap.tools.windows import slide_windows

SIDE_PX, CELL_PX, SIZE_HW = 64, 8, (256, 320)
WINDOW_HW = (SIDE_PX // CELL_PX, SIDE_PX // CELL_PX)
PLACES = [(i, j) for i in range(0, 25, 2) for j in range(0, 33, 2)]
"""Of windows, in cells."""
CLEAR_PX = 150
"""Of a crack, in a window that is taught as cracked; those with less of it are left out."""


def make_network() -> bytes:
    """Cells of 8 × 8 pixels that see 5 × 5 of their kind, zeros beyond the border: how dark it is around
    them, and how much darker they are themselves."""
    from onnx import TensorProto, helper, numpy_helper

    cell = np.full((1, 3, CELL_PX, CELL_PX), -1 / (3 * CELL_PX**2 * 255), np.float32)
    near = np.full((2, 1, 5, 5), 1 / 25, np.float32)
    near[1] *= -1
    near[1, 0, 2, 2] += 1
    arrays = {"cell": cell, "one": np.ones(1, np.float32), "near": near}
    nodes = [
        helper.make_node("Conv", ["image", "cell", "one"], ["cells"], strides=[CELL_PX] * 2),
        helper.make_node("Conv", ["cells", "near"], ["features"], pads=[2] * 4),
    ]
    value: Any = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "near",
        [value("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [value("features", TensorProto.FLOAT, ["n", 2, "h_out", "w_out"])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo, two in three with a crack across it, and where that is."""
    rng = np.random.default_rng(seed)
    grey = rng.normal(rng.uniform(170, 220), 12, SIZE_HW)
    y, x = np.indices(SIZE_HW)
    angle = rng.uniform(0, np.pi)
    away = (y - rng.uniform(40, 216)) * np.cos(angle) + (x - rng.uniform(40, 280)) * np.sin(angle)
    mask = (np.abs(away) < rng.uniform(2, 6)) & (seed % 3 > 0)
    grey[mask] *= rng.uniform(0.1, 0.5)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2), mask


def cut(pixels: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    top, left = (cell * CELL_PX for cell in place)
    return pixels[top : top + SIDE_PX, left : left + SIDE_PX]


def pool_crops(network: DenseNetwork, image: np.ndarray) -> np.ndarray:
    """(n, 4): features of each place, cut out and pooled."""
    maps = np.stack([network.features(cut(image, place)) for place in PLACES])
    return np.concatenate([maps.mean(axis=(2, 3)), maps.max(axis=(2, 3))], axis=1)


@dataclass(frozen=True)
class Look:
    """A network, and a head that was taught on crops."""

    network: DenseNetwork
    head: LinearHead

    def margins(self, seeds: range, moved: int = 0) -> np.ndarray:
        """(2, n): of all places in these photos, densely (so many cells further) and cut out."""
        weight, bias = self.head.weight[1] - self.head.weight[0], self.head.bias[1] - self.head.bias[0]
        rows, columns = np.array(PLACES).T
        found = []
        for seed in seeds:
            image, _ = draw(seed)
            features = self.network.features(image)
            logits, _ = slide_windows([features], features.shape[1:], WINDOW_HW, self.head, "average+maximum")
            ahead = np.roll(logits[1] - logits[0], -moved, axis=1)[rows, columns]
            found.append([ahead, pool_crops(self.network, image) @ weight + bias])
        return np.concatenate(found, axis=1)


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    file = tmp_path_factory.mktemp("network") / "model.onnx"
    file.write_bytes(make_network())
    network = DenseNetwork(file, RuntimeOptions(n_threads=1))
    features, is_cracked = [], []
    for seed in range(18):
        image, mask = draw(seed)
        n_px = np.array([cut(mask, place).sum() for place in PLACES])
        is_clear = (n_px == 0) | (n_px > CLEAR_PX)
        features.append(pool_crops(network, image)[is_clear])
        is_cracked.append(n_px[is_clear] > 0)
    targets = np.eye(2, dtype=np.float32)[np.concatenate(is_cracked).astype(int)]
    return Look(network, fit_head(np.concatenate(features), targets, 10.0, False))


def test_dense_windows_are_decided_as_crops(look: Look) -> None:
    chosen_on, judged_on = look.margins(range(100, 109)), look.margins(range(200, 212))
    threshold = max(chosen_on[0], key=lambda level: share_alike(chosen_on, level))
    assert 0.1 < np.mean(judged_on[1] >= 0) < 0.9
    assert share_alike(judged_on, threshold) >= 0.98


def test_windows_two_cells_further_are_not(look: Look) -> None:
    """So that the other test would notice windows in the wrong place."""
    chosen_on, judged_on = (look.margins(range(first, first + 9), moved=2) for first in (100, 200))
    threshold = max(chosen_on[0], key=lambda level: share_alike(chosen_on, level))
    assert share_alike(judged_on, threshold) < 0.95


def share_alike(margins: np.ndarray, threshold: float) -> float:
    return float(np.mean((margins[0] >= threshold) == (margins[1] >= 0)))
