"""Audits of procedural walls: each "photo" is one surface, cut into tiles whose source is known."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from flawmap.errors import DatasetError, OptionError
from flawmap.records import Audit, Dataset, Embeddings
from flawmap.stages.audit import AuditOptions, audit, audit_to_dict, given_groups
from flawmap.stages.audit.duplicates import shared_groups
from flawmap.tools.photos import read_image, read_images, read_photo

TILE = 96


@cache
def make_wall(seed: int, side: int = 230) -> np.ndarray:
    """(side, side, 3) uint8: grain of its own coarseness, colour and light."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) + 0.01
    slope, gain = rng.uniform(0.3, 1.2), rng.uniform(8, 25)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / frequency**slope, (side, side))
    grain = gain * noise / noise.std()
    colour = rng.uniform(90, 170) + rng.uniform(-30, 30, 3)
    light = np.linspace(-1, 1, side)[None, :] * rng.uniform(-8, 8)
    return np.clip((grain + light)[..., None] + colour, 0, 255).astype(np.uint8)


def embed_simply(dataset: Dataset) -> Embeddings:
    """Colour, spread and roughness of each quarter: stands for a network's pooled maps."""
    quarters, images = [], read_images([photo.path for photo in dataset.photos])
    for image in images:
        assert isinstance(image, np.ndarray)
        grey = image.astype(float).mean(axis=2)
        h, w = grey.shape[0] // 2, grey.shape[1] // 2
        four = [(slice(0, h), slice(0, w)), (slice(0, h), slice(w, None)), (slice(h, None), slice(0, w))]
        four.append((slice(h, None), slice(w, None)))
        quarters.append(
            [
                [
                    *image[q].mean(axis=(0, 1)),
                    grey[q].std(),
                    *(np.abs(grey[q][s:] - grey[q][:-s]).mean() for s in (1, 2, 4)),
                ]
                for q in four
            ]
        )
    values = np.array(quarters, np.float32)
    digests = tuple(photo.digest for photo in dataset.photos)
    return Embeddings(digests, "simple", {0: values.mean(axis=1)}, {0: values.max(axis=1)}, {0: values}, {})


def make_dataset(root: Path, names: Sequence[str], labels: Sequence[str], **extra) -> Dataset:
    order = np.argsort(names)
    photos = tuple(read_photo(root / names[i], names[i]) for i in order)
    known = tuple(sorted(set(labels)))
    targets = np.array([[labels[i] == k for k in known] for i in order], np.uint8)
    return Dataset(root, photos, known, targets, good_labels=("good",), **extra)


def cut(root: Path, n_walls: int, names: Sequence[str] | None = None, step: int = 60) -> SimpleNamespace:
    """Nine tiles of every wall, overlapping where `step` is below TILE; `source` gives each name's wall."""
    names = names or [f"{k:04d}.png" for k in range(9 * n_walls)]
    source = {}
    for k, name in enumerate(names):
        wall, place = divmod(k, 9)
        top, left = (step * p for p in divmod(place, 3))
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_wall(wall, 2 * step + TILE)[top : top + TILE, left : left + TILE]).save(path)
        source[name] = wall
    return SimpleNamespace(
        names=list(names), source=source, labels=["crack" if k % 2 else "good" for k in range(len(names))]
    )


