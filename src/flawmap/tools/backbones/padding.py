"""Explicit padding in place of TensorFlow's "SAME", which timm computes anew on every pass.

The computed kind keeps dynamic heights and widths from being exported and ruins reduced precision. For an
input whose height and width are multiples of 32, every layer with stride 2 meets an even size, so its
padding is constant: (k - 1) * dilation + 1 - stride in all, the odd pixel at the bottom and right
(tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.layers.std_conv import ScaledStdConv2dSame, StdConv2dSame
from torch import nn

# timm's decorator hides what these are from the type checker.
_CONV: Any = Conv2dSame
_STANDARDISED: Any = (StdConv2dSame, ScaledStdConv2dSame)
_MAX_POOL: Any = MaxPool2dSame
_AVERAGE_POOL: Any = AvgPool2dSame


class PaddedConv2d(nn.Conv2d):
    """A convolution after zero padding by (left, right, top, bottom); parameters are named as without it."""

    def __init__(self, conv: nn.Conv2d, pad: tuple[int, int, int, int]) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            (conv.kernel_size[0], conv.kernel_size[1]),
            (conv.stride[0], conv.stride[1]),
            0,
            (conv.dilation[0], conv.dilation[1]),
            conv.groups,
            conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.pad = pad

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(F.pad(input, self.pad))


def fix_padding(network: nn.Module) -> int:
    """Replace every "SAME" layer of the network, in place; return how many were replaced."""
    n_replaced = 0
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            explicit = _to_explicit(child)
            if explicit is not None:
                explicit.train(child.training)
                setattr(parent, name, explicit)
                n_replaced += 1
    return n_replaced


def _to_explicit(layer: Any) -> nn.Module | None:
    if isinstance(layer, _CONV):
        pad = _same(layer.kernel_size, layer.stride, layer.dilation)
        return PaddedConv2d(layer, pad)
    if isinstance(layer, _STANDARDISED) and layer.same_pad:
        layer.same_pad = False
        pad = _same(layer.kernel_size, layer.stride, layer.dilation)
        return nn.Sequential(nn.ZeroPad2d(pad), layer)
    if isinstance(layer, _MAX_POOL):
        kernel, stride, dilation = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.dilation)
        pool = nn.MaxPool2d(kernel, stride, 0, dilation, ceil_mode=layer.ceil_mode)
        return nn.Sequential(nn.ConstantPad2d(_same(kernel, stride, dilation), -float("inf")), pool)
    if isinstance(layer, _AVERAGE_POOL):
        kernel, stride = _pair(layer.kernel_size), _pair(layer.stride)
        pool = nn.AvgPool2d(kernel, stride, 0, layer.ceil_mode, layer.count_include_pad)
        return nn.Sequential(nn.ZeroPad2d(_same(kernel, stride, (1, 1))), pool)
    return None


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _same(
    kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) for sizes that are multiples of the stride."""
    total = [max((k - 1) * d + 1 - s, 0) for k, s, d in zip(kernel, stride, dilation, strict=True)]
    (top, bottom), (left, right) = [(t // 2, t - t // 2) for t in total]
    return left, right, top, bottom
