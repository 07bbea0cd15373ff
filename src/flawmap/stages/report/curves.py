"""The report's charts of the test figures: ROC, precision-recall, calibration, and the scores themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flawmap.records import Thresholds
from flawmap.stages.report.svg import Axes, AxisStyle, Drawing, axes, both_widths
from flawmap.stages.report.wording import number, percent

_SIZE = (296, 286)
_MARGINS = (44.0, 26.0, 14.0, 42.0)
_MAX_POINTS = 300
_MAX_STRIP = 700
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def roc_chart(
    curves: Mapping[str, Mapping[str, Sequence[float]]], axis_names: tuple[str, str], words: str
) -> str:
    """`curves`: name → {"false_alarm_rate", "recall"}; several are drawn in turning colours."""
    drawing = Drawing(*_SIZE)
    plot = _unit_axes(drawing, *axis_names)
    drawing.line(plot.x(0), plot.y(0), plot.x(1), plot.y(1), "level")
    for i, (name, curve) in enumerate(curves.items()):
        _curve(plot, curve.get("false_alarm_rate", ()), curve.get("recall", ()), i, name)
    return drawing.finish(words)


def precision_recall_chart(
    curves: Mapping[str, Mapping[str, Sequence[float]]], base_share: float | None, words: str
) -> str:
    """`base_share`: the precision of calling everything flawed, drawn as a dashed line where it is known."""
    drawing = Drawing(*_SIZE)
    plot = _unit_axes(drawing, "recall", "precision")
    if base_share is not None:
        drawing.line(plot.x(0), plot.y(base_share), plot.x(1), plot.y(base_share), "level")
        below = base_share > 0.5
        drawing.text(
            plot.x(0) + 4, plot.y(base_share) + (15 if below else -5), "all called flawed", "level-name"
        )
    for i, (name, curve) in enumerate(curves.items()):
        _curve(plot, curve.get("recall", ()), curve.get("precision", ()), i, name)
    return drawing.finish(words)


def calibration_chart(bins: Sequence[tuple[float, float, int]], words: str) -> str:
    """`bins`: (mean score, share that was so, photos in the bin); the circle's area grows with the photos."""
    drawing = Drawing(*_SIZE)
    plot = _unit_axes(drawing, "score that the model gave", "share that was so")
    drawing.line(plot.x(0), plot.y(0), plot.x(1), plot.y(1), "level")
    most = max((b[2] for b in bins), default=1)
    for score, share, n in bins:
        radius = round(3 + 9 * (n / most) ** 0.5, 1)
        tip = f"{n} photos scored about {score:.2f}; {percent(share)} were so"
        drawing.circle(plot.x(score), plot.y(share), radius, "bubble", tip)
    return drawing.finish(words)


def score_strip(
    flaw_scores: np.ndarray, flawed: np.ndarray, thresholds: Thresholds, has_threshold: bool, words: str
) -> str:
    """Every test photo at its flaw score (log-odds scale), flawed above good, over the review band."""
    end = _strip_end(flaw_scores)

    def draw(drawing: Drawing) -> str:
        style = AxisStyle(end, 1 - end, "flaw score", "logit", _decimals, _strip_ticks(end, drawing.width))
        plot = axes(drawing, style, AxisStyle(0, 2, ticks=(-1,), format=lambda _: ""), (66, 44, 22, 42))
        _, top, _, bottom = plot.box_xyxy
        low, high = plot.x(thresholds.review_low), plot.x(thresholds.review_high)
        if high - low > 1:
            drawing.rect((low, top, high, bottom), "band")
            drawing.text(_held(plot, (low + high) / 2, 46), top - 8, "a person looks", "band-name", "middle")
        if has_threshold:
            at = plot.x(thresholds.threshold)
            drawing.line(at, top, at, bottom, "threshold")
            drawing.text(
                _held(plot, at, 46), top - 26, f"threshold {number(thresholds.threshold)}", "tick", "middle"
            )
        middle = (top + bottom) / 2
        drawing.line(plot.x.start, middle, plot.x.end, middle, "grid")
        drawing.text(0, (top + middle) / 2 + 4, "flawed", "name")
        drawing.text(0, (middle + bottom) / 2 + 4, "good", "name")
        _swarm(plot, flaw_scores[flawed], (top + 7, middle - 7), "speck flaw")
        _swarm(plot, flaw_scores[~flawed], (middle + 7, bottom - 7), "speck good")
        return drawing.finish(words)

    return both_widths(draw, (760, 250), (340, 260))


def _strip_end(flaw_scores: np.ndarray) -> float:
    """The lowest score of the axis: the first decade outside which at most a tenth of the photos lie."""
    for end in (1e-2, 1e-3, 1e-4):
        if np.mean((flaw_scores < end) | (flaw_scores > 1 - end)) <= 0.1:
            return end
    return 1e-5


def _strip_ticks(end: float, width: float) -> tuple[float, ...]:
    """Both ends, the middle, and as many decades between as have room."""
    decades = [10.0**-d for d in range(1, round(-np.log10(end)))]
    kept = decades if width > 500 else decades[1:2]
    lower = sorted({end, *kept})
    return (*lower, 0.5, *(1 - value for value in reversed(lower)))


def _decimals(score: float) -> str:
    return f"{score:.5f}".rstrip("0").rstrip(".")


def _held(plot: Axes, x: float, half_width: float) -> float:
    """`x`, moved so that a centred text of twice `half_width` stays over the plot."""
    return min(max(x, plot.x.start + half_width), plot.x.end - half_width)


def calibration_bins(curve: Any) -> list[tuple[float, float, int]]:
    """(mean score, share that was so, photos) of the bins that hold photos."""
    if not isinstance(curve, Mapping):
        return []
    triples = zip(curve.get("score", ()), curve.get("outcome", ()), curve.get("n", ()), strict=True)
    return [(float(a), float(b), int(n)) for a, b, n in triples if n and a is not None and b is not None]


def _unit_axes(drawing: Drawing, x_name: str, y_name: str) -> Axes:
    def share(value: float) -> str:
        return f"{100 * value:.0f} %".replace(" ", "\u202f")

    x = AxisStyle(0, 1, x_name, format=share, ticks=_SHARES)
    return axes(drawing, x, AxisStyle(0, 1, y_name, format=share, ticks=_SHARES), _MARGINS)


def _curve(plot: Axes, xs: Sequence[float], ys: Sequence[float], index: int, name: str) -> None:
    n = min(len(xs), len(ys))
    if not n:
        return
    kept = np.unique(np.linspace(0, n - 1, min(n, _MAX_POINTS)).round().astype(int))
    points = plot.points([xs[i] for i in kept], [ys[i] for i in kept])
    plot.drawing.polyline(points, f"curve s{index % 6}{' dashed' if index % 12 >= 6 else ''}")


def _swarm(plot: Axes, scores: np.ndarray, lane: tuple[float, float], css: str) -> None:
    """Specks at their score; the height inside the lane only keeps them apart (golden-ratio steps). Scores
    beyond the axis gather in a small heap just outside it."""
    ordered = np.sort(scores)
    if len(ordered) > _MAX_STRIP:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _MAX_STRIP).round().astype(int)]
    for i, score in enumerate(ordered.tolist()):
        beyond = (score > plot.x.high) - (score < plot.x.low)
        x = plot.x(score) + beyond * 18 * ((i * 0.7548776662) % 1.0)
        y = lane[0] + (i * 0.6180339887) % 1.0 * (lane[1] - lane[0])
        plot.drawing.circle(x, y, 2.6, css)
