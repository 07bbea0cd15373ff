"""What a segmenter learns, and how its states are judged: pooled over pixels, kept as counts per photo."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F

from flawmap.stages.train.objective import Score
from flawmap.stages.train.options import MaskLoss

N_BINS = 40
"""Of the probability, when states are compared: their thresholds are multiples of 1/40."""
NOT_COUNTED = -1.0
"""Target of pixels that are looked at but do not count: mirrored ones, and those of an earlier piece."""
_SKELETON_STEPS = 8
_TVERSKY = (0.3, 0.7)
"""Weights of false alarms and of misses: a missed pixel of a thin flaw costs more."""


class MaskObjective:
    """Logits and targets are (n, n_labels, h, w)."""

    def __init__(self, loss: MaskLoss) -> None:
        from segmentation_models_pytorch import losses

        self.name = loss
        self._dice = losses.DiceLoss("multilabel", smooth=1.0)
        self._focal = losses.FocalLoss("multilabel")
        self._tversky = losses.TverskyLoss("multilabel", alpha=_TVERSKY[0], beta=_TVERSKY[1], smooth=1.0)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of a batch; overlaps are counted over the whole batch, label by label."""
        if self.name == "focal":
            return self._focal(logits, targets)
        crossed = F.binary_cross_entropy_with_logits(logits, targets)
        if self.name == "tversky+bce":
            return crossed + self._tversky(logits, targets)
        overlap = crossed + self._dice(logits, targets)
        if self.name == "cldice":
            return overlap + centre_line_dice_loss(logits.sigmoid(), targets)
        return overlap

    def reduce(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Histograms of probability, (n, n_labels, 2, N_BINS): of true pixels and of all; and the loss.

        The pixels that count are a box of each photo; the targets of the others are NOT_COUNTED.
        """
        bins = (logits.sigmoid() * N_BINS).long().clamp_(0, N_BINS - 1).flatten(2)
        truth = targets.flatten(2)
        empty = torch.zeros(*bins.shape[:2], N_BINS, device=bins.device)
        hits = empty.scatter_add(2, bins, truth.clamp(min=0))
        both = empty.scatter_add(2, bins, (truth >= 0).to(truth.dtype))
        losses = [self._loss_of_counted(*one) for one in zip(logits, targets, strict=True)]
        return torch.stack([hits, both], dim=2), torch.stack(losses)

    def _loss_of_counted(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of one photo, (n_labels, h, w)."""
        counts = targets[0] >= 0
        rows, columns = counts.any(dim=1), counts.any(dim=0)
        return self.loss(logits[None, :, rows][..., columns], targets[None, :, rows][..., columns])

    def judge(self, outputs: np.ndarray, targets: np.ndarray) -> Score:
        """Mean over the labels that occur of the best pooled Dice (which is the F1 of pixels)."""
        hits, both = np.moveaxis(outputs.astype(np.float64).sum(axis=0), 1, 0)
        above = [np.cumsum(values[:, ::-1], axis=1) for values in (hits, both)]
        n_true = hits.sum(axis=1, keepdims=True)
        dice = (2 * above[0] / np.maximum(above[1] + n_true, 1)).max(axis=1)
        occurs = n_true[:, 0] > 0
        loss = float(targets.mean())
        return Score(
            float(dice[occurs].mean()) if occurs.any() else 0.0, loss if math.isfinite(loss) else 1e9
        )


def centre_line_dice_loss(probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 - clDice with soft skeletons (Shit et al., clDice, CVPR 2021, algorithms 1 and 2)."""
    axes = (0, 2, 3)
    found, true = _soft_skeleton(probabilities), _soft_skeleton(targets)
    precision = ((found * targets).sum(axes) + 1) / (found.sum(axes) + 1)
    recall = ((true * probabilities).sum(axes) + 1) / (true.sum(axes) + 1)
    return (1 - 2 * precision * recall / (precision + recall)).mean()


def _soft_skeleton(image: torch.Tensor) -> torch.Tensor:
    skeleton = F.relu(image - _dilate(_erode(image)))
    for _ in range(_SKELETON_STEPS):
        image = _erode(image)
        rest = F.relu(image - _dilate(_erode(image)))
        skeleton = skeleton + F.relu(rest - skeleton * rest)
    return skeleton


def _erode(image: torch.Tensor) -> torch.Tensor:
    down = -F.max_pool2d(-image, (3, 1), 1, (1, 0))
    across = -F.max_pool2d(-image, (1, 3), 1, (0, 1))
    return torch.minimum(down, across)


def _dilate(image: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(image, 3, 1, 1)
