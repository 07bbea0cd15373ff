"""The same photo more than once: same bytes, or the picture re-encoded, resized, brightened or turned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from flawmap.records import Dataset, Progress, no_progress
from flawmap.stages.audit.pictures import SQUARE_PX, Pictures

_N_SKETCH = 128
"""Length of the random projections in which candidates are sought; correlations there are off by 0.09."""
_SKETCH_LIMIT = 0.45
_BLOCK = 1024
_BLOCK_PX = 8
_MIN_ALIKE, _MIN_AGREEMENT = 0.7, 0.45
"""Correlation of the detail over the whole square, and its median over small blocks.

Copies stay above these down to JPEG quality 30 or half the width; other photos of one texture give 0, and
crops that overlap by nine tenths are shifted by six pixels, which leaves no agreement."""
_MIN_CONTRAST = 1.0
"""Grey levels; flatter photos have no detail to compare."""


def exact_duplicates(digests: Sequence[str]) -> list[list[int]]:
    """Rows with the same bytes, two or more each."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    return [same for same in rows.values() if len(same) > 1]


def near_duplicates(
    pictures: Pictures, digests: Sequence[str], progress: Progress = no_progress
) -> np.ndarray:
    """(m, 2) int64: pairs of different files that show one picture, also mirrored or turned by quarters."""
    details = _square_details(pictures.squares)
    is_rough = np.flatnonzero(np.abs(details).sum(axis=(1, 2)) > 0)
    found = []
    for pair, turned in _alike(details, is_rough, progress):
        if digests[pair[0]] != digests[pair[1]] and _is_copy(
            details[pair[0]], _turn(details[pair[1]], turned)
        ):
            found.append(pair)
    return np.unique(np.array(found, np.int64).reshape(-1, 2), axis=0)


def leaks(dataset: Dataset, copies: np.ndarray) -> list[tuple[int, int]]:
    """Copies that stand in two given parts."""
    parts = dataset.parts
    return [
        (int(a), int(b))
        for a, b in copies
        if parts[a] is not None and parts[b] is not None and parts[a] != parts[b]
    ]


def shared_groups(dataset: Dataset, groups: Sequence[str], leaked: Sequence[tuple[int, int]]) -> list[str]:
    """Groups in several given parts, without the training photos of `leaked`, which are to be left out."""
    left_out = {row for pair in leaked for row in pair if dataset.parts[row] == "train"}
    parts_of: dict[str, set[str]] = defaultdict(set)
    for row, (part, group) in enumerate(zip(dataset.parts, groups, strict=True)):
        if part is not None and row not in left_out:
            parts_of[group].add(part)
    return sorted(group for group, parts in parts_of.items() if len(parts) > 1)


def all_pairs(sets: Sequence[Sequence[int]]) -> np.ndarray:
    """(m, 2) int64: every pair within each set."""
    pairs = [(a, b) for rows in sets for i, a in enumerate(rows) for b in rows[i + 1 :]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _square_details(squares: np.ndarray) -> np.ndarray:
    """(n, side, side) float32: squares without their smooth part, of unit length; zero where flat."""
    from scipy.ndimage import uniform_filter1d

    out = np.empty(squares.shape, np.float32)
    for start in range(0, len(squares), _BLOCK):
        grey = squares[start : start + _BLOCK].astype(np.float32)
        smooth = grey
        for axis in (1, 2, 1, 2):
            smooth = uniform_filter1d(smooth, 7, axis=axis, mode="nearest")
        rough = grey - smooth
        spread = rough.std(axis=(1, 2), keepdims=True)
        rough = np.clip(rough, -4 * spread, 4 * spread)
        rough -= rough.mean(axis=2, keepdims=True)  # frames, grooves and rolling marks lie along the sides
        rough -= rough.mean(axis=1, keepdims=True)
        length = np.sqrt((rough * rough).sum(axis=(1, 2), keepdims=True))
        out[start : start + _BLOCK] = np.where(spread > _MIN_CONTRAST, rough / np.maximum(length, 1e-6), 0)
    return out


def _turn(detail: np.ndarray, turned: int) -> np.ndarray:
    """One of the eight ways to lay a square (last two axes): quarter turns, mirrored from 4 on."""
    laid = np.rot90(detail, turned % 4, axes=(-2, -1))
    return laid[..., ::-1] if turned >= 4 else laid


def _alike(details: np.ndarray, rows: np.ndarray, progress: Progress) -> list[tuple[tuple[int, int], int]]:
    """Candidates ((row, other row), how the other is turned), by the correlation of random sketches."""
    rng = np.random.default_rng(0)
    flat = rng.standard_normal((SQUARE_PX * SQUARE_PX, _N_SKETCH)).astype(np.float32) / np.sqrt(_N_SKETCH)
    upright = _sketch(details, rows, flat, 0)
    found = []
    for turned in range(8):
        other = upright if turned == 0 else _sketch(details, rows, flat, turned)
        for start in range(0, len(rows), _BLOCK):
            a, b = np.nonzero(upright[start : start + _BLOCK] @ other.T > _SKETCH_LIMIT)
            a += start
            found += [((int(rows[i]), int(rows[j])), turned) for i, j in zip(a[a < b], b[a < b], strict=True)]
        progress("audit: comparing photos, orientations", turned + 1, 8)
    return found


def _sketch(details: np.ndarray, rows: np.ndarray, flat: np.ndarray, turned: int) -> np.ndarray:
    out = np.empty((len(rows), flat.shape[1]), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = _turn(details[rows[start : start + _BLOCK]], turned)
        out[start : start + _BLOCK] = block.reshape(len(block), -1) @ flat
    return out


def _is_copy(first: np.ndarray, second: np.ndarray) -> bool:
    if float((first * second).sum()) < _MIN_ALIKE:
        return False
    a, b = _blocks(first), _blocks(second)
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)) + 1e-9
    return float(np.median((a * b).sum(axis=1) / norm)) > _MIN_AGREEMENT


def _blocks(square: np.ndarray) -> np.ndarray:
    n = SQUARE_PX // _BLOCK_PX
    blocks = square.reshape(n, _BLOCK_PX, n, _BLOCK_PX).transpose(0, 2, 1, 3).reshape(n * n, -1)
    return blocks - blocks.mean(axis=1, keepdims=True)
