"""Where the sources of evaluated photos are learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flawmap.errors import option
from flawmap.records import Dataset
from flawmap.stages.audit import AuditOptions, given_groups
from flawmap.stages.split import TRAINED_ON, read_splits
from flawmap.tools.bundle import Bundle
from flawmap.tools.words import counted


def find_groups(
    bundle: Bundle, dataset: Dataset, rows: Sequence[int], options: AuditOptions
) -> tuple[tuple[str, ...] | None, str]:
    """The source of every photo and, in words, how it is known; (None, "") where it is not.

    What the user says counts first, then splits.csv of the model's run where it knows most of `rows`, the
    evaluated photos. It knows a photo by path and label; and what it says was trained on must have a digest
    that the model lists, so that another folder with the same file names is not taken for the run's.
    """
    given = given_groups(dataset, options)
    if given is not None:
        named = "from the group column" if options.group_by is None else f"named by {option('--group-by')}"
        return given, named
    groups = _groups_of_run(bundle, dataset)
    n_known = sum(groups[row] is not None for row in rows)
    if 2 * n_known <= len(rows):
        return None, ""
    origin = "from the run's splits.csv"
    if n_known < len(rows):
        others = counted(len(rows) - n_known, "photo")
        origin += f"; {others} that it does not list, each counted as a source"
    names = [photo.name for photo in dataset.photos]
    return tuple(group or f"photo {name}" for group, name in zip(groups, names, strict=True)), origin


def _groups_of_run(bundle: Bundle, dataset: Dataset) -> list[str | None]:
    listed = read_splits(bundle.folder.parent / "splits.csv")
    trained_on = set(bundle.spec.training_digests)
    groups: list[str | None] = []
    for photo, targets in zip(dataset.photos, dataset.targets, strict=True):
        row = listed.get(photo.name)
        labels = {dataset.labels[k] for k in np.flatnonzero(targets)}
        if row is None or row.labels != labels:
            groups.append(None)
        else:
            is_other = row.part in TRAINED_ON and photo.digest not in trained_on
            groups.append(None if is_other else row.group)
    return groups
