"""One resize, used when embedding, training, exporting and inspecting, so that all see the same pixels.

The whole tile is kept: no centre crop, because a crack may touch only the edge. What is not square is padded
to the input's shape by repeating its mean colour, never stretched. Normalisation happens inside the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

from flawmap.errors import OptionError
from flawmap.records import Preprocessing
from flawmap.tools.plain import describe_value, is_several

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def check_image(image: np.ndarray) -> np.ndarray:
    """The image itself. Raises OptionError unless it is (H, W, 3) uint8 RGB with a pixel or more."""
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        got = describe_value(image)
        is_row = is_array and image.ndim < 3 and image.shape[-1:] == (3,)
        remedy = "It looks like a row of one: give [image]" if is_row else "Load it with flawmap.read_image()"
        raise OptionError(f"wanted an image (H, W, 3) uint8 RGB; got {got}. {remedy}.")
    return image


def check_images(images: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """The images themselves, none of them looked at. Raises OptionError for one alone, and for file names."""
    is_array = isinstance(images, np.ndarray)
    if is_array and images.ndim == 3:
        raise OptionError(f"wanted a list of images; got one, {images.shape}. Give [image].")
    if not is_several(images) or (is_array and images.ndim != 4):
        got = describe_value(images)
        raise OptionError(
            f"wanted a list of images, each (H, W, 3) uint8 RGB; got {got}. Give [flawmap.read_image(path)]."
        )
    return images


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


def resize_rows(
    read: Callable[[int, int], np.ndarray],
    size_hw: tuple[int, ...],
    target_hw: tuple[int, ...],
    rows: tuple[int, int],
    interpolation: str,
) -> np.ndarray:
    """Rows first to last of a photo of `size_hw` resized to `target_hw`, from the rows that they depend on.

    `read(top, bottom)` → (h, W, 3) uint8 of the photo.
    """
    first, last = rows
    if tuple(size_hw) == tuple(target_hw):
        return read(first, last)
    per_row = size_hw[0] / target_hw[0]
    reach = 2 * max(per_row, 1.0) + 1  # half the support of the bicubic kernel, the widest one used
    top = max(0, math.floor(first * per_row - reach))
    bottom = min(size_hw[0], math.ceil(last * per_row + reach))
    box = (0.0, first * per_row - top, float(size_hw[1]), min(last * per_row, size_hw[0]) - top)
    resized = Image.fromarray(np.ascontiguousarray(read(top, bottom))).resize(
        (target_hw[1], last - first), _RESAMPLING[interpolation], box=box
    )
    return np.asarray(resized)


def to_batch(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images (h, w, 3) uint8 of one size → (n, 3, h, w) float32 in 0..255: the model file's input."""
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
