"""The models that learn: a head on standardised features, alone or on top of a backbone."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from flawmap.records import Cut, LinearHead
from flawmap.tools.backbones import Backbone, ClassifierNetwork, folded

_LEAST_SPREAD = 0.05
"""Of the median spread: features that hardly vary are not blown up further."""


class StandardHead(nn.Module):
    """Standardise, drop out, map linearly: (n, d) pooled features → (n, n_labels) logits.

    Pooled features differ in spread a hundredfold; only when they are alike does one learning rate fit all.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, features: torch.Tensor, n_labels: int, dropout: float) -> None:
        """`features` (n, d) give the mean and the spread, which stay as they are."""
        super().__init__()
        spread = features.double().std(dim=0, correction=0)
        self.register_buffer("mean", features.double().mean(dim=0).float())
        self.register_buffer(
            "spread", spread.clamp_min(float(_LEAST_SPREAD * spread.median()) or 1.0).float()
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features.shape[1], n_labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.linear(self.dropout((pooled - self.mean) / self.spread))

    @torch.no_grad()
    def set(self, head: LinearHead) -> None:
        """Take over a head on features as they are."""
        weight = torch.from_numpy(head.weight).double()
        self.linear.weight.copy_(weight * self.spread)
        self.linear.bias.copy_(torch.from_numpy(head.bias) + weight @ self.mean.double())

    def get(self) -> LinearHead:
        """The same map with the standardisation folded in."""
        weight = (self.linear.weight.detach().double() / self.spread).cpu()
        bias = self.linear.bias.detach().double().cpu() - weight @ self.mean.double().cpu()
        return LinearHead(weight.numpy().astype(np.float32), bias.numpy().astype(np.float32))


class TunedNetwork(nn.Module):
    """A backbone whose later stages learn, with a StandardHead: (n, 3, h, w) images → (n, n_labels) logits.

    The frozen stages run with their normalisation folded into the convolutions: the same values to about six
    digits, in little more than half the time. They themselves stay as they are, in the network given.
    """

    def __init__(self, network: ClassifierNetwork, head: StandardHead, n_frozen: int) -> None:
        super().__init__()
        network.freeze(n_frozen)
        self.cut = network.cut
        self.backbone = quickened(network.backbone)
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(pool(self.backbone(images)[0], self.cut))

    @torch.no_grad()
    def write_to(self, network: ClassifierNetwork) -> None:
        """Hand what was learnt to a network built like the one given."""
        theirs = dict(network.backbone.named_parameters())
        for name, parameter in self.backbone.named_parameters():
            if parameter.requires_grad:
                theirs[name].copy_(parameter)
        network.set_head(self.head.get())


def pool(features: torch.Tensor, cut: Cut) -> torch.Tensor:
    """(n, k, h, w) → (n, k) averages, or (n, 2k) averages and maxima: what a head takes."""
    average = features.mean((2, 3))
    return average if cut.pooling == "average" else torch.cat([average, features.amax((2, 3))], dim=1)


def quickened(backbone: Backbone) -> Backbone:
    """A copy of the backbone whose frozen convolutions have taken in their normalisation; see `folded`."""
    generator = torch.Generator().manual_seed(0)
    images = 255 * torch.rand(2, 3, *backbone.input_hw, generator=generator)
    return folded(backbone, images).to(memory_format=torch.channels_last)
