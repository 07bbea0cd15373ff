"""How much a split leaks when sources have to be found: python benchmarks/split_leakage.py [FLAWMAP_DATA]

For `concrete-tiles`, with the files as named and with names dealt out anew within each class (which also
destroys the order): pairwise precision and recall of the source groups, and per seed the share of test tiles
whose true photo also has tiles in training ("leak"), in validation, or in either; beside them a random split.
The truth, `concrete-tiles-photos.csv`, is read by this script only.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from flawmap.records import Audit, Dataset, Embeddings, Split
from flawmap.stages.audit import audit
from flawmap.stages.dataset import read_dataset
from flawmap.stages.embed import embed
from flawmap.stages.split import SplitOptions, split
from flawmap.tools.zoo import default_entries


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, nargs="?", default=Path(os.environ.get("FLAWMAP_DATA", "../shared/data"))
    )
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data / "concrete-tiles")
    with (arguments.data / "concrete-tiles-photos.csv").open(newline="") as file:
        truth = {row["file"]: row["photo"] for row in csv.DictReader(file)}
    embeddings = embed(dataset.photos, default_entries()[0])
    print(f"{len(dataset)} tiles of {len(set(truth.values()))} photos; {embeddings.backbone_id}")
    source = {photo.digest: truth[photo.name] for photo in dataset.photos}
    random = [_random_split(dataset, seed) for seed in range(arguments.seeds)]
    _print_leaks("random split", [_leaks(found, dataset, source) for found in random])
    for title, named, rows in (
        ("as named", dataset, embeddings),
        ("names shuffled", *_shuffled(dataset, embeddings)),
    ):
        start = time.perf_counter()
        found = audit(named, rows)
        elapsed_s = time.perf_counter() - start
        precision, recall = _agreement(found, named, source)
        print(
            f"\n{title}: {len(set(found.groups))} groups from {found.group_origin} in {elapsed_s:.1f} s; the "
            f"largest {found.summary['largest_group']}; pairs: precision {precision:.3f}, recall {recall:.3f}"
        )
        splits = [split(named, found, SplitOptions(seed=seed)) for seed in range(arguments.seeds)]
        _print_leaks(title, [_leaks(one, named, source) for one in splits])
        for seed, one in enumerate(splits):
            print(f"  seed {seed}: {_shape(one, named)}")


def _shuffled(dataset: Dataset, embeddings: Embeddings) -> tuple[Dataset, Embeddings]:
    """The same tiles, every name given to another tile of the class; rows sorted by the new names."""
    rng = np.random.default_rng(0)
    names = [photo.name for photo in dataset.photos]
    for label in range(len(dataset.labels)):
        rows = np.flatnonzero(dataset.targets[:, label])
        for row, other in zip(rows, rng.permutation(rows), strict=True):
            names[row] = dataset.photos[other].name
    order = sorted(range(len(dataset)), key=lambda i: names[i])
    photos = tuple(replace(dataset.photos[i], name=names[i]) for i in order)
    moved = replace(dataset, photos=photos, targets=dataset.targets[order], parts=(), groups=())
    rows = replace(
        embeddings,
        digests=tuple(photo.digest for photo in photos),
        average={depth: values[order] for depth, values in embeddings.average.items()},
        maximum={depth: values[order] for depth, values in embeddings.maximum.items()},
        quadrants={depth: values[order] for depth, values in embeddings.quadrants.items()},
    )
    return moved, rows


def _random_split(dataset: Dataset, seed: int) -> Split:
    order = np.random.default_rng(seed).permutation(len(dataset))
    n = len(dataset) // 5
    parts = [np.sort(rows) for rows in (order[2 * n :], order[n : 2 * n], order[:n])]
    return Split(*parts, groups=tuple(map(str, range(len(dataset)))), seed=seed, why="random")


def _leaks(found: Split, dataset: Dataset, source: dict[str, str]) -> tuple[float, float, float]:
    """Share of test tiles whose photo has tiles in training, in validation, in either."""
    photo = np.array([source[p.digest] for p in dataset.photos])
    in_training = np.isin(photo[found.test], photo[found.train])
    in_validation = np.isin(photo[found.test], photo[found.validation])
    return in_training.mean(), in_validation.mean(), (in_training | in_validation).mean()


def _print_leaks(title: str, leaks: list[tuple[float, float, float]]) -> None:
    table = np.array(leaks)
    for name, column in zip(("training", "validation", "either"), table.T, strict=True):
        seeds = " ".join(f"{value:.3f}" for value in column)
        spread = column.std(ddof=1) if len(column) > 1 else 0.0
        print(f"  {title}: photo also in {name:<10} {column.mean():.3f} ± {spread:.3f}  ({seeds})")


def _agreement(found: Audit, dataset: Dataset, source: dict[str, str]) -> tuple[float, float]:
    photo = [source[p.digest] for p in dataset.photos]

    def n_pairs(keys: list) -> int:
        return sum(n * (n - 1) for n in Counter(keys).values())

    both = n_pairs(list(zip(found.groups, photo, strict=True)))
    return both / max(n_pairs(list(found.groups)), 1), both / n_pairs(photo)


def _shape(found: Split, dataset: Dataset) -> str:
    overall = dataset.targets.mean(axis=0)
    parts = (found.train, found.validation, found.test)
    off = max(np.abs(dataset.targets[rows].mean(axis=0) - overall).max() for rows in parts)
    shares = "/".join(f"{100 * len(rows) / len(dataset):.0f}" for rows in parts)
    n_groups = len({found.groups[i] for i in found.test})
    return f"{shares} %, class shares off by {100 * off:.1f} points at most, {n_groups} groups in test"


if __name__ == "__main__":
    main()
