"""Splits over hand-made groups: every rule that a split keeps, without a single picture."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import DatasetError, OptionError
from flawmap.records import Audit, Dataset, Photo, Split
from flawmap.stages.split import SplitOptions, split, tell_left_out, write_splits

PARTS = ("train", "validation", "test")


def make(
    n_groups: int = 40,
    seed: int = 0,
    n_labels: int = 2,
    parts: tuple | None = None,
    is_multilabel: bool = False,
) -> tuple[Dataset, Audit]:
    """Groups of 1 to 12 photos, each with its own mix of labels."""
    rng = np.random.default_rng(seed)
    groups = [f"g{k}" for k in range(n_groups) for _ in range(rng.integers(1, 13))]
    n = len(groups)
    if is_multilabel:
        targets = (rng.random((n, n_labels)) < 0.3).astype(np.uint8)
    else:
        lean = {f"g{k}": rng.dirichlet(np.ones(n_labels)) for k in range(n_groups)}
        targets = np.zeros((n, n_labels), np.uint8)
        for i, group in enumerate(groups):
            targets[i, rng.choice(n_labels, p=lean[group])] = 1
    photos = tuple(
        Photo(Path(f"{i}.png"), f"{i:05d}.png", f"{rng.integers(1 << 60):064x}", (8, 8)) for i in range(n)
    )
    labels = tuple("abcdefgh"[:n_labels])
    dataset = Dataset(Path(), photos, labels, targets, is_multilabel=is_multilabel, parts=parts or ())
    return dataset, Audit(tuple(groups), "test")


def rows_of(found: Split) -> dict[str, np.ndarray]:
    return {name: getattr(found, name) for name in PARTS}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n_labels", "is_multilabel"), [(2, False), (6, False), (4, True)])
def test_groups_stay_whole_and_shares_even(seed: int, n_labels: int, is_multilabel: bool) -> None:
    dataset, audit = make(n_groups=60, n_labels=n_labels, is_multilabel=is_multilabel)
    found = split(dataset, audit, SplitOptions(seed=seed))
    place = {row: name for name, rows in rows_of(found).items() for row in rows}
    for group in set(audit.groups):
        assert len({place[i] for i, g in enumerate(audit.groups) if g == group}) == 1
    overall = dataset.targets.mean(axis=0)
    for rows in rows_of(found).values():
        assert np.abs(dataset.targets[rows].mean(axis=0) - overall).max() <= 0.05
    assert 0.15 <= len(found.test) / len(dataset) <= 0.25
    assert 0.15 <= len(found.validation) / len(dataset) <= 0.25


def test_seed_and_content_decide_whatever_the_order_and_names() -> None:
    dataset, audit = make()
    first = split(dataset, audit, SplitOptions(seed=3))
    order = np.random.default_rng(1).permutation(len(dataset))
    photos = tuple(
        Photo(dataset.photos[i].path, f"renamed{i}.png", dataset.photos[i].digest, (8, 8)) for i in order
    )
    turned = Dataset(Path(), photos, dataset.labels, dataset.targets[order])
    again = split(
        turned, Audit(tuple(f"other{audit.groups[i]}" for i in order), "test"), SplitOptions(seed=3)
    )
    for name in PARTS:
        digests = {dataset.photos[i].digest for i in getattr(first, name)}
        assert digests == {photos[i].digest for i in getattr(again, name)}
    other = split(dataset, audit, SplitOptions(seed=4))
    assert set(first.test.tolist()) != set(other.test.tolist())


def test_blocks_stay_whole() -> None:
    dataset, audit = make(n_groups=80)
    blocks = tuple(f"b{int(group[1:]) // 3}" for group in audit.groups)
    found = split(dataset, Audit(audit.groups, "test", blocks=blocks))
    for block in set(blocks):
        mine = {i for i, b in enumerate(blocks) if b == block}
        assert sum(bool(mine & set(rows.tolist())) for rows in rows_of(found).values()) == 1


def test_blocks_too_coarse_to_split_evenly_give_way_to_groups() -> None:
    dataset, audit = make(n_groups=80)
    blocks = tuple("one" if int(group[1:]) < 60 else group for group in audit.groups)
    found = split(dataset, Audit(audit.groups, "test", blocks=blocks))
    assert 0.15 <= len(found.test) / len(dataset) <= 0.25


def test_too_few_groups_of_a_class_name_the_option() -> None:
    dataset, audit = make(n_groups=2)
    with pytest.raises(DatasetError, match="--group-by"):
        split(dataset, audit)


def test_a_split_that_sources_do_not_allow_is_not_called_even() -> None:
    sizes = {"A": (26, 5), "B": (2, 5), "C": (2, 20)}
    groups = [group for group, counts in sizes.items() for _ in range(sum(counts))]
    targets = np.array([row for n, m in sizes.values() for row in [(1, 0)] * n + [(0, 1)] * m], np.uint8)
    photos = tuple(Photo(Path(f"{i}.png"), f"{i:02}.png", f"{i:064x}", (8, 8)) for i in range(60))
    dataset = Dataset(Path(), photos, ("crack", "good"), targets, ("good",))
    found = split(dataset, Audit(tuple(groups), "test"))
    assert "even class shares" not in found.why and found.uneven in found.why
    assert found.uneven.startswith("the sources are too few or too large to share out evenly: ")
    for name, rows in rows_of(found).items():
        crack = targets[rows, 0].mean()
        said = f"{name} holds {100 * crack:.0f} % crack, the set 50 %"
        assert (said in found.uneven) == (abs(crack - 0.5) > 0.05)
    for name in ("test", "validation"):
        share = len(getattr(found, name)) / 60
        assert f"{name} {100 * share:.0f} %" in found.why
        said = f"{name} holds {100 * share:.0f} % of the photos, 20 % were wanted"
        assert (said in found.uneven) == (abs(share - 0.2) > 0.05)
    even = split(*make(n_groups=60))
    assert not even.uneven and even.why.endswith("with even class shares")


def test_given_parts_are_kept() -> None:
    dataset, audit = make()
    n = len(dataset)
    rng = np.random.default_rng(0)
    parts = tuple(rng.choice(PARTS, n).tolist())
    found = split(Dataset(Path(), dataset.photos, dataset.labels, dataset.targets, parts=parts), audit)
    for name in PARTS:
        assert getattr(found, name).tolist() == [i for i in range(n) if parts[i] == name]


@pytest.mark.parametrize(("missing", "given"), [("validation", "test"), ("test", "validation")])
def test_a_missing_part_is_cut_from_training_by_group(missing: str, given: str) -> None:
    dataset, audit = make(n_groups=60)
    is_given = [int(group[1:]) % 5 == 0 for group in audit.groups]
    parts = tuple(given if mine else "train" for mine in is_given)
    found = split(Dataset(Path(), dataset.photos, dataset.labels, dataset.targets, parts=parts), audit)
    assert getattr(found, given).tolist() == np.flatnonzero(is_given).tolist()
    cut = getattr(found, missing)
    assert 0.15 < len(cut) / len(dataset) < 0.25
    assert not {audit.groups[i] for i in cut} & {audit.groups[i] for i in found.train}


def test_training_photos_that_stand_in_another_part_are_left_out(tmp_path: Path) -> None:
    dataset, audit = make()
    parts = tuple(PARTS[i % 3] for i in range(len(dataset)))
    names = [photo.name for photo in dataset.photos]
    audit = Audit(audit.groups, "test", leaks=((names[0], names[2]), (names[4], names[5])))
    dataset = Dataset(Path(), dataset.photos, dataset.labels, dataset.targets, parts=parts)
    found = split(dataset, audit)
    assert found.left_out.tolist() == [0]
    assert {2, 5} <= set(found.test.tolist()) and 4 in found.validation
    told = tell_left_out(found, dataset, audit)
    assert [(one.path, one.reason) for one in told] == [
        (names[0], f"left out of training: the same photo as {names[2]}, of the test part")
    ]
    path = tmp_path / "splits.csv"
    write_splits(found, dataset, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == names
    assert Counter(row["split"] for row in rows)["left out"] == 1
    assert rows[0] == {
        "path": names[0],
        "label": rows[0]["label"],
        "split": "left out",
        "group": audit.groups[0],
    }


def test_shares_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="test_share"):
        SplitOptions(test_share=0.7)
