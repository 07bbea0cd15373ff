"""A classifier's features over a whole photo of any size, in one convolutional pass.

The photo's rows stream through the network's segments (see `segments`): each keeps only the rows that it
still needs, and takes its map in pieces. A wide photo passes in upright strips side by side, which overlap by
what a value of the last map depends on, so that no segment ever holds a map of the photo's full width. Pieces
and strips at the photo's border lie flush with it. So the result is that of the undivided photo, up to
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from flawmap.tools.preprocess import to_batch
from flawmap.tools.runtime import DEFAULT_OPTIONS, RuntimeOptions, n_usable_cores, open_maps
from flawmap.tools.segments import Segment, split_network

MULTIPLE = 32
"""Sides of what is shown to a network: see tools.backbones.padding."""
PIECE_PX, LEAST_CELLS = 512, 128
"""Sides of a piece of the photo, and of a map: large enough for margins to cost little, small enough for a
processor's cache."""
STRIP_PX, BAND_PX = 6144, 512
"""Wider photos pass in strips of at most this width, so many of their rows at a time."""
BAND_AREA_PX = 20_000_000
"""Of photos so wide that their bands would be larger, the bands are lower."""
ReadRows = Callable[[int, int], np.ndarray]
"""read(top, bottom) → these rows; neither number ever becomes smaller."""


