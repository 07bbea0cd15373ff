"""Batches of photos embedded by workers that share nothing with this process but the photos' places."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from flawmap.records import Photo
from flawmap.stages.embed.plan import Plan
from flawmap.stages.embed.runners import Runner

Batch = list[Photo]


@dataclass
class BatchWork:
    """Work for map_unordered(). It carries the backbone's graph, so that a worker needs no torch for it; each
    worker computes on one thread, which gives the values of any other number of threads."""

    plan: Plan
    runtime: str
    read: Callable[[Batch], np.ndarray]
    """A batch → (n, h, w, 3) uint8 of the backbone's input size. Picklable."""
    graph: bytes | None
    """None where torch computes."""

    @classmethod
    def of(cls, plan: Plan, runtime: str, read: Callable[[Batch], np.ndarray]) -> BatchWork:
        has_graph = not runtime.startswith("torch")
        return cls(plan, runtime, read, plan.graph_path.read_bytes() if has_graph else None)

    @cached_property
    def _runner(self) -> Runner:
        if self.graph is None:
            return Runner.open(self.plan, self.runtime, 1)
        with tempfile.TemporaryDirectory() as folder:
            plan = replace(self.plan, path=Path(folder) / "plan.json")
            plan.graph_path.write_bytes(self.graph)
            return Runner.open(plan, self.runtime, 1)

    def prepare(self, item: Batch) -> tuple[Batch, np.ndarray]:
        """Read the photos."""
        return item, self.read(item)

    def finish(self, ready: tuple[Batch, np.ndarray]) -> tuple[Batch, np.ndarray]:
        """The batch and its values (n, width) float32."""
        batch, images = ready
        return batch, self._runner.compute(images)
