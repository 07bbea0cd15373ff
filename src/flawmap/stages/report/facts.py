"""What a report is made from, and what decides its looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from flawmap.records import (
    Audit,
    Dataset,
    Epoch,
    Evaluation,
    ModelSpec,
    Ranking,
    Split,
)


@dataclass(frozen=True)
class RandomSplit:
    """What the same probe scores when photos are dealt out at random, beside its score when sources are kept
    together. Both are the F1 of the ranking (two classes: of the flaw; otherwise macro)."""

    f1: float
    honest_f1: float
    n: int
    """Photos in the random test part."""
    share_with_sister: float | None = None
    """Share of those photos whose source also has training photos, 0 to 1; None where not counted."""

    def __post_init__(self) -> None:
        for name in ("f1", "honest_f1"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"wanted {name} between 0 and 1; got {value}")


@dataclass(frozen=True)
class ReportFacts:
    """Everything that one training run has to say. Nothing here is computed again by the report, except plain
    counts and shares."""

    dataset: Dataset
    audit: Audit
    split: Split
    ranking: Ranking
    spec: ModelSpec
    test: Evaluation
    validation: Evaluation | None = None
    before_training: Evaluation | None = None
    """The untrained state on the test part."""
    history: tuple[Epoch, ...] = ()
    contenders: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Validation f1 and loss of each state that could have shipped, as in TrainedModel."""
    class_weights: tuple[float, ...] = ()
    random_split: RandomSplit | None = None
    heats: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    """(photo name, label) → (H, W, 3) uint8: the photo under the evidence for that label; see
    wanted_heats()."""
    file_sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each file of the model folder, by name."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage, in the order of the run."""
    command: str = ""
    made_at: str = ""
    """Date of the run as it is to be printed; left out where empty."""


@dataclass(frozen=True)
class ReportOptions:
    """How much is shown, and how large the file may grow."""

    n_samples_per_class: int = 6
    n_mistakes: int = 12
    n_suspects: int = 12
    n_listed: int = 60
    """Rows of each list of problems; the rest is in metrics.json."""
    max_picture_bytes: int = 1_900_000
    """All pictures together, before base64 makes a third more of them."""

    def __post_init__(self) -> None:
        for name in ("n_samples_per_class", "n_mistakes", "n_suspects", "n_listed"):
            if getattr(self, name) < 0:
                raise ValueError(f"wanted {name} of 0 or more; got {getattr(self, name)}")
