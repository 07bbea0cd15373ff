"""What has to be known of a backbone to embed with it, kept as JSON beside its exported graph.

Made once per backbone and version of torch and timm; from then on neither is needed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from flawmap.errors import require_extra
from flawmap.records import CutCost, Preprocessing
from flawmap.tools.files import write_file
from flawmap.tools.zoo import BackboneEntry

_FORMAT = 1
"""Raised when the graph's outputs change their meaning, so that older graphs and rows are left alone."""
_MIN_TIMED = 32
"""With fewer photos than this the time per photo says nothing."""


@dataclass(frozen=True)
class Plan:
    """Columns, costs and runtimes of one backbone, and where its graph lies."""

    backbone_id: str
    path: Path
    """The JSON file; the graph lies beside it."""
    weights_digest: str
    preprocessing: Preprocessing
    columns: dict[str, tuple[int, ...]]
    """In the order of the graph's output: "average:0" (k,), "maximum:0" (k,), "quadrants:0" (4, k), …"""
    costs: dict[int, CutCost]
    entry: BackboneEntry
    agreement: dict[str, float] = field(default_factory=dict)
    """Per runtime that agreed with torch on real photos: the largest difference."""
    chosen: dict[str, str] = field(default_factory=dict)
    """Per machine: the runtime that "auto" stands for."""
    ms_per_photo: float = float("nan")

    @property
    def graph_path(self) -> Path:
        return self.path.with_suffix(".onnx")

    @property
    def width(self) -> int:
        """Values per photo."""
        return sum(int(np.prod(shape)) for shape in self.columns.values())

    def runtime_for(self, asked: str) -> str | None:
        """The runtime that an option stands for; None where it has not been tried yet."""
        if asked == "auto":
            return self.chosen.get(machine())
        return next((name for name in self.agreement if name.partition("-")[0] == asked), None)

    def store_key(self, runtime: str) -> str:
        """All that decides a value besides the photo and the cut."""
        return f"{self.weights_digest}|{self.preprocessing.key}|{runtime}|float32|{_FORMAT}"

    def to_columns(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """(n, width) of the graph → one (n, *shape) per column."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.columns.values()])[:-1]
        parts = np.split(values, ends, axis=1)
        return {
            name: part.reshape(len(values), *shape)
            for (name, shape), part in zip(self.columns.items(), parts, strict=True)
        }

    def agreed(self, runtime: str, difference: float) -> Plan:
        plan = replace(self, agreement={**self.agreement, runtime: difference})
        plan.write()
        return plan

    def settled(self, runtime: str) -> Plan:
        plan = replace(self, chosen={**self.chosen, machine(): runtime})
        plan.write()
        return plan

    def measured(self, ms_per_photo: float, n_photos: int) -> Plan:
        """With the time of the run just done, if it was long enough to say anything or is the first."""
        if n_photos < _MIN_TIMED and np.isfinite(self.ms_per_photo):
            return self
        plan = replace(self, ms_per_photo=ms_per_photo)
        plan.write()
        return plan

    def write(self) -> None:
        facts = {
            "format": _FORMAT,
            "entry": self.entry.key,
            "weights_digest": self.weights_digest,
            "columns": {name: list(shape) for name, shape in self.columns.items()},
            "costs": [asdict(cost) for cost in self.costs.values()],
            "agreement": self.agreement,
            "chosen": self.chosen,
            "ms_per_photo": self.ms_per_photo if np.isfinite(self.ms_per_photo) else None,
        }
        write_file(self.path, json.dumps(facts, indent=1))


def find_plan(entry: BackboneEntry, folder: Path) -> Plan | None:
    """The plan made earlier; None where there is none that can be read."""
    path = _plan_path(entry, folder)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["entry"] != entry.key:
            return None
        costs = [CutCost(**cost) for cost in facts["costs"]]
        ms_per_photo = facts["ms_per_photo"]
        return Plan(
            backbone_id=entry.id,
            path=path,
            weights_digest=facts["weights_digest"],
            preprocessing=entry.preprocessing,
            columns={name: tuple(shape) for name, shape in facts["columns"].items()},
            costs={cost.depth: cost for cost in costs},
            entry=entry,
            agreement=facts["agreement"],
            chosen=facts["chosen"],
            ms_per_photo=float("nan") if ms_per_photo is None else ms_per_photo,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_plan(entry: BackboneEntry, folder: Path) -> Plan:
    """Describe a backbone: imports torch, and reads the weights where only they tell their digest."""
    require_extra("torch", "train")
    from flawmap.tools.backbones import describe_cuts, digest_of, embedding_columns, load_weights

    digest = entry.weights_digest or digest_of(load_weights(entry))
    columns, costs = embedding_columns(entry), describe_cuts(entry)
    return Plan(entry.id, _plan_path(entry, folder), digest, entry.preprocessing, columns, costs, entry)


def machine() -> str:
    """This kind of machine: what decides which runtime is the fastest."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next((m[1] for m in [re.search(r"model name\s*:\s*(.+)", text)] if m), "")
    except OSError:
        name = platform.processor()
    return f"{platform.system()} {platform.machine()} {name}".strip()


def _plan_path(entry: BackboneEntry, folder: Path) -> Path:
    made_with = [f"{package} {_version(package)}" for package in ("torch", "timm")]
    digest = hashlib.sha256("|".join([entry.key, *made_with, str(_FORMAT)]).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", entry.id)[:60]
    return folder / "backbones" / f"{readable}-{digest[:16]}.json"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
