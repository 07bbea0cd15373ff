"""Masks against the truth: every figure with its interval, beside the answer without any mask.

`choose_cleaning`, which decides on validation photos how masks are made, stands in tools.mask_choice.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import DatasetError, OptionError, some_of
from flawmap.records import Cleaning, MaskEvaluation, MaskRow
from flawmap.tools import mask_figures
from flawmap.tools.bootstrap import MIN_RELIABLE_GROUPS, GroupResamples, draw_groups, group_notes, interval95
from flawmap.tools.figures import exact_interval, widened
from flawmap.tools.files import write_json
from flawmap.tools.mask_choice import CleaningChoice, CleaningOptions, choose_cleaning
from flawmap.tools.mask_cleaning import clean_masks
from flawmap.tools.mask_scores import harmonic, photo_counts
from flawmap.tools.options import Options
from flawmap.tools.plain import to_plain

__all__ = [
    "CleaningChoice",
    "CleaningOptions",
    "EvaluateMasksOptions",
    "MaskedPhoto",
    "choose_cleaning",
    "count_photo",
    "evaluate_counts",
    "evaluate_masks",
    "write_mask_evaluation_json",
]


@dataclass(frozen=True)
class EvaluateMasksOptions(Options):
    """`tolerance_px` is a Euclidean distance between pixel centres, for the tolerant figures."""

    tolerance_px: float = 2.0
    n_resamples: int = 1000
    seed: int = 0
    n_examples: int = 8
    """How many of the best, the typical and the worst photos are named."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tolerance_px <= 100:
            raise OptionError(f"tolerance_px is {self.tolerance_px}; give 0 to 100 pixels (2 is usual)")
        if self.n_resamples < 1:
            raise OptionError(f"n_resamples is {self.n_resamples}; give 1 or more (1000 is usual)")


@dataclass(frozen=True)
class MaskedPhoto:
    """One photo to judge, all maps (n_labels, H, W): truth bool, probabilities 0..1 or uint8 levels.

    `predicted` bool replaces the cleaned probabilities where it is given; one of the two has to be.
    """

    name: str
    truth: np.ndarray
    probabilities: np.ndarray | None = None
    predicted: np.ndarray | None = None

    def __post_init__(self) -> None:
        given = [maps for maps in (self.probabilities, self.predicted) if maps is not None]
        if not given or self.truth.ndim != 3 or any(maps.shape != self.truth.shape for maps in given):
            shapes = [maps.shape for maps in given]
            raise DatasetError(
                f"{self.name}: need probabilities or predicted masks of the truth's shape (n_labels, H, W); "
                f"got truth {self.truth.shape} and {shapes or 'neither'}"
            )


def evaluate_masks(
    photos: Iterable[MaskedPhoto],
    labels: Sequence[str],
    cleaning: Cleaning | None,
    groups: Sequence[str] | None = None,
    options: EvaluateMasksOptions = EvaluateMasksOptions(),
) -> MaskEvaluation:
    """Judge photos one after the other; of each only counts are kept. `groups` has the source of each.

    `cleaning` may be None where all photos come with predicted masks. Raises DatasetError without a photo,
    and for labels or groups that do not fit.
    """
    names, counts = [], []
    for photo in photos:
        names.append(photo.name)
        counts.append(count_photo(photo, cleaning, options))
    return evaluate_counts(names, counts, labels, cleaning, groups, options)


def count_photo(
    photo: MaskedPhoto, cleaning: Cleaning | None, options: EvaluateMasksOptions = EvaluateMasksOptions()
) -> dict[str, np.ndarray]:
    """What `evaluate_counts` needs of one photo (some kB, and 2 per label): photos can be counted apart.

    clDice, which is about skeletons, is counted where scikit-image is installed, and is null elsewhere.
    """
    predicted = photo.predicted
    if predicted is None:
        if cleaning is None or photo.probabilities is None:
            raise OptionError(f"{photo.name}: give a cleaning to make masks from probabilities")
        predicted = clean_masks(photo.probabilities, cleaning)
    has_cldice = importlib.util.find_spec("skimage") is not None
    return photo_counts(photo.truth, predicted, photo.probabilities, options.tolerance_px, has_cldice)


