"""The report's section on how masks are made of probabilities, and what was compared on validation photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flawmap.records import Cleaning, MaskSpec
from flawmap.stages.report.facts import MaskReportFacts
from flawmap.stages.report.mask_verdict import tolerant_name
from flawmap.stages.report.svg import AxisStyle, Drawing, axes, both_widths, even_decimals, padded
from flawmap.stages.report.wording import DASH, count, listed, number, percent, plural
from flawmap.tools.mask_scores import N_LEVELS

_COMPARED = {
    "dice": "Dice",
    "f1_tolerant": "",
    "flaw_dice": "Flaw Dice",
    "severstal_score": "Severstal score",
    "escape_rate": "Escape rate",
    "overkill_rate": "Overkill rate",
}
_CRITERIA = {
    "f1": "Dice",
    "f1_tolerant": "F1 with tolerance",
    "flaw_dice": "flaw Dice",
    "severstal_score": "Severstal score",
    "balanced": "harmonic mean of flaw Dice and quiet photos",
}
_STATES = {
    "plain": "Threshold 0.5, nothing else",
    "thresholds": "Chosen thresholds, nothing else",
    "chosen": "As shipped",
}
_SHOWN_BEST = 5


def cleaning_section(facts: MaskReportFacts) -> dict[str, Any]:
    """The rule that makes masks, per label; what it gains on validation; what else was tried."""
    spec = facts.spec.masks
    assert spec is not None
    rows = list(facts.choice_rows)
    thresholds = [row for row in rows if row["step"] == "threshold"]
    settings = [row for row in rows if row["step"] == "cleaning"]
    criteria = list(dict.fromkeys(_criterion(row) for row in thresholds))
    labels = list(dict.fromkeys(row["label"] for row in thresholds))
    return {
        "words": _rule_words(spec, len(facts.dataset.labels)),
        "rules": _rules(facts.dataset.labels, spec.cleaning),
        "has_lows": spec.cleaning.low_thresholds is not None,
        "names": [name or tolerant_name(facts.validation.metrics) for name in _COMPARED.values()],
        "states": _states(facts.choice_figures),
        "unchanged": _unchanged(spec.cleaning),
        "at_end": _at_end(thresholds),
        "n_validation": plural(len(facts.split.validation), "photo"),
        "chart": threshold_chart(thresholds, listed(criteria, "or")) if thresholds else "",
        "curve_names": labels if len(labels) > 1 else [],
        "criterion": listed(criteria, "or"),
        "tried": [
            _tried(label, [r for r in settings if r["label"] == label]) for label in facts.dataset.labels
        ]
        if settings
        else [],
    }


def _criterion(row: Mapping[str, Any]) -> str:
    name = str(row["criterion"])
    return _CRITERIA.get(name, name)


def _rule_words(spec: MaskSpec, n_labels: int) -> str:
    cleaning = spec.cleaning
    words = ["For every pixel the network gives a probability of each kind of flaw."]
    if spec.flips:
        words.append("Each photo is looked at four times, as it is and mirrored, and the answers averaged.")
    if cleaning.low_thresholds is None:
        words.append("A pixel is marked where its probability reaches the threshold.")
    else:
        words.append(
            "A patch is marked where one of its pixels reaches the threshold, and reaches as far as the "
            "lower threshold holds."
        )
    if any(cleaning.min_area_px):
        words.append("Patches smaller than the smallest area are dropped.")
    if cleaning.is_exclusive and n_labels > 1:
        words.append("A pixel that several kinds claim goes to the likeliest.")
    return " ".join(words)


def _unchanged(cleaning: Cleaning) -> str:
    """A sentence where nothing was better than doing the simplest thing."""
    is_plain = set(cleaning.thresholds) == {0.5} and cleaning.lows == cleaning.thresholds
    if not is_plain or any(area > 1 for area in cleaning.min_area_px):
        return ""
    return "Nothing that was tried beats the plain threshold of 0.5 by more than its standard error."


def _at_end(rows: Sequence[Mapping[str, Any]]) -> str:
    """A sentence where the best threshold that was tried is the last one on its side."""
    ends = (1 / N_LEVELS, (N_LEVELS - 1) / N_LEVELS)
    found = [row for row in rows if row["is_chosen"] and row["threshold"] in ends]
    if not found:
        return ""
    named = listed([f"{row['threshold']:.3f} for {row['label']}" for row in found])
    return f"Chosen is the end of the range that was tried: {named}. A better one may lie beyond it."


def _rules(labels: Sequence[str], cleaning: Cleaning) -> list[dict[str, str]]:
    each = zip(labels, cleaning.thresholds, cleaning.lows, cleaning.min_area_px, strict=True)
    return [
        {
            "label": label,
            "threshold": number(high),
            "low": number(low) if low != high else DASH,
            "area": f"{count(area)} px" if area > 1 else "none dropped",
        }
        for label, high, low, area in each
    ]


def _states(figures: Mapping[str, Mapping[str, float | None]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "is_chosen": key == "chosen",
            "cells": [
                (percent if figure.endswith("rate") else number)(figures[key].get(figure))
                for figure in _COMPARED
            ],
        }
        for key, name in _STATES.items()
        if key in figures
    ]


def _tried(label: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The simplest setting, the chosen one and the best, best first."""
    ranked = sorted(rows, key=lambda row: (-row["value"], row["min_area_px"], row["low_threshold"]))
    shown = [r for i, r in enumerate(ranked) if i < _SHOWN_BEST or r["is_chosen"] or r is (rows or [None])[0]]
    return {
        "label": label,
        "n": plural(len(rows), "setting"),
        "criterion": _criterion(rows[0]) if rows else "",
        "rows": [
            {
                "threshold": number(row["threshold"]),
                "low": number(row["low_threshold"]) if row["low_threshold"] != row["threshold"] else DASH,
                "area": count(row["min_area_px"]) if row["min_area_px"] else DASH,
                "value": number(row["value"], 4),
                "behind": f"{number(row['behind'], 4)} ± {number(row['standard_error'], 4)}",
                "is_chosen": row["is_chosen"],
            }
            for row in shown
        ],
    }


def threshold_chart(rows: Sequence[Mapping[str, Any]], criterion: str) -> str:
    """The criterion on validation against the threshold, a line a label, the chosen threshold ringed."""
    labels = list(dict.fromkeys(row["label"] for row in rows))
    low, high = padded([row["value"] for row in rows], 0.06, 0.004)

    def draw(drawing: Drawing) -> str:
        bottom, top = max(low, 0.0), min(high, 1.0)
        y = AxisStyle(bottom, top, f"{criterion} on validation", format=even_decimals(bottom, top))
        plot = axes(drawing, AxisStyle(0.0, 1.0, "threshold", format="{:.1f}".format), y, (44, 26, 12, 42))
        chosen = []
        for i, label in enumerate(labels):
            own = sorted((r for r in rows if r["label"] == label), key=lambda row: row["threshold"])
            points = plot.points([r["threshold"] for r in own], [r["value"] for r in own])
            drawing.polyline(points, f"curve s{i % 6}{' dashed' if i % 12 >= 6 else ''}")
            for row in own:
                if row["is_chosen"]:
                    tip = f"{label}: threshold {row['threshold']:.3f}, {row['value']:.3f}"
                    drawing.circle(plot.x(row["threshold"]), plot.y(row["value"]), 5.5, "best", tip)
                    chosen.append(tip)
        return drawing.finish(f"{criterion} against the threshold. Chosen: {'; '.join(chosen)}.")

    return both_widths(draw, (760, 280), (340, 260))
