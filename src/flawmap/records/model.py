"""What is trained, shipped and measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from flawmap.records.basics import Decoder
from flawmap.records.choice import Cut, LinearHead, Preprocessing
from flawmap.records.inspection import FindingSpec, HeldBackCounts
from flawmap.records.masks import CascadeSpec, MaskSpec, PhotoMask


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


Precision = Literal["float32", "float16", "bfloat16", "int8"]
FileKind = Literal["onnx", "openvino", "litert"]


@dataclass(frozen=True)
class ModelForm:
    """What the files of a model folder are: ONNX in float32 as training writes them, or made from such."""

    kind: FileKind = "onnx"
    precision: Precision = "float32"
    made_from: dict[str, str] = field(default_factory=dict)
    """Digests of the files that these were made from; empty for those that training wrote."""

    @property
    def is_plain(self) -> bool:
        """Whether any runtime may run it: a reduced or translated file is run as it was checked."""
        return self.kind == "onnx" and self.precision == "float32"


@dataclass(frozen=True)
class ModelSpec:
    """`flawmap.json`: all that a model file needs to be run and trusted. Plain JSON values throughout."""

    task: Literal["classification", "multilabel", "segmentation", "cascade"]
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
    masks: MaskSpec | None = None
    """Of a model that gives masks."""
    cascade: CascadeSpec | None = None
    """Of a cascade; its classifier's first output is the flaw's, the others are the labels'."""
    findings: FindingSpec | None = None
    """Of a classifier: what counts as a finding in a photo larger than a tile; None in older folders."""
    held_back: HeldBackCounts | None = None
    """What later photos are held against, to notice drift; None in older folders, and where the model cannot
    inspect."""
    form: ModelForm = field(default_factory=ModelForm)
    """What the files are; folders that training wrote, old ones too, hold ONNX in float32."""
    format_version: int = 1

    @property
    def is_multilabel(self) -> bool:
        return self.task != "classification"

    @property
    def is_flaw_label(self) -> np.ndarray:
        """(n_labels,) bool."""
        return np.array([label not in self.good_labels for label in self.labels])

    @property
    def can_be_good(self) -> bool:
        """Whether the model can pass a photo as good: by a good label or, with several labels, by none.

        Without that it has no review band, whatever `thresholds` says."""
        return self.is_multilabel or bool(self.good_labels)


@dataclass(frozen=True)
class Epoch:
    """One point of the training curves. `phase` is "head" or "fine-tuning"."""

    phase: str
    epoch: int
    train_loss: float
    validation_loss: float
    validation_f1: float
    elapsed_s: float


PHASE_OF_CONTENDER = {"head": "head", "fine-tuned": "fine-tuning"}
"""The phase of training that a contender comes from; the others are not trained in epochs."""


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
    refit: str = ""
    """How it learnt the validation photos too, after all that they decided; empty where it did not."""


@dataclass(frozen=True)
class TrainedSegmenter:
    """A network that maps (n, 3, h, w) float32 RGB 0..255 to logits (n, n_labels, h, w), h and w multiples of
    32, and how it came to be."""

    network: Any
    """torch.nn.Module with `.eval()` set, on the processor; built by flawmap.tools.backbones."""
    backbone_id: str
    depth: int
    decoder: Decoder
    history: tuple[Epoch, ...]
    validation_f1: float
    """Of the state that was kept: mean over labels of the pooled Dice at its best threshold."""
    crop_hw: tuple[int, int]
    macs_per_px: float
    n_parameters: int
    note: str = ""
    refit: str = ""
    """As of TrainedModel."""


@dataclass(frozen=True)
class Answer:
    """What a model says about one photo."""

    label: str
    """Several are joined by ";", none is ""."""
    score: float
    flaw_score: float
    """Probability of any flaw; of masks, the highest of any pixel, also of what was left out as too small."""
    review: bool | None
    """Whether a person should look; None where the model has no such band. Of masks: a pixel reached its
    label's threshold, but all that did was left out as too small."""
    probabilities: dict[str, float]
    mask: PhotoMask | None = None
    """Of a model that gives masks."""
