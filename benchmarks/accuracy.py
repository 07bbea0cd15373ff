"""The accuracy table: train on three quarters of each real set, judge the exported file on the rest.

    python benchmarks/accuracy.py                         all sets, one split each
    python benchmarks/accuracy.py concrete-tiles --seeds 0 1 2
    python benchmarks/accuracy.py concrete-tiles -- --max-depth 3

What follows `--` is handed to `flawmap train`. The held-back part shares no source with the rest: concrete
by the true photo of each tile, brickwork by tens of neighbouring file numbers, the others photo by photo,
class by class. The trainer sees a plain folder: it has to find the groups by itself. Photos are read from
$FLAWMAP_DATA (default ../shared/data beside the project).
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from running import DATA, HELD_BACK, run_flawmap, split_arguments


@dataclass(frozen=True)
class Goal:
    """A set, and the least figures wanted on its held-back photos."""

    name: str
    wanted: tuple[tuple[str, float], ...]


GOALS = (
    Goal("concrete-tiles", (("f1", 0.96),)),
    Goal("brick-cracks", (("f1", 0.98),)),
    Goal("neu-steel", (("accuracy", 0.99),)),
    Goal("magnetic-tiles", (("accuracy", 0.95), ("macro_f1", 0.91))),
)


def main() -> int:
    """Print a row per set and seed; exit code 1 where a figure is below its goal."""
    ours, for_train = split_arguments(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=[goal.name for goal in GOALS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one held-back part for each")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    asked = parser.parse_args(ours)
    unknown = set(asked.sets) - {goal.name for goal in GOALS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(g.name for g in GOALS)}")
    missing = [name for name in asked.sets if not (DATA / name).is_dir()]
    if missing:
        print(f"skipped, not in {DATA}: {', '.join(missing)} (set FLAWMAP_DATA)")
    print(
        f"{'set':<16} seed  photos  held back  figure     got  {'95 %':<14}  wanted  winner      minutes  MB"
    )
    is_good = True
    for goal in GOALS:
        for seed in asked.seeds if goal.name in asked.sets and goal.name not in missing else ():
            with tempfile.TemporaryDirectory() as scratch:
                folder = asked.keep / f"{goal.name}-{seed}" if asked.keep else Path(scratch)
                is_good &= measure(goal, seed, folder, for_train)
    return 0 if is_good else 1


def measure(goal: Goal, seed: int, folder: Path, for_train: list[str]) -> bool:
    """Train and judge once in `folder`, print the rows, and tell whether every goal is met."""
    held_back = lay_out(goal.name, seed, folder)
    run, figures = folder / "run", folder / "figures.json"
    start = time.monotonic()
    run_flawmap("train", folder / "train", "--out", run, "--seed", seed, "--quiet", "--overwrite", *for_train)
    minutes = (time.monotonic() - start) / 60
    run_flawmap("evaluate", run, folder / "held-back", "--json", figures)
    found = json.loads(figures.read_text(encoding="utf-8"))
    spec = json.loads((run / "model" / "flawmap.json").read_text(encoding="utf-8"))
    megabytes = (run / "model" / "model.onnx").stat().st_size / 1e6
    n_photos = sum(1 for _ in (folder / "train").glob("*/*"))
    for figure, wanted in goal.wanted:
        low, high = found["interval95"][figure]
        print(
            f"{goal.name:<16} {seed:>4}  {n_photos:>6}  {held_back:>9}  {figure:<8} {found[figure]:>5.3f}  "
            f"[{low:.3f}, {high:.3f}]  {wanted:>6.2f}  "
            f"{spec['winner']:<10}  {minutes:>7.1f} {megabytes:>3.1f}",
            flush=True,
        )
    return all(found[figure] >= wanted for figure, wanted in goal.wanted)


def lay_out(name: str, seed: int, folder: Path) -> int:
    """Copy the set to folder/train and folder/held-back; returns how many photos are held back."""
    photos = sorted(p for p in (DATA / name).glob("*/*") if p.is_file())
    groups = [_group(name, photo) for photo in photos]
    labels = [photo.parent.name for photo in photos]
    held_back = draw_groups(groups, labels, seed)
    for photo, is_held_back in zip(photos, held_back, strict=True):
        target = folder / ("held-back" if is_held_back else "train") / photo.parent.name / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, target)
    return int(held_back.sum())


def draw_groups(groups: list[str], labels: list[str], seed: int) -> np.ndarray:
    """(n,) bool: whole groups in random order, each taken while its commonest class still lacks photos."""
    order = np.random.default_rng(seed).permutation(sorted(set(groups)))
    group_of, label_of = np.array(groups), np.array(labels)
    lacking = {label: HELD_BACK * labels.count(label) for label in set(labels)}
    held_back = np.zeros(len(groups), bool)
    for group in order:
        members = group_of == group
        names, counts = np.unique(label_of[members], return_counts=True)
        if lacking[names[counts.argmax()]] >= counts.max() / 2:
            held_back |= members
            for name, count in zip(names, counts, strict=True):
                lacking[name] -= count
    return held_back


def _group(name: str, photo: Path) -> str:
    """The source of a photo: photos of one source stand on one side."""
    if name == "concrete-tiles":
        return _concrete_sources()[f"{photo.parent.name}/{photo.name}"]
    if name == "brick-cracks":
        return f"{photo.parent.name}/{int(photo.stem) // 10}"
    return f"{photo.parent.name}/{photo.name}"


_SOURCES: dict[str, str] = {}


def _concrete_sources() -> dict[str, str]:
    if not _SOURCES:
        with (DATA / "concrete-tiles-photos.csv").open(encoding="utf-8", newline="") as file:
            _SOURCES.update({row["file"]: row["photo"] for row in csv.DictReader(file)})
    return _SOURCES


if __name__ == "__main__":
    sys.exit(main())
