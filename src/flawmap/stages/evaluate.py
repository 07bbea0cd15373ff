"""Labels against predictions: every figure with its interval, beside the trivial answer (numpy only)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import DatasetError, OptionError, nearest, option
from flawmap.records import Dataset, Evaluation, ModelSpec, Thresholds
from flawmap.tools import bootstrap, scores
from flawmap.tools.bootstrap import MIN_RELIABLE_GROUPS, GroupResamples, interval95, upper_bound
from flawmap.tools.claims import Claim, make_claim, without_learnt
from flawmap.tools.figures import (
    FIGURES,
    PER_CLASS,
    Judged,
    exact_intervals,
    exact_intervals_of_label,
    figures_of_resamples,
    figures_of_set,
    photo_sums,
    score_design_effect,
    true_label_scores,
    widened,
)
from flawmap.tools.files import write_json
from flawmap.tools.options import Options
from flawmap.tools.plain import to_plain
from flawmap.tools.thresholds import best_threshold, calibrated_threshold, fit_temperature, review_band
from flawmap.tools.words import counted

_CURVE_POINTS = 200
_ONE_SIDED = {
    True: "there is no good photo here: no false alarm can happen, so recall alone says something; "
    "precision, F1 and average precision flatter",
    False: "there is no flawed photo here: none can be missed, so specificity alone says something",
}
"""Whether all photos are flawed → what a reader has to know."""


@dataclass(frozen=True)
class EvaluateOptions(Options):
    """Rates are shares, 0..1. Costs are per photo; where only one is given the other counts as 1."""

    max_miss_rate: float = 0.01
    cost_miss: float | None = None
    cost_false_alarm: float | None = None
    n_resamples: int = 1000
    seed: int = 0
    n_worst: int = 24
    claimed_rates: tuple[float, ...] = (0.05, 0.01)
    """Rates of misses and false alarms that a reader asks about; `max_miss_rate` is added."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.max_miss_rate < 1.0:
            raise OptionError(f"max_miss_rate is {self.max_miss_rate}; give a share from 0 to below 1")
        for name in ("cost_miss", "cost_false_alarm"):
            cost = getattr(self, name)
            if cost is not None and not (math.isfinite(cost) and cost > 0):
                raise OptionError(f"{name} is {cost}; give a number above 0")
        if self.n_resamples < 1:
            raise OptionError(f"n_resamples is {self.n_resamples}; give 1 or more (1000 is usual)")

    @property
    def costs(self) -> tuple[float, float] | None:
        """(of a miss, of a false alarm), or None where the threshold goes by F1."""
        if self.cost_miss is None and self.cost_false_alarm is None:
            return None
        return self.cost_miss or 1.0, self.cost_false_alarm or 1.0


@dataclass(frozen=True)
class Truth:
    """What is known about the evaluated photos; `targets` (n, n_labels) has the model's labels as columns."""

    names: tuple[str, ...]
    targets: np.ndarray
    groups: tuple[str, ...] | None = None
    """The source of each photo; None where it is not known."""
    digests: tuple[str, ...] = ()
    group_origin: str = ""
    """Where the sources were learnt from, in words for a note; empty where it need not be said."""

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset,
        labels: Sequence[str],
        rows: np.ndarray | None = None,
        groups: Sequence[str] | None = None,
    ) -> Truth:
        """Rows of a data set (all by default), its labels put in the order of the model's `labels`.

        `groups` has one entry per photo of the whole data set. Raises DatasetError for a label that the model
        does not know; labels of the model that the data set lacks are fine.
        """
        chosen = np.arange(len(dataset)) if rows is None else np.asarray(rows)
        return cls(
            names=tuple(dataset.photos[row].name for row in chosen),
            targets=_align_labels(dataset, labels)[chosen],
            groups=None if groups is None else tuple(groups[int(row)] for row in chosen),
            digests=tuple(dataset.photos[row].digest for row in chosen),
        )


def _align_labels(dataset: Dataset, labels: Sequence[str]) -> np.ndarray:
    for label in dataset.labels:
        if label not in labels and dataset.targets[:, dataset.labels.index(label)].any():
            near = nearest(label, labels)
            hint = f" (to '{near}'?)" if near else ""
            raise DatasetError(
                f"the label '{label}' is unknown to the model, which knows {', '.join(labels)}. "
                f"Rename it{hint}, or leave its photos out."
            )
    aligned = np.zeros((len(dataset), len(labels)), np.uint8)
    for column, label in enumerate(labels):
        if label in dataset.labels:
            aligned[:, column] = dataset.targets[:, dataset.labels.index(label)]
    return aligned


