"""From scores of places to findings: connected regions of what lights up where windows score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flawmap.records import Finding, FindingSpec, ModelSpec
from flawmap.records.inspection import Box
from flawmap.tools import rle
from flawmap.tools.classifier_maps import ScoreMaps, window_size_cells
from flawmap.tools.mask_cleaning import label_components
from flawmap.tools.mask_files.outlines import signed_area, trace_outlines
from flawmap.tools.row_regions import MaskRuns

FINER = 4
"""Steps into which a cell is divided, so that an outline follows a crack rather than the cells."""
MOST_CELLS = 2_000_000
"""Larger maps are not divided, for their memory's sake."""
LIT = 0.5
"""Of the strongest evidence within a window: what is at least as strong belongs to the finding. The same
half is drawn as a line over the heat of `flawmap explain`."""
MOST_CORNERS = 400
MOST_LOST = 0.1
"""Of what an outline encloses, by smoothing it."""
MOST_HOLES = 40
"""Of a finding that are kept, largest first: a net of joints may have thousands."""


@dataclass(frozen=True)
class Places:
    """Scores and evidence of a photo, in steps of a cell or finer; both (h, w) float32."""

    flaw_scores: np.ndarray
    lit: np.ndarray
    """Evidence for the likeliest flaw, of the strongest within a window; 0 where nothing speaks for it."""
    step_px: float

    finer: int
    """Steps per cell."""
    extends_from: float
    """The tile's own threshold: how far down a region reaches, once a window in it scores as a finding."""

    def regions(self) -> tuple[np.ndarray, int]:
        """(h, w) int32: numbers of 8-connected regions from 1 on, and how many there are."""
        return label_components((self.flaw_scores >= self.extends_from) & (self.lit >= LIT))


def to_places(maps: ScoreMaps, spec: ModelSpec) -> Places:
    """What the scores of a photo say about where its flaws are."""
    from scipy import ndimage

    is_flaw = spec.is_flaw_label
    likeliest = maps.probabilities[is_flaw].argmax(axis=0)
    evidence = np.take_along_axis(maps.evidence[is_flaw], likeliest[None], axis=0)[0]
    window_hw = window_size_cells(spec, maps.cell_px)
    smooth = ndimage.gaussian_filter(evidence, [side / 16 for side in window_hw], mode="nearest")
    strongest = ndimage.maximum_filter(smooth, window_hw, mode="nearest")
    lit = np.where(smooth > 0, smooth / np.where(strongest > 0, strongest, 1), 0).astype(np.float32)
    finer = FINER if lit.size <= MOST_CELLS else 1
    return Places(
        flaw_scores=_divide(maps.flaw_scores, finer),
        lit=_divide(lit, finer),
        step_px=maps.cell_px / finer,
        finer=finer,
        extends_from=spec.thresholds.threshold,
    )


def find_regions(
    maps: ScoreMaps, spec: ModelSpec, size_hw: tuple[int, int], least: FindingSpec, where: np.ndarray | None
) -> tuple[Finding, ...]:
    """Findings of a photo of `size_hw`, highest score first.

    `where` (h, w) bool: the cells that are of interest; None for all.
    """
    places = to_places(maps, spec)
    # The last cell may show little of the photo: its further steps lie beyond it, the last one in part.
    heights, widths = (
        np.clip(side - np.arange(n) * places.step_px, 0, places.step_px)
        for side, n in zip(size_hw, places.lit.shape, strict=True)
    )
    wanted = np.outer(heights > 0, widths > 0)
    if where is not None:
        wanted &= where.repeat(places.finer, axis=0).repeat(places.finer, axis=1)
    places = replace(places, lit=np.where(wanted, places.lit, 0))
    foreign = find_foreign(maps, least)
    labelled, n = places.regions()
    found = []
    for number, (rows, columns) in _boxes(labelled, n):
        inside = labelled[rows, columns] == number
        area_px = round(float(heights[rows] @ inside @ widths[columns]))
        score = float(places.flaw_scores[rows, columns][inside].max())
        if area_px < least.least_area_px or score < least.least_score:
            continue
        label = _label(maps, spec, places.finer, (rows, columns), inside)
        lines = _to_lines(inside, (rows.start, columns.start), places.step_px, size_hw)
        box = _to_box(inside, (rows.start, columns.start), places.step_px, size_hw)
        one = _to_finding(label, score, (box, lines), area_px, size_hw)
        if foreign is not None:
            one = replace(one, is_foreign=_is_mostly(foreign, places.finer, (rows, columns), inside))
        found.append(one)
    return tuple(sorted(found, key=lambda one: (-one.score, -one.area_px, one.box_xyxy)))


def find_foreign(maps: ScoreMaps, least: FindingSpec) -> np.ndarray | None:
    """(h, w) bool: cells whose surroundings are unlike the training photos; None where nothing tells."""
    if maps.distances is None or least.most_distance is None:
        return None
    return maps.distances > least.most_distance


