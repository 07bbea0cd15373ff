"""A classifier's answer for every place of a photo: windows of a training tile's size, densely or by crops.

Photos are shown at the scale of the training tiles: what one tile was enlarged by to fit the network's input,
a photo is too. Below, cells are those of the last map; in the photo each is a square of `cell_px` pixels,
not always a whole number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawmap.records import ModelSpec
from flawmap.tools import scores
from flawmap.tools.bundle import Bundle
from flawmap.tools.dense import MULTIPLE, DenseNetwork
from flawmap.tools.familiarity import Reference, WindowMeans
from flawmap.tools.preprocess import resize_rows
from flawmap.tools.runtime import DEFAULT_OPTIONS, Classifier, RuntimeOptions
from flawmap.tools.segments import NotLocalError, split_network
from flawmap.tools.windows import WindowMaps, score_windows

ROWS_AT_ONCE = 64
ReadRows = Callable[[int, int], np.ndarray]
"""read(top, bottom) → rows (h, W, 3) uint8 RGB of the upright photo; neither number ever becomes much smaller
(a few rows are read again)."""


@dataclass(frozen=True)
class ScoreMaps:
    """What a classifier says of each cell of a photo."""

    probabilities: np.ndarray
    """(n_labels, h, w) float32: calibrated, of the window around each cell."""
    flaw_scores: np.ndarray
    """(h, w) float32: of any flaw, as Predictions.flaw_scores."""
    evidence: np.ndarray
    """(n_labels, h, w) float32: the cell's part of each label's margin, see stages.explain; a crop's margin
    where the network takes crops only."""
    cell_px: float
    """Pixels of the photo per cell."""
    remoteness: float | None = None
    """Of most windows; None without a reference."""
    distances: np.ndarray | None = None
    """(h, w) float32: how far the window nearest to each cell is from the training tiles; None without a
    reference."""


class DenseClassifier:
    """A model folder that says of each place of a photo what it shows. Safe to use from several threads."""

    def __init__(
        self, bundle: Bundle, options: RuntimeOptions = DEFAULT_OPTIONS, reference: Reference | None = None
    ) -> None:
        """Files that tools.segments cannot take apart are shown crops. `reference`: None for that of the
        model folder.

        Raises BundleError, MissingExtraError, or OptionError for a runtime other than that of the files.
        """
        self.bundle, self.spec = bundle, bundle.spec
        self.scale = tile_scale(self.spec)
        self._head = bundle.head
        self.reference = bundle.reference if reference is None else reference
        """May be set later; None: nothing is said of distances."""
        self._dense: DenseNetwork | None = None
        with contextlib.suppress(NotLocalError):
            self._dense = DenseNetwork(bundle.model_path, options.for_bundle(bundle))
        if self._dense is None:
            self._crops = Classifier(bundle, options)

    @property
    def is_dense(self) -> bool:
        """Whether one pass serves all windows; else each is a crop."""
        return self._dense is not None

    def score(self, read: ReadRows, size_hw: tuple[int, int]) -> ScoreMaps:
        """Scores of a photo of `size_hw`, read row by row. The same bits whatever the number of threads."""
        if self._dense is not None:
            return self._score_densely(self._dense, read, size_hw)
        return self._score_crops(self._crops, read, size_hw)

    def score_image(self, image: np.ndarray) -> ScoreMaps:
        """Scores of (H, W, 3) uint8 RGB."""
        return self.score(lambda top, bottom: image[top:bottom], image.shape[:2])

    def middle_features(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB → (k,) float32: features averaged over the window in its middle."""
        if self._dense is None:
            return self._crops.run(image)[0].mean(axis=(1, 2))
        rows, seen_hw = self._show(lambda top, bottom: image[top:bottom], image.shape[:2], self._dense.stride)
        found = np.concatenate(list(self._dense.stream(rows.read, rows.padded_hw)), axis=1)
        for axis, (n, side) in enumerate(
            zip(seen_hw, window_cells(self.spec, self._dense.stride), strict=True), start=1
        ):
            first = max(0, (n - side) // 2)
            found = np.take(found, np.arange(first, min(n, first + side)), axis)
        return found.mean(axis=(1, 2))

    def _show(self, read: ReadRows, size_hw: tuple[int, int], stride: int) -> tuple[_PaddedRows, list[int]]:
        """What the network sees of a photo, and the rows and columns of cells that show the photo itself."""
        window_hw = window_cells(self.spec, stride)
        scaled_hw = tuple(max(1, round(side * self.scale)) for side in size_hw)
        padded_h, padded_w = (
            -(-max(side, cells * stride) // MULTIPLE) * MULTIPLE
            for side, cells in zip(scaled_hw, window_hw, strict=True)
        )
        interpolation = self.spec.preprocessing.interpolation
        rows = _PaddedRows(read, size_hw, scaled_hw, (padded_h, padded_w), interpolation)
        return rows, [-(-side // stride) for side in scaled_hw]

    def _score_densely(self, network: DenseNetwork, read: ReadRows, size_hw: tuple[int, int]) -> ScoreMaps:
        stride, spec = network.stride, self.spec
        window_hw = window_cells(spec, stride)
        rows, (n_rows, n_columns) = self._show(read, size_hw, stride)
        map_hw = (rows.padded_hw[0] // stride, rows.padded_hw[1] // stride)
        bands, means = network.stream(rows.read, rows.padded_hw), WindowMeans((n_rows, n_columns), window_hw)
        if self.reference is not None:
            bands = means.gather(bands)
        found = score_windows(bands, map_hw, window_hw, self._head, spec.cut.pooling)
        familiar = None if self.reference is None else means.compare(self.reference)
        seen = WindowMaps(found.logits[:, :n_rows, :n_columns], found.evidence[:, :n_rows, :n_columns])
        return self._to_maps(seen, stride / self.scale, familiar)

    def _score_crops(self, network: Classifier, read: ReadRows, size_hw: tuple[int, int]) -> ScoreMaps:
        """Crops that overlap by half; a cell is half a tile, its logits are the mean of the crops over it."""
        tile = min(self.spec.tile_hw)
        step = max(1, tile // 2)
        n_rows, n_columns = (max(1, -(-side // step)) for side in size_hw)
        count = np.zeros((n_rows, n_columns))
        total = np.zeros((len(self.spec.labels), n_rows, n_columns))
        away, remoteness = np.zeros((n_rows, n_columns)), []
        for i in range(max(1, n_rows - 1)):
            band = read(min(i * step, max(0, size_hw[0] - tile)), min(i * step + tile, size_hw[0]))
            lefts = [min(j * step, max(0, size_hw[1] - tile)) for j in range(max(1, n_columns - 1))]
            features, logits = network.outputs([_pad_to(band[:, left : left + tile], tile) for left in lefts])
            for j, row in enumerate(logits):
                total[:, i : i + 2, j : j + 2] += row[:, None, None]
                count[i : i + 2, j : j + 2] += 1
            if self.reference is not None:
                means = features.mean(axis=(2, 3))
                remoteness.append(self.reference.remoteness(means))
                for j, distance in enumerate(self.reference.distances(means)):
                    away[i : i + 2, j : j + 2] += distance
        mean = (total / count).astype(np.float32)
        familiar = None
        if self.reference is not None:
            familiar = (away / count).astype(np.float32), float(np.median(np.concatenate(remoteness)))
        return self._to_maps(WindowMaps(mean, mean), float(step), familiar)

    def _to_maps(
        self, found: WindowMaps, cell_px: float, familiar: tuple[np.ndarray, float] | None
    ) -> ScoreMaps:
        """`familiar`: distances per cell, and the remoteness."""
        spec = self.spec
        distances, remoteness = familiar or (None, None)
        # In float64 and a few rows at a time: a large photo has millions of cells.
        probabilities = np.empty(found.logits.shape, np.float32)
        flaw = np.empty(found.logits.shape[1:], np.float32)
        for top in range(0, len(flaw), ROWS_AT_ONCE):
            rows = slice(top, top + ROWS_AT_ONCE)
            logits = found.logits[:, rows]
            some = scores.to_probabilities(
                logits.reshape(len(logits), -1).T, spec.thresholds.temperature, spec.is_multilabel
            )
            probabilities[:, rows] = some.T.reshape(logits.shape)
            flaw[rows] = scores.to_flaw_scores(some, spec.is_flaw_label, spec.is_multilabel).reshape(
                logits.shape[1:]
            )
        margins = to_margins(found.evidence, spec)
        return ScoreMaps(probabilities, flaw, margins, cell_px, remoteness, distances)


def is_dense(file: Path) -> bool:
    """Whether a model file can be taken apart, to look at a photo in one pass; others see crops.

    Raises MissingExtraError.
    """
    try:
        split_network(file)
    except NotLocalError:
        return False
    return True


def looks_as_chosen(spec: ModelSpec, is_dense: bool) -> bool:
    """Whether files that are looked at densely, or by crops, are looked at as they were when it was chosen
    what counts as a finding. The scores of windows and crops differ too much for one choice to serve both.
    """
    if spec.findings is None or spec.form.is_plain:
        return True  # what training writes is looked at as training did
    return is_dense or spec.findings.by_crops


def to_margins(evidence: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Parts of logits (n_labels, h, w) → of the calibrated margins: each less the mean of the others, as
    softmax only sees differences."""
    n = len(evidence)
    evidence = evidence / np.float32(spec.thresholds.temperature)
    if spec.is_multilabel or n == 1:
        return evidence
    return (evidence - evidence.mean(axis=0)) * np.float32(n / (n - 1))


def tile_scale(spec: ModelSpec) -> float:
    """How much a training tile was enlarged to fit the network's input."""
    return min(side / tile for side, tile in zip(spec.preprocessing.input_hw, spec.tile_hw, strict=True))


def window_cells(spec: ModelSpec, stride: int) -> tuple[int, int]:
    """Height and width of a training tile in cells of the map."""
    scale = tile_scale(spec)
    height, width = (max(1, round(side * scale / stride)) for side in spec.tile_hw)
    return height, width


def window_size_cells(spec: ModelSpec, cell_px: float) -> tuple[int, int]:
    """The same in cells of so many pixels of the photo."""
    height, width = (max(1, round(side / cell_px)) for side in spec.tile_hw)
    return height, width


def _pad_to(image: np.ndarray, side: int) -> np.ndarray:
    missing = [max(0, side - have) for have in image.shape[:2]]
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


class _PaddedRows:
    """Rows of a photo at another scale, mirrored at the bottom and the right."""

    def __init__(
        self,
        read: ReadRows,
        size_hw: tuple[int, ...],
        scaled_hw: tuple[int, ...],
        padded_hw: tuple[int, int],
        interpolation: str,
    ) -> None:
        self._read, self._size_hw, self._scaled_hw = read, size_hw, scaled_hw
        self.padded_hw, self._interpolation = padded_hw, interpolation

    def read(self, top: int, bottom: int) -> np.ndarray:
        """Rows top to bottom of what the network sees."""
        height, width = self._scaled_hw
        mirrored = np.arange(top, bottom) % (2 * height)
        mirrored = np.minimum(mirrored, 2 * height - 1 - mirrored)
        first, last = int(mirrored.min()), int(mirrored.max()) + 1
        rows = resize_rows(self._read, self._size_hw, self._scaled_hw, (first, last), self._interpolation)
        if bottom > height:
            rows = rows[mirrored - first]
        return np.pad(rows, ((0, 0), (0, self.padded_hw[1] - width), (0, 0)), mode="symmetric")
