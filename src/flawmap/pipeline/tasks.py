"""What a run learns: told from the data set, or from what the user asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from flawmap.errors import DatasetError, OptionError, option
from flawmap.records import Dataset

Task = Literal["auto", "classification", "multilabel", "segmentation"]
GOOD = "good"
ANY_FLAW = "flaw"


def check_task(wanted: Task, is_cascade: bool) -> None:
    """Raise OptionError for a cascade that is to end in labels."""
    if is_cascade and wanted not in ("auto", "segmentation"):
        raise OptionError(
            f"a cascade ends in masks, and {option('--task')} is {wanted}; leave one of them out"
        )


def resolve_task(dataset: Dataset, wanted: Task, is_cascade: bool = False) -> tuple[Dataset, bool]:
    """The data set as the task sees it, and whether masks are to be learnt.

    Labels per photo follow from masks: with `multilabel` the kinds of flaws that a photo shows, with
    `classification` its one kind or "good" (flaw or good, where photos show several kinds). Raises
    DatasetError where the data set does not hold what the task needs.
    """
    if (wanted == "segmentation" or is_cascade) and not dataset.has_masks:
        raise DatasetError(
            f"{dataset.root} holds labels ({dataset.layout}) and no masks, so no mask can be learnt; give "
            f"photos with masks, or leave out {option('--cascade' if is_cascade else '--task')}"
        )
    if dataset.has_masks:
        if is_cascade or wanted == "classification":
            _refuse_no_good(dataset, "--cascade" if is_cascade else "--task")
        if wanted in ("auto", "segmentation"):
            return dataset, True
        return to_labels(dataset, is_multilabel=wanted == "multilabel"), False
    is_other = wanted != "auto" and (wanted == "multilabel") != dataset.is_multilabel
    if is_other and wanted == "classification":
        raise DatasetError(
            f"the photos of {dataset.root} carry several labels each; leave out {option('--task')}, or give "
            "one label per photo"
        )
    return (replace(dataset, is_multilabel=True) if is_other else dataset), False


def _refuse_no_good(dataset: Dataset, flag: str) -> None:
    if dataset.is_flawed.all():
        raise DatasetError(
            f"every photo of {dataset.root} shows a flaw, so that flawed cannot be told from good; add good "
            f"photos, or leave out {option(flag)}"
        )


def to_labels(dataset: Dataset, *, is_multilabel: bool) -> Dataset:
    """Photos with masks as photos with labels: the kinds that each shows, or its one kind or "good"."""
    if is_multilabel:
        return replace(dataset, masks=(), masks_overlap=False)
    flawed = dataset.is_flawed
    is_single = bool((dataset.targets.sum(axis=1) <= 1).all())
    kinds = dataset.labels if is_single and len(dataset.labels) > 1 else (ANY_FLAW,)
    columns = dataset.targets if len(kinds) > 1 else flawed[:, None].astype(np.uint8)
    good = next(name for name in (GOOD, "no flaw", "flawless") if name not in kinds)
    return replace(
        dataset,
        labels=(*kinds, good),
        targets=np.concatenate([columns, (~flawed)[:, None].astype(np.uint8)], axis=1).astype(np.uint8),
        good_labels=(good,),
        is_multilabel=False,
        masks=(),
        masks_overlap=False,
    )