def evaluate_counts(
    names: Sequence[str],
    counts: Sequence[Mapping[str, np.ndarray]],
    labels: Sequence[str],
    cleaning: Cleaning | None = None,
    groups: Sequence[str] | None = None,
    options: EvaluateMasksOptions = EvaluateMasksOptions(),
) -> MaskEvaluation:
    """The evaluation from `count_photo` of every photo, made with the same options."""
    if not counts:
        raise DatasetError("evaluation needs at least one photo with its true masks; got none")
    n_counted = counts[0]["hits"].shape[1] - 1
    if len(labels) != n_counted or not len(counts) == len(names) == len(groups or names):
        raise DatasetError(
            f"need a label per mask and a name and a group per photo; got {len(labels)} labels for "
            f"{n_counted} masks, {len(counts)} photos, {len(names)} names, {len(groups or names)} groups"
        )
    stacked = mask_figures.stack_counts(counts)
    resamples = draw_groups(groups, len(counts), options.n_resamples, options.seed)
    metrics = _metrics(stacked, resamples, labels, groups)
    metrics["tolerance_px"] = options.tolerance_px
    metrics["cleaning"] = cleaning
    rows = tuple(_row(name, labels, stacked, i) for i, name in enumerate(names))
    metrics["masks_to_check"] = _masks_to_check(rows)
    metrics["notes"] = [*_notes(metrics), *_elsewhere(rows)]
    best, typical, worst = _examples(stacked, options.n_examples)
    return MaskEvaluation(to_plain(metrics), rows, best, typical, worst)


def _metrics(
    stacked: Mapping[str, np.ndarray],
    resamples: GroupResamples,
    labels: Sequence[str],
    groups: Sequence[str] | None,
) -> dict[str, Any]:
    here = mask_figures.figures_of_set(stacked)
    drawn = mask_figures.figures_of_resamples(stacked, resamples)
    has_truth = stacked["has_truth"] > 0
    n_with = has_truth.sum(axis=0)
    n_groups_with = [len(np.unique(resamples.codes[has_it])) for has_it in has_truth.T[1:]]
    return {
        "n": len(stacked["n"]),
        "n_with_flaw": int(n_with[0]),
        "n_groups": None if groups is None else resamples.n_groups,
        **{name: here.get(name) for name in mask_figures.FIGURES},
        "ods_threshold": here.get("ods_threshold"),
        "ceiling": list(mask_figures.CEILING),
        "interval95": widened(
            {name: interval95(drawn[name]) for name in mask_figures.FIGURES if name in drawn},
            _exact_intervals(stacked, here, groups),
        ),
        "intervals_reliable": resamples.n_groups >= MIN_RELIABLE_GROUPS,
        "per_class": {
            label: {
                "n_photos_with": int(n_with[1 + i]),
                "n_groups_with": None if groups is None else n_groups_with[i],
                **_label_figures(stacked, here, drawn, i, groups),
            }
            for i, label in enumerate(labels)
        },
    }


def _label_figures(
    stacked: Mapping[str, np.ndarray],
    here: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    label: int,
    groups: Sequence[str] | None,
) -> dict[str, Any]:
    """One label's figures, null where they were not counted, and their intervals."""
    known = [name for name in mask_figures.PER_CLASS if f"class:{name}" in here]
    own = {name: here[f"class:{name}"][label] for name in known}
    intervals = {name: interval95(drawn[f"class:{name}"][:, label]) for name in known}
    return {
        **{name: own.get(name) for name in mask_figures.PER_CLASS},
        "interval95": widened(intervals, _exact_intervals(stacked, own, groups, 1 + label)),
    }


def _exact_intervals(
    stacked: Mapping[str, np.ndarray],
    here: Mapping[str, np.ndarray],
    groups: Sequence[str] | None,
    column: int = 0,
) -> dict[str, tuple[float, float]]:
    """Exact 95 % intervals of the escape and overkill rates, of any flaw (column 0) or a label.

    Photos of one group count for less by how alike their highest probabilities are, where these are known.
    """
    flawed = stacked["has_truth"][:, column] > 0
    found = np.where(flawed, stacked["escaped"][:, column] == 0, stacked["overkilled"][:, column] > 0)
    at = stacked["score"][:, column] if "score" in stacked else found.astype(np.float64)
    exact = {
        name: exact_interval(here[name], at, among, groups)
        for name, among in (("escape_rate", flawed), ("overkill_rate", ~flawed))
    }
    return {name: interval for name, interval in exact.items() if interval is not None}


