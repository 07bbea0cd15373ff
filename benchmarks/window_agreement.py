"""How often windows of the dense pass are decided as crops of the same pixels are.

    python benchmarks/window_agreement.py RUN TILES PHOTOS [--tiles 120] [--windows 60]

RUN is the run folder of a classifier with one kind of flaw; TILES the data set that it was trained on, of
whose validation part tiles are looked at, each amid its mirrored surroundings; PHOTOS a folder of photos of
whole sites, from which nothing is chosen. A window is flagged where flaw is far enough ahead of good: crops
by the model's threshold; dense windows by the same, then by the one that agrees best on the tiles, then by
the one that flags as many windows of the tiles as crops do.

What agreement can be expected at all is told by crops that are compared with crops: cut from the photo and
then resized alone, as tiles are (their pixels lie up to half a pixel beside), and one cell further.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MULTIPLE = 32
WINDOWS_OF_A_TILE = 12


def main() -> None:
    """Print the table, and a line for each photo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, metavar="TILES")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--tiles", type=int, default=120)
    parser.add_argument("--windows", type=int, default=60, help="of each photo")
    asked = parser.parse_args()

    from flawmap.stages.inspection.choosing import surround
    from flawmap.tools.photos import read_image

    margins = open_margins(asked.run)
    found = [
        margins.compare(surround(read_image(path)), WINDOWS_OF_A_TILE)
        for path in choose_tiles(asked.run / "splits.csv", asked.data, asked.tiles)
    ]
    tiles = np.concatenate(found, axis=1)
    photos = {}
    for path in sorted(one for one in asked.photos.iterdir() if one.is_file()):
        photos[path.stem] = margins.compare(read_image(path), asked.windows)
    every = np.concatenate(list(photos.values()), axis=1)
    print_table(tiles, every, margins.threshold)
    print_sure(tiles, every, margins)
    for name, own in photos.items():
        if own.size:
            flagged = float(np.mean(own[1] >= margins.threshold))
            alike = share_alike(own[0], own[1], (margins.threshold, margins.threshold))
            print(f"{name:28}{own.shape[1]:5} windows, crops flag {flagged:4.0%}, {alike:6.1%} alike")


