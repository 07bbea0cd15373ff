"""Sources and splits of real tiles, held against the list of photos that they were cut from."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap.records import Audit, Dataset, Embeddings, Split
from flawmap.stages.audit import audit
from flawmap.stages.dataset import read_dataset
from flawmap.stages.embed import EmbedOptions, embed
from flawmap.stages.split import SplitOptions, split
from flawmap.tools.zoo import default_entries

pytest.importorskip("torch")
pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def tiles(
    real_sets: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Dataset, Embeddings, Audit, np.ndarray]:
    """The concrete tiles, how the audit sees them, what it finds, and the true photo of each."""
    with (real_sets / "concrete-tiles-photos.csv").open(newline="", encoding="utf-8") as file:
        photo_of = {row["file"]: row["photo"] for row in csv.DictReader(file)}
    dataset = read_dataset(real_sets / "concrete-tiles")
    options = EmbedOptions(cache=tmp_path_factory.mktemp("cache"))
    embeddings = embed(dataset.photos, default_entries()[0], options)
    truth = np.array([photo_of[photo.name] for photo in dataset.photos])
    return dataset, embeddings, audit(dataset, embeddings), truth


def parts(found: Split) -> list[np.ndarray]:
    return [found.train, found.validation, found.test]


def test_few_photos_stand_on_two_sides(tiles) -> None:
    dataset, _, found, truth = tiles
    leaks = []
    for seed in range(3):
        dealt = split(dataset, found, SplitOptions(seed=seed))
        leaks.append(np.isin(truth[dealt.test], truth[dealt.train]).mean())
    assert max(leaks) < 0.1, leaks


def test_found_sources_are_hardly_ever_two_photos(tiles) -> None:
    _, _, found, truth = tiles
    groups = np.unique(np.array(found.groups), return_inverse=True)[1]
    photos = np.unique(truth, return_inverse=True)[1]
    counts = np.zeros((groups.max() + 1, photos.max() + 1))
    np.add.at(counts, (groups, photos), 1)
    assert counts.max(axis=1).sum() / len(truth) > 0.9
    assert 0.5 < len(counts) / counts.shape[1] < 2


def test_class_shares_are_even(tiles) -> None:
    dataset, _, found, _ = tiles
    dealt = split(dataset, found, SplitOptions())
    overall = dataset.targets.mean(axis=0)
    for rows, share in zip(parts(dealt), (0.6, 0.2, 0.2), strict=True):
        assert np.abs(dataset.targets[rows].mean(axis=0) - overall).max() < 0.05
        assert abs(len(rows) / len(dataset) - share) < 0.05


def test_the_order_of_the_files_decides_nothing(tiles) -> None:
    dataset, embeddings, found, _ = tiles
    order = np.random.default_rng(0).permutation(len(dataset))

    def turned(maps: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {depth: values[order] for depth, values in maps.items()}

    mixed = replace(
        dataset,
        photos=tuple(dataset.photos[i] for i in order),
        targets=dataset.targets[order],
        parts=(),
        groups=(),
    )
    rows = replace(
        embeddings,
        digests=tuple(embeddings.digests[i] for i in order),
        average=turned(embeddings.average),
        maximum=turned(embeddings.maximum),
        quadrants=turned(embeddings.quadrants),
    )
    again = audit(mixed, rows)
    assert {p.name: g for p, g in zip(mixed.photos, again.groups, strict=True)} == {
        p.name: g for p, g in zip(dataset.photos, found.groups, strict=True)
    }
    for one, other in zip(parts(split(dataset, found)), parts(split(mixed, again)), strict=True):
        assert {dataset.photos[i].name for i in one} == {mixed.photos[i].name for i in other}
