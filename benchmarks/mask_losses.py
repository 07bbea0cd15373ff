"""Losses for thin and rare flaws, compared on the same photos: python benchmarks/mask_losses.py [SET …]

Every loss trains the same network on the same split with the same seed and as many epochs, without the last
ones on validation photos; the figures are of the validation part, which decides, and of the test part, each
at the threshold chosen on validation.
Photos are read from $FLAWMAP_DATA (default ../shared/data beside the project). What follows `--` is handed
to `flawmap train`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import get_args

from running import DATA, run_flawmap, split_arguments

from flawmap.stages.train.options import MaskLoss

FIGURES = ("f1", "f1_tolerant", "cldice", "mean_iou")


def main() -> None:
    """Print a row per set and loss."""
    ours, for_train = split_arguments(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", default=["crackforest", "deepcrack"])
    parser.add_argument("--losses", nargs="+", default=list(get_args(MaskLoss)), choices=get_args(MaskLoss))
    parser.add_argument("--epochs", type=int, default=15)
    asked = parser.parse_args(ours)
    names = "".join(f"{name:>13}" for name in FIGURES)
    print(f"{'set':<14}{'loss':<13}{'part':<11}{names}")
    for name in asked.sets:
        for loss in asked.losses:
            with tempfile.TemporaryDirectory() as scratch:
                found = train(DATA / name, loss, asked.epochs, Path(scratch), for_train)
            for part in ("validation", "test"):
                row = "".join(f"{found[part][figure]:>13.3f}" for figure in FIGURES)
                print(f"{name:<14}{loss:<13}{part:<11}{row}", flush=True)


def train(dataset: Path, loss: str, epochs: int, scratch: Path, for_train: list[str]) -> dict:
    """The figures of one run."""
    options = scratch / "options.toml"
    options.write_text(f'[train_masks]\nloss = "{loss}"\nrefit_share = 0\n', encoding="utf-8")
    run = scratch / "run"
    run_flawmap(
        "train", dataset, "--out", run, "--config", options, "--epochs", epochs, "--quiet", *for_train
    )
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
