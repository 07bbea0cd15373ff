"""What became of each evaluated photo: a table to be sorted and filtered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import MaskRow
from flawmap.stages.evaluate import Truth
from flawmap.tools.files import check_files, write_file
from flawmap.tools.runtime import Predictions
from flawmap.tools.tables import to_csv
from flawmap.tools.words import join_labels

_LABELLED = ("path", "group", "label", "predicted", "is_right", "score", "flaw_score", "review")
_MASKED = ("path", "group", "label", "predicted", "dice", "f1_tolerant", "true_px", "found_px")


def check_outcomes(path: Path | str | None) -> None:
    """Raise OptionError, before any work is done for it, where the table cannot be written there."""
    if path is None:
        return
    if Path(path).suffix.lower() != ".csv":
        raise OptionError(f"the table of photos is a CSV file; {path} has another ending. Name it .csv.")
    check_files(path, holds=["path,group,label,predicted"])


def write_label_outcomes(path: Path, truth: Truth, found: Predictions) -> None:
    """A row per photo; `label` is the true one. Several of one photo are joined by ';', none is empty."""
    rows = [
        {
            "path": name,
            "group": group,
            "label": join_labels(found.labels, truth.targets[i]),
            "predicted": found.texts[i],
            "is_right": bool(np.array_equal(truth.targets[i] > 0, found.printed[i] > 0)),
            "score": float(found.scores[i]),
            "flaw_score": float(found.flaw_scores[i]),
            "review": None if found.review is None else bool(found.review[i]),
        }
        for i, (name, group) in enumerate(_grouped(truth.names, truth.groups))
    ]
    write_file(path, to_csv(_LABELLED, rows, n_decimals=6))


def write_mask_outcomes(path: Path, found: Sequence[MaskRow], groups: Sequence[str] | None) -> None:
    """A row per photo, its figures those of any flaw; what has no meaning without a true pixel is empty."""
    rows: list[dict[str, Any]] = [
        {
            "path": name,
            "group": group,
            "label": ";".join(one.true_labels),
            "predicted": ";".join(one.found_labels),
            "dice": one.dice,
            "f1_tolerant": one.f1_tolerant,
            "true_px": one.true_px,
            "found_px": one.found_px,
        }
        for one, (name, group) in zip(found, _grouped([row.name for row in found], groups), strict=True)
    ]
    write_file(path, to_csv(_MASKED, rows, n_decimals=6))


def _grouped(names: Sequence[str], groups: Sequence[str] | None) -> list[tuple[str, str | None]]:
    """Each name with its source, where these are known."""
    return list(zip(names, groups or [None] * len(names), strict=True))