@dataclass(frozen=True)
class Margins:
    """By how much flaw is ahead of good, before calibration, in windows of a training tile's size."""

    spec: Any
    head: Any
    network: Any
    predict: Callable[[list[np.ndarray]], np.ndarray]
    """Crops → (n, 2) logits."""

    @property
    def threshold(self) -> float:
        """The model's own, as a margin."""
        return self._to_margin(self.spec.thresholds.threshold)

    @property
    def band(self) -> tuple[float, float]:
        """In which a photo is for review."""
        own = self.spec.thresholds
        return self._to_margin(own.review_low), self._to_margin(own.review_high)

    def _to_margin(self, score: float) -> float:
        return float(self.spec.thresholds.temperature * np.log(score / (1 - score)))

    def compare(self, image: np.ndarray, most: int) -> np.ndarray:
        """(5, n) margins of at most so many windows: dense; crops of the same pixels; crops of the photo,
        resized alone; crops one cell further; dense one cell further."""
        from PIL import Image

        from flawmap.tools.classifier_maps import tile_scale, window_cells
        from flawmap.tools.windows import slide_windows

        stride, scale = self.network.stride, tile_scale(self.spec)
        window_hw = window_cells(self.spec, stride)
        scaled = Image.fromarray(image).resize(
            (round(image.shape[1] * scale), round(image.shape[0] * scale)), Image.Resampling.BICUBIC
        )
        height, width = (side // MULTIPLE * MULTIPLE for side in (scaled.height, scaled.width))
        if height < window_hw[0] * stride or width < (window_hw[1] + 1) * stride:
            return np.zeros((5, 0))
        pixels = np.asarray(scaled)[:height, :width]
        features = self.network.features(pixels)
        pooling = self.spec.cut.pooling
        logits, _ = slide_windows([features], features.shape[1:], window_hw, self.head, pooling)
        dense = self._ahead(logits.transpose(1, 2, 0))
        places = np.argwhere(np.ones_like(dense[:, :-1], bool))
        if len(places) > most:
            places = places[np.random.default_rng(0).choice(len(places), most, replace=False)]

        def crops(source: np.ndarray, step: float, side_hw: tuple[int, ...], right: int = 0) -> np.ndarray:
            corners = [(round(i * step), round((j + right) * step)) for i, j in places]
            return self._ahead(
                self.predict([source[y : y + side_hw[0], x : x + side_hw[1]] for y, x in corners])
            )

        side_hw = tuple(cells * stride for cells in window_hw)
        return np.stack(
            [
                dense[places[:, 0], places[:, 1]],
                crops(pixels, stride, side_hw),
                crops(image, stride / scale, self.spec.tile_hw),
                crops(pixels, stride, side_hw, right=1),
                dense[places[:, 0], places[:, 1] + 1],
            ]
        )

    def _ahead(self, logits: np.ndarray) -> np.ndarray:
        is_flaw = np.array(self.spec.is_flaw_label)
        return (logits[..., is_flaw] - logits[..., ~is_flaw])[..., 0]


def open_margins(run: Path) -> Margins:
    """The model of a run folder, on one thread."""
    from flawmap.tools.bundle import read_bundle
    from flawmap.tools.dense import DenseNetwork
    from flawmap.tools.runtime import Classifier, RuntimeOptions

    bundle, one = read_bundle(run), RuntimeOptions(n_threads=1)
    if len(bundle.spec.labels) != 2 or bundle.spec.is_multilabel:
        raise SystemExit(f"wanted a model of one flaw and one good label; got {bundle.spec.labels}")
    classifier = Classifier(bundle, one)

    def predict(crops: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([classifier.outputs(crops[i : i + 16])[1] for i in range(0, len(crops), 16)])

    return Margins(bundle.spec, bundle.head, DenseNetwork(bundle.model_path, one), predict)


def choose_tiles(splits: Path, data: Path, n: int) -> Iterator[Path]:
    """Of the validation part, evenly spread."""
    with splits.open(newline="") as file:
        paths = [data / row["path"] for row in csv.DictReader(file) if row["split"] == "validation"]
    n = min(n, len(paths))
    return (paths[len(paths) * i // n] for i in range(n))


def print_table(tiles: np.ndarray, photos: np.ndarray, threshold: float) -> None:
    """Shares of windows that are decided alike."""
    levels = np.arange(threshold - 10, threshold + 10, 0.1)
    best = max(levels, key=lambda level: share_alike(tiles[0], tiles[1], (level, threshold)))
    alike = float(np.quantile(tiles[0], np.mean(tiles[1] < threshold)))
    print(f"\n{'decided alike':54}{'tiles':>8}{'photos':>8}")
    print(f"{'windows':54}{tiles.shape[1]:8}{photos.shape[1]:8}")
    for name, own, other, level in (
        (f"dense and crops, both from {threshold:.1f} on", 0, 1, threshold),
        (f"dense from {best:.1f} on, the best on the tiles", 0, 1, best),
        (f"dense from {alike:.1f} on, which flags as many tiles", 0, 1, alike),
        ("crops resized alone and crops", 2, 1, threshold),
        ("crops one cell further and crops", 3, 1, threshold),
        ("dense one cell further and dense", 4, 0, threshold),
    ):
        shares = [share_alike(one[own], one[other], (level, threshold)) for one in (tiles, photos)]
        print(f"{name:54}{shares[0]:8.1%}{shares[1]:8.1%}")


def print_sure(tiles: np.ndarray, photos: np.ndarray, margins: Margins) -> None:
    """The same among windows that neither leaves for review, and how many these are."""
    low, high = margins.band
    alike, shares = [], []
    for one in (tiles[:2], photos[:2]):
        is_sure = ((one < low) | (one >= high)).all(axis=0)
        sure = one[:, is_sure]
        alike.append(share_alike(sure[0], sure[1], (margins.threshold, margins.threshold)))
        shares.append(float(is_sure.mean()))
    print(f"{'dense and crops, where neither is for review':54}{alike[0]:8.1%}{alike[1]:8.1%}")
    print(f"{'(of the windows)':54}{shares[0]:8.1%}{shares[1]:8.1%}\n")


def share_alike(some: np.ndarray, others: np.ndarray, levels: tuple[float, float]) -> float:
    """Of the windows, those that reach both thresholds or neither."""
    return float(np.mean((some >= levels[0]) == (others >= levels[1])))


if __name__ == "__main__":
    main()
