"""Augmentation of a whole batch at once: flips, and one 3×4 colour matrix per photo.

Brightness, contrast, saturation and hue are affine maps of RGB, so one photo's four changes are a single
matrix and a batch is a single multiplication. Nothing is zoomed, shifted or cropped for a classifier, because
a crack may touch only the edge of a tile; where masks move along, `warp` turns and zooms.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from flawmap.errors import OptionError
from flawmap.stages.train.options import AugmentOptions

GREY = (0.2989, 0.587, 0.114)
"""Weights of R, G, B in grey (ITU-R BT.601), as torchvision takes them."""

_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def augment(images: torch.Tensor, options: AugmentOptions, generator: torch.Generator) -> torch.Tensor:
    """(n, h, w, 3) uint8 → (n, 3, h, w) float32 in 0..255, stored channels-last.

    `generator` is a CPU generator: the draws are the same on every device.
    """
    return recolour(turn_and_flip(images, options, generator), options, generator)


def recolour(images: torch.Tensor, options: AugmentOptions, generator: torch.Generator) -> torch.Tensor:
    """The colours' part of `augment`."""
    values = images.to(torch.float32)
    n, height, width, _ = values.shape
    changes = draw_changes(n, options, generator)
    mean_grey = values.mean(dim=(1, 2)) @ torch.tensor(GREY, device=values.device)
    matrix = to_colour_matrix(changes.to(values.device), mean_grey)
    pixels = torch.baddbmm(
        matrix[:, None, :, 3], values.reshape(n, height * width, 3), matrix[:, :, :3].transpose(1, 2)
    )
    return pixels.clamp_(0, 255).reshape(n, height, width, 3).permute(0, 3, 1, 2)


def to_network_input(images: torch.Tensor) -> torch.Tensor:
    """(n, h, w, 3) uint8 → (n, 3, h, w) float32 in 0..255, stored channels-last, unchanged."""
    return images.to(torch.float32).permute(0, 3, 1, 2)


def draw_changes(n: int, options: AugmentOptions, generator: torch.Generator) -> torch.Tensor:
    """(n, 4) float32: brightness, contrast and saturation factors, and the hue's angle in radians."""
    spread = torch.tensor(
        [options.brightness, options.contrast, options.saturation, options.hue * 2 * math.pi]
    )
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0])
    return centre + spread * (2 * torch.rand(n, 4, generator=generator) - 1)


def to_colour_matrix(changes: torch.Tensor, mean_grey: torch.Tensor) -> torch.Tensor:
    """(n, 4) changes and (n,) mean grey of each photo → (n, 3, 4) matrix for columns (R, G, B, 1).

    In order: brightness (times b), contrast (blend with the mean grey), saturation (blend with each pixel's
    grey), as torchvision defines them, and hue as a turn of the colour plane of YIQ, which keeps the grey.
    Values are clipped once, by the caller, not after each step.
    """
    brightness, contrast, saturation, angle = changes.unbind(dim=1)
    identity = torch.eye(3, device=changes.device)
    to_grey = torch.tensor(GREY, device=changes.device).expand(3, 3)
    weight = saturation[:, None, None]
    saturate = weight * identity + (1 - weight) * to_grey
    linear = _turn_hue(angle) @ saturate
    matrix = linear * (brightness * contrast)[:, None, None]
    grey_kept = linear.sum(dim=2)
    offset = grey_kept * ((1 - contrast) * brightness * mean_grey)[:, None]
    return torch.cat([matrix, offset[:, :, None]], dim=2)


def _turn_hue(angle: torch.Tensor) -> torch.Tensor:
    """(n,) angles → (n, 3, 3): RGB → YIQ, turn (I, Q), and back."""
    to_yiq = torch.tensor(_RGB_TO_YIQ, dtype=torch.float64)
    from_yiq = torch.linalg.inv(to_yiq)
    cosine, sine = angle.double().cos().cpu(), angle.double().sin().cpu()
    turn = torch.zeros(len(angle), 3, 3, dtype=torch.float64)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = cosine
    turn[:, 1, 2], turn[:, 2, 1] = -sine, sine
    return (from_yiq @ turn @ to_yiq).to(angle.device, torch.float32)


def turn_and_flip(images: torch.Tensor, options: AugmentOptions, generator: torch.Generator) -> torch.Tensor:
    """(n, h, w, c) flipped and turned; the count of draws is the same whatever the options are."""
    n = len(images)
    left_right, up_down = (torch.rand(2, n, generator=generator) < 0.5).to(images.device)
    quarters = torch.randint(0, 4, (n,), generator=generator).to(images.device)
    result = images.clone()
    if options.flip_left_right:
        result[left_right] = result[left_right].flip(2)
    if options.flip_up_down:
        result[up_down] = result[up_down].flip(1)
    if options.turns:
        if images.shape[1] != images.shape[2]:
            raise OptionError(f"turns need a square input; this backbone takes {tuple(images.shape[1:3])}")
        for quarter in (1, 2, 3):
            chosen = quarters == quarter
            result[chosen] = result[chosen].rot90(quarter, dims=(1, 2))
    return result


def warp(images: torch.Tensor, zoom: float, rotate_deg: float, generator: torch.Generator) -> torch.Tensor:
    """(n, h, w, c) → the same shape in float32, each turned by up to ± rotate_deg about its middle and made
    larger or smaller by a factor of up to 1 + zoom; what comes into view at the border is mirrored."""
    n, height, width, _ = images.shape
    angle, growth = 2 * torch.rand(2, n, generator=generator) - 1
    scale = torch.exp(-growth * math.log1p(zoom))
    cosine, sine = (scale * f(angle * math.radians(rotate_deg)) for f in (torch.cos, torch.sin))
    maps = torch.zeros(n, 2, 3)
    maps[:, 0, 0] = maps[:, 1, 1] = cosine
    maps[:, 0, 1], maps[:, 1, 0] = -sine * height / width, sine * width / height
    grid = F.affine_grid(maps.to(images.device), [n, 1, height, width], align_corners=False)
    values = images.permute(0, 3, 1, 2).to(torch.float32)
    seen = F.grid_sample(values, grid, padding_mode="reflection", align_corners=False)
    return seen.permute(0, 2, 3, 1)
