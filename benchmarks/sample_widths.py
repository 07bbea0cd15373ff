"""Largest widths on drawn photos of rough surfaces, against the truth: python benchmarks/sample_widths.py

Cracks of `flawmap data sample` on concrete, plaster, brick, gravel and other surfaces, with joints, shadows
and stains beside them, measured by their true masks, with and without the photo. The truth is the largest
width that was drawn on the tile.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from running import run_flawmap
from scipy import ndimage

from flawmap.stages.measure import measure_cracks, to_grey
from flawmap.tools.photos import read_image


def main() -> None:
    """Print a row per sample and kind of reading."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    asked = parser.parse_args()
    print("seed  read off  cracks  within ±  lower end above the mask  off: median  95 % under")
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            sample = Path(scratch) / "sample"
            run_flawmap("data", "sample", sample, "--photos", 20, "--seed", seed, "--quiet")
            for source in ("photo", "mask"):
                found = np.array(list(measure(sample, source)))
                off, n_above = np.abs(found[:, 0]), int(found[:, 2].sum())
                print(
                    f"{seed:>4}  {source:<8}  {len(off):>6}  {found[:, 1].mean():>7.0%}  "
                    f"{n_above:>25}  {np.median(off):>8.2f} px  {np.percentile(off, 95):>6.2f} px",
                    flush=True,
                )


def measure(sample: Path, source: str):
    """Of each tile with a crack: how far its largest width is off, whether the interval holds the truth, and
    whether it lies above the mask's thickest place as a whole."""
    with (sample / "truth" / "tiles.csv").open(encoding="utf-8", newline="") as file:
        tiles = [row for row in csv.DictReader(file) if row["flaw"] == "crack"]
    for tile in tiles:
        mask = read_image(sample / "truth" / tile["mask"])[..., 0] > 0
        grey = to_grey(read_image(sample / "photos" / tile["file"])) if source == "photo" else None
        cracks = [one.measurement for one in measure_cracks(mask, grey).cracks]
        if cracks:
            widest = max(cracks, key=lambda one: one.width_max_px)
            off, half = widest.width_max_px - float(tile["width_max_px"]), widest.width_max_u95_px
            thickest = 2 * ndimage.distance_transform_edt(mask).max()
            yield off, abs(off) <= half, widest.width_max_px - half > thickest


if __name__ == "__main__":
    main()