def choose_thresholds(
    logits: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    good_labels: Sequence[str],
    is_multilabel: bool,
    options: EvaluateOptions = EvaluateOptions(),
    groups: Sequence[str] | None = None,
) -> Thresholds:
    """Temperature, threshold and review band from validation photos: logits and targets (n, n_labels).

    With `groups`, the upper 95 % bounds count dependent photos for less. Bounds are 1.0 where there is
    nothing to bound (no flawed, or no good, validation photo).
    """
    is_flaw = np.array([label not in good_labels for label in labels])
    temperature = fit_temperature(logits, targets, is_multilabel)
    probabilities = scores.to_probabilities(logits, temperature, is_multilabel)
    resamples = bootstrap.draw_groups(groups, len(targets), options.n_resamples, options.seed)
    threshold, _ = best_threshold(probabilities, targets, is_flaw, is_multilabel, options.costs, resamples)
    flawed = scores.has_any(targets, is_flaw)
    flaw_scores = scores.to_flaw_scores(probabilities, is_flaw, is_multilabel)
    low, high = review_band(flaw_scores, flawed, threshold, options.max_miss_rate)
    return Thresholds(
        temperature=temperature,
        threshold=threshold,
        review_low=low,
        review_high=high,
        miss_rate_upper95=_bound(flaw_scores < low, flawed, flaw_scores, groups),
        false_alarm_rate_upper95=_bound(flaw_scores > high, ~flawed, flaw_scores, groups),
        max_miss_rate=options.max_miss_rate,
        chosen_by=_describe_choice(is_flaw, is_multilabel, flawed, options),
    )


def _bound(
    is_event: np.ndarray, among: np.ndarray, flaw_scores: np.ndarray, groups: Sequence[str] | None
) -> float:
    effect = score_design_effect(flaw_scores, among, groups)
    return upper_bound(float((is_event & among).sum()) / effect, float(among.sum()) / effect)


def _describe_choice(
    is_flaw: np.ndarray, is_multilabel: bool, flawed: np.ndarray, options: EvaluateOptions
) -> str:
    if not scores.has_threshold(is_flaw, is_multilabel):
        unused = "; costs are not used" if options.costs else ""
        return f"the likeliest of several classes, without a threshold{unused}"
    if flawed.all() or not flawed.any():
        missing = (
            "no photo" if not len(flawed) else "only flawed photos" if flawed.all() else "only good photos"
        )
        if not is_multilabel or not flawed.any() or options.costs:
            return f"0.5, because validation holds {missing}"
    goal = "best F1 on validation"
    if options.costs:
        goal = f"least cost on validation (a miss {options.costs[0]:g}, a false alarm {options.costs[1]:g})"
    if not (options.costs or scores.is_flaw_against_good(is_flaw)):
        return goal
    return (
        f"{goal}; of thresholds that its sources cannot tell apart, the one nearest "
        f"{calibrated_threshold(options.costs):.2g}"
    )


def evaluate(
    logits: np.ndarray,
    truth: Truth,
    spec: ModelSpec,
    options: EvaluateOptions = EvaluateOptions(),
) -> Evaluation:
    """Judge (n, n_labels) logits by the truth, with the temperature, threshold and band of `spec`.

    Raises DatasetError without a labelled photo.
    """
    n, is_flaw, several = len(truth.targets), spec.is_flaw_label, spec.is_multilabel
    if n == 0 or logits.shape != truth.targets.shape:
        raise DatasetError(
            f"evaluation needs logits ({n or 'at least 1'}, {len(spec.labels)}), a row per labelled photo; "
            f"got {logits.shape}"
        )
    probabilities = scores.to_probabilities(logits, spec.thresholds.temperature, several)
    printed = scores.printed_labels(probabilities, spec.thresholds.threshold, is_flaw, several)
    judged = Judged(truth.targets, probabilities, printed, is_flaw, several, truth.groups)
    resamples = bootstrap.draw_groups(truth.groups, n, options.n_resamples, options.seed)
    metrics = _metrics(judged, resamples, spec)
    learnt = _are_learnt(truth, spec)
    metrics["n_seen_in_training"] = int(learnt.sum())
    metrics["claims"] = [claim.to_json() for claim in _claims(judged, learnt, spec.thresholds, options)]
    metrics["notes"] = _notes(judged, truth, metrics, options)
    return Evaluation(
        metrics=to_plain(metrics),
        confusion=scores.confusion_matrix(truth.targets, printed, several),
        curves=to_plain(_curves(judged, spec.labels)),
        worst=_worst(judged, options.n_worst),
        names=truth.names,
        probabilities=probabilities,
        flaw_scores=judged.flaw_scores,
        printed=printed,
    )


