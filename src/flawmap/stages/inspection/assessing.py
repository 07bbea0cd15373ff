"""Whether a photo can be judged at all: what cannot is "not assessable", never "clean"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawmap.records import FindingSpec
from flawmap.tools.sharpness import sharpness
from flawmap.tools.tiles import lay_starts

DARK, BRIGHT = 20.0, 245.0
"""Mean grey level of a part of a photo in which nothing can be seen."""
BLURRED_BY = 0.5
"""How much less sharp than nearly every training tile a photo may be, in powers of two of the variance."""
MOST_PARTS = 64
MOST_FOREIGN = 0.5
"""Of a photo: where more is unlike the training photos and nothing is found, it is not clean."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a photo, as large as a training tile or smaller."""

    image: np.ndarray
    """(h, w, 3) uint8."""
    inside: np.ndarray | None = None
    """(h, w) bool: what is of interest; None: all."""

    @property
    def grey(self) -> float:
        """The mean level of what is of interest."""
        return float((self.image if self.inside is None else self.image[self.inside]).mean())


def why_not_assessable(parts: Sequence[Part], least: FindingSpec) -> str:
    """What cut_parts() gives → the reason, or "".

    Half of the parts decide, so that neither a dark corner nor a blurred background makes a photo useless.
    """
    greys = [part.grey for part in parts]
    middle = float(np.median(greys))
    if middle < DARK:
        return f"too dark: half of it is at grey level {middle:.0f} or below, of 255"
    if middle > BRIGHT:
        return f"overexposed: half of it is at grey level {middle:.0f} or above, of 255"
    if least.least_sharpness is None:
        return ""
    found = float(np.median([sharpness(part.image) for part in parts]))
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


def cut_parts(image: np.ndarray, tile_hw: tuple[int, int], inside: np.ndarray | None = None) -> list[Part]:
    """At most MOST_PARTS parts of a tile's size, evenly spread over the photo, or over the box around what is
    of interest, (H, W) bool; a smaller one is one part. Those over the box hold at least half as much of what
    is of interest as the fullest of them.
    """
    if inside is None or not inside.any():
        return _spread([Part(image[cut]) for cut in _lay_cuts(image.shape[:2], tile_hw)])
    (top, bottom), (left, right) = (np.flatnonzero(inside.any(axis=axis))[[0, -1]] for axis in (1, 0))
    box = slice(top, bottom + 1), slice(left, right + 1)
    image, inside = image[box], inside[box]
    cuts = [(np.count_nonzero(inside[cut]), cut) for cut in _lay_cuts(inside.shape, tile_hw)]
    most, _ = max(cuts, key=lambda one: one[0])
    return _spread([Part(image[cut], inside[cut]) for n, cut in cuts if 2 * n >= most])


def _lay_cuts(size_hw: tuple[int, ...], tile_hw: tuple[int, int]) -> list[tuple[slice, slice]]:
    tops, lefts = (lay_starts(side, tile) for side, tile in zip(size_hw, tile_hw, strict=True))
    return [(slice(top, top + tile_hw[0]), slice(left, left + tile_hw[1])) for top in tops for left in lefts]


def _spread(parts: Sequence[Part]) -> list[Part]:
    n = min(len(parts), MOST_PARTS)
    return [parts[len(parts) * i // n] for i in range(n)]
