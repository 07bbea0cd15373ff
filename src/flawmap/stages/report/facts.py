"""What a report is made from, and what decides its looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import (
    Audit,
    Dataset,
    Epoch,
    Evaluation,
    MaskEvaluation,
    ModelSpec,
    Ranking,
    Split,
)
from flawmap.records.basics import check
from flawmap.tools.options import Options


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


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What every training run has to say, whatever it trains. Nothing here is computed again by the report,
    except plain counts and shares."""

    dataset: Dataset
    audit: Audit
    split: Split
    spec: ModelSpec
    history: tuple[Epoch, ...] = ()
    refit: str = ""
    """How the validation photos were learnt too, after all that they decided; empty where they were not."""
    file_sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each file of the model folder, by name."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage, in the order of the run."""
    command: str = ""
    made_at: str = ""
    """Date of the run as it is to be printed; left out where empty."""


@dataclass(frozen=True, kw_only=True)
class ReportFacts(RunFacts):
    """A run that trained a classifier."""

    ranking: Ranking
    test: Evaluation
    validation: Evaluation | None = None
    before_training: Evaluation | None = None
    """The untrained state on the test part."""
    contenders: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Validation f1 and loss of each state that could have shipped, as in TrainedModel."""
    class_weights: tuple[float, ...] = ()
    random_split: RandomSplit | None = None
    heats: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    """(photo name, label) → (H, W, 3) uint8: the photo under the evidence for that label; see
    wanted_heats()."""


@dataclass(frozen=True)
class MaskPicture:
    """One photo with its true and its found masks, all of one height and width."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    truth: np.ndarray
    """(n_labels, H, W) bool."""
    found: np.ndarray
    """(n_labels, H, W) bool."""

    def __post_init__(self) -> None:
        size_hw = self.image.shape[:2]
        fits = self.truth.shape == self.found.shape and self.truth.ndim == 3
        shapes = f"{self.image.shape}, {self.truth.shape}, {self.found.shape}"
        check(fits and self.truth.shape[1:] == size_hw, "(H, W, 3) and twice (n_labels, H, W)", shapes)


@dataclass(frozen=True, kw_only=True)
class MaskReportFacts(RunFacts):
    """A run that trained a segmenter: `dataset` has masks, and `spec.masks` is there."""

    test: MaskEvaluation
    validation: MaskEvaluation
    choice_rows: tuple[dict[str, Any], ...] = ()
    """CleaningChoice.compared: every threshold and cleaning that was tried on validation."""
    choice_figures: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """CleaningChoice.figures."""
    training_note: str = ""
    n_parameters: int | None = None
    pictures: Mapping[str, MaskPicture] = field(default_factory=dict)
    """By photo name; see wanted_pictures()."""
    cascade: Mapping[str, Any] | None = None
    """Of a classifier put before the mask network: skip_threshold, lost_share, skipped_share, rule, table,
    ms_good, ms_flawed, compared; see mask_cascade."""

    def __post_init__(self) -> None:
        check(self.dataset.has_masks, "a data set with masks", "none")
        check(self.spec.masks is not None, "a model with masks", "none")


@dataclass(frozen=True)
class ReportOptions(Options):
    """How much is shown, and how large the file may grow."""

    n_samples_per_class: int = 6
    n_mistakes: int = 12
    n_suspects: int = 12
    n_examples: int = 3
    """Photos with masks of each kind: best, typical and worst."""
    n_listed: int = 60
    """Rows of each list of problems; the rest is in metrics.json."""
    max_picture_bytes: int = 1_900_000
    """All pictures together, before base64 makes a third more of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_samples_per_class", "n_mistakes", "n_suspects", "n_examples", "n_listed"):
            if getattr(self, name) < 0:
                raise OptionError(f"wanted {name} of 0 or more; got {getattr(self, name)}")
