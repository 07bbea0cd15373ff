"""Normalisation taken into the convolutions before it: the same values to about six digits for less work."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)

_MOST_DIFFERENT = 1e-4
"""Of the largest value: rounding stays far below it."""


def folded(network: Network, images: torch.Tensor) -> Network:
    """A copy in eval mode whose frozen convolutions have taken in the batch normalisation behind them.

    Which follows which is only told from the order of the layers, so both are tried on the `images`: where an
    output differs, the copy is a plain one. What learns (requires a gradient) is left alone.
    """
    plain = copy.deepcopy(network).eval()
    quick = copy.deepcopy(plain)
    _fold(quick)
    try:
        with torch.no_grad():
            pairs = list(zip(_outputs(plain(images)), _outputs(quick(images)), strict=True))
    except RuntimeError:  # shapes that do not fit, of layers that do not follow each other
        return plain
    is_same = all(
        torch.allclose(wanted, got, rtol=0, atol=_MOST_DIFFERENT * float(wanted.abs().max()))
        for wanted, got in pairs
    )
    return quick if is_same else plain


def simplified(network: Network, images: torch.Tensor) -> Network:
    """A frozen copy, folded as on the `images`, in which no layer overwrites its input.

    torch's exporter would do both, node by node; from such a copy it needs a third of the time.
    """
    frozen = copy.deepcopy(network).requires_grad_(False)
    simple = folded(frozen, images)
    for layer in simple.modules():
        if "inplace" in vars(layer):
            vars(layer)["inplace"] = False
    return simple


def _fold(module: nn.Module) -> None:
    """Replace each frozen convolution and the batch normalisation that follows it, in place."""
    before: str | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None and _is_frozen(child):
            conv = getattr(module, before)
            if conv.out_channels == child.num_features:
                setattr(module, before, fuse_conv_bn_eval(conv, child).requires_grad_(False))
                rest = [getattr(child, part) for part in ("drop", "act") if hasattr(child, part)]
                setattr(module, name, nn.Sequential(*rest))
        else:
            _fold(child)
        before = name if isinstance(child, nn.Conv2d) and _is_frozen(child) else None


def _is_frozen(module: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in module.parameters())


def _outputs(found: torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor]) -> list[torch.Tensor]:
    return [found] if isinstance(found, torch.Tensor) else list(found)
