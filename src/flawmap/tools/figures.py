"""All figures of a set of judged photos, for the set itself and for resamples of it (numpy only).

Every figure but AUROC and average precision is a function of sums over photos; `photo_sums` lists what is
summed and `figures` turns the sums into figures, with any leading shape: () for the set, (n_resamples,) for
its resamples. So one definition serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flawmap.tools import scores
from flawmap.tools.bootstrap import GroupResamples, design_effect, lower_bound, ranked_figures, upper_bound

FIGURES = (
    "accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "macro_f1",
    "loss",
    "auroc",
    "average_precision",
    "escape_rate",
    "overkill_rate",
    "ece",
    "brier",
)
Interval = tuple[float, float]
PER_CLASS = ("precision", "recall", "specificity", "f1", "auroc", "average_precision")


@dataclass(frozen=True)
class Judged:
    """Photos with their truth and the model's answer, all (n, n_labels)."""

    targets: np.ndarray
    probabilities: np.ndarray
    printed: np.ndarray
    is_flaw: np.ndarray
    is_multilabel: bool
    groups: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def flaw_scores(self) -> np.ndarray:
        return scores.to_flaw_scores(self.probabilities, self.is_flaw, self.is_multilabel)

    @property
    def is_binary(self) -> bool:
        """A flaw against good: the figures are the flaw's, not means over labels."""
        return scores.is_flaw_against_good(self.is_flaw) and not self.is_multilabel

    @property
    def flaw_index(self) -> int:
        """The flaw's column, where `is_binary`."""
        return int(np.argmax(self.is_flaw))

    @property
    def flawed(self) -> np.ndarray:
        """(n,) bool: photos that carry a flaw."""
        return scores.has_any(self.targets, self.is_flaw)

    @property
    def called_flawed(self) -> np.ndarray:
        """(n,) bool: photos for which a flaw is printed."""
        return scores.has_any(self.printed, self.is_flaw)

    @property
    def can_be_good(self) -> bool:
        """Whether the model can pass a photo as good; without that nothing can be missed or rejected."""
        return self.is_multilabel or not bool(self.is_flaw.all())

    @property
    def is_right(self) -> np.ndarray:
        """(n,) bool: exactly the true labels are printed."""
        return (np.asarray(self.targets, bool) == np.asarray(self.printed, bool)).all(axis=1)


