"""Evaluated photos of whose source the model knows other photos: given parts may share sources."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from flawmap.records import Dataset, Evaluation, MaskEvaluation
from flawmap.tools.words import counted, kin_words

E = TypeVar("E", Evaluation, MaskEvaluation)


def rows_of_seen_sources(
    dataset: Dataset, rows: Sequence[int], groups: Sequence[str], learnt: Collection[str]
) -> list[int]:
    """Those of `rows` that have another photo of their source among the digests `learnt`, and are not there
    themselves. `groups` has the source of every photo of the data set."""
    is_learnt = [photo.digest in learnt for photo in dataset.photos]
    seen = {group for group, known in zip(groups, is_learnt, strict=True) if known}
    return [row for row in rows if groups[row] in seen and not is_learnt[row]]


def with_seen_sources(
    evaluation: E,
    dataset: Dataset,
    rows: Sequence[int],
    groups: Sequence[str] | None,
    learnt: Collection[str],
    *,
    are_found: bool,
) -> E:
    """The evaluation of `rows`, its figures and notes telling how many are of sources that were learnt from.

    `n_source_seen_in_training` and `are_sources_found` (not named by the user: `are_found`) are null where
    the sources are not known.
    """
    if groups is None:
        told = {"n_source_seen_in_training": None, "are_sources_found": None}
        return replace(evaluation, metrics={**evaluation.metrics, **told})
    n = len(rows_of_seen_sources(dataset, rows, groups, set(learnt)))
    notes = list(evaluation.metrics["notes"])
    if n:
        notes.append(f"of {counted(len(rows), 'photo')} {kin_words(n, are_found)}: the figures flatter")
    told = {"n_source_seen_in_training": n, "are_sources_found": are_found, "notes": notes}
    return replace(evaluation, metrics={**evaluation.metrics, **told})