class DenseNetwork:
    """A model file's features for photos of any size. Safe to use from several threads."""

    def __init__(
        self,
        file: Path,
        options: RuntimeOptions = DEFAULT_OPTIONS,
        piece_px: int = PIECE_PX,
        strip_px: int = STRIP_PX,
    ) -> None:
        """Raises BundleError, MissingExtraError, and NotLocalError for a network that takes crops only."""
        self.segments = split_network(file)
        self.stride = self.segments[-1].first_stride * self.segments[-1].stride
        if MULTIPLE % self.stride:
            raise ValueError(f"wanted a stride that divides {MULTIPLE}; got {self.stride}")
        self.n_threads = options.n_threads or n_usable_cores()
        self._piece_px, self._strip_px = piece_px, strip_px
        self._runs = [open_maps(segment.network, options) for segment in self.segments]

    def stream(self, read: ReadRows, size_hw: tuple[int, int]) -> Iterator[np.ndarray]:
        """Rows (h, W, 3) uint8 of a photo → its features (k, h', W') float32, band by band from the top.

        Sides have to be multiples of MULTIPLE. The same bits whatever the number of threads.
        """
        if any(side % MULTIPLE or side < MULTIPLE for side in size_hw):
            raise ValueError(f"wanted sides that are multiples of {MULTIPLE}; got {size_hw}")
        strips = _starts(size_hw[1] // MULTIPLE, self._strip_px // MULTIPLE)
        if len(strips) > 1:
            yield from self._stream_strips(read, size_hw, strips)
        elif self.n_threads == 1:
            yield from self._chain(read, size_hw, map)
        else:
            with ThreadPoolExecutor(self.n_threads) as pool:
                yield from self._chain(read, size_hw, pool.map)

    def features(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8, sides multiples of MULTIPLE → (k, H', W') float32."""
        bands = self.stream(lambda top, bottom: image[top:bottom], image.shape[:2])
        return np.concatenate(list(bands), axis=1)

    def _stream_strips(
        self, read: ReadRows, size_hw: tuple[int, int], strips: list[tuple[int, int]]
    ) -> Iterator[np.ndarray]:
        """The same for a wide photo; `strips` are its first and last columns, in MULTIPLE pixels."""
        height, width = size_hw
        before, after = (
            -(-sum(getattr(one, side) * one.first_stride for one in self.segments) // MULTIPLE) * MULTIPLE
            for side in ("before", "after")
        )
        rows = _SharedRows(read, len(strips))
        band_px = max(MULTIPLE, min(BAND_PX, BAND_AREA_PX // width))
        # Strips wait for their pieces, so that these have threads of their own.
        with ThreadPoolExecutor(self.n_threads) as pool, ThreadPoolExecutor(self.n_threads) as makers:
            chains, cuts = [], []
            for i, (first, last) in enumerate(strips):
                start, end = max(0, first * MULTIPLE - before), min(width, last * MULTIPLE + after)
                own = partial(rows.read, i, (start, end))
                chains.append(self._chain(own, (height, end - start), pool.map, band_px))
                left = (first * MULTIPLE - start) // self.stride
                cuts.append(slice(left, left + (last - first) * MULTIPLE // self.stride))
            yield from _one_ahead(_side_by_side(chains, cuts, makers.map))

    def _chain(
        self,
        read: ReadRows,
        size_hw: tuple[int, int],
        spread: Callable[..., Iterator[np.ndarray]],
        band_px: int | None = None,
    ) -> Iterator[np.ndarray]:
        """One segment behind the other, in bands of so many of the photo's rows. Without `band_px` each has
        bands as high as its pieces, and makes the next one while another segment uses the one before."""
        bands: Iterator[np.ndarray] = iter(())
        for i, (segment, run) in enumerate(zip(self.segments, self._runs, strict=True)):
            if i and band_px is None:
                read = _Rows(bands).read
            side = max(self._piece_px // segment.first_stride, self._piece_px * LEAST_CELLS // PIECE_PX)
            side = max(side // segment.stride, 1)
            rows = _SegmentRows(segment, partial(_run_piece, run), read, size_hw, side, spread)
            read, size_hw = rows.read, rows.size_hw
            bands = rows.bands(side if band_px is None else max(1, band_px // self.stride))
            if band_px is None and spread is not map:
                bands = _one_ahead(bands)
        return bands


class _SegmentRows:
    """The map of one segment, made as its rows are asked for, each once and from the top.

    What is kept of its input is what the rows below still depend on.
    """

    def __init__(
        self,
        segment: Segment,
        run: Callable[[np.ndarray], np.ndarray],
        read: ReadRows,
        input_hw: tuple[int, int],
        side: int,
        spread: Callable[..., Iterator[np.ndarray]],
    ) -> None:
        """`side` of a piece in cells of the map; `read` gives rows of the input."""
        self._segment, self._run, self._read, self._spread = segment, run, read, spread
        self._input_hw, self._side = input_hw, side
        self.size_hw = (input_hw[0] // segment.stride, input_hw[1] // segment.stride)
        self._kept, self._bottom = None, 0

    def bands(self, n_rows: int) -> Iterator[np.ndarray]:
        """The whole map, so many rows at a time."""
        for top in range(0, self.size_hw[0], n_rows):
            yield self.read(top, min(top + n_rows, self.size_hw[0]))

    def read(self, top: int, bottom: int) -> np.ndarray:
        """(k, bottom - top, w): the rows after those that were read before."""
        segment, (height, width) = self._segment, self._input_hw
        first, last, n_cut = _span(segment, (top, bottom), height)
        parts = [] if self._kept is None else [self._kept]
        if last > self._bottom:
            parts.append(self._read(self._bottom, last))
        # Rows of the photo are (h, w, 3), those of a map (k, h, w).
        axis = 0 if parts[0].dtype == np.uint8 else 1
        rows = np.concatenate(parts, axis) if len(parts) > 1 else parts[0]
        needed_from = max(0, bottom * segment.stride - segment.before) - first
        self._kept, self._bottom = (rows[needed_from:] if axis == 0 else rows[:, needed_from:]).copy(), last
        starts = _starts(self.size_hw[1], self._side)
        spans = [_span(segment, ends, width) for ends in starts]
        pieces = [rows[:, a:b] if axis == 0 else rows[:, :, a:b] for a, b, _ in spans]
        found = self._spread(self._run, pieces)
        kept = [
            maps[:, n_cut : n_cut + bottom - top, n : n + right - left]
            for maps, (_, _, n), (left, right) in zip(found, spans, starts, strict=True)
        ]
        return np.concatenate(kept, axis=2)


def _side_by_side(
    chains: list[Iterator[np.ndarray]], cuts: list[slice], spread: Callable[..., Iterator[np.ndarray]]
) -> Iterator[np.ndarray]:
    """Bands of strips, of each these columns → those of the whole width. The strips have as many bands."""
    while (bands := list(spread(lambda chain: next(chain, None), chains)))[0] is not None:
        yield np.concatenate([band[:, :, cut] for band, cut in zip(bands, cuts, strict=True)], axis=2)


def _one_ahead(bands: Iterator[Any]) -> Iterator[Any]:
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
    """Bands (k, h, w) of a map, read as rows, each once and from the top."""

    def __init__(self, bands: Iterator[np.ndarray]) -> None:
        self._bands, self._left = bands, next(bands)

    def read(self, top: int, bottom: int) -> np.ndarray:
        """The next bottom - top rows."""
        parts, n_missing = [], bottom - top
        while self._left.shape[1] < n_missing:
            parts.append(self._left)
            n_missing -= self._left.shape[1]
            self._left = next(self._bands)
        parts.append(self._left[:, :n_missing])
        self._left = self._left[:, n_missing:]
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


class _SharedRows:
    """Rows of a photo for readers that each see other columns of it, and are about equally far down."""

    def __init__(self, read: ReadRows, n_readers: int) -> None:
        self._read, self._passed = read, [0] * n_readers
        self._blocks: list[tuple[int, np.ndarray]] = []
        self._bottom, self._lock = 0, Lock()

    def read(self, reader: int, columns: tuple[int, int], top: int, bottom: int) -> np.ndarray:
        """These rows of these columns, as a copy; each once and from the top."""
        with self._lock:
            if bottom > self._bottom:
                self._blocks.append((self._bottom, self._read(self._bottom, bottom)))
                self._bottom = bottom
            blocks = list(self._blocks)
            self._passed[reader] = bottom
            passed = min(self._passed)
            self._blocks = [(at, rows) for at, rows in blocks if at + len(rows) > passed]
        return np.concatenate(
            [rows[max(0, top - at) : max(0, bottom - at), slice(*columns)] for at, rows in blocks]
        )
