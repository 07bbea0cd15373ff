"""A classifier's features over a whole photo of any size, in one convolutional pass.

The photo's rows stream through the network's segments (see `segments`): each keeps only the rows that it
still needs, and takes its map in pieces, so that memory is bounded by the photo's width. A piece at the
photo's border lies flush with it. So the result is that of the undivided photo, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from flawmap.tools.preprocess import to_batch
from flawmap.tools.runtime import DEFAULT_OPTIONS, RuntimeOptions, n_usable_cores, open_maps
from flawmap.tools.segments import Segment, split_network

MULTIPLE = 32
"""Sides of what is shown to a network: see tools.backbones.padding."""
PIECE_PX, LEAST_CELLS = 512, 128
"""Sides of a piece of the photo, and of a map: large enough for margins to cost little, small enough for a
processor's cache."""
WIDE_PX, LEAST_ROWS = 6144, 8
"""Of wider photos fewer rows are held at once, so that memory does not grow with the width."""
ReadRows = Callable[[int, int], np.ndarray]
"""read(top, bottom) → these rows; neither number ever becomes smaller."""


class DenseNetwork:
    """A model file's features for photos of any size. Safe to use from several threads."""

    def __init__(
        self, file: Path, options: RuntimeOptions = DEFAULT_OPTIONS, piece_px: int = PIECE_PX
    ) -> None:
        """Raises BundleError, MissingExtraError, and NotLocalError for a network that takes crops only."""
        self.segments = split_network(file)
        self.stride = self.segments[-1].first_stride * self.segments[-1].stride
        if MULTIPLE % self.stride:
            raise ValueError(f"wanted a stride that divides {MULTIPLE}; got {self.stride}")
        self.n_threads = options.n_threads or n_usable_cores()
        self._piece_px = piece_px
        self._runs = [open_maps(segment.content, options) for segment in self.segments]

    def stream(self, read: ReadRows, size_hw: tuple[int, int]) -> Iterator[np.ndarray]:
        """Rows (h, W, 3) uint8 of a photo → its features (k, h', W') float32, band by band from the top.

        Sides have to be multiples of MULTIPLE. The same bits whatever the number of threads.
        """
        if any(side % MULTIPLE or side < MULTIPLE for side in size_hw):
            raise ValueError(f"wanted sides that are multiples of {MULTIPLE}; got {size_hw}")
        if self.n_threads == 1:
            yield from self._chain(read, size_hw, map)
            return
        with ThreadPoolExecutor(self.n_threads) as pool:
            yield from self._chain(read, size_hw, pool.map)

    def features(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8, sides multiples of MULTIPLE → (k, H', W') float32."""
        bands = self.stream(lambda top, bottom: image[top:bottom], image.shape[:2])
        return np.concatenate(list(bands), axis=1)

    def _chain(
        self, read: ReadRows, size_hw: tuple[int, int], spread: Callable[..., Iterator[np.ndarray]]
    ) -> Iterator[np.ndarray]:
        bands: Iterator[np.ndarray] = iter(())
        for segment, run in zip(self.segments, self._runs, strict=True):
            side = max(self._piece_px // segment.first_stride, self._piece_px * LEAST_CELLS // PIECE_PX)
            side = max(side // segment.stride, 1)
            width_px = size_hw[1] * segment.first_stride
            n_rows = max(LEAST_ROWS, side * WIDE_PX // max(width_px, WIDE_PX))
            piece_hw = (min(side, n_rows), side)
            bands = _run_segment(segment, partial(_run_piece, run), read, size_hw, piece_hw, spread)
            bands = bands if spread is map else _one_ahead(bands)
            read = _Rows(bands).read
            size_hw = size_hw[0] // segment.stride, size_hw[1] // segment.stride
        return bands


def _run_segment(
    segment: Segment,
    run: Callable[[np.ndarray], np.ndarray],
    read: ReadRows,
    size_hw: tuple[int, int],
    piece_hw: tuple[int, int],
    spread: Callable[..., Iterator[np.ndarray]],
) -> Iterator[np.ndarray]:
    """Bands of one segment's map; `piece_hw` in cells of its output."""
    height, width = size_hw
    starts = _starts(width // segment.stride, piece_hw[1])
    for first in range(0, height // segment.stride, piece_hw[0]):
        last = min(first + piece_hw[0], height // segment.stride)
        top, bottom, n_cut = _span(segment, (first, last), height)
        rows = read(top, bottom)
        spans = [_span(segment, ends, width) for ends in starts]
        # Rows of the photo are (h, w, 3), those of a map (k, h, w).
        pieces = [rows[:, a:b] if rows.dtype == np.uint8 else rows[:, :, a:b] for a, b, _ in spans]
        found = spread(run, pieces)
        kept = [
            maps[:, n_cut : n_cut + last - first, n : n + right - left]
            for maps, (_, _, n), (left, right) in zip(found, spans, starts, strict=True)
        ]
        yield np.concatenate(kept, axis=2)


def _one_ahead(bands: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same bands, the next made while one is used, so that no thread waits for another's copies."""
    with ThreadPoolExecutor(1) as maker:
        following = maker.submit(next, bands, None)
        while (band := following.result()) is not None:
            following = maker.submit(next, bands, None)
            yield band


def _span(segment: Segment, ends: tuple[int, int], n_cells: int) -> tuple[int, int, int]:
    """Cells of a segment's output → first and last of its input, and how many of the output to cut away."""
    start = max(0, ends[0] * segment.stride - segment.before)
    end = min(n_cells, ends[1] * segment.stride + segment.after)
    return start, end, ends[0] - start // segment.stride


def _starts(n_cells: int, side: int) -> list[tuple[int, int]]:
    """Even in number, where there is more than one, so that two cores end together."""
    n = -(-n_cells // side)
    n += n % 2 if n > 1 else 0
    edges = [n_cells * i // n for i in range(n + 1)]
    return list(pairwise(edges))


def _run_piece(run: Callable[[np.ndarray], np.ndarray], piece: np.ndarray) -> np.ndarray:
    batch = to_batch([piece]) if piece.dtype == np.uint8 else piece[None]
    return run(np.ascontiguousarray(batch))[0]


class _Rows:
    """Bands (k, h, w) of a map, read as rows; those above what was last asked for are dropped."""

    def __init__(self, bands: Iterator[np.ndarray]) -> None:
        self._bands, self._kept, self._top = bands, None, 0

    def read(self, top: int, bottom: int) -> np.ndarray:
        kept: list[np.ndarray] = [] if self._kept is None else [self._kept]
        end = self._top + sum(band.shape[1] for band in kept)
        while end < bottom:
            kept.append(next(self._bands))
            end += kept[-1].shape[1]
        rows = np.concatenate(kept, axis=1) if len(kept) > 1 else kept[0]
        self._kept, self._top = rows[:, top - self._top :], top
        return self._kept[:, : bottom - top]
