"""The report's sections on the test figures: metrics, confusion, curves, review band and claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from flawmap.stages.report.curves import (
    calibration_bins,
    calibration_chart,
    precision_recall_chart,
    roc_chart,
    score_strip,
)
from flawmap.stages.report.facts import ReportFacts
from flawmap.stages.report.figure_table import Figure, figure_rows, scale_words
from flawmap.stages.report.verdict import (
    Outcome,
    is_reliable,
    is_two_class,
    rate_interval,
)
from flawmap.stages.report.wording import count, is_number, number, percent, plural, rate_text
from flawmap.tools.scores import has_threshold, needs_review

_FIGURES = {
    "accuracy": Figure("Accuracy", "Share of photos that got exactly their label."),
    "precision": Figure("Precision", "Of the photos it called flawed, the share that is."),
    "recall": Figure("Recall", "Of the flawed photos, the share it found."),
    "specificity": Figure("Specificity", "Of the good photos, the share it passed."),
    "escape_rate": Figure(
        "Escape rate",
        "Of the flawed photos, the share it passed as good. Lower is better.",
        is_lower_better=True,
        is_percent=True,
    ),
    "overkill_rate": Figure(
        "Overkill rate",
        "Of the good photos, the share it rejected. Lower is better.",
        is_lower_better=True,
        is_percent=True,
    ),
    "f1": Figure("F1", "Precision and recall in one figure (their harmonic mean)."),
    "macro_f1": Figure("F1, macro", "The mean of every class’s F1, so that rare classes count as much."),
    "auroc": Figure("AUROC", "Chance that a flawed photo scores higher than a good one; 0.5 is guessing."),
    "average_precision": Figure("Average precision", "Precision averaged over all thresholds."),
    "loss": Figure(
        "Log loss",
        "How far the scores are from certainty in the truth. Lower is better; 0 is perfect.",
        has_bar=False,
    ),
    "brier": Figure(
        "Brier score",
        "Mean squared error of the scores. Lower is better; 0 is perfect.",
        is_lower_better=True,
    ),
    "ece": Figure(
        "Calibration error",
        "How far a score is from the share that comes true, on average.",
        is_lower_better=True,
    ),
}
_MACRO = {
    "precision": "Per class: of the photos given that label, the share that has it; then the mean.",
    "recall": "Per class: of the photos with that label, the share that got it; then the mean.",
    "specificity": "Per class: of the photos without that label, the share not given it; then the mean.",
    "auroc": "Per class: chance that a photo with the label scores higher than one without; then the mean.",
    "average_precision": "Precision averaged over all thresholds, per class; then the mean.",
}


def figures_section(facts: ReportFacts, outcome: Outcome) -> dict[str, Any]:
    """Every figure with its interval, trivial answer and state before training; confusion; curves."""
    rows = _rows(facts)
    return {
        "rows": rows,
        "scales": scale_words(_FIGURES, facts.test.metrics),
        "has_trivial_marks": any(row["bar"] and row["bar"]["trivial"] for row in rows),
        "n": plural(len(outcome.rows), "photo"),
        "n_groups": plural(outcome.n_groups, "source"),
        "has_before": facts.before_training is not None,
        "has_validation": facts.validation is not None,
        "classes": _class_rows(facts, outcome),
        "confusion": None if facts.spec.is_multilabel else _confusion(facts),
        "charts": _charts(facts, outcome),
        "curve_names": _curve_names(facts),
        "temperature": number(facts.spec.thresholds.temperature, 2),
    }


def _known_figures(facts: ReportFacts) -> dict[str, Figure]:
    """The figures, read as means over classes where there are more than a flaw and a good one."""
    if is_two_class(facts):
        return _FIGURES
    return {key: replace(f, meaning=_MACRO.get(key, f.meaning)) for key, f in _FIGURES.items()}


def _rows(facts: ReportFacts) -> list[dict[str, Any]]:
    before = facts.before_training.metrics if facts.before_training else {}
    held_back = facts.validation.metrics if facts.validation else {}
    metrics = facts.test.metrics
    return figure_rows(_known_figures(facts), metrics, metrics.get("trivial") or {}, held_back, before)


def _class_rows(facts: ReportFacts, outcome: Outcome) -> list[dict[str, Any]]:
    """Per label: photos, found, missed, false alarms and the rates that follow from these counts."""
    printed = np.asarray(facts.test.printed, bool)
    targets = np.asarray(outcome.targets, bool)
    rows = []
    for i, label in enumerate(facts.spec.labels):
        found = int((targets[:, i] & printed[:, i]).sum())
        missed = int((targets[:, i] & ~printed[:, i]).sum())
        false = int((~targets[:, i] & printed[:, i]).sum())
        n, said = found + missed, found + false
        rows.append(
            {
                "label": label,
                "is_good": label in facts.spec.good_labels,
                "n": count(n),
                "found": count(found),
                "missed": count(missed),
                "false": count(false),
                "recall": number(found / n if n else None),
                "precision": number(found / said if said else None),
                "f1": number(2 * found / (n + said) if n else None),
            }
        )
    return rows


def _confusion(facts: ReportFacts) -> dict[str, Any]:
    """Rows the true label, columns the printed one; shading is the share of the row."""
    matrix = np.asarray(facts.test.confusion)
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shares = matrix / totals
    labels = facts.spec.labels
    return {
        "labels": labels,
        "rows": [
            {
                "label": label,
                "cells": [
                    {
                        "n": count(int(matrix[i, j])),
                        "share": percent(float(shares[i, j]), 0) if matrix[i, j] else "",
                        "css": ("hit" if i == j else "slip") if matrix[i, j] else "none",
                        "shade": f"{_shade(float(shares[i, j]), i == j):.0f}%",
                    }
                    for j in range(len(labels))
                ],
                "n": count(int(matrix[i].sum())),
            }
            for i, label in enumerate(labels)
        ],
    }


def _shade(share: float, is_hit: bool) -> float:
    """How strong a cell is coloured, in percent: mistakes show from the first one on."""
    return 12 + 38 * share if is_hit else 18 + 50 * min(share * 3, 1.0)


def _charts(facts: ReportFacts, outcome: Outcome) -> list[dict[str, str]]:
    metrics, found = facts.test.metrics, []
    recalls = _by_name(facts, "precision_recall", "recall")
    roc = {name: _by_name(facts, "roc", "recall").get(name, {}) for name in recalls}  # same colours
    if any(roc.values()):
        words = f"Receiver operating characteristic; area {number(metrics.get('auroc'))}."
        text = "Every threshold at once: how many flaws are found for how many good photos rejected."
        names = ("good photos rejected", "flaws found")
        if not is_two_class(facts):
            text = "Every threshold at once, each class against the others."
            names = ("photos of others given the label", "its own photos found")
        found.append({"title": "ROC", "svg": roc_chart(roc, names, words), "text": text})
    if recalls:
        share = float(outcome.flawed.mean()) if len(recalls) == 1 and outcome.has_good else None
        words = f"Precision against recall; average precision {number(metrics.get('average_precision'))}."
        text = "What is paid in false alarms for finding more."
        svg = precision_recall_chart(recalls, share, words)
        found.append({"title": "Precision and recall", "svg": svg, "text": text})
    bins = calibration_bins(facts.test.curves.get("calibration"))
    if bins:
        words = f"Calibration in {len(bins)} bins; on the diagonal a score means what it says."
        of = str(facts.test.curves["calibration"].get("of", "score"))
        text = f"On the dashed line a {of} of 90 % comes true nine times in ten. Large circles: many photos."
        found.append({"title": "Calibration", "svg": calibration_chart(bins, words), "text": text})
    return found


def _curve_names(facts: ReportFacts) -> list[str]:
    """The labels of the curves in the order of their colours; empty where one curve needs no name."""
    names = list(_by_name(facts, "precision_recall", "recall"))
    return names if len(names) > 1 else []


def _by_name(facts: ReportFacts, which: str, key: str) -> dict[str, Mapping[str, Any]]:
    """One curve per label that has any points; two classes have the flaw's only."""
    curves = facts.test.curves.get(which)
    if not isinstance(curves, Mapping):
        return {}
    return {str(k): v for k, v in curves.items() if isinstance(v, Mapping) and len(v.get(key, ()))}


