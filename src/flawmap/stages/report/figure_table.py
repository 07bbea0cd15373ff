"""A table of figures with intervals, drawn as bars on one scale; beside each what an answer without looking
gets. Classifiers and segmenters share it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flawmap.stages.report.verdict import interval_of, interval_text
from flawmap.stages.report.wording import is_number, number, percent

Range = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """How one figure is named and read."""

    name: str
    meaning: str
    is_lower_better: bool = False
    is_percent: bool = False
    has_bar: bool = True


def figure_rows(
    figures: Mapping[str, Figure],
    metrics: Mapping[str, Any],
    trivial: Mapping[str, Any],
    validation: Mapping[str, Any],
    before: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """A row for each of `figures` that has a value; what is not there is a dash."""
    rows, scales = [], bar_scales(figures, metrics)
    for key, figure in figures.items():
        if not is_number(metrics.get(key)):
            continue
        write = percent if figure.is_percent else number
        interval = interval_of(metrics, key)
        scale = scales[figure.is_lower_better]
        rows.append(
            {
                "name": figure.name,
                "meaning": figure.meaning,
                "value": write(metrics[key]),
                "interval": interval_text(
                    interval, write, "", 0.0 if figure.is_lower_better else 1.0, metrics.get("n_groups")
                ),
                "bar": _bar(scale, metrics[key], interval, trivial.get(key)) if figure.has_bar else None,
                "trivial": write(trivial.get(key)),
                "before": write(before.get(key)),
                "validation": write(validation.get(key)),
            }
        )
    return rows


def scale_words(figures: Mapping[str, Figure], metrics: Mapping[str, Any]) -> list[str]:
    """The ends of the bars in words: where higher is better, where lower is."""
    return [f"{number(low, 1)} to {number(high, 1)}" for low, high in bar_scales(figures, metrics)]


def bar_scales(figures: Mapping[str, Figure], metrics: Mapping[str, Any]) -> tuple[Range, Range]:
    """The ends of the bars, in tenths, for figures where higher and where lower is better: as much as shows
    every interval."""
    lows, highs = [0.9], [0.1]
    for key, figure in figures.items():
        value = metrics.get(key)
        if not is_number(value) or not figure.has_bar:
            continue
        interval = interval_of(metrics, key) or (value, value)
        if figure.is_lower_better:
            highs.append(math.ceil(10 * min(interval[1], 1.0) - 1e-9) / 10)
        else:
            lows.append(math.floor(10 * max(interval[0], 0.0) + 1e-9) / 10)
    return (min(lows), 1.0), (0.0, max(highs))


def _bar(scale: Range, value: float, interval: Range | None, trivial: Any) -> dict[str, Any]:
    """Places on a track from 0 to 100 %; the trivial answer only where it lies on the scale."""
    low, high = interval or (value, value)

    def place(figure: float) -> float:
        return 100 * min(max((figure - scale[0]) / (scale[1] - scale[0]), 0.0), 1.0)

    is_on = is_number(trivial) and scale[0] <= trivial <= scale[1]
    return {
        "at": f"{place(value):.2f}%",
        "low": f"{place(low):.2f}%",
        "width": f"{place(high) - place(low):.2f}%",
        "trivial": f"{place(trivial):.2f}%" if is_on else "",
    }
