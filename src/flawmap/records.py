"""Frozen values that travel between the stages; each checks itself once, when it is made.

Photos are always in the order of `Dataset.photos` (sorted by name); every array that speaks of photos has one
row per photo in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flawmap.errors import DatasetError

Part = Literal["train", "validation", "test"]
Pooling = Literal["average", "average+maximum"]
Progress = Callable[[str, int, int], None]
"""Called as progress(what, n_done, n_total) by every stage that takes long."""


def no_progress(what: str, n_done: int, n_total: int) -> None:
    """The Progress that says nothing."""


def _check(ok: bool, wanted: str, got: object) -> None:
    if not ok:
        raise ValueError(f"wanted {wanted}; got {got}")


@dataclass(frozen=True)
class Photo:
    """One readable file. `name` (POSIX, relative to the data set) is its identity in every table."""

    path: Path
    name: str
    digest: str
    """BLAKE2b-256 of the file's bytes, in hexadecimal."""
    size_hw: tuple[int, int]
    """Height and width in pixels after the camera orientation is applied."""
    note: str = ""
    """How unusual pixels were read ("16-bit, scaled by 255/65535"); empty for plain 8-bit photos."""


@dataclass(frozen=True)
class Unreadable:
    """A file that was left out, with the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Labelled photos. `targets` is (n_photos, n_labels) uint8; one 1 per row unless `is_multilabel`."""

    root: Path
    photos: tuple[Photo, ...]
    labels: tuple[str, ...]
    targets: np.ndarray
    good_labels: tuple[str, ...] = ()
    is_multilabel: bool = False
    parts: tuple[Part | None, ...] = ()
    """The part that the user's layout or manifest gives each photo; None where it gives none."""
    groups: tuple[str | None, ...] = ()
    """The source that a manifest column gives each photo; None where it gives none."""
    unreadable: tuple[Unreadable, ...] = ()
    ignored: tuple[Unreadable, ...] = ()
    """Files passed over by a stated rule (hidden, outside the folder, not an image's extension)."""
    layout: str = ""
    """What the folder was recognised as, in words."""

    def __post_init__(self) -> None:
        n = len(self.photos)
        object.__setattr__(self, "parts", self.parts or (None,) * n)
        object.__setattr__(self, "groups", self.groups or (None,) * n)
        _check(
            self.targets.shape == (n, len(self.labels)),
            f"targets ({n}, {len(self.labels)})",
            self.targets.shape,
        )
        _check(self.targets.dtype == np.uint8, "uint8 targets", self.targets.dtype)
        _check(len(self.parts) == n and len(self.groups) == n, f"{n} parts and groups", len(self.parts))
        known = set(self.good_labels) <= set(self.labels)
        _check(known, f"good labels among {self.labels}", self.good_labels)
        if not self.is_multilabel:
            _check(bool((self.targets.sum(axis=1) == 1).all()), "one label per photo", "none or several")

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def class_indices(self) -> np.ndarray:
        """(n,) int64: the label of each photo. Raises DatasetError where photos have several."""
        if self.is_multilabel:
            raise DatasetError("these photos carry several labels each; one label per photo was wanted")
        return self.targets.argmax(axis=1).astype(np.int64)

    @property
    def is_flawed(self) -> np.ndarray:
        """(n,) bool: whether a photo carries any label that is not good."""
        flawed = [label not in self.good_labels for label in self.labels]
        return np.asarray(self.targets[:, flawed].any(axis=1))


@dataclass(frozen=True)
class LabelSuspect:
    """A photo whose label the out-of-fold model disagrees with; `score` is the suggestion's probability."""

    path: str
    label: str
    suggested: str
    score: float