def review_section(facts: ReportFacts, outcome: Outcome) -> dict[str, Any]:
    """Threshold, review band and claims. Without good photos there is nothing to put a band on."""
    thresholds = facts.spec.thresholds
    scores = np.asarray(facts.test.flaw_scores, np.float64)
    in_band = needs_review(scores, thresholds.review_low, thresholds.review_high)
    by_threshold = has_threshold(facts.spec.is_flaw_label, facts.spec.is_multilabel)
    passed = scores < thresholds.review_low
    section: dict[str, Any] = {
        "has_band": outcome.has_good,
        "can_be_good": facts.spec.can_be_good,
        "only": "flawed" if outcome.flawed.any() else "good",
        "by_threshold": by_threshold,
        "threshold": number(thresholds.threshold),
        "chosen_by": thresholds.chosen_by,
        "low": number(thresholds.review_low),
        "high": number(thresholds.review_high),
        "is_empty": thresholds.review_low >= thresholds.review_high,
        "max_miss_rate": rate_text(thresholds.max_miss_rate),
        "miss_upper": percent(thresholds.miss_rate_upper95),
        "alarm_upper": percent(thresholds.false_alarm_rate_upper95),
        "claims": [_claim(c) for c in facts.test.metrics.get("claims") or ()],
        "strip": "",
    }
    if outcome.has_good:
        words = (
            f"Scores of {len(scores)} test photos; {int(in_band.sum())} fall into the review band from "
            f"{thresholds.review_low:.3f} to {thresholds.review_high:.3f}."
        )
        section["strip"] = score_strip(scores, outcome.flawed, thresholds, by_threshold, words)
        section["n_band"] = f"{count(int(in_band.sum()))} of {count(len(scores))}"
        section["share_band"] = percent(float(in_band.mean()))
        section["escaped"] = (
            f"{count(int((passed & outcome.flawed).sum()))} of the {count(int(outcome.flawed.sum()))}"
        )
        rejected = (scores > thresholds.review_high) & ~outcome.flawed
        section["overkilled"] = f"{count(int(rejected.sum()))} of the {count(int((~outcome.flawed).sum()))}"
    return section


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    n_needed = claim.get("n_needed")
    holds = bool(claim.get("supported"))
    if holds:
        needed = ""
    elif claim.get("n_in_training"):
        needed = f"others: {count(claim['n_in_training'])} of these were in training"
    else:
        needed = f"about {count(n_needed)}" if is_number(n_needed) else "the rate seen is higher"
    return {
        "text": f"{claim.get('kind', '')} under {rate_text(claim.get('rate'))}",
        "holds": holds,
        "seen": f"{count(claim.get('n_events'))} of {count(claim.get('n'))}",
        "upper": percent(claim.get("upper95")),
        "needed": needed,
    }


def escape_words(facts: ReportFacts, outcome: Outcome) -> str:
    """The intervals that belong to the verdict's counts; empty where none were computed."""
    escape, overkill = rate_interval(facts, "escape_rate"), rate_interval(facts, "overkill_rate")
    if escape is None or overkill is None:
        return ""
    start = "With 95 % confidence" if is_reliable(facts, outcome) else "Roughly, for want of sources,"
    return (
        f"{start} it finds {percent(1 - escape[1])} to {percent(1 - escape[0])} of the flawed photos and "
        f"rejects {percent(overkill[0])} to {percent(overkill[1])} of the good ones."
    )
