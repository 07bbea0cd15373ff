"""Masks drawn over photos, in colours that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from flawmap.stages.report.facts import MaskPicture

RIGHT, MISSED, FALSE, WRONG_KIND = "#56b4e9", "#d55e00", "#f0e442", "#cc79a7"
"""After Okabe and Ito (Color Universal Design, 2002): they differ in lightness too."""
_OUTLINE = "#f0e442"
_LABELS = ("#e69f00", "#2bc48a", "#8aa8ff", "#ffffff", "#b07cff", "#a6761d")
_DIM = 0.5
"""What is left of the photo's light under masks."""


def label_colours(n_labels: int) -> list[str]:
    """One colour a label; a single label is white."""
    return ["#ffffff"] if n_labels == 1 else [_LABELS[i % len(_LABELS)] for i in range(n_labels)]


def draw_panels(picture: MaskPicture, side_px: int) -> dict[str, np.ndarray]:
    """The difference of the masks, the photo, its true masks and the found ones, (h, w, 3) uint8, none larger
    than `side_px`; the difference is twice as large, so that compression does not mix its colours."""
    from scipy.ndimage import gaussian_filter

    photo = shrink(picture.image, side_px)
    dark = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2) * _DIM
    calm = gaussian_filter(dark, (1, 1, 0))  # without the surface's grain, most of the file would be grain
    colours = label_colours(len(picture.truth))
    differences = to_differences(picture.truth, picture.found)
    difference = _paint(calm, differences, (RIGHT, MISSED, FALSE, WRONG_KIND))
    return {
        "difference": difference.repeat(2, axis=0).repeat(2, axis=1),
        "photo": photo,
        "truth": _paint(calm, picture.truth, colours),
        "found": _paint(calm, picture.found, colours),
    }


def to_differences(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(n_labels, H, W) bool, twice → (4, H, W) bool: right, missed, false alarm, found as another kind."""
    is_true, is_found = truth.any(axis=0), found.any(axis=0)
    same = (truth == found).all(axis=0)
    both = is_true & is_found
    return np.stack([both & same, is_true & ~is_found, is_found & ~is_true, both & ~same])


def draw_outline(image: np.ndarray, mask: np.ndarray, side_px: int) -> np.ndarray:
    """The photo, no larger than `side_px`, with a line around the flaw that leaves the flaw itself bare."""
    from scipy.ndimage import binary_dilation

    photo = shrink(image, side_px).astype(np.float64)
    small = _coverage(mask, (photo.shape[0], photo.shape[1])) > 0
    if not small.any():
        return photo.astype(np.uint8)
    square = np.ones((3, 3))
    rings = [np.asarray(binary_dilation(small, square, iterations=n), bool) for n in (1, 3, 4)]
    photo[rings[1] & ~rings[0]] = _rgb(_OUTLINE)
    photo[rings[2] & ~rings[1]] *= 0.3
    return photo.round().astype(np.uint8)


def shrink(image: np.ndarray, side_px: int) -> np.ndarray:
    """(H, W, 3) uint8, at most `side_px` on its longer side."""
    scale = side_px / max(image.shape[:2])
    if scale >= 1:
        return np.asarray(image, np.uint8)
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    source = Image.fromarray(np.ascontiguousarray(image, np.uint8))
    return np.asarray(source.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0))


def _coverage(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool → (h, w) float 0..1: the share of each pixel that is marked."""
    source = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(source.resize((size_hw[1], size_hw[0]), Image.Resampling.BOX), np.float64) / 255


def _paint(base: np.ndarray, masks: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """Masks over a photo, the one that covers most in front; thin ones stay visible where they shrink."""
    covers = np.stack([_coverage(mask, (base.shape[0], base.shape[1])) for mask in masks])
    alpha = np.clip(2 * covers.sum(axis=0), 0, 1)[..., None]
    colour = np.array([_rgb(colour) for colour in colours])[covers.argmax(axis=0)]
    return (base * (1 - alpha) + colour * alpha).round().astype(np.uint8)


def _rgb(colour: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8).astype(np.float64)