def _metrics(judged: Judged, resamples: GroupResamples, spec: ModelSpec) -> dict[str, Any]:
    """The figures that `flawmap evaluate --json` writes; what has no meaning here is None."""
    here, drawn = figures_of_set(judged), figures_of_resamples(judged, resamples)
    intervals = {name: interval95(values) for name, values in drawn.items() if values.ndim == 1}
    intervals = widened(intervals, exact_intervals(judged, here))
    plain = [name for name in FIGURES if name in here]
    trivial = ("f1", "macro_f1", "accuracy")
    t = spec.thresholds
    band = scores.needs_review(judged.flaw_scores, t.review_low, t.review_high)
    n_groups = None if judged.groups is None else resamples.n_groups
    return {
        "n": len(judged),
        "n_groups": n_groups,
        **{name: here.get(name) for name in FIGURES},
        "threshold": t.threshold if scores.has_threshold(judged.is_flaw, judged.is_multilabel) else None,
        "temperature": t.temperature,
        "review_share": band.mean() if judged.can_be_good else None,
        "trivial": {
            **{name: here.get(f"trivial:{name}") for name in trivial},
            "interval95": {name: intervals.get(f"trivial:{name}") for name in trivial},
        },
        "interval95": {name: intervals[name] for name in plain},
        "intervals_reliable": resamples.n_groups >= MIN_RELIABLE_GROUPS,
        "per_class": _per_class(judged, here, drawn, spec.labels),
    }


def _per_class(
    judged: Judged, here: dict[str, np.ndarray], drawn: dict[str, np.ndarray], labels: Sequence[str]
) -> dict[str, Any]:
    return {
        label: {
            "n": int(judged.targets[:, i].sum()),
            "n_printed": int(judged.printed[:, i].sum()),
            **{name: here[f"class:{name}"][i] for name in PER_CLASS},
            "interval95": widened(
                {name: interval95(drawn[f"class:{name}"][:, i]) for name in PER_CLASS},
                exact_intervals_of_label(judged, here, i),
            ),
        }
        for i, label in enumerate(labels)
    }


def _are_learnt(truth: Truth, spec: ModelSpec) -> np.ndarray:
    """(n,) bool: photos that trained or chose the model, told by their digests."""
    known = set(spec.training_digests)
    return np.array([digest in known for digest in truth.digests] or [False] * len(truth.targets), bool)


def _claims(
    judged: Judged, learnt: np.ndarray, thresholds: Thresholds, options: EvaluateOptions
) -> list[Claim]:
    """Misses and false alarms at the threshold and outside the band; without good labels only errors.

    `learnt` (n,) bool are the photos that support nothing.
    """
    limits = sorted({*options.claimed_rates, options.max_miss_rate} - {0.0}, reverse=True)
    if not judged.can_be_good:
        everything = np.ones(len(judged), bool)
        effect = score_design_effect(true_label_scores(judged), everything, judged.groups)
        wrong = int((~judged.is_right).sum())
        claims = [make_claim("errors", rate, wrong, len(judged), effect) for rate in limits]
        return [without_learnt(claim, int(learnt.sum())) for claim in claims]
    flawed, called, at = judged.flawed, judged.called_flawed, judged.flaw_scores
    kinds = [
        ("misses", flawed, ~called, limits),
        ("false alarms", ~flawed, called, limits),
        ("misses below the review band", flawed, at < thresholds.review_low, [options.max_miss_rate]),
        ("false alarms above the review band", ~flawed, at > thresholds.review_high, [options.max_miss_rate]),
    ]
    return [
        without_learnt(
            make_claim(kind, rate, int((among & event).sum()), int(among.sum()), effect),
            int((among & learnt).sum()),
        )
        for kind, among, event, rates in kinds
        for effect in [score_design_effect(at, among, judged.groups)]
        for rate in rates
        if rate > 0
    ]