def _masks_to_check(rows: Sequence[MaskRow]) -> list[str]:
    """Photos whose true mask may belong to another photo: a model that is mostly right finds as much as is
    marked, but elsewhere. A model that is mostly wrong says nothing of the masks."""
    agreements = [row.f1_tolerant for row in rows if row.f1_tolerant is not None]
    if not agreements or np.median(agreements) < 0.5:
        return []
    return [row.name for row in rows if row.lies_elsewhere]


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """Plain sentences that a reader of the figures has to know."""
    notes = group_notes(metrics["n_groups"])
    to_check = metrics["masks_to_check"]
    if to_check:
        notes.append(
            f"look whether these masks belong to their photos: {some_of(to_check, 5)}; as much was found "
            "there as is marked, but elsewhere"
        )
    absent = [label for label, row in metrics["per_class"].items() if row["n_photos_with"] == 0]
    if absent:
        notes.append(f"no photo here shows {', '.join(absent)}: there is nothing to find, only false alarms")
    if metrics["n_with_flaw"] in (0, metrics["n"]):
        notes.append(f"there is no {'good' if metrics['n_with_flaw'] else 'flawed'} photo here")
    if metrics["ods_f1"] is not None:
        notes.append(
            "the ceilings (ODS, OIS) know the truth: a single threshold for all kinds of flaws, chosen on "
            "these photos, before any cleaning"
        )
        if mask_figures.is_above_ceiling(metrics):
            notes.append(
                "a figure lies above its ceiling: cleaning, or a threshold for each kind, does better here "
                "than any single threshold"
            )
    return notes


def _elsewhere(rows: Sequence[MaskRow]) -> list[str]:
    """A note where masks and photos do not lie on each other: a model that finds nothing finds less."""
    flawed = [row for row in rows if row.true_px]
    n_elsewhere = sum(row.lies_elsewhere for row in flawed)
    if n_elsewhere < max(3, len(flawed) / 2):
        return []
    return [
        f"in {n_elsewhere:,} of {len(flawed):,} photos with a flaw about as much was found as is marked, but "
        "elsewhere: if the masks were turned, try another way; else they may be those of other photos"
    ]


def _row(name: str, labels: Sequence[str], stacked: Mapping[str, np.ndarray], index: int) -> MaskRow:
    right, false, missed = stacked["hits"][index, :, 0]
    rights, falses, misses = stacked["hits"][index, :, 1:]
    near_said, near_true = stacked["near"][index, :, 0]
    f1_tolerant = float(harmonic(near_said, right + false, near_true, right + missed))
    return MaskRow(
        name=name,
        dice=float(stacked["dice"][index, 0]),
        f1_tolerant=f1_tolerant if right + missed > 0 else None,
        true_px=int(right + missed),
        found_px=int(right + false),
        true_labels=tuple(label for label, n in zip(labels, rights + misses, strict=True) if n),
        found_labels=tuple(label for label, n in zip(labels, rights + falses, strict=True) if n),
    )


def _examples(
    stacked: Mapping[str, np.ndarray], n: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Best, typical and worst rows; equals stand in the order of the photos."""
    dice, flawed = stacked["dice"][:, 0], np.flatnonzero(stacked["has_truth"][:, 0])
    wrong = stacked["hits"][:, 1:, 0].sum(axis=1)
    best = flawed[np.lexsort((flawed, -dice[flawed]))]
    middle = np.median(dice[flawed]) if len(flawed) else 0.0
    typical = flawed[np.lexsort((flawed, np.abs(dice[flawed] - middle)))]
    worst = np.lexsort((np.arange(len(dice)), -wrong, dice))
    return tuple(best[:n].tolist()), tuple(typical[:n].tolist()), tuple(worst[:n].tolist())


def write_mask_evaluation_json(evaluation: MaskEvaluation, path: Path) -> None:
    """The metrics as JSON: equal evaluations give equal bytes; figures of no meaning are null."""
    write_json(path, evaluation.metrics)
