"""What is learnt, and how a state is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

from flawmap.tools.scores import state_rank
from flawmap.tools.thresholds import best_f1


@dataclass(frozen=True)
class Score:
    """A state's validation figures."""

    f1: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better."""
        return state_rank(self.f1, self.loss)


class Judge(Protocol):
    """What is learnt, and how a state is judged."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of one training batch."""
        ...

    def reduce(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `judge` needs of one validation batch, a row per photo: all that is kept of it."""
        ...

    def judge(self, outputs: np.ndarray, targets: np.ndarray) -> Score:
        """From what `reduce` kept of all validation photos."""
        ...


@dataclass(frozen=True)
class Objective:
    """Of a classifier."""

    class_weights: torch.Tensor
    """(n_labels,): of a photo of each class; for several labels, of a photo that carries the label."""
    is_flaw: np.ndarray
    is_multilabel: bool
    label_smoothing: float = 0.0

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the batch: cross-entropy, or binary cross-entropy for several labels."""
        weights = self.class_weights.to(logits)
        if self.is_multilabel:
            smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
            return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights)
        return F.cross_entropy(
            logits, targets.argmax(dim=1), weight=weights, label_smoothing=self.label_smoothing
        )

    def reduce(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Everything: a few numbers per photo."""
        return logits, targets

    def judge(self, outputs: np.ndarray, targets: np.ndarray) -> Score:
        """F1 at its best threshold, and the plain loss (no weights, no smoothing) in nats; 0 and no number
        where training has diverged."""
        if not np.isfinite(outputs).all():
            return Score(0.0, math.nan)
        plain = Objective(torch.ones_like(self.class_weights), self.is_flaw, self.is_multilabel)
        loss = plain.loss(torch.from_numpy(outputs).double(), torch.from_numpy(targets).double())
        truth = targets.astype(np.uint8)
        return Score(best_f1(outputs, truth, self.is_flaw, self.is_multilabel), float(loss))


def class_weights(targets: np.ndarray, is_multilabel: bool, balance: float) -> np.ndarray:
    """(n, n_labels) training targets → (n_labels,) float32 weights in the loss.

    One label per photo: (mean class size / class size) ** balance, scaled so that photos weigh 1 on average.
    Several labels: (photos without / photos with the label) ** balance, the weight of a photo that has it.
    A class without a training photo weighs 1.
    """
    n_with = targets.sum(axis=0, dtype=np.float64)
    if is_multilabel:
        ratio = np.divide(len(targets) - n_with, n_with, out=np.ones_like(n_with), where=n_with > 0)
        return (np.maximum(ratio, 1e-3) ** balance).astype(np.float32)
    present = n_with > 0
    weights = np.ones_like(n_with)
    weights[present] = (n_with[present].mean() / n_with[present]) ** balance
    return (weights * n_with.sum() / (weights * n_with).sum()).astype(np.float32)
