"""Rankings of made-up backbones whose best cut, ties and costs are known."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import DatasetError, OptionError
from flawmap.records import Cut, CutCost, Dataset, Embeddings, Photo, Split
from flawmap.stages import rank as rank_stage
from flawmap.stages.rank import RankOptions, fit_probe, nearest, rank, write_ranking

N, N_GROUPS = 160, 32


@pytest.fixture
def options(tmp_path: Path) -> RankOptions:
    return RankOptions(cache=tmp_path / "cache", n_resamples=300)


def make_dataset(n: int = N, n_labels: int = 2, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    names = [f"{i:04d}.png" for i in range(n)]
    photos = tuple(Photo(Path(name), name, f"{rng.integers(2**60):032x}", (64, 64)) for name in names)
    labels = ("good", "crack", "pit")[:n_labels]
    targets = np.eye(n_labels, dtype=np.uint8)[np.arange(n) % n_labels]
    return Dataset(Path(), photos, labels, targets, ("good",))


def make_split(dataset: Dataset) -> Split:
    rows = np.arange(len(dataset))
    part = rows // (len(dataset) // N_GROUPS) % 5
    groups = tuple(f"g{row // (len(dataset) // N_GROUPS)}" for row in rows)
    return Split(rows[part < 3], rows[part == 3], rows[part == 4], groups, 0, "made up")


def make_embeddings(
    dataset: Dataset, name: str, clarity: dict[int, float], macs: int = 100, seed: int = 0, d: int = 12
) -> Embeddings:
    """At each depth `d` channels, the first of which tells the classes apart by `clarity` of its noise."""
    rng = np.random.default_rng(seed)
    average, maximum, costs = {}, {}, {}
    for depth, amount in clarity.items():
        values = rng.normal(size=(len(dataset), d)).astype(np.float32)
        values[:, 0] += amount * dataset.targets.argmax(axis=1)
        average[depth] = values
        maximum[depth] = rng.normal(size=(len(dataset), d)).astype(np.float32)
        costs[depth] = CutCost(depth, d, 10 * (depth + 1), 40 * (depth + 1), macs * (depth + 1))
    digests = tuple(photo.digest for photo in dataset.photos)
    return Embeddings(digests, name, average, maximum, {}, costs, ms_per_photo=8.0)


def test_the_depth_that_tells_the_classes_apart_wins(options: RankOptions) -> None:
    dataset = make_dataset()
    one = make_embeddings(dataset, "a", {0: 0.5, 1: 8.0, 2: 1.0})
    ranking = rank([one], dataset, make_split(dataset), options)
    assert ranking.chosen.cut == Cut(1, "average") and ranking.chosen.f1 > 0.95
    assert len(ranking.candidates) == 6 and ranking.n_folds == 5
    assert [c.f1 for c in ranking.candidates] == sorted((c.f1 for c in ranking.candidates), reverse=True)
    assert ranking.control.cut == Cut(2, "average") and ranking.control.f1 < 0.85
    assert 0 < ranking.control.standard_error < 0.15
    assert ranking.candidates[0].ms_per_photo == pytest.approx(8.0 * 2 / 3)


def test_of_equals_the_cheaper_is_chosen_unless_accuracy_alone_counts(options: RankOptions) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    dear = make_embeddings(dataset, "dear", {0: 9.0}, macs=900)
    cheap = make_embeddings(dataset, "cheap", {0: 9.0}, macs=5, seed=1)
    small = replace(make_embeddings(dataset, "small", {0: 9.0}, seed=2), costs={0: CutCost(0, 12, 1, 4, 500)})
    embeddings = [dear, cheap, small]
    for prefer, wanted in (("balanced", "cheap"), ("speed", "cheap"), ("size", "small")):
        found = rank(embeddings, dataset, split, replace(options, prefer=prefer))
        assert found.chosen.backbone_id == wanted and found.prefer == prefer
    best = rank(embeddings, dataset, split, replace(options, prefer="accuracy"))
    assert best.chosen == best.candidates[0]


def test_the_reason_is_in_words(options: RankOptions) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    dear = make_embeddings(dataset, "dear", {0: 9.0}, macs=900)
    cheap = make_embeddings(dataset, "cheap", {0: 9.0}, macs=5, seed=1)
    good = make_embeddings(dataset, "good", {3: 6.0}, macs=900)
    poor = make_embeddings(dataset, "poor", {0: 0.5}, macs=5, seed=1)
    for one in (good, poor):
        one.maximum.clear()
    several = rank([dear, cheap], dataset, split, options).why
    assert re.search(
        r"^the cheapest of the [234] \(among 4 candidates\) that lose under .* a lead counts as no loss",
        several,
    )
    alone = rank([good, poor], dataset, split, options).why
    assert alone.startswith("the best F1 of 2 candidates (F1 ") and "every other loses 0.5 points" in alone
    assert "every other lies more" in rank([good, poor], dataset, split, replace(options, prefer="size")).why
    assert rank([good], dataset, split, options).why.startswith("the only candidate (F1 ")
    assert not any(re.search(r"\d:|\+|of 1 candidate", why) for why in (several, alone))
    assert Cut(2, "average+maximum").words == "depth 2, average and maximum pooled"


def test_balanced_pays_for_a_clear_gain_and_speed_pays_for_no_noise(options: RankOptions) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    good = make_embeddings(dataset, "good", {0: 6.0}, macs=900)
    poor = make_embeddings(dataset, "poor", {0: 1.0}, macs=5, seed=1)
    for prefer in ("balanced", "accuracy", "size", "speed"):
        found = rank([poor, good], dataset, split, replace(options, prefer=prefer))
        assert found.chosen.backbone_id == "good"


def test_beside_a_shallow_choice_stands_a_deep_one(options: RankOptions) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    alike = [make_embeddings(dataset, "a", {0: 9.0, 1: 9.0, 2: 9.0, 3: 9.0})]
    found = rank(alike, dataset, split, options)
    assert found.chosen.cut.depth == 0 and found.deeper is not None
    assert found.deeper.cut.depth == 1, "the cheapest of those that cost half of the whole or more"
    for other in ({"prefer": "size"}, {"prefer": "speed"}, {"max_depth": 0}):
        assert rank(alike, dataset, split, replace(options, **other)).deeper is None  # type: ignore[arg-type]
    deep = [make_embeddings(dataset, "a", {0: 0.5, 1: 0.5, 2: 9.0, 3: 9.0})]
    assert rank(deep, dataset, split, options).deeper is None


def test_the_test_part_is_never_looked_at(options: RankOptions) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    one = make_embeddings(dataset, "a", {0: 1.5})
    spoiled = make_embeddings(dataset, "a", {0: 1.5})
    spoiled.average[0][split.test] = 1e6
    targets = dataset.targets.copy()
    targets[split.test] = targets[split.test][:, ::-1]
    first = rank([one], dataset, split, options)
    second = rank(
        [spoiled], replace(dataset, targets=targets), split, replace(options, cache=options.cache / "b")
    )
    assert [(c.cut, c.f1, c.standard_error) for c in first.candidates] == [
        (c.cut, c.f1, c.standard_error) for c in second.candidates
    ]


def test_order_and_names_of_the_files_change_nothing(options: RankOptions) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    one = make_embeddings(dataset, "a", {0: 1.5, 1: 2.0})
    first = rank([one], dataset, split, options)
    order = np.random.default_rng(0).permutation(N)
    where = np.argsort(order)
    photos = tuple(replace(dataset.photos[old], name=f"x{new}.png") for new, old in enumerate(order))
    moved = Dataset(Path(), photos, dataset.labels, dataset.targets[order], dataset.good_labels)
    parts = [np.sort(where[part]) for part in (split.train, split.validation, split.test)]
    moved_split = Split(*parts, tuple(f"z{split.groups[old]}" for old in order), 0, "made up")
    turned = replace(
        one,
        digests=tuple(photo.digest for photo in photos),
        average={k: v[order] for k, v in one.average.items()},
        maximum={k: v[order] for k, v in one.maximum.items()},
    )
    second = rank([turned], moved, moved_split, replace(options, cache=options.cache / "b"))
    for a, b in zip(first.candidates, second.candidates, strict=True):
        assert replace(a, elapsed_s=0.0) == replace(b, elapsed_s=0.0)
    third = rank([turned], moved, moved_split, options)
    assert third == first


def test_a_second_ranking_fits_nothing_and_is_equal(
    options: RankOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    one = make_embeddings(dataset, "a", {0: 1.5})
    first = rank([one], dataset, split, options)

    def refuse(*_: object) -> None:
        raise AssertionError("a probe was fitted again")

    monkeypatch.setattr(rank_stage, "_score", refuse)
    assert rank([one], dataset, split, options) == first
    assert rank([one], dataset, split, replace(options, prefer="size")).candidates == first.candidates
    changed = make_embeddings(dataset, "a", {0: 1.5001})
    with pytest.raises(AssertionError, match="fitted again"):
        rank([changed], dataset, split, options)


def test_a_damaged_cache_file_is_made_again(options: RankOptions) -> None:
    dataset = make_dataset()
    split = make_split(dataset)
    one = make_embeddings(dataset, "a", {0: 1.5})
    first = rank([one], dataset, split, options)
    assert options.cache is not None
    (kept,) = (options.cache / "rankings").iterdir()
    for content in ('{"0:average": {"printed": "zz"}}', "[]", ""):
        kept.write_text(content)
        again = rank([one], dataset, split, options)
        assert [c.f1 for c in again.candidates] == [c.f1 for c in first.candidates]


def test_max_depth_limits_the_choice_but_not_the_control(options: RankOptions) -> None:
    dataset = make_dataset()
    one = make_embeddings(dataset, "a", {0: 1.0, 1: 2.0, 2: 8.0})
    ranking = rank([one], dataset, make_split(dataset), replace(options, max_depth=1, prefer="accuracy"))
    assert ranking.chosen.cut.depth == 1
    assert ranking.control.cut == Cut(2, "average") and ranking.control.note
    assert {c.cut.depth for c in ranking.choosable} == {0, 1}
    assert len(ranking.choosable) == 4 and len(ranking.candidates) == 5
    assert "of 4 candidates" in ranking.why
    shallow = make_embeddings(dataset, "b", {3: 1.0})
    with pytest.raises(OptionError, match="max_depth is 1"):
        rank([shallow], dataset, make_split(dataset), replace(options, max_depth=1))


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_several_classes_and_several_labels_rank_too(options: RankOptions, is_multilabel: bool) -> None:
    dataset = replace(make_dataset(n_labels=3), is_multilabel=is_multilabel)
    one = make_embeddings(dataset, "a", {0: 9.0, 1: 0.5})
    ranking = rank([one], dataset, make_split(dataset), options)
    assert ranking.chosen.cut.depth == 0
    assert ranking.chosen.f1 > (0.6 if is_multilabel else 0.95)


def test_too_few_photos_are_refused(options: RankOptions) -> None:
    dataset = make_dataset(2)
    one = make_embeddings(dataset, "a", {0: 1.0})
    rows = np.arange(2)
    with pytest.raises(DatasetError, match="at least 2 photos"):
        rank([one], dataset, Split(rows[:1], rows[:0], rows[1:], ("a", "b"), 0, ""), options)


@pytest.mark.parametrize("wrong", [{"n_folds": 1}, {"max_depth": -1}, {"n_resamples": 1}])
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        RankOptions(**wrong)  # type: ignore[arg-type]


def test_a_probe_sees_only_its_rows_and_speaks_of_raw_features() -> None:
    dataset = make_dataset()
    one = make_embeddings(dataset, "a", {0: 8.0})
    rows = np.arange(0, N, 2) // 2 * 2 + np.arange(N // 2) % 2
    head = fit_probe(one, Cut(0, "average+maximum"), 0.1, dataset, rows)
    assert head.weight.shape == (2, 24) and head.weight.dtype == np.float32
    logits = one.features(Cut(0, "average+maximum")) @ head.weight.T + head.bias
    assert (logits.argmax(axis=1) == dataset.class_indices).mean() > 0.97
    one.average[0][np.setdiff1d(np.arange(N), rows)] = 1e5
    again = fit_probe(one, Cut(0, "average+maximum"), 0.1, dataset, rows)
    assert (again.weight == head.weight).all() and (again.bias == head.bias).all()


def test_the_nearest_photos_come_first() -> None:
    dataset = make_dataset(40)
    store = make_embeddings(dataset, "a", {0: 0.0, 1: 0.0, 2: 0.0})
    asked = replace(
        store,
        digests=store.digests[:1],
        average={k: 1.01 * v[17:18] for k, v in store.average.items()},
        maximum={k: v[17:18] for k, v in store.maximum.items()},
    )
    rows, likeness = nearest(asked, store, 5)
    assert rows[0] == 17 and likeness[0] > 0.99 and len(rows) == 5
    assert likeness.tolist() == sorted(likeness.tolist(), reverse=True) and likeness.max() <= 1.0001


def test_ranking_csv_has_a_row_per_candidate_and_one_choice(options: RankOptions, tmp_path: Path) -> None:
    dataset = make_dataset()
    one = replace(make_embeddings(dataset, "a", {0: 3.0, 1: 1.0}), ms_per_photo=float("nan"))
    ranking = rank([one], dataset, make_split(dataset), options)
    write_ranking(ranking, tmp_path / "run" / "ranking.csv")
    with (tmp_path / "run" / "ranking.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4 and [row["chosen"] for row in rows].count("yes") == 1
    wanted = {"backbone", "depth", "pooling", "parameters", "bytes", "MACs", "ms per photo", "F1"}
    assert wanted | {"standard error", "seconds spent", "C", "chosen"} <= set(rows[0])
    assert rows[0]["ms per photo"] == "" and float(rows[0]["F1"]) == pytest.approx(
        ranking.candidates[0].f1, abs=1e-5
    )
    assert not list((tmp_path / "run").glob("*.part"))
