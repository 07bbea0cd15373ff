"""The report's sections on the test figures of masks: the figures, kind by kind, ceilings, whole photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flawmap.records import MaskRow
from flawmap.stages.report.facts import MaskReportFacts, ReportOptions
from flawmap.stages.report.figure_table import Figure, figure_rows, scale_words
from flawmap.stages.report.mask_verdict import MaskOutcome, empty_answer, tolerant_name
from flawmap.stages.report.svg import AxisStyle, Drawing, axes, both_widths
from flawmap.stages.report.verdict import interval_of, interval_text
from flawmap.stages.report.wording import count, is_number, number, percent, plural
from flawmap.tools.bootstrap import LOWER_IS_BETTER

_FIGURES = {
    "dice": Figure("Dice", "Twice the overlap over the sum of both areas; the same as the strict F1."),
    "precision": Figure("Precision", "Of the pixels it marked, the share that is flaw."),
    "recall": Figure("Recall", "Of the flaw pixels, the share it marked."),
    "iou": Figure("IoU", "The overlap over the union of marked and true pixels."),
    "mean_iou": Figure("Mean IoU", "The mean of the IoU of flaw and of background."),
    "cldice": Figure("clDice", "Overlap of the centre lines: whether a crack stays in one piece."),
    "flaw_dice": Figure("Flaw Dice", "The mean Dice of the photos and kinds that have a flaw."),
    "severstal_score": Figure(
        "Severstal score", "The mean Dice of all photos and kinds; 1 where nothing is and nothing is marked."
    ),
    "pixel_accuracy": Figure(
        "Pixel accuracy", "Share of all pixels that are right: high whatever is found, flaws being small."
    ),
    "escape_rate": Figure(
        "Escape rate", "Of the flawed photos, the share without any mark. Lower is better.", True, True
    ),
    "overkill_rate": Figure(
        "Overkill rate", "Of the good photos, the share with a mark. Lower is better.", True, True
    ),
}
_CEILINGS = {
    "ods_f1": "One threshold for all test photos (ODS)",
    "ods_f1_tolerant": "The same, small shifts forgiven",
    "ois_f1": "Every test photo its own threshold (OIS)",
    "ois_f1_tolerant": "The same, small shifts forgiven",
}
_PER_CLASS = ("f1_tolerant", "dice", "flaw_dice", "precision", "recall", "escape_rate", "overkill_rate")
"""What one acts on; metrics.json has the rest."""


def mask_figures_section(facts: MaskReportFacts, outcome: MaskOutcome) -> dict[str, Any]:
    """Every figure with its interval beside the empty answer; kinds; ceilings."""
    metrics = facts.test.metrics
    meaning = "Precision and recall of pixels in one figure, shifts within the tolerance forgiven."
    figures = {"f1_tolerant": Figure(tolerant_name(metrics), meaning), **_FIGURES}
    rows = figure_rows(figures, metrics, empty_answer(metrics), facts.validation.metrics, {})
    return {
        "rows": rows,
        "scales": scale_words(figures, metrics),
        "has_trivial_marks": any(row["bar"] and row["bar"]["trivial"] for row in rows),
        "has_before": False,
        "has_validation": True,
        "n": plural(outcome.n, "photo"),
        "n_groups": plural(outcome.n_groups, "source"),
        "class_names": [tolerant_name(metrics), *(_FIGURES[key].name for key in _PER_CLASS[1:])],
        "classes": _class_rows(facts),
        "ceilings": (ceilings := _ceiling_rows(facts, outcome)),
        "above_ceiling": any(row["is_above"] for row in ceilings),
    }


def _class_rows(facts: MaskReportFacts) -> list[dict[str, Any]]:
    rows = facts.test.metrics.get("per_class") or {}
    if len(rows) < 2:
        return []
    return [
        {
            "label": label,
            "n": count(row.get("n_photos_with")),
            "cells": [_class_cell(row, key) for key in _PER_CLASS],
        }
        for label, row in rows.items()
    ]


def _class_cell(row: Mapping[str, Any], key: str) -> tuple[str, str]:
    is_rate = key in LOWER_IS_BETTER
    write, best = (percent, 0.0) if is_rate else (number, 1.0)
    n_sources = None if is_rate else row.get("n_groups_with")
    return write(row.get(key)), interval_text(interval_of(row, key), write, "", best, n_sources)


def _ceiling_rows(facts: MaskReportFacts, outcome: MaskOutcome) -> list[dict[str, Any]]:
    """Each ceiling, and the same figure at the thresholds that were chosen beforehand."""
    metrics = facts.test.metrics
    tolerant = [row.f1_tolerant for row in outcome.flawed if row.f1_tolerant is not None]
    own = {
        "ods_f1": metrics.get("dice"),
        "ods_f1_tolerant": metrics.get("f1_tolerant"),
        "ois_f1": float(np.mean([row.dice for row in outcome.flawed])) if outcome.flawed else None,
        "ois_f1_tolerant": float(np.mean(tolerant)) if tolerant else None,
    }
    return [
        {
            "name": name,
            "value": number(metrics[key]),
            "interval": interval_text(interval_of(metrics, key), number, n_sources=metrics.get("n_groups")),
            "own": number(own[key]),
            "is_above": is_number(own[key]) and own[key] > metrics[key],
        }
        for key, name in _CEILINGS.items()
        if is_number(metrics.get(key))
    ]


def whole_photos_section(
    facts: MaskReportFacts, outcome: MaskOutcome, options: ReportOptions
) -> dict[str, Any]:
    """Photos taken as one: flaws passed over, good photos marked, and how the Dice of photos spreads."""
    metrics = facts.test.metrics
    dice = [row.dice for row in outcome.flawed]
    n_flawed, n_good = len(outcome.flawed), len(outcome.good)
    return {
        "groups": [
            {
                "title": "Missed photos",
                "words": _share_words(
                    (len(outcome.escaped), n_flawed),
                    "flawed",
                    "got no mark",
                    f"All {plural(n_flawed, 'flawed photo')} got a mark.",
                )
                + _beside_words(len(outcome.beside)),
                "interval": interval_text(interval_of(metrics, "escape_rate"), percent, "95 %: ", 0.0),
                "rows": _photo_rows(outcome.escaped, options, "true_px"),
                "column": "flaw pixels",
                "more": max(len(outcome.escaped) - options.n_listed, 0),
            },
            {
                "title": "Marks on good photos",
                "words": _share_words(
                    (len(outcome.overkilled), n_good),
                    "good",
                    "got a mark",
                    f"None of the {plural(n_good, 'good photo')} got a mark.",
                ),
                "interval": interval_text(interval_of(metrics, "overkill_rate"), percent, "95 %: ", 0.0),
                "rows": _photo_rows(outcome.overkilled, options, "found_px"),
                "column": "marked pixels",
                "more": max(len(outcome.overkilled) - options.n_listed, 0),
            },
        ],
        "chart": dice_chart(dice) if dice else "",
        "median": number(float(np.median(dice)), 2) if dice else "",
        "n_flawed": plural(n_flawed, "flawed photo"),
    }


def _share_words(counts: tuple[int, int], kind: str, what: str, none: str) -> str:
    n_events, n = counts
    if not n:
        return f"The test part holds no {kind} photo, so nothing can be said."
    if not n_events:
        return f"{none} That is no proof: see the interval."
    return f"{count(n_events)} of the {plural(n, f'{kind} test photo')} {what} ({percent(n_events / n)})."


def _beside_words(n: int) -> str:
    """Marked photos whose flaw has no mark, which the escape rate does not count."""
    return f" On {count(n)} more no mark lies on the flaw; the rate does not count them." if n else ""


def _photo_rows(rows: Sequence[MaskRow], options: ReportOptions, key: str) -> list[tuple[str, str]]:
    return [(row.name, count(getattr(row, key))) for row in rows[: options.n_listed]]


def dice_chart(dice: Sequence[float]) -> str:
    """How many photos have which Dice, in steps of 0.05."""
    counts, edges = np.histogram(np.asarray(dice), bins=20, range=(0.0, 1.0))

    def draw(drawing: Drawing) -> str:
        most = int(counts.max())
        ticks = tuple(float(v) for v in range(0, most + 1, max(1, -(-most // 4))))
        x = AxisStyle(0.0, 1.0, "Dice of a photo", format="{:.1f}".format)
        y = AxisStyle(0.0, most * 1.04, "photos", ticks=ticks)
        plot = axes(drawing, x, y, (44, 26, 12, 42))
        for n, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if n:
                box = (plot.x(low) + 1, plot.y(n), plot.x(high) - 1, plot.y(0))
                drawing.rect(box, "bin", f"{plural(n, 'photo')} with a Dice of {low:.2f} to {high:.2f}")
        middle = plot.x(float(np.median(dice)))
        drawing.line(middle, plot.y(most * 1.04), middle, plot.y(0), "threshold")
        return drawing.finish(f"Dice of {plural(len(dice), 'photo')}; median {np.median(dice):.2f}.")

    return both_widths(draw, (760, 240), (340, 230))
