"""Whether a photo can be judged at all: what cannot is "not assessable", never "clean"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flawmap.records import FindingSpec
from flawmap.tools.sharpness import sharpness

DARK, BRIGHT = 20.0, 245.0
"""Mean grey level of a part of a photo in which nothing can be seen."""
BLURRED_BY = 0.5
"""How much less sharp than nearly every training tile a photo may be, in powers of two of the variance."""
MOST_PARTS = 64
MOST_FOREIGN = 0.5
"""Of a photo: where more is unlike the training photos and nothing is found, it is not clean."""


def why_not_assessable(parts: Sequence[np.ndarray], least: FindingSpec) -> str:
    """(h, w, 3) uint8 parts of a photo, as large as training tiles → the reason, or "".

    Half of the parts decide, so that neither a dark corner nor a blurred background makes a photo useless.
    """
    greys = [float(part.mean()) for part in parts]
    middle = float(np.median(greys))
    if middle < DARK:
        return f"too dark: half of it is at grey level {middle:.0f} or below, of 255"
    if middle > BRIGHT:
        return f"overexposed: half of it is at grey level {middle:.0f} or above, of 255"
    if least.least_sharpness is None:
        return ""
    found = float(np.median([sharpness(part) for part in parts]))
    if found < least.least_sharpness - BLURRED_BY:
        return (
            f"too blurred or enlarged: its sharpness is {found:.1f}, of nearly all photos that the model "
            f"was trained on it is {least.least_sharpness:.1f} or more"
        )
    return ""


def why_not_clean(share_foreign: float | None, remoteness: float | None, least: FindingSpec) -> str:
    """Why a photo without findings is not clean, or "".

    Findings need no such reason: flaws are seen on foreign surfaces and from afar too; only silence says
    nothing there. `share_foreign` and `remoteness` are None where the model cannot tell.
    """
    if remoteness is not None and least.most_remoteness is not None and remoteness > least.most_remoteness:
        return (
            "too distant: it looks like the surfaces that the model was trained on from several times as far "
            "away, where flaws are too small to be seen; go nearer, or look yourself"
        )
    if share_foreign is not None and share_foreign > MOST_FOREIGN:
        return (
            f"{share_foreign:.0%} of it is unlike the photos that the model was trained on, so that finding "
            "nothing says nothing; look yourself, or train on such photos"
        )
    return ""


def cut_parts(image: np.ndarray, tile_hw: tuple[int, int]) -> list[np.ndarray]:
    """At most MOST_PARTS parts of a tile's size, evenly spread; a smaller photo is one part."""
    height, width = (max(1, side // tile) for side, tile in zip(image.shape[:2], tile_hw, strict=True))
    n = height * width
    chosen = [n * i // min(n, MOST_PARTS) for i in range(min(n, MOST_PARTS))]
    (tile_h, tile_w) = tile_hw
    return [image[i // width * tile_h :, i % width * tile_w :][:tile_h, :tile_w] for i in chosen]