def _notes(judged: Judged, truth: Truth, metrics: Mapping[str, Any], options: EvaluateOptions) -> list[str]:
    """Plain sentences that a reader of the figures has to know."""
    notes = bootstrap.group_notes(metrics["n_groups"], truth.group_origin)
    n_seen = metrics["n_seen_in_training"]
    if n_seen:
        were = "was" if n_seen == 1 else "were"
        notes.append(f"{n_seen:,} of {counted(len(judged), 'photo')} {were} in training: the figures flatter")
    absent = [name for name, row in metrics["per_class"].items() if row["n"] == 0]
    if absent:
        notes.append(f"no photo here carries {', '.join(absent)}: means leave them out")
    if not judged.can_be_good:
        remedy = f"where one is, train with {option('--good')}"
        notes.append(f"no label is good: escape and overkill rates have no meaning; {remedy}")
    elif judged.flawed.all() or not judged.flawed.any():
        notes.append(_ONE_SIDED[bool(judged.flawed.all())])
    if options.costs and not scores.has_threshold(judged.is_flaw, judged.is_multilabel):
        notes.append(
            "the costs of misses and false alarms have no effect: the likeliest class is printed, without a "
            "threshold"
        )
    elif _is_trivial(metrics):
        notes.append("no better than the trivial answer, which looks at no photo: this model decides nothing")
    if judged.is_right.all():
        notes.append(
            "not one photo was answered wrongly: the interval of accuracy comes from the exact bound"
        )
    return notes


def _is_trivial(metrics: Mapping[str, Any]) -> bool:
    """Whether the figure that models are compared by is no better than the trivial answer's."""
    name = "macro_f1" if metrics["f1"] is None else "f1"
    own, trivial = metrics[name], metrics["trivial"].get(name)
    return own is not None and trivial is not None and bool(own <= trivial)


def _curves(judged: Judged, labels: Sequence[str]) -> dict[str, Any]:
    """ROC and precision-recall curve per label (two classes, one good: the flaw only); calibration bins."""
    columns = [judged.flaw_index] if judged.is_binary else range(len(labels))
    curves: dict[str, Any] = {"roc": {}, "precision_recall": {}}
    for i in columns:
        truth, at = judged.targets[:, i], judged.probabilities[:, i]
        curves["roc"][labels[i]] = _thin(scores.roc_curve(truth, at))
        curves["precision_recall"][labels[i]] = _thin(scores.precision_recall_curve(truth, at))
    n, score, outcome = photo_sums(judged)["calibration"].sum(axis=0)
    filled = n > 0
    curves["calibration"] = {
        "of": "flaw score" if judged.is_binary or judged.is_multilabel else "score of the printed label",
        "score": score[filled] / n[filled],
        "outcome": outcome[filled] / n[filled],
        "n": n[filled].astype(np.int64),
    }
    return curves


def _thin(curve: dict[str, list[float]]) -> dict[str, list[float]]:
    """At most 200 of a curve's points, evenly spaced, the ends among them."""
    n = len(next(iter(curve.values())))
    kept = np.unique(np.linspace(0, n - 1, min(n, _CURVE_POINTS)).round().astype(int))
    return {name: [values[i] for i in kept] for name, values in curve.items()}


def _worst(judged: Judged, n_worst: int) -> tuple[int, ...]:
    """Wrongly answered photos, the most confident mistake first (equals: in the order of the photos)."""
    truth, said = np.asarray(judged.targets, bool), np.asarray(judged.printed, bool)
    error = np.where(truth, 1.0 - judged.probabilities, judged.probabilities)
    confidence = np.where(truth != said, error, 0.0).max(axis=1)
    ranked = np.lexsort((np.arange(len(judged)), -confidence))
    return tuple(ranked[~judged.is_right[ranked]][:n_worst].tolist())


def write_evaluation_json(evaluation: Evaluation, path: Path) -> None:
    """The metrics as JSON with sorted keys: equal evaluations give equal bytes; written whole or not."""
    write_json(path, evaluation.metrics)
