"""Backbones, what they cost and what they see, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from flawmap.records.basics import Pooling, check
from flawmap.records.data import Unreadable


@dataclass(frozen=True, order=True)
class Cut:
    """Where a backbone ends (stage index) and how its last map is pooled."""

    depth: int
    pooling: Pooling

    @property
    def key(self) -> str:
        """Such as "5:average+maximum"; for files, `words` is for people."""
        return f"{self.depth}:{self.pooling}"

    @property
    def words(self) -> str:
        """Such as "depth 5, average and maximum pooled"."""
        return f"depth {self.depth}, {self.pooling.replace('+', ' and ')} pooled"


@dataclass(frozen=True)
class CutCost:
    """What a backbone costs when it ends after `depth` (without head)."""

    depth: int
    n_channels: int
    n_parameters: int
    n_bytes: int
    """Of the float32 weights."""
    macs: int
    """Multiply-accumulates for one photo at the backbone's input size."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input; `mean` and `std` (of RGB in 0..1) are applied in the file."""

    input_hw: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    @property
    def key(self) -> str:
        """All that decides the pixels, as one string."""
        return f"{self.input_hw}|{self.mean}|{self.std}|{self.interpolation}|square-pad"


@dataclass(frozen=True)
class Embeddings:
    """Pooled maps of one backbone, every cut at once; row i belongs to digests[i].

    `average[depth]` and `maximum[depth]` are (n, channels of that depth) float32; `quadrants[depth]` is
    (n, 4, channels): averages over the four quarters of the map (top left, top right, bottom left, bottom
    right), kept for the depths in `quadrants` only.
    """

    digests: tuple[str, ...]
    backbone_id: str
    average: dict[int, np.ndarray]
    maximum: dict[int, np.ndarray]
    quadrants: dict[int, np.ndarray]
    costs: dict[int, CutCost]
    n_computed: int = 0
    """Photos that had to go through the network; the others came from the store."""
    elapsed_s: float = 0.0
    ms_per_photo: float = float("nan")
    """Measured through the runtime when photos were last embedded, decoding included."""
    runtime: str = ""

    def __post_init__(self) -> None:
        n = len(self.digests)
        for maps in (self.average, self.maximum, self.quadrants):
            for depth, values in maps.items():
                check(len(values) == n, f"{n} rows at depth {depth}", values.shape)

    def features(self, cut: Cut) -> np.ndarray:
        """(n, d) float32 for a cut: d is the channels, or twice that for average+maximum."""
        if cut.pooling == "average":
            return self.average[cut.depth]
        return np.concatenate([self.average[cut.depth], self.maximum[cut.depth]], axis=1)

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(sorted(self.average))


@dataclass(frozen=True)
class LinearHead:
    """logits = features @ weight.T + bias; weight (n_labels, d) float32, bias (n_labels,) float32."""

    weight: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        check(
            self.weight.ndim == 2 and self.bias.shape == self.weight.shape[:1],
            "weight (n_labels, d) and bias (n_labels,)",
            (self.weight.shape, self.bias.shape),
        )


@dataclass(frozen=True)
class Candidate:
    """One row of a ranking: a backbone at a cut, with its cross-validated score and cost."""

    backbone_id: str
    cut: Cut
    cost: CutCost
    f1: float
    standard_error: float
    ms_per_photo: float
    elapsed_s: float
    regularisation: float
    """The inverse strength C of the linear probe that scored best."""
    fold_f1: tuple[float, ...] = ()
    is_choosable: bool = True
    """False beyond the depth limit: scored for the control's sake only."""
    note: str = ""


@dataclass(frozen=True)
class Ranking:
    """All that was scored, best F1 first; the choice, and what the usual choice would have got."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    control: Candidate
    """The last layer, average pooled, of the backbone for which that scores best."""
    why: str
    prefer: str
    n_folds: int
    deeper: Candidate | None = None
    """Where the choice costs less than half of its backbone: what the same rule chooses among the cuts that
    cost more. As they come, a shallow cut can be as good as a deep one, which learns more: training tries
    both."""
    skipped: tuple[Unreadable, ...] = ()
    """Backbones that could not be had, by name, with the reason."""

    @property
    def choosable(self) -> tuple[Candidate, ...]:
        """The candidates that the choice was among, best F1 first: what every count of candidates means."""
        return tuple(one for one in self.candidates if one.is_choosable)