def trivial_answers(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """(n, n_labels) what the answer "all positive" and the answer "the commonest" print.

    With several classes "all positive" has no meaning and is the commonest class too.
    """
    rows, counts = np.unique(judged.targets, axis=0, return_counts=True)
    commonest = np.broadcast_to(rows[np.argmax(counts)], judged.targets.shape)
    if judged.is_multilabel:
        return np.ones_like(judged.targets), commonest
    if judged.is_binary:
        return np.broadcast_to(judged.is_flaw.astype(np.uint8), judged.targets.shape), commonest
    return commonest, commonest


def photo_sums(judged: Judged) -> dict[str, np.ndarray]:
    """What each photo adds to the sums that `figures` needs: name → (n, ...)."""
    targets, probabilities = judged.targets, judged.probabilities
    flawed, called = judged.flawed, judged.called_flawed
    if judged.is_binary or judged.is_multilabel:
        calibration = scores.calibration_sums(judged.flaw_scores, flawed)
    else:
        calibration = scores.calibration_sums(probabilities.max(axis=1), judged.is_right)
    all_positive, commonest = trivial_answers(judged)
    return {
        "n": np.ones(len(judged)),
        "hits": scores.count_hits(targets, judged.printed),
        "right": judged.is_right,
        "flawed": flawed,
        "missed": flawed & ~called,
        "rejected": ~flawed & called,
        "loss": scores.photo_losses(targets, probabilities, judged.is_multilabel),
        "brier": scores.photo_briers(targets, probabilities, judged.is_multilabel),
        "calibration": calibration,
        "all_positive": scores.count_hits(targets, all_positive),
        "commonest": scores.count_hits(targets, commonest),
        "commonest_right": (targets == commonest).all(axis=1),
    }


def figures(sums: dict[str, np.ndarray], judged: Judged) -> dict[str, np.ndarray]:
    """Sums with leading shape (...) → name → (...) float64; `class:<name>` are (..., n_labels).

    Two classes, one good: precision, recall, specificity and F1 are the flaw's. Otherwise they are means over
    the labels that have truth, and there is no f1. Without meaning: NaN.
    """
    n = sums["n"]
    by_class = scores.rates(sums["hits"], n)
    has_truth = sums["hits"][..., 0, :] + sums["hits"][..., 2, :] > 0
    found = {f"class:{name}": values for name, values in by_class.items()}
    for name in ("precision", "recall", "specificity"):
        found[name] = _summarise(by_class[name], has_truth, judged)
    found["macro_f1"] = scores.mean_over_labels(by_class["f1"], has_truth)
    trivial = scores.rates(sums["all_positive"], n)["f1"]
    commonest = trivial if judged.is_multilabel else scores.rates(sums["commonest"], n)["f1"]
    found["trivial:macro_f1"] = scores.mean_over_labels(commonest, has_truth)
    if judged.is_binary:
        found["f1"] = by_class["f1"][..., judged.flaw_index]
        found["trivial:f1"] = trivial[..., judged.flaw_index]
    found["accuracy"] = _share(sums["right"], n)
    found["trivial:accuracy"] = _share(sums["commonest_right"], n)
    found["loss"], found["brier"] = _share(sums["loss"], n), _share(sums["brier"], n)
    found["ece"] = scores.calibration_error(sums["calibration"])
    if judged.can_be_good:
        found["escape_rate"] = _share(sums["missed"], sums["flawed"])
        found["overkill_rate"] = _share(sums["rejected"], n - sums["flawed"])
    return found


def _summarise(values: np.ndarray, has_truth: np.ndarray, judged: Judged) -> np.ndarray:
    if judged.is_binary:
        return values[..., judged.flaw_index]
    return scores.mean_over_labels(values, has_truth)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def figures_of_set(judged: Judged) -> dict[str, np.ndarray]:
    """`figures` of all photos, and with them the ranked ones (AUROC, average precision)."""
    sums = {name: np.asarray(values, np.float64).sum(axis=0) for name, values in photo_sums(judged).items()}
    columns = range(judged.targets.shape[1])
    ranked = np.array(
        [
            [measure(judged.targets[:, i], judged.probabilities[:, i]) for i in columns]
            for measure in (scores.auroc, scores.average_precision)
        ]
    )
    return figures(sums, judged) | _name_ranked(ranked, judged)


def figures_of_resamples(judged: Judged, resamples: GroupResamples) -> dict[str, np.ndarray]:
    """The same for every resample: (n_resamples,) or (n_resamples, n_labels)."""
    sums = {name: resamples.sums(values) for name, values in photo_sums(judged).items()}
    columns = [
        ranked_figures(judged.targets[:, i], judged.probabilities[:, i], resamples)
        for i in range(judged.targets.shape[1])
    ]
    return figures(sums, judged) | _name_ranked(np.stack(columns, axis=2).transpose(1, 0, 2), judged)


def _name_ranked(ranked: np.ndarray, judged: Judged) -> dict[str, np.ndarray]:
    """(2, ..., n_labels) AUROC and average precision → the same names as `figures` uses."""
    found = {}
    for name, values in zip(("auroc", "average_precision"), ranked, strict=True):
        found[f"class:{name}"] = values
        found[name] = _summarise(values, ~np.isnan(values), judged)
    return found


def score_design_effect(at: np.ndarray, among: np.ndarray, groups: Sequence[str] | None) -> float:
    """How alike photos of one group score (in log-odds), which shows even where not one is missed.

    `at` (n,) scores 0..1, `among` (n,) bool the photos in question. See bootstrap.design_effect.
    """
    clipped = np.clip(at[among], 1e-6, 1 - 1e-6)
    chosen = None if groups is None else [groups[int(row)] for row in np.flatnonzero(among)]
    return design_effect(np.log(clipped) - np.log1p(-clipped), chosen)


def true_label_scores(judged: Judged) -> np.ndarray:
    """(n,) the probability given to the truth; with several labels that of the worst-judged one."""
    given = np.where(np.asarray(judged.targets, bool), judged.probabilities, 1.0 - judged.probabilities)
    return given.min(axis=1) if judged.is_multilabel else (judged.probabilities * judged.targets).sum(axis=1)


def exact_intervals(judged: Judged, here: dict[str, np.ndarray]) -> dict[str, Interval]:
    """Two-sided exact 95 % intervals of the rates: shares of photos, counted at their effective number.

    F1 of 1: the harmonic mean of the lower ends of precision and recall. Means over several labels are left
    to the bootstrap.
    """
    everything = np.ones(len(judged), bool)
    found = {
        "accuracy": exact_interval(here["accuracy"], true_label_scores(judged), everything, judged.groups)
    }
    if judged.is_binary:
        found |= exact_intervals_of_label(judged, here, judged.flaw_index)
    if judged.can_be_good:
        at, flawed = judged.flaw_scores, judged.flawed
        found["escape_rate"] = exact_interval(here["escape_rate"], at, flawed, judged.groups)
        found["overkill_rate"] = exact_interval(here["overkill_rate"], at, ~flawed, judged.groups)
    return {name: interval for name, interval in found.items() if interval is not None}


def exact_intervals_of_label(judged: Judged, here: dict[str, np.ndarray], index: int) -> dict[str, Interval]:
    """The same for precision, recall, specificity and F1 of one label."""
    truth = np.asarray(judged.targets, bool)[:, index]
    said = np.asarray(judged.printed, bool)[:, index]
    at = judged.probabilities[:, index]
    value = {
        name: float(here[f"class:{name}"][index]) for name in ("precision", "recall", "specificity", "f1")
    }
    found = {
        name: exact_interval(value[name], at, among, judged.groups)
        for name, among in (("precision", said), ("recall", truth), ("specificity", ~truth))
    }
    precision, recall = found["precision"], found["recall"]
    if value["f1"] == 1.0 and precision and recall:
        found["f1"] = (2 * precision[0] * recall[0] / (precision[0] + recall[0]), 1.0)
    return {name: interval for name, interval in found.items() if interval is not None}


def exact_interval(
    value: float | np.ndarray, at: np.ndarray, among: np.ndarray, groups: Sequence[str] | None
) -> Interval | None:
    """Clopper-Pearson 95 % interval of a rate among these photos, at their effective number (E. L. Korn and
    B. I. Graubard, 1998); None where there is none of them."""
    if not among.any():
        return None
    n = float(among.sum()) / score_design_effect(at, among, groups)
    return lower_bound(float(value) * n, n, 0.975), upper_bound(float(value) * n, n, 0.975)


def widened(
    drawn: Mapping[str, Interval | None], exact: Mapping[str, Interval]
) -> dict[str, Interval | None]:
    """Intervals by resampling, name by name as wide as the exact ones beside them.

    Where events are few, resamples of a handful of them hardly differ, and of none not at all. The exact
    interval also keeps an interval from promising more than the claims do, which rest on the same bound.
    """
    return {name: _span(drawn.get(name), exact.get(name)) for name in {**drawn, **exact}}


def _span(one: Interval | None, other: Interval | None) -> Interval | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])
