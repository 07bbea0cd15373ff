"""Cracks drawn at known width: anti-aliased, blurred, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage


def draw_crack(
    width_px: float,
    angle_deg: float = 20.0,
    *,
    blur_px: float = 0.8,
    noise: float = 4.0,
    sagitta_px: float = 0.0,
    dark: float = 40.0,
    length_px: float = 150.0,
) -> tuple[np.ndarray, np.ndarray]:
    """(mask, grey): a crack through the middle, straight and rising by `angle_deg`, or an arc."""
    angle, size_px = np.radians(angle_deg), 200
    rows, columns = np.mgrid[0:size_px, 0:size_px] - (size_px - 1) / 2
    along = columns * np.cos(angle) - rows * np.sin(angle)
    across = columns * np.sin(angle) + rows * np.cos(angle)
    if sagitta_px:
        radius = (length_px / 2) ** 2 / (2 * sagitta_px) + sagitta_px / 2
        across = np.hypot(along, across + radius) - radius
    ends = np.clip(length_px / 2 - np.abs(along) + 0.5, 0, 1)
    share = np.clip(width_px / 2 - np.abs(across) + 0.5, 0, min(1, width_px)) * ends
    grey = ndimage.gaussian_filter(170 + (dark - 170) * share, blur_px)
    grey += np.random.default_rng(0).normal(0, noise, grey.shape)
    return share >= 0.5, np.clip(np.round(grey), 0, 255).astype(np.float32)


def draw_profiles(widths_px: list[float], blur_px: float = 0.8, noise: float = 1.0) -> np.ndarray:
    """(n, 33) grey values across a crack of grey 30 in a surface of 160, its middle between two samples."""
    from scipy.special import erf

    rng, at = np.random.default_rng(1), np.arange(33) - 16.0
    rows = []
    for width in widths_px:
        middle = at - rng.uniform(-0.5, 0.5)
        first, last = (erf((middle + side * width / 2) / blur_px / 2**0.5) for side in (1, -1))
        rows.append(160 - 65 * (first - last) + rng.normal(0, noise, at.size))
    return np.array(rows)


def write_grey(path: Path, pixels: np.ndarray) -> Path:
    """A mask (bool) or grey values as a PNG."""
    from PIL import Image

    Image.fromarray(pixels.astype(np.uint8) * (255 if pixels.dtype == np.bool_ else 1)).save(path)
    return path