def find_in_mask(
    mask: MaskRuns, label: str, size_hw: tuple[int, int], least: tuple[float, int]
) -> Iterator[Finding]:
    """Findings of one label, from the top; `least` is a finding's score and its area in pixels."""
    for region in mask.regions(*least):
        inside, corner, step = region.paint(MOST_CELLS * FINER**2)
        lines = _to_lines(inside, corner, float(step), size_hw)
        box = _to_box(inside, corner, float(step), size_hw)
        found = _to_finding(label, region.score, (box, lines), region.area_px, size_hw)
        if step == 1:
            found = replace(found, runs=rle.to_text(rle.encode_crop(inside, corner, size_hw[0])))
        yield found


def _boxes(labelled: np.ndarray, n: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    from scipy import ndimage

    for number, box in enumerate(ndimage.find_objects(labelled, n), start=1):
        if box is not None:
            yield number, (box[0], box[1])


def _to_finding(
    label: str, score: float, shape: tuple[Box, list[np.ndarray]], area_px: int, size_hw: tuple[int, int]
) -> Finding:
    """`shape`: as _to_box() and _to_lines() give it."""
    box, lines = shape
    polygon, *holes = (tuple((round(float(x), 1), round(float(y), 1)) for x, y in line) for line in lines)
    area_px = max(1, min(area_px, size_hw[0] * size_hw[1]))
    return Finding(label, score, box, polygon, area_px, holes=tuple(holes))


def _label(maps: ScoreMaps, spec: ModelSpec, finer: int, box: tuple[slice, slice], inside: np.ndarray) -> str:
    """The flaw that is likeliest over the region."""
    rows, columns = _cells(finer, box, inside)
    means = maps.probabilities[:, rows, columns].mean(axis=1)
    return spec.labels[int(np.where(spec.is_flaw_label, means, -1).argmax())]


def _is_mostly(cells: np.ndarray, finer: int, box: tuple[slice, slice], inside: np.ndarray) -> bool:
    """Whether more than half of the region lies in cells that are True."""
    return float(cells[_cells(finer, box, inside)].mean()) > 0.5


def _cells(finer: int, box: tuple[slice, slice], inside: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows and columns of the cell under each step of the region."""
    return tuple((one + side.start) // finer for one, side in zip(np.nonzero(inside), box, strict=True))


def _to_box(inside: np.ndarray, corner: tuple[int, int], step_px: float, size_hw: tuple[int, int]) -> Box:
    """Around every pixel of the region: its outline is smoothed and may lie further in."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    top, bottom = ((side + corner[0]) * step_px for side in (rows[0], rows[-1] + 1))
    left, right = ((side + corner[1]) * step_px for side in (columns[0], columns[-1] + 1))
    height, width = size_hw
    return float(left), float(top), float(min(right, width)), float(min(bottom, height))


def _to_lines(
    inside: np.ndarray, corner: tuple[int, int], step_px: float, size_hw: tuple[int, int]
) -> list[np.ndarray]:
    """(n, 2) x, y in pixels of the photo: the region's outer line, around all parts that touch by corners,
    then those of its larger holes."""
    ((outer, *holes),) = trace_outlines(rle.encode(inside), inside.shape, joins_corners=True)
    longest = sorted(holes, key=len, reverse=True)[:MOST_HOLES]
    # A hole of a pixel or two is noise in the mask, and no place that anybody looks for.
    rings = [_simplify(outer), *(_simplify(hole) for hole in longest if np.ptp(hole, axis=0).min() > 2)]
    size_wh = np.array(size_hw[::-1], float)
    return [np.clip((ring + np.array(corner[::-1], float)) * step_px, 0, size_wh) for ring in rings]


def _simplify(closed: Sequence[Sequence[float]]) -> np.ndarray:
    """(n, 2): the corners of a closed line, the last of which is the first; at most MOST_CORNERS of them.

    A line that would lose much of what it encloses, as one around pixels in a slanting row, is kept as it is
    where it has no more corners than that.
    """
    from skimage.measure import approximate_polygon

    ring = np.array(closed, float)
    tolerance = 0.75
    line = approximate_polygon(ring, tolerance)
    while len(line) > MOST_CORNERS:
        tolerance *= 2
        line = approximate_polygon(ring, tolerance)
    before, after = abs(signed_area(ring)), abs(signed_area(line))
    lost = abs(before - after) > MOST_LOST * before
    return ring[:-1] if len(line) <= 4 or (lost and len(ring) <= MOST_CORNERS) else line[:-1]


def _divide(cells: np.ndarray, finer: int) -> np.ndarray:
    """(h, w) → (finer h, finer w), in a straight line between the cells' middles."""
    from PIL import Image

    height, width = cells.shape
    size = (finer * width, finer * height)
    return np.asarray(Image.fromarray(cells.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
