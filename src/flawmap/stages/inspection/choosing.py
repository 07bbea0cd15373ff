"""When a place of a large photo is a finding: chosen on validation tiles, each among its mirrored
surroundings.

A photo has thousands of windows, of which the tile's threshold would flag some by chance alone. So the least
score and area are chosen again, on dense scores, for whole photos: the tiles of one source stand for the
photo that they were cut from, and it is found where one of its tiles holds a finding. Clean tiles show far
less than the clean surfaces of a survey; so of the choices that keep nearly all flawed photos and give the
fewest false findings, the strictest is taken. A tile is enlarged by half its size on every side by mirroring,
which adds no edge that a photo would not have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flawmap.records import FindingSpec, Progress, no_progress
from flawmap.stages.inspection.findings import to_places
from flawmap.tools.classifier_maps import DenseClassifier
from flawmap.tools.runtime import map_ordered
from flawmap.tools.scores import sigmoid
from flawmap.tools.sharpness import sharpness

LEAST_SHARE_FOUND = 0.95
"""Of the flawed validation photos in which one finding must be left."""
LEAST_SCORES = tuple(sigmoid(np.arange(-2, 9.01, 0.5)).tolist())
LEAST_AREAS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08)
"""In tiles."""
MOST_TILES = 400
DEFAULT_LEAST_SCORE, DEFAULT_LEAST_AREA = 0.95, 0.02
LEAST_QUANTILE = 0.01
"""Of the tiles' sharpness: photos that are less sharp than nearly every tile cannot be judged."""


def default_findings(tile_hw: tuple[int, int]) -> FindingSpec:
    """What counts where no validation tiles are known."""
    area_px = round(DEFAULT_LEAST_AREA * tile_hw[0] * tile_hw[1])
    return FindingSpec(DEFAULT_LEAST_SCORE, area_px, "a default: chosen on no photos")


@dataclass(frozen=True)
class ValidationTile:
    """A tile with its truth."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    is_flawed: bool
    source: str
    """Tiles of one source stand for one photo."""


def choose_findings(
    classifier: DenseClassifier,
    tiles: Iterable[ValidationTile],
    n_tiles: int,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> FindingSpec:
    """What counts as a finding, and from which sharpness on; a default where one kind of tiles is missing.

    `n_threads` tiles at once: the classifier itself is best opened for one.
    """
    areas: dict[tuple[bool, str], list[np.ndarray]] = defaultdict(list)
    sharp = []

    def look(tile: ValidationTile) -> tuple[ValidationTile, np.ndarray, float]:
        return tile, _largest_areas(classifier, tile.image), sharpness(tile.image)

    for i, (tile, largest, own_sharpness) in enumerate(map_ordered(look, tiles, n_threads)):
        areas[tile.is_flawed, tile.source].append(largest)
        sharp.append(own_sharpness)
        progress("choosing what counts as a finding", i + 1, n_tiles)
    least_sharpness = float(np.quantile(sharp, LEAST_QUANTILE)) if sharp else None
    flawed, clean = (
        np.array([np.max(found, axis=0) for (is_flawed, _), found in areas.items() if is_flawed == kind])
        for kind in (True, False)
    )
    default = default_findings(classifier.spec.tile_hw)
    if not len(flawed) or not len(clean):
        return replace(default, least_sharpness=least_sharpness)
    i, j = _choose(flawed, clean)
    tile_px2 = classifier.spec.tile_hw[0] * classifier.spec.tile_hw[1]
    return FindingSpec(
        least_score=LEAST_SCORES[i],
        least_area_px=round(LEAST_AREAS[j] * tile_px2),
        chosen_by=f"strictest of those with fewest false findings and {LEAST_SHARE_FOUND:.0%} of flaws found",
        n_flawed=len(flawed),
        n_clean=len(clean),
        share_found=float((flawed[:, i] > LEAST_AREAS[j]).mean()),
        n_false=int((clean[:, i] > LEAST_AREAS[j]).sum()),
        least_sharpness=least_sharpness,
    )


def choose_rows(is_flawed: Sequence[bool], most: int = MOST_TILES) -> list[int]:
    """Which of many validation tiles to look at: evenly spread, as many clean as flawed where there are."""
    chosen: list[int] = []
    for kind in (True, False):
        rows = [i for i, flawed in enumerate(is_flawed) if flawed == kind]
        n = min(len(rows), most // 2)
        chosen += [rows[len(rows) * i // n] for i in range(n)]
    return sorted(chosen)


def _choose(flawed: np.ndarray, clean: np.ndarray) -> tuple[int, int]:
    """Indices of the score and the area. Where none finds enough, those that find most."""
    options = []
    for i in range(len(LEAST_SCORES)):
        for j, area in enumerate(LEAST_AREAS):
            share = float((flawed[:, i] > area).mean())
            n_false = int((clean[:, i] > area).sum())
            options.append((min(share, LEAST_SHARE_FOUND), -n_false, i, j))
    best = max(options)
    return best[2], best[3]


def _largest_areas(classifier: DenseClassifier, tile: np.ndarray) -> np.ndarray:
    """(n_scores,): the area, in tiles, of the largest region on the tile at each of LEAST_SCORES."""
    height, width = tile.shape[:2]
    top, left = height // 2, width // 2
    image = np.pad(tile, ((top, top), (left, left), (0, 0)), mode="symmetric")
    places = to_places(classifier.score_image(image), classifier.spec)
    step = places.step_px
    box = tuple(
        slice(round(start / step), round((start + side) / step))
        for start, side in ((top, height), (left, width))
    )
    tile_steps = (classifier.spec.tile_hw[0] / step) * (classifier.spec.tile_hw[1] / step)
    labelled, n = places.regions()
    sizes = np.bincount(labelled.ravel(), minlength=n + 1) / tile_steps
    largest = np.zeros(len(LEAST_SCORES))
    for number in np.unique(labelled[box]):
        if number:
            peak = places.flaw_scores[labelled == number].max()
            reached = np.array(LEAST_SCORES) <= peak
            largest[reached] = np.maximum(largest[reached], sizes[number])
    return largest
