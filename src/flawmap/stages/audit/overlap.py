"""Photos that show a common piece of surface: crops of one photo whose areas overlap.

Two such crops are the same pixels, shifted. Phase correlation (Kuglin and Hines, 1975) finds the shift: the
spectra are whitened, so that the correlation of unrelated photos is plain noise and the highest of its 16,384
values follows a Gumbel law. The law's two parameters are measured on random pairs of the same folder, so that
the limit above which a shift is looked into fits the surfaces at hand. A shift is believed when most small
blocks of the common area agree: grooves or scratches that happen to line up leave the blocks between them
without agreement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from flawmap.records import Progress, no_progress
from flawmap.stages.audit.pictures import DETAIL_PX, Pictures

_N_RANDOM_PAIRS = 1500
_SHARE_LOOKED_INTO = 0.003
"""Share of unrelated pairs whose best shift is looked into."""
_BLOCK_PX = 8
_MIN_BLOCKS = 16
_MIN_AGREEMENT = 0.4
"""Median correlation of the blocks: unrelated photos give 0 ± 0.05, crops of one photo 0.6 to 0.9."""
_STRIPE_BANDS = 2
"""Frequencies along each axis left out: straight edges and grooves line up at a shift in any two photos."""
_BLOCK = 256


@dataclass(frozen=True)
class Overlaps:
    """`pairs` (m, 2) of rows with a common area; `shifts` (m, 2) in canvas pixels; see `agreement`."""

    pairs: np.ndarray
    shifts: np.ndarray
    agreements: np.ndarray
    limit: float
    """Height of the correlation from which shifts were looked into, in standard deviations."""


def find_overlaps(
    pictures: Pictures, candidates: np.ndarray, rng: np.random.Generator, progress: Progress = no_progress
) -> Overlaps:
    """Which of the `candidates` (m, 2) overlap."""
    phases = _phases(pictures)
    limit = _limit(phases, len(pictures.sizes), rng)
    peaks, shifts = _peaks(phases, candidates, progress)
    agreements = np.zeros(len(candidates))
    for k in np.flatnonzero(peaks > limit):
        agreements[k] = agreement(pictures, candidates[k], shifts[k])
    found = agreements > _MIN_AGREEMENT
    return Overlaps(candidates[found], shifts[found], agreements[found], limit)


def agreement(pictures: Pictures, pair: np.ndarray, shift: np.ndarray) -> float:
    """Median correlation of the `_BLOCK_PX` blocks that two photos have in common at a shift.

    The transform wraps round, so each coordinate of a shift stands for two; the better of the four counts.
    """
    first, second = pair
    best = 0.0
    for down in {shift[0], shift[0] - DETAIL_PX if shift[0] > 0 else shift[0] + DETAIL_PX}:
        for right in {shift[1], shift[1] - DETAIL_PX if shift[1] > 0 else shift[1] + DETAIL_PX}:
            top, left = max(0, -down), max(0, -right)
            height = min(pictures.sizes[second, 0], pictures.sizes[first, 0] - down) - top
            width = min(pictures.sizes[second, 1], pictures.sizes[first, 1] - right) - left
            rows, columns = max(height, 0) // _BLOCK_PX, max(width, 0) // _BLOCK_PX
            if rows * columns < _MIN_BLOCKS:
                continue
            a = _blocks(pictures.details[first, top + down :, left + right :], rows, columns)
            b = _blocks(pictures.details[second, top:, left:], rows, columns)
            norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)) + 1.0
            best = max(best, float(np.median((a * b).sum(axis=1) / norm)))
    return best


def _blocks(detail: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(rows · columns, _BLOCK_PX²) float32: the blocks from the top left corner, each less its mean.

    The means of whole rows and columns go first: grooves along the sides agree in any two photos.
    """
    area = detail[: rows * _BLOCK_PX, : columns * _BLOCK_PX].astype(np.float32)
    area -= area.mean(axis=0, keepdims=True)
    area -= area.mean(axis=1, keepdims=True)
    blocks = area.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).transpose(0, 2, 1, 3)
    blocks = blocks.reshape(rows * columns, -1)
    return blocks - blocks.mean(axis=1, keepdims=True)


