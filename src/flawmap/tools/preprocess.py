"""One resize, used when embedding, training, exporting and inspecting, so that all see the same pixels.

The whole tile is kept: no centre crop, because a crack may touch only the edge. What is not square is padded
to the input's shape by repeating its mean colour, never stretched. Normalisation happens inside the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from flawmap.records import Preprocessing

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def check_image(image: np.ndarray) -> np.ndarray:
    """The image itself. Raises ValueError unless it is (H, W, 3) uint8 RGB."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"need (H, W, 3) uint8 RGB; got {image!r}. Load it with flawmap.read_image().")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"need (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}. Load it with flawmap.read_image()."
        )
    return image


def fit_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """(H, W, 3) uint8 RGB of any size → (h, w, 3) uint8 of the network's input size."""
    check_image(image)
    target_h, target_w = preprocessing.input_hw
    height, width = image.shape[:2]
    scale = min(target_h / height, target_w / width)
    fitted_h, fitted_w = max(1, round(height * scale)), max(1, round(width * scale))
    if (fitted_h, fitted_w) != (height, width):
        resized = Image.fromarray(image).resize(
            (fitted_w, fitted_h), _RESAMPLING[preprocessing.interpolation], reducing_gap=3.0
        )
        image = np.asarray(resized)
    if (fitted_h, fitted_w) == (target_h, target_w):
        return np.ascontiguousarray(image)
    canvas = np.empty((target_h, target_w, 3), np.uint8)
    canvas[:] = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    top, left = (target_h - fitted_h) // 2, (target_w - fitted_w) // 2
    canvas[top : top + fitted_h, left : left + fitted_w] = image
    return canvas


def to_batch(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images (h, w, 3) uint8 of one size → (n, 3, h, w) float32 in 0..255: the model file's input."""
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
