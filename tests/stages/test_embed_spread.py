"""Batches for workers that share nothing: the same values from a graph that travels with them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from flawmap.records import Photo
from flawmap.stages.embed.plan import Plan
from flawmap.stages.embed.runners import Runner
from flawmap.stages.embed.spread import BatchWork


def read_black(batch: list[Photo]) -> np.ndarray:
    return np.zeros((len(batch), 8, 8, 3), np.uint8)


def test_a_worker_needs_nothing_but_what_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    def open_runner(plan: Plan, name: str, n_threads: int) -> Runner:
        sent.append(plan.graph_path.read_bytes())
        return Runner(name, lambda images: images.reshape(len(images), -1)[:, :2] + 1.0, n_threads)

    monkeypatch.setattr(Runner, "open", staticmethod(open_runner))
    plan = Plan("tiny", tmp_path / "plan.json", "", None, {}, {}, None)  # type: ignore[arg-type]
    plan.graph_path.write_bytes(b"a graph")
    work = BatchWork.of(plan, "onnxruntime", read_black)
    plan.graph_path.unlink()
    there = pickle.loads(pickle.dumps(work))
    photo = Photo(tmp_path / "a.png", "a.png", "0" * 64, (8, 8))
    for _ in range(2):
        batch, values = there.finish(there.prepare([photo]))
        assert batch == [photo] and values.tolist() == [[1.0, 1.0]]
    assert sent == [b"a graph"]