def _phases(pictures: Pictures) -> np.ndarray:
    """(n, DETAIL_PX, DETAIL_PX // 2 + 1) uint8: each frequency's phase in 256ths of a turn.

    What all photos have in common (the frame, a fixed pattern of the camera) is subtracted first.
    """
    n = len(pictures.details)
    phases = np.empty((n, DETAIL_PX, DETAIL_PX // 2 + 1), np.uint8)
    common = np.zeros(phases.shape[1:], np.complex64)
    for start in range(0, n, _BLOCK):
        common += _whitened(pictures.details[start : start + _BLOCK]).sum(axis=0)
    common /= max(n, 1)
    for start in range(0, n, _BLOCK):
        spectra = _whitened(pictures.details[start : start + _BLOCK]) - common
        turns = np.angle(spectra) / (2 * np.pi)
        phases[start : start + _BLOCK] = np.rint(turns * 256).astype(np.int64) % 256
    return phases


def _whitened(details: np.ndarray) -> np.ndarray:
    import scipy.fft

    spectra: Any = scipy.fft.rfft2(details.astype(np.float32), axes=(1, 2), workers=2)
    size = np.abs(spectra)
    return (spectra / np.maximum(size, 1e-6 * size.max(axis=(1, 2), keepdims=True) + 1e-12)).astype(
        np.complex64
    )


def _peaks(
    phases: np.ndarray, pairs: np.ndarray, progress: Progress = no_progress
) -> tuple[np.ndarray, np.ndarray]:
    """Each pair's highest correlation in standard deviations, and the shift where it stands."""
    import scipy.fft

    turn = np.exp(2j * np.pi * np.arange(256) / 256).astype(np.complex64)
    peaks, shifts = np.empty(len(pairs), np.float32), np.empty((len(pairs), 2), np.int64)
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        cross = turn[phases[block[:, 0]] - phases[block[:, 1]]]
        cross[:, :_STRIPE_BANDS] = 0
        cross[:, 1 - _STRIPE_BANDS :] = 0
        cross[:, :, :_STRIPE_BANDS] = 0
        surface: Any = scipy.fft.irfft2(cross, s=(DETAIL_PX, DETAIL_PX), axes=(1, 2), workers=2)
        surface = surface.reshape(len(block), -1)
        place = surface.argmax(axis=1)
        stop = start + len(block)
        peaks[start:stop] = surface[np.arange(len(block)), place] / surface.std(axis=1)
        shifts[start:stop] = np.stack(np.divmod(place, DETAIL_PX), axis=1)
        progress("audit: looking for overlaps, pairs of photos", stop, len(pairs))
    return peaks, (shifts + DETAIL_PX // 2) % DETAIL_PX - DETAIL_PX // 2


def _limit(phases: np.ndarray, n: int, rng: np.random.Generator) -> float:
    """The height that a `_SHARE_LOOKED_INTO` of unrelated pairs passes.

    Gumbel's law through the median and the upper quartile of random pairs: quantiles that the few random
    pairs which do overlap cannot move.
    """
    if n < 2:
        return math.inf
    pairs = rng.integers(0, n, (_N_RANDOM_PAIRS, 2))
    heights, _ = _peaks(phases, pairs[pairs[:, 0] != pairs[:, 1]])
    middle, upper = np.quantile(heights, [0.5, 0.75])
    scale = (upper - middle) / (_gumbel(0.75) - _gumbel(0.5))
    return float(middle + scale * (_gumbel(1 - _SHARE_LOOKED_INTO) - _gumbel(0.5)))


def _gumbel(share: float) -> float:
    return float(-np.log(-np.log(share)))
