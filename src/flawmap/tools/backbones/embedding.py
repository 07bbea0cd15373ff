"""The network that gives the pooled maps of every cut in one pass."""

from __future__ import annotations

import torch
from torch import nn

from flawmap.tools.backbones.networks import Backbone, cut_backbone, load_backbone
from flawmap.tools.backbones.weights import build_network
from flawmap.tools.zoo import BackboneEntry

MAX_QUADRANT_STRIDE = 16
"""Quadrants are taken of maps at least this fine; coarser ones have too few cells to split."""


class EmbeddingNetwork(nn.Module):
    """forward(images (n, h, w, 3) uint8 RGB of the backbone's input size) → (n, width) float32.

    The values are those of `embedding_columns`, one after the other. Quadrants are the averages over the top
    left, top right, bottom left and bottom right quarter of a map; the middle line of an odd side belongs to
    the right or the bottom.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        values: list[torch.Tensor] = []
        for features in self.backbone(pixels, range(self.backbone.last + 1)):
            values += [features.mean((2, 3)), features.amax((2, 3))]
            if _has_quadrants(features, self.backbone):
                middle, centre = features.shape[2] // 2, features.shape[3] // 2
                for half in (features[:, :, :middle], features[:, :, middle:]):
                    values += [half[..., :centre].mean((2, 3)), half[..., centre:].mean((2, 3))]
        return torch.cat(values, dim=1)


def load_embedding_network(entry: BackboneEntry) -> EmbeddingNetwork:
    """With pretrained weights, in eval mode. Raises BackboneError where they cannot be had."""
    return EmbeddingNetwork(load_backbone(entry)).eval()


def embedding_columns(entry: BackboneEntry) -> dict[str, tuple[int, ...]]:
    """Shape of one photo's values by name, in the network's order: "average:0" (k,), "maximum:0" (k,),
    "quadrants:0" (4, k), … No weights are read."""
    backbone = cut_backbone(build_network(entry, "meta"), entry, None).to("meta")
    with torch.no_grad():
        maps = backbone(
            torch.zeros(1, 3, *entry.preprocessing.input_hw, device="meta"), range(backbone.last + 1)
        )
    columns: dict[str, tuple[int, ...]] = {}
    for depth, features in enumerate(maps):
        n_channels = features.shape[1]
        columns[f"average:{depth}"] = columns[f"maximum:{depth}"] = (n_channels,)
        if _has_quadrants(features, backbone):
            columns[f"quadrants:{depth}"] = (4, n_channels)
    return columns


def _has_quadrants(features: torch.Tensor, backbone: Backbone) -> bool:
    return all(
        side > 1 and side * MAX_QUADRANT_STRIDE >= whole
        for side, whole in zip(features.shape[2:], backbone.input_hw, strict=True)
    )