@dataclass(frozen=True)
class Audit:
    """What is in the folder and what is wrong with it. Names are Photo.name."""

    groups: tuple[str, ...]
    """One source group per photo of the data set."""
    group_origin: str
    """In words: where the groups come from (a column, a pattern, content, content and file order)."""
    exact_duplicates: tuple[tuple[str, ...], ...] = ()
    conflicting_duplicates: tuple[tuple[str, ...], ...] = ()
    near_duplicates: tuple[tuple[str, str], ...] = ()
    leaks: tuple[tuple[str, str], ...] = ()
    """The same photo in two given parts."""
    label_suspects: tuple[LabelSuspect, ...] = ()
    class_counts: dict[str, int] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values: sizes, brightness, modes, group sizes, notes."""
    blocks: tuple[str, ...] = ()
    """Coarser than `groups`: groups that may yet share a source, which the split does not part; or empty."""


@dataclass(frozen=True)
class Split:
    """Sorted row indices of each part; `left_out` photos are in none (they stand in another part too)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    groups: tuple[str, ...]
    seed: int
    why: str
    left_out: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        together = np.concatenate([self.train, self.validation, self.test, self.left_out])
        _check(
            sorted(together.tolist()) == list(range(len(self.groups))),
            f"each of {len(self.groups)} photos in one part",
            f"{len(together)} places",
        )

    @property
    def development(self) -> np.ndarray:
        """Training and validation rows together, sorted: all that a choice may look at."""
        return np.sort(np.concatenate([self.train, self.validation]))


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
                _check(len(values) == n, f"{n} rows at depth {depth}", values.shape)

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
        _check(
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
    skipped: tuple[Unreadable, ...] = ()
    """Backbones that could not be had, by name, with the reason."""

    @property
    def choosable(self) -> tuple[Candidate, ...]:
        """The candidates that the choice was among, best F1 first: what every count of candidates means."""
        return tuple(one for one in self.candidates if one.is_choosable)


@dataclass(frozen=True)
class Thresholds:
    """From validation only. `temperature` divides the logits. Bounds are upper 95 % limits of the rates."""

    temperature: float
    threshold: float
    review_low: float
    review_high: float
    miss_rate_upper95: float
    false_alarm_rate_upper95: float
    max_miss_rate: float
    chosen_by: str


@dataclass(frozen=True)
class Evaluation:
    """Labels against predictions. `metrics` holds the figures that `flawmap evaluate --json` writes."""

    metrics: dict[str, Any]
    confusion: np.ndarray
    """(n_labels, n_labels): rows the true, columns the printed label. For several labels per photo
    (n_labels, 2, 2)."""
    curves: dict[str, Any]
    """Plain lists: roc, precision_recall, calibration."""
    worst: tuple[int, ...]
    """Row indices of the worst mistakes, worst first."""
    names: tuple[str, ...]
    probabilities: np.ndarray
    flaw_scores: np.ndarray
    printed: np.ndarray
    """(n, n_labels) uint8: the labels that predict would print."""


@dataclass(frozen=True)
class ModelSpec:
    """`flawmap.json`: all that a model file needs to be run and trusted. Plain JSON values throughout."""

    task: Literal["classification", "multilabel"]
    labels: tuple[str, ...]
    good_labels: tuple[str, ...]
    backbone_id: str
    cut: Cut
    preprocessing: Preprocessing
    thresholds: Thresholds
    tile_hw: tuple[int, int]
    """The most frequent size of the training photos: what "one tile" means to this model."""
    licence: str = ""
    winner: str = ""
    """Which contender shipped: probe, head or fine-tuned."""
    training_digests: tuple[str, ...] = ()
    """Digests of the training and validation photos, so that a later evaluation can tell what was seen."""
    file_digests: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    format_version: int = 1

    @property
    def is_multilabel(self) -> bool:
        return self.task == "multilabel"

    @property
    def is_flaw_label(self) -> np.ndarray:
        """(n_labels,) bool."""
        return np.array([label not in self.good_labels for label in self.labels])


@dataclass(frozen=True)
class Epoch:
    """One point of the training curves. `phase` is "head" or "fine-tuning"."""

    phase: str
    epoch: int
    train_loss: float
    validation_loss: float
    validation_f1: float
    elapsed_s: float


@dataclass(frozen=True)
class TrainedModel:
    """A network that maps (n, 3, h, w) float32 RGB 0..255 to (features, logits), and how it came to be."""

    network: Any
    """torch.nn.Module with `.eval()` set, on the processor; built by flawmap.tools.backbones."""
    winner: str
    contenders: dict[str, dict[str, float]]
    """Per contender ("untrained", "probe", "head", "fine-tuned"): validation f1 and loss."""
    untrained_head: LinearHead
    """The state before training, so that it can be evaluated beside the winner."""
    history: tuple[Epoch, ...]
    class_weights: tuple[float, ...]
    note: str = ""
