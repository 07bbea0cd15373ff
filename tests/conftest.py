"""What test files share: a model folder whose answers can be worked out by hand, made without torch."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flawmap.records import Cut, LinearHead, ModelSpec, Preprocessing, Thresholds
from flawmap.tools.bundle import Bundle, write_bundle

TINY_HW = (64, 64)
TINY_CELL_PX = 8


def make_spec(**changes: Any) -> ModelSpec:
    """A ModelSpec of two labels for 64 × 64 photos; any field can be given instead."""
    values: dict[str, Any] = {
        "task": "classification",
        "labels": ("crack", "good"),
        "good_labels": ("good",),
        "backbone_id": "tiny",
        "cut": Cut(0, "average+maximum"),
        "preprocessing": Preprocessing(TINY_HW, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        "thresholds": Thresholds(1.0, 0.5, 0.2, 0.8, 0.01, 0.02, 0.01, "best F1 on validation"),
        "tile_hw": TINY_HW,
        "licence": "Apache-2.0",
        "winner": "probe",
    }
    return ModelSpec(**(values | changes))


def make_onnx(head: LinearHead, pooling: str = "average+maximum") -> bytes:
    """A network of 8 × 8 pixel cells: feature 0 is how dark a cell is, feature 1 how bright (0..1)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    kernel = np.full((2, 3, TINY_CELL_PX, TINY_CELL_PX), 1 / (3 * TINY_CELL_PX**2 * 255), np.float32)
    kernel[0] *= -1
    arrays = {
        "kernel": kernel,
        "offset": np.array([1.0, 0.0], np.float32),
        "axes": np.array([2, 3], np.int64),
        "weight": head.weight.astype(np.float32),
        "bias": head.bias.astype(np.float32),
    }
    node = helper.make_node
    pooled = ["mean", "max"] if pooling == "average+maximum" else ["mean"]
    nodes = [
        node("Conv", ["image", "kernel", "offset"], ["features"], strides=[TINY_CELL_PX] * 2),
        node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0),
        node("ReduceMax", ["features", "axes"], ["max"], keepdims=0),
        node("Concat", pooled, ["pooled"], axis=1),
        node("Gemm", ["pooled", "weight", "bias"], ["logits"], transB=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [
            value("features", TensorProto.FLOAT, ["n", 2, "h_out", "w_out"]),
            value("logits", TensorProto.FLOAT, ["n", len(head.bias)]),
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    return model.SerializeToString()


def make_tiny_head() -> LinearHead:
    """A dark cell speaks for a crack: logits ±(12 · darkest - 6), and a little of the averages."""
    weight = np.array([[0.5, -0.5, 12.0, 0.0], [-0.5, 0.5, -12.0, 0.0]], np.float32)
    return LinearHead(weight, np.array([-6.0, 6.0], np.float32))


def make_photo(seed: int = 0, crack_at: int | None = None, size_hw: tuple[int, int] = TINY_HW) -> np.ndarray:
    """Bright (H, W, 3) uint8 with light noise; `crack_at` blackens the eight rows from there on."""
    rng = np.random.default_rng(seed)
    image = rng.integers(200, 240, (*size_hw, 3), dtype=np.uint8)
    if crack_at is not None:
        image[crack_at : crack_at + TINY_CELL_PX] = 5
    return image


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """How the tiny model and its photos are made: make_spec, make_onnx, make_head, make_photo."""
    return SimpleNamespace(
        make_spec=make_spec, make_onnx=make_onnx, make_head=make_tiny_head, make_photo=make_photo
    )


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """RUN/model: photos with a dark band are "crack" (over 0.99), bright ones "good" (over 0.99)."""
    head = make_tiny_head()
    folder = tmp_path_factory.mktemp("run") / "model"
    return write_bundle(folder, make_spec(), make_onnx(head), head)


@pytest.fixture
def two_ray_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray with two cores, which what asks for Ray joins. Its workers stand back behind nothing, as Ray's own
    setting has it: a busy machine would starve them."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is flushed to the disk finds room there."""

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)


@pytest.fixture(scope="session")
def real_sets() -> Path:
    """The folder of real photo sets; the test is skipped, saying so, where it is missing."""
    beside = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("FLAWMAP_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real photos: {folder} is missing (set FLAWMAP_DATA)")
    return folder


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Six photos in two folders, 0, 2 and 4 cracked, and one file that only claims to be a photo."""
    from PIL import Image

    root = tmp_path / "photos"
    for i in range(6):
        path = root / f"{'ab'[i % 2]}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_photo(i, crack_at=16 if i % 2 == 0 else None)).save(path)
    (root / "b" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, but no more")
    return root
