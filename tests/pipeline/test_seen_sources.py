"""Given parts that share sources: counted, and said wherever test photos would be called strangers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from flawmap.pipeline.preparing import Prepared
from flawmap.pipeline.seen_sources import rows_of_seen_sources
from flawmap.pipeline.texts import dataset_lines, evaluation_lines, split_lines
from flawmap.records import Audit, Embeddings, Split
from flawmap.tools.words import held_back_words, kin_words, shared_words, split_words
from report_facts import make_facts


def prepare(root: Path, are_found: bool = False) -> Prepared:
    """Nine photos of three sources, each with one photo in each part, but for the last test photo."""
    facts = make_facts(root, "two classes", 9)
    groups = ("a", "b", "c", "a", "b", "c", "a", "b", "alone")
    split = Split(np.arange(3), np.arange(3, 6), np.arange(6, 9), groups, 0, "as given")
    audit = Audit(groups, "the group column", shared_groups=("a", "b", "c"), are_groups_found=are_found)
    return Prepared(facts.dataset, audit, split, cast(Embeddings, None))


def test_photos_with_kin_in_training_are_counted(tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    rows, learnt = [6, 7, 8], set(prepared.training_digests)
    assert rows_of_seen_sources(prepared.dataset, rows, prepared.split.groups, learnt) == [6, 7]
    twice = learnt | {prepared.dataset.photos[6].digest}  # seen itself, which is told elsewhere
    assert rows_of_seen_sources(prepared.dataset, rows, prepared.split.groups, twice) == [7]


@pytest.mark.parametrize("are_found", [False, True])
def test_the_figures_and_every_line_say_that_sources_are_shared(tmp_path: Path, are_found: bool) -> None:
    prepared = prepare(tmp_path, are_found)
    test = make_facts(tmp_path, "two classes", 9).test
    test = replace(test, metrics=test.metrics | {"notes": [], "n": 3, "claims": []})
    told = prepared.with_seen_sources(test, prepared.split.test)
    have = "appear to have" if are_found else "have"
    kin = f"2 {have} another photo of their source in training"
    assert told.metrics["n_source_seen_in_training"] == 2
    assert told.metrics["notes"] == [f"of 3 photos {kin}: the figures flatter"]
    assert evaluation_lines(told, "test", held_back_words(told.metrics))[0] == f"test: 3 photos ({kin})"
    assert "3 sources in several given parts" in dataset_lines(prepared.dataset, prepared.audit)[2]
    stand = "appear to stand" if are_found else "stand"
    line = f"  3 sources {stand} in several of the given parts; of 3 test photos {kin}: the figures flatter"
    assert split_lines(prepared)[1:] == (line,)
    assert "no source photo" not in split_words(told.metrics) and kin in split_words(told.metrics)


def test_parts_that_share_nothing_are_called_strangers(tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    apart = replace(prepared, split=replace(prepared.split, groups=tuple("aaabbbccc")))
    apart = replace(apart, audit=replace(apart.audit, shared_groups=()))
    test = make_facts(tmp_path, "two classes", 9).test
    told = apart.with_seen_sources(replace(test, metrics=test.metrics | {"notes": []}), apart.split.test)
    assert told.metrics["n_source_seen_in_training"] == 0 and not told.metrics["notes"]
    assert held_back_words(told.metrics) == "of sources never seen" and len(split_lines(apart)) == 1
    assert "no source photo is on both sides" in split_words(told.metrics)


def test_an_uneven_split_is_a_line(tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    uneven = replace(prepared, split=replace(prepared.split, uneven="the sources are too few"))
    assert split_lines(uneven)[1] == "  the sources are too few"


def test_one_photo_and_one_source_are_spelled_as_one() -> None:
    assert kin_words(1, False) == "1 has another photo of its source in training"
    assert shared_words(1, True) == "1 source appears to stand in several of the given parts"
