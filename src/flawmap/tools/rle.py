"""Masks as runs: numbers, Severstal's text and COCO's counts, all exact.

Runs are (n, 2) int64 of (start, length); pixels are numbered from 1, down the columns and then rightwards.
Severstal's text is these numbers, written out. COCO's counts run through the same pixels and say, in turn,
how many are not marked and how many are. Both may be written with runs that touch, which are joined here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from flawmap.errors import MaskError

NO_RUNS = np.zeros((0, 2), np.int64)
NO_RUNS.flags.writeable = False
_NUMBERS = re.compile(r"[0-9]{1,15}(\s+[0-9]{1,15})*", re.ASCII)


def encode(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool → runs."""
    return _encode_line(mask.ravel(order="F"))


def encode_crop(mask: np.ndarray, corner: tuple[int, int], height: int) -> np.ndarray:
    """(h, w) bool of a crop → runs in a photo of this height; `corner` is the crop's first row and column."""
    foot = np.zeros(
        (1, mask.shape[1]), bool
    )  # ends each run with its column, as all columns are longer there
    runs = encode(np.concatenate([mask, foot]))
    columns, rows = np.divmod(runs[:, 0] - 1, len(mask) + 1)
    starts = (columns + corner[1]) * height + rows + corner[0] + 1
    return union([NO_RUNS, np.stack([starts, runs[:, 1]], axis=1)])


def decode(runs: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Runs → (H, W) bool; they have to fit, as those of a PhotoMask do."""
    height, width = size_hw
    steps = np.zeros(height * width + 1, np.int8)
    steps[runs[:, 0] - 1] += 1
    steps[runs.sum(axis=1) - 1] -= 1
    line = np.cumsum(steps[:-1], dtype=np.int8).astype(bool)
    return np.ascontiguousarray(line.reshape(width, height).T)


def decode_columns(runs: np.ndarray, height: int, first: int, last: int) -> np.ndarray:
    """What decode() gives in the columns from `first` to before `last`, at the cost of these alone."""
    begin, end = first * height + 1, last * height + 1
    touched = slice(np.searchsorted(runs.sum(axis=1), begin, "right"), np.searchsorted(runs[:, 0], end))
    starts = np.maximum(runs[touched, 0], begin)
    ends = np.minimum(runs[touched].sum(axis=1), end)
    return decode(np.stack([starts - begin + 1, ends - starts], axis=1), (height, last - first))


def parse_runs(text: str, size_hw: tuple[int, int]) -> np.ndarray:
    """Severstal's "start length start length" → runs; an empty text is none. Raises MaskError."""
    words = text.split()
    if not words:
        return NO_RUNS
    if not _NUMBERS.fullmatch(text.strip()):
        bad = next(word for word in words if not re.fullmatch(r"[0-9]{1,15}", word, re.ASCII))
        raise MaskError(
            f"'{bad[:40]}' in its runs; whole numbers (start length start length ...) were wanted"
        )
    if len(words) % 2:
        raise MaskError(f"{len(words)} numbers in its runs; pairs of start and length were wanted")
    return _checked(np.array(words, np.int64).reshape(-1, 2), size_hw)


def to_text(runs: np.ndarray) -> str:
    """Severstal's text; "" for no run."""
    return " ".join(map(str, runs.ravel().tolist()))


def union(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The runs of all pixels that lie in any of several runs."""
    if len(parts) == 1:
        return parts[0]
    together = np.concatenate([NO_RUNS, *parts])
    if not len(together):
        return NO_RUNS
    together = together[np.argsort(together[:, 0], kind="stable")]
    reached = np.maximum.accumulate(together.sum(axis=1))
    is_first = np.concatenate([[True], together[1:, 0] > reached[:-1]])
    starts = together[is_first, 0]
    ends = reached[np.concatenate([is_first[1:], [True]])]
    return np.stack([starts, ends - starts], axis=1)


def to_counts(runs: np.ndarray, size_hw: tuple[int, int]) -> list[int]:
    """COCO's uncompressed counts."""
    height, width = size_hw
    edges = np.concatenate(
        [[0], np.stack([runs[:, 0] - 1, runs.sum(axis=1) - 1], 1).ravel(), [height * width]]
    )
    counts = np.diff(edges).tolist()
    return counts[:-1] if counts[-1] == 0 and len(counts) > 1 else counts


def from_counts(counts: Sequence[int], size_hw: tuple[int, int]) -> np.ndarray:
    """COCO's uncompressed counts → runs. Raises MaskError."""
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        raise MaskError("its counts hold something else than whole numbers of 0 or more")
    height, width = size_hw
    if sum(counts) != height * width:
        raise MaskError(
            f"its counts add up to {sum(counts)}; {height} × {width} = {height * width} was wanted"
        )
    edges = np.concatenate([[0], np.cumsum(np.array(counts, np.int64))])
    starts, ends = edges[1:-1:2], edges[2::2]
    return union([NO_RUNS, np.stack([starts + 1, ends - starts], axis=1)[ends > starts]])


def unpack_counts(text: str) -> list[int]:
    """COCO's compressed counts → uncompressed. Raises MaskError.

    Each count is written in groups of five bits, lowest first, as characters from "0" (48) on; bit 32 says
    that more follow, and from the fourth count on it is the difference to the count two before (cocoapi,
    maskApi.c).
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise MaskError(f"'{character}' in its compressed counts; characters from '0' to 'o' were wanted")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise MaskError("its compressed counts end in the middle of a number")
    return counts


def _encode_line(line: np.ndarray) -> np.ndarray:
    padded = np.zeros(len(line) + 2, np.int8)
    padded[1:-1] = line
    edges = np.flatnonzero(np.diff(padded)).astype(np.int64)
    starts, ends = edges[::2], edges[1::2]
    return np.stack([starts + 1, ends - starts], axis=1)


def _checked(runs: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Runs that touch are joined; all else that a PhotoMask does not take is a MaskError."""
    n_pixels = size_hw[0] * size_hw[1]
    starts, ends = runs[:, 0], runs.sum(axis=1)
    wrong = (runs < 1).any(axis=1) | (ends - 1 > n_pixels)
    wrong[1:] |= starts[1:] < ends[:-1]
    if wrong.any():
        i = int(wrong.argmax())
        raise MaskError(f"run {i + 1} ({starts[i]} {runs[i, 1]}) {_what_is_wrong(runs, i, size_hw)}")
    return union([NO_RUNS, runs])


def _what_is_wrong(runs: np.ndarray, i: int, size_hw: tuple[int, int]) -> str:
    start, length = runs[i].tolist()
    if start < 1:
        return "starts before pixel 1"
    if length < 1:
        return "has the length 0"
    if start + length - 1 > size_hw[0] * size_hw[1]:
        n_pixels = size_hw[0] * size_hw[1]
        return f"ends at pixel {start + length - 1} of {n_pixels} ({size_hw[0]} high, {size_hw[1]} wide)"
    if start < runs[i - 1, 0]:
        return f"is out of order: the run before it starts at {runs[i - 1, 0]}"
    return f"overlaps the run before it ({runs[i - 1, 0]} {runs[i - 1, 1]})"