def agreement(found: Audit, dataset: Dataset, source: dict[str, int]) -> tuple[float, float]:
    """Pairwise precision and recall of the groups."""
    truth = [source[photo.name] for photo in dataset.photos]

    def n_pairs(keys: Sequence) -> int:
        return sum(n * (n - 1) for n in Counter(keys).values())

    both = n_pairs(list(zip(found.groups, truth, strict=True)))
    return both / max(n_pairs(found.groups), 1), both / n_pairs(truth)


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Eight walls, overlapping tiles, names that tell nothing."""
    root = tmp_path_factory.mktemp("walls")
    names = [f"{k:04d}.png" for k in np.random.default_rng(0).permutation(72)]
    made = cut(root, 8, names)
    dataset = make_dataset(root, made.names, made.labels)
    embeddings = embed_simply(dataset)
    return SimpleNamespace(
        root=root, made=made, dataset=dataset, embeddings=embeddings, audit=audit(dataset, embeddings)
    )


def test_overlapping_tiles_are_one_source(walls: SimpleNamespace) -> None:
    precision, recall = agreement(walls.audit, walls.dataset, walls.made.source)
    assert precision > 0.9 and recall > 0.9
    assert walls.audit.group_origin == "content" and walls.audit.are_groups_found
    assert not walls.audit.near_duplicates and not walls.audit.exact_duplicates


def test_groups_lie_within_blocks(walls: SimpleNamespace) -> None:
    pairs = set(zip(walls.audit.groups, walls.audit.blocks, strict=True))
    assert len(pairs) == len(set(walls.audit.groups))


def test_rows_in_another_order_give_the_same_groups(walls: SimpleNamespace) -> None:
    order = np.random.default_rng(2).permutation(len(walls.dataset))
    turned = dataclasses.replace(
        walls.dataset,
        photos=tuple(walls.dataset.photos[i] for i in order),
        targets=walls.dataset.targets[order],
        parts=(),
        groups=(),
    )
    found = audit(turned, embed_simply(turned))
    names = [photo.name for photo in turned.photos]
    expected = dict(zip([photo.name for photo in walls.dataset.photos], walls.audit.groups, strict=True))
    assert dict(zip(names, found.groups, strict=True)) == expected


def test_the_json_is_plain_and_complete(walls: SimpleNamespace) -> None:
    facts = json.loads(json.dumps(audit_to_dict(walls.audit, walls.dataset), allow_nan=False))
    assert facts["n_photos"] == len(facts["groups"]) == len(walls.dataset)
    assert facts["n_groups"] == len(set(facts["groups"].values()))
    for key in ("unreadable", "exact_duplicates", "leaks", "near_duplicates", "label_suspects"):
        assert isinstance(facts[key], list)
    assert facts["summary"]["random_split_leak"] > 0.9


def test_file_order_helps_where_it_tells_something(tmp_path: Path) -> None:
    made = cut(tmp_path, 10, step=TILE + 4)
    dataset = make_dataset(tmp_path, made.names, made.labels)
    found = audit(dataset, embed_simply(dataset))
    assert "file order" in found.group_origin
    precision, recall = agreement(found, dataset, made.source)
    assert precision > 0.6 and recall > 0.6


@pytest.mark.slow
def test_prefixes_are_believed_only_where_pictures_agree(tmp_path: Path) -> None:
    names = [f"wall{chr(97 + wall)}_{tile}.png" for wall in range(10) for tile in range(9)]
    made = cut(tmp_path / "true", 10, names, step=TILE + 4)
    dataset = make_dataset(tmp_path / "true", made.names, made.labels)
    found = audit(dataset, embed_simply(dataset))
    assert "beginning of the file names" in found.group_origin
    assert agreement(found, dataset, made.source)[1] == 1.0
    made = cut(tmp_path / "false", 10, np.random.default_rng(0).permutation(names).tolist(), step=TILE + 4)
    dataset = make_dataset(tmp_path / "false", made.names, made.labels)
    assert audit(dataset, embed_simply(dataset)).group_origin == "content"


def test_copies_conflicts_and_leaks(tmp_path: Path) -> None:
    made = cut(tmp_path, 3)
    originals = [Image.fromarray(read_image(tmp_path / name)) for name in made.names[:6]]
    copies = {
        "same.png": originals[0],
        "jpeg.jpg": originals[1],
        "half.png": originals[2].resize((TILE // 2, TILE // 2)),
        "bright.png": ImageEnhance.Brightness(originals[3]).enhance(1.3),
        "mirrored.png": ImageOps.mirror(originals[4]),
        "turned.png": originals[5].rotate(90),
    }
    for name, image in copies.items():
        image.save(tmp_path / name, **({"quality": 60} if name.endswith("jpg") else {}))
    (tmp_path / "same.png").write_bytes((tmp_path / made.names[0]).read_bytes())
    names = [*made.names, *copies]
    labels = [*made.labels, "crack", *made.labels[1:6]]
    parts = {name: "test" for name in copies}
    ordered = sorted(names)
    dataset = make_dataset(tmp_path, names, labels, parts=tuple(parts.get(name, "train") for name in ordered))
    found = audit(dataset, embed_simply(dataset))
    assert found.exact_duplicates == (("0000.png", "same.png"),)
    assert found.conflicting_duplicates == found.exact_duplicates
    expected = {("0001.png", "jpeg.jpg"), ("0002.png", "half.png"), ("0003.png", "bright.png")}
    expected |= {("0004.png", "mirrored.png"), ("0005.png", "turned.png")}
    assert set(found.near_duplicates) == expected
    assert set(found.leaks) == expected | {("0000.png", "same.png")}
    group = dict(zip(ordered, found.groups, strict=True))
    assert all(group[a] == group[b] for a, b in found.leaks)


def test_sources_in_several_given_parts_are_named(tmp_path: Path) -> None:
    made = cut(tmp_path, 1, [f"{i}.png" for i in range(9)], step=TILE)
    parts = ("train", "train", "test", "validation", "test", *[None] * 4)
    groups = ("a", "b", "a", "b", *"ccccc")
    dataset = make_dataset(tmp_path, made.names, made.labels, parts=parts, groups=groups)
    found = audit(dataset, embed_simply(dataset))
    assert found.shared_groups == ("a", "b") and not found.leaks
    assert audit_to_dict(found, dataset)["shared_groups"] == ["a", "b"]
    # The copy of a test photo is left out of training: its source is then in one part only.
    assert shared_groups(dataset, groups, [(0, 2)]) == ["b"]


def test_parallel_grooves_are_no_overlap(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"{k:03d}.png" for k in range(40)]
    for name in names:
        grooves = np.repeat(rng.normal(0, 20, TILE)[None], TILE, axis=0) + rng.normal(0, 4, (TILE, TILE))
        Image.fromarray(np.clip(128 + grooves, 0, 255).astype(np.uint8)).save(tmp_path / name)
    dataset = make_dataset(tmp_path, names, ["crack", "good"] * 20)
    found = audit(dataset, embed_simply(dataset))
    assert found.summary["n_overlapping_pairs"] == 0
    assert found.summary["modes"] == {"colour": 0, "grey": 40}


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_photos_are_no_bug(tmp_path: Path, n: int) -> None:
    names = [f"{k}.png" for k in range(n)]
    for k, name in enumerate(names):
        noise = np.random.default_rng(k).integers(0, 255, (TILE, TILE, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    dataset = make_dataset(tmp_path, names, ["good", "crack"][:n])
    assert len(audit(dataset, embed_simply(dataset)).groups) == n


def test_a_wrong_label_is_suspected(walls: SimpleNamespace) -> None:
    targets = np.zeros_like(walls.dataset.targets)
    values = walls.embeddings.average[0]
    is_bright = values[:, 0] > np.median(values[:, 0])
    targets[np.arange(len(targets)), is_bright.astype(int)] = 1
    brightest = int(values[:, 0].argmax())
    targets[brightest] = targets[brightest, ::-1]
    dataset = dataclasses.replace(walls.dataset, targets=targets)
    groups = tuple(f"g{i % 30}" for i in range(len(dataset)))
    dataset = dataclasses.replace(dataset, groups=groups)
    strong = dataclasses.replace(
        walls.embeddings,
        average={0: np.repeat(values[:, :1], 60, axis=1)},
        maximum={0: np.repeat(values[:, :1], 60, axis=1)},
    )
    suspects = audit(dataset, strong, AuditOptions(min_suspect_score=0.8)).label_suspects
    assert [suspect.path for suspect in suspects] == [dataset.photos[brightest].name]
    assert suspects[0].label != suspects[0].suggested


def test_given_groups_win(walls: SimpleNamespace) -> None:
    given = (*(f"column{i % 5}" for i in range(len(walls.dataset) - 1)), None)
    dataset = dataclasses.replace(walls.dataset, groups=given)
    names = [photo.name for photo in dataset.photos]
    assert given_groups(dataset, AuditOptions()) == (*given[:-1], names[-1])
    found = audit(dataset, walls.embeddings)
    assert found.groups == (*given[:-1], names[-1]) and found.group_origin == "the group column"
    assert not found.are_groups_found
    by_digit = given_groups(dataset, AuditOptions(group_by=r"^(\d)"))
    assert by_digit == tuple(name[0] for name in names)
    assert given_groups(dataset, AuditOptions(group_by=r"^\d\d")) == tuple(name[:2] for name in names)
    assert given_groups(walls.dataset, AuditOptions()) is None


@pytest.mark.parametrize("pattern", ["(", "no such name"])
def test_a_pattern_that_does_not_work_is_an_option_error(walls: SimpleNamespace, pattern: str) -> None:
    with pytest.raises(OptionError, match="--group-by"):
        given_groups(walls.dataset, AuditOptions(group_by=pattern))


def test_embeddings_of_other_photos_are_refused(walls: SimpleNamespace) -> None:
    other = dataclasses.replace(walls.embeddings, digests=walls.embeddings.digests[::-1])
    with pytest.raises(DatasetError, match="embed the data set again"):
        audit(walls.dataset, other)
