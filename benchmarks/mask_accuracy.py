"""Masks on photos held back before the run: python benchmarks/mask_accuracy.py [SET …] [-- options of train]

A quarter of each real set, whole sources together, is held back; `flawmap train` sees the rest as a plain
folder, and `flawmap evaluate` judges the exported file on what was held back. deepcrack is held back by the
photo that its crops come from (the name up to the first dash), the others photo by photo: of magnetic tiles
most held-back photos have another exposure of their part among those to learn from. Photos are read from
$FLAWMAP_DATA (default ../shared/data beside the project).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from running import DATA, HELD_BACK, run_flawmap, split_arguments


@dataclass(frozen=True)
class Goal:
    """A set, how its sources are told, what `train` is given, and the least figures wanted."""

    name: str
    source: Callable[[str], str]
    arguments: tuple[str, ...]
    wanted: tuple[tuple[str, float], ...]


GOALS = (
    Goal("crackforest", lambda stem: stem, (), (("f1_tolerant", 0.94),)),
    Goal("deepcrack", lambda stem: re.split("[-_]", stem)[0], (), (("f1", 0.87), ("mean_iou", 0.88))),
    Goal("magnetic-tiles-rle", lambda stem: stem, ("--cascade",), (("flaw_dice", 0.75),)),
)


def main() -> int:
    """Print a row per set and figure; exit code 1 where a figure is below its goal."""
    ours, for_train = split_arguments(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=[goal.name for goal in GOALS])
    parser.add_argument("--seed", type=int, default=0, help="of the part that is held back")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    asked = parser.parse_args(ours)
    print(f"{'set':<20} photos  held back  figure         got  {'95 %':<14}  wanted  minutes")
    is_good = True
    for goal in GOALS:
        if goal.name in asked.sets and (DATA / goal.name).is_dir():
            with tempfile.TemporaryDirectory() as scratch:
                folder = asked.keep / goal.name if asked.keep else Path(scratch)
                is_good &= measure(goal, asked.seed, folder, for_train)
        elif goal.name in asked.sets:
            print(f"skipped, not in {DATA}: {goal.name} (set FLAWMAP_DATA)")
    return 0 if is_good else 1


def measure(goal: Goal, seed: int, folder: Path, for_train: list[str]) -> bool:
    """Train and judge once, print the rows, and tell whether every goal is met."""
    n_train, n_held = lay_out(goal, seed, folder)
    run, figures = folder / "run", folder / "figures.json"
    start = time.monotonic()
    run_flawmap(
        "train", folder / "train", "--out", run, "--quiet", "--overwrite", *goal.arguments, *for_train
    )
    minutes = (time.monotonic() - start) / 60
    run_flawmap("evaluate", run, folder / "held-back", "--json", figures)
    found = json.loads(figures.read_text(encoding="utf-8"))
    for figure, wanted in goal.wanted:
        low, high = found["interval95"][figure]
        print(
            f"{goal.name:<20} {n_train:>6}  {n_held:>9}  {figure:<11} {found[figure]:>6.3f}  "
            f"[{low:.3f}, {high:.3f}]  {wanted:>6.2f}  {minutes:>7.1f}",
            flush=True,
        )
    return all(found[figure] >= wanted for figure, wanted in goal.wanted)


def lay_out(goal: Goal, seed: int, folder: Path) -> tuple[int, int]:
    """Copy the set to folder/train and folder/held-back; returns how many photos stand in each."""
    root = DATA / goal.name
    is_table = (root / "train.csv").is_file()
    photos = sorted((root / ("train_images" if is_table else "images")).iterdir())
    sources = sorted({goal.source(photo.stem) for photo in photos})
    order = np.random.default_rng(seed).permutation(sources)
    held = set(order[: round(HELD_BACK * len(order))].tolist())
    names: dict[str, set[str]] = {"train": set(), "held-back": set()}
    for photo in photos:
        part = "held-back" if goal.source(photo.stem) in held else "train"
        names[part].add(photo.name)
        _copy(photo, folder / part / photo.parent.name / photo.name)
        if not is_table:
            mask = next((root / "masks").glob(f"{photo.stem}.*"))
            _copy(mask, folder / part / "masks" / mask.name)
    if is_table:
        with (root / "train.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for part, members in names.items():
            with (folder / part / "train.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, rows[0].keys())
                table.writeheader()
                table.writerows(row for row in rows if row["ImageId"] in members)
    return len(names["train"]), len(names["held-back"])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main())
