"""When a place of a large photo is a finding: chosen on validation tiles, each among its mirrored
surroundings.

A photo has thousands of windows, of which the tile's threshold would flag some by chance alone. So the least
score and area are chosen again, on dense scores, for whole photos: the tiles of one source stand for the
photo that they were cut from, and it is found where one of its tiles holds a finding. Clean tiles show far
less than the clean surfaces of a survey; so of the choices that keep nearly all flawed photos and give the
fewest false findings, the strictest is taken. A tile is enlarged by half its size on every side by mirroring,
which adds no edge that a photo would not have.

What is foreign is decided here too: a window further from the training tiles than nearly all validation
tiles, each source of which counts the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flawmap.records import FindingSpec, ModelSpec, Progress, no_progress
from flawmap.stages.inspection.assessing import MOST_FOREIGN
from flawmap.stages.inspection.findings import to_places
from flawmap.tools.classifier_maps import DenseClassifier, ScoreMaps
from flawmap.tools.familiarity import FAR, Reference, fit_reference
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
FAMILIAR_QUANTILE = 0.97
"""Of the validation tiles' distances from the training tiles, every source counting the same."""


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
    away: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def look(tile: ValidationTile) -> tuple[ValidationTile, ScoreMaps, float]:
        return tile, classifier.score_image(surround(tile.image)), sharpness(tile.image)

    for i, (tile, maps, own_sharpness) in enumerate(map_ordered(look, tiles, n_threads)):
        areas[tile.is_flawed, tile.source].append(_largest_areas(maps, classifier.spec, tile.image.shape[:2]))
        sharp.append(own_sharpness)
        if maps.distances is not None and maps.remoteness is not None:
            height, width = maps.distances.shape
            away[tile.source].append((float(maps.distances[height // 2, width // 2]), maps.remoteness))
        progress("choosing what counts as a finding, tiles", i + 1, n_tiles)
    limits: dict[str, Any] = {
        "least_sharpness": float(np.quantile(sharp, LEAST_QUANTILE)) if sharp else None,
        "by_crops": not classifier.is_dense,
    }
    limits |= _limit_familiar([np.array(own) for own in away.values()]) if away else {}
    flawed, clean = (
        np.array([np.max(found, axis=0) for (is_flawed, _), found in areas.items() if is_flawed == kind])
        for kind in (True, False)
    )
    default = default_findings(classifier.spec.tile_hw)
    if not len(flawed) or not len(clean):
        return replace(default, **limits)
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
        **limits,
    )


def learn_reference(
    classifier: DenseClassifier,
    tiles: Iterable[np.ndarray],
    n_tiles: int,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> Reference:
    """(H, W, 3) uint8 training tiles → what windows are compared with. Raises ValueError without any.

    Each is taken by itself, as a photo of its size would be seen, and amid its mirrored surroundings.
    """
    found, near, far = [], [], []

    def look(tile: np.ndarray) -> list[np.ndarray]:
        shown = (*near_and_far(tile), tile, *((surround(tile),) if classifier.is_dense else ()))
        return [classifier.middle_features(image) for image in shown]

    for i, (own_near, own_far, *own) in enumerate(map_ordered(look, tiles, n_threads)):
        near.append(own_near)
        far.append(own_far)
        found += own
        progress("learning what the surfaces look like, tiles", i + 1, n_tiles)
    return fit_reference(np.array(found), np.array(near), np.array(far))


def near_and_far(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tile's middle, and the whole tile shrunk to that size; both mirrored to fill the tile's size."""
    from PIL import Image

    sizes = [max(1, side // FAR) for side in tile.shape[:2]]
    starts = [(side - own) // 2 for side, own in zip(tile.shape[:2], sizes, strict=True)]
    near = tile[starts[0] : starts[0] + sizes[0], starts[1] : starts[1] + sizes[1]]
    far = np.asarray(Image.fromarray(tile).resize((sizes[1], sizes[0]), Image.Resampling.BICUBIC))
    missing = [(0, side - own) for side, own in zip(tile.shape[:2], sizes, strict=True)]
    near, far = (np.pad(image, (*missing, (0, 0)), mode="symmetric") for image in (near, far))
    return near, far


def surround(tile: np.ndarray) -> np.ndarray:
    """The tile enlarged by half its size on every side, by mirroring."""
    top, left = tile.shape[0] // 2, tile.shape[1] // 2
    return np.pad(tile, ((top, top), (left, left), (0, 0)), mode="symmetric")


def _limit_familiar(by_source: Sequence[np.ndarray]) -> dict[str, Any]:
    """(n, 2) distances and remotenesses of each source's tiles → the limits, and how many sources would be
    foreign photos or too distant."""
    values = np.concatenate(by_source)
    weights = np.concatenate([np.full(len(own), 1 / len(own)) for own in by_source])
    most = []
    for column in values.T:
        order = np.argsort(column, kind="stable")
        reached = np.cumsum(weights[order]) >= FAMILIAR_QUANTILE * len(by_source) - 1e-9
        most.append(float(column[order][np.argmax(reached)]))
    beyond = [
        np.mean(own[:, 0] > most[0]) > MOST_FOREIGN or np.median(own[:, 1]) > most[1] for own in by_source
    ]
    return {"most_distance": most[0], "most_remoteness": most[1], "n_foreign": sum(map(bool, beyond))}


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


def _largest_areas(maps: ScoreMaps, spec: ModelSpec, size_hw: tuple[int, int]) -> np.ndarray:
    """Maps of a surrounded tile of `size_hw` → (n_scores,): the area, in tiles, of the largest region on the
    tile at each of LEAST_SCORES."""
    height, width = size_hw
    top, left = height // 2, width // 2
    places = to_places(maps, spec)
    step = places.step_px
    box = tuple(
        slice(round(start / step), round((start + side) / step))
        for start, side in ((top, height), (left, width))
    )
    tile_steps = (spec.tile_hw[0] / step) * (spec.tile_hw[1] / step)
    labelled, n = places.regions()
    sizes = np.bincount(labelled.ravel(), minlength=n + 1) / tile_steps
    largest = np.zeros(len(LEAST_SCORES))
    for number in np.unique(labelled[box]):
        if number:
            peak = places.flaw_scores[labelled == number].max()
            reached = np.array(LEAST_SCORES) <= peak
            largest[reached] = np.maximum(largest[reached], sizes[number])
    return largest
