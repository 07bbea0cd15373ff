"""What decoders of segmentation_models_pytorch lack to be run and exported for photos of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def mend_decoder(decoder: nn.Module) -> None:
    """Replace, in place, the blocks that give wrong files or fail on small photos. Parameters keep their
    names, and the answers stay what they were wherever the library's own block gives one."""
    from segmentation_models_pytorch.decoders.pan.decoder import FPABlock
    from segmentation_models_pytorch.decoders.pspnet.decoder import PSPBlock

    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, PSPBlock):
                setattr(parent, name, _PooledBlock(child))
            elif isinstance(child, FPABlock):
                setattr(parent, name, _PyramidAttention(child))
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                setattr(parent, name, GridPool(_side(child.output_size)))


def _side(output_size: Any) -> int:
    return int(output_size if isinstance(output_size, int) else output_size[0])


class GridPool(nn.Module):
    """Means over a grid of side × side cells, which may share a row or column of pixels where these do not
    divide: nn.AdaptiveAvgPool2d as two matrix products. Its own export holds for one size of photo only."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        rows, columns = (_cells(n, self.side, maps) for n in maps.shape[2:])
        return rows @ maps @ columns.T


def _cells(n: int, n_cells: int, like: torch.Tensor) -> torch.Tensor:
    """(n_cells, n): each row the weights of one mean."""
    cell = torch.arange(n_cells, device=like.device)[:, None]
    place = torch.arange(n, device=like.device)[None]
    inside = (place >= cell * n // n_cells) & (place < ((cell + 1) * n + n_cells - 1) // n_cells)
    weights = inside.to(like.dtype)
    return weights / weights.sum(dim=1, keepdim=True)


class _PooledBlock(nn.Module):
    """PSPNet's block, pooling in the same way whether it is exported or not."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.pool = block.pool

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.pool(maps), size=maps.shape[2:], mode="bilinear", align_corners=True)


class _PyramidAttention(nn.Module):
    """PAN's block, for maps of 1 × 1 cell and more: the library's halves them to nothing below 8 × 8."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.branch1, self.mid = block.branch1, block.mid
        self.down1, self.down2, self.down3 = block.down1, block.down2, block.down3
        self.conv2, self.conv1 = block.conv2, block.conv1
        for down in (self.down1, self.down2, self.down3):
            # As ceil_mode does, which OpenVINO does not take for maps smaller than the kernel.
            down[0] = nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 2))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        first = self.down1(maps)
        second = self.down2(first)
        third = self.down3(second)
        found = self.conv2(second) + _resize(third, second)
        found = self.conv1(first) + _resize(found, first)
        return _resize(found, maps) * self.mid(maps) + _resize(self.branch1(maps), maps)


def _resize(maps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=True)
