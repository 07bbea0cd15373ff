"""A U-Net for use, with the same answers for less work.

A block doubles a map by repeating its pixels and runs a 3 × 3 convolution over it. Several of nine weights
then meet the same pixel, and which ones depends only on whether row and column are even or odd. Added up
beforehand they make four 2 × 2 convolutions over the map as it was, one for each kind of pixel: 16
multiplications in place of 36.

A head with a single output costs ONNX Runtime as much as one with sixteen, which it computes at once. Channel
by channel (depthwise), then added up, it is a sixth of the work.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

_ROWS = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
"""Which of three weights meet the first and the second of two pixels, at even and at odd places."""


def spare_work(network: Any) -> nn.Module:
    """A copy of a SegmenterNetwork in eval mode whose U-Net blocks do without the larger map, and whose head,
    where it has one output, works channel by channel.

    Any other decoder is copied as it is. Normalisation after a block's first convolution is folded in.
    """
    from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

    spared = copy.deepcopy(network).eval()
    decoder: Any = getattr(spared, "decoder", None)
    if not isinstance(decoder, UnetDecoder):
        return spared
    n_channels = spared.n_last_channels
    blocks: Any = decoder.blocks
    for place, block in enumerate(blocks):
        blocks[place] = _SparedBlock(block, n_channels)
        n_channels = block.conv2[0].out_channels
    if spared.head[0].out_channels == 1:
        spared.head[0] = _by_channel(spared.head[0])
    return spared


def _by_channel(conv: nn.Conv2d) -> nn.Sequential:
    """A convolution with one output as a depthwise one and a sum."""
    n, side = conv.in_channels, conv.kernel_size[0]
    apart = nn.Conv2d(n, n, side, padding=side // 2, groups=n, bias=False)
    total = nn.Conv2d(n, 1, 1, bias=conv.bias is not None)
    with torch.no_grad():
        apart.weight.copy_(conv.weight.transpose(0, 1))
        total.weight.fill_(1.0)
        if total.bias is not None and conv.bias is not None:
            total.bias.copy_(conv.bias)
    return nn.Sequential(apart, total)


class _SparedBlock(nn.Module):
    """UnetDecoderBlock.forward for a map that is to be doubled, with or without a skip connection."""

    def __init__(self, block: Any, n_channels: int) -> None:
        super().__init__()
        weight, bias = _fold(block.conv1[0], block.conv1[1])
        kernels = [_gather(weight[:, :n_channels], row, column) for row in _ROWS for column in _ROWS]
        self.doubled = nn.ParameterList(nn.Parameter(kernel, requires_grad=False) for kernel in kernels)
        self.beside = nn.Parameter(weight[:, n_channels:].contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.activate = block.conv1[2]
        self.rest = nn.Sequential(block.conv2, block.attention2)

    def forward(
        self,
        feature_map: torch.Tensor,
        target_height: int,
        target_width: int,
        skip_connection: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As the block that it was made of: maps of twice the size; the target sizes are its, not needed."""
        kinds = []
        for kind, kernel in enumerate(self.doubled):
            row, column = divmod(kind, 2)
            padded = F.pad(feature_map, (1 - column, column, 1 - row, row))
            kinds.append(F.conv2d(padded, kernel, self.bias))
        if skip_connection is None:
            return self.rest(_interleave([self.activate(kind) for kind in kinds]))
        beside = F.conv2d(skip_connection, self.beside, padding=1)
        return self.rest(self.activate(_interleave(kinds) + beside))


def _interleave(kinds: list[torch.Tensor]) -> torch.Tensor:
    """What pixel_shuffle does, in steps that ONNX Runtime takes in half the time."""
    rows = [torch.stack(two, dim=4).flatten(3, 4) for two in (kinds[:2], kinds[2:])]
    return torch.stack(rows, dim=3).flatten(2, 3)


def _fold(conv: nn.Conv2d, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (out, in, 3, 3) and bias (out,) of a convolution with the normalisation after it, as in use."""
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = torch.zeros_like(norm.bias) if conv.bias is None else conv.bias
        return conv.weight * scale[:, None, None, None], norm.bias + (bias - norm.running_mean) * scale


def _gather(weight: torch.Tensor, rows: Any, columns: Any) -> torch.Tensor:
    """(out, in, 3, 3) → (out, in, 2, 2): the weights that meet the same pixel, added up."""
    chosen = [torch.tensor(one, dtype=weight.dtype) for one in (rows, columns)]
    return torch.einsum("oirc,ar,bc->oiab", weight, *chosen).contiguous()
