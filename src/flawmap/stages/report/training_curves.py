"""The training curves: loss and the validation figure over the epochs, drawn at two widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from flawmap.records import Epoch
from flawmap.stages.report.svg import (
    Axes,
    AxisStyle,
    Drawing,
    axes,
    both_widths,
    even_decimals,
    padded,
    text_width,
)
from flawmap.stages.report.wording import plural

_Box = tuple[float, float, float, float]


def epochs_chart(
    history: Sequence[Epoch],
    kept: int | None,
    shipped: str,
    levels: Mapping[str, float],
    figure: str = "F1",
) -> str:
    """Loss beside the validation figure (`figure` names it), the kept epoch ringed. `levels`: name → value of
    dashed lines; the one that ends in "shipped" stands out."""

    def draw(drawing: Drawing) -> str:
        is_wide = drawing.width > 500
        gap = 56
        panel_w = (drawing.width - gap) / 2 if is_wide else drawing.width
        panel_h = drawing.height if is_wide else (drawing.height - 26) / 2
        second = (panel_w + gap, 0.0) if is_wide else (0.0, panel_h + 26)
        loss, f1 = Drawing(panel_w, panel_h), Drawing(panel_w, panel_h)
        _loss_panel(loss, history, kept)
        _figure_panel(f1, history, levels, kept, f"validation {figure}")
        drawing.parts += ["<g>", *loss.parts, "</g>"]
        drawing.parts += [f'<g transform="translate({second[0]:g} {second[1]:g})">', *f1.parts, "</g>"]
        words = f"Loss and validation {figure} over {plural(len(history), 'epoch')}; {shipped}"
        if kept is not None:
            words += f", {epoch_name(history, kept)}, validation {figure} {history[kept].validation_f1:.3f}"
        return drawing.finish(f"{words}.")

    return both_widths(draw, (760, 300), (340, 540))


def phase_words(phase: str) -> str:
    """What is trained in a phase."""
    return {"head": "the head on the frozen backbone", "masks": "the mask network"}.get(phase, phase)


def epoch_name(history: Sequence[Epoch], place: int) -> str:
    """Such as "epoch 5 of fine-tuning", counted within its phase."""
    phase = history[place].phase
    return f"epoch {sum(e.phase == phase for e in history[: place + 1])} of {phase_words(phase)}"


def _epoch_axes(drawing: Drawing, history: Sequence[Epoch], y: AxisStyle) -> Axes:
    n = len(history)
    step = max(1, math.ceil(n / (8 if drawing.width > 340 else 6)))
    x = AxisStyle(0.5, n + 0.5, "epoch", ticks=tuple(float(v) for v in range(1, n + 1, step)))
    plot = axes(drawing, x, y, (44, 48, 10, 40))
    _name_phases(plot, history)
    return plot


def _phases(history: Sequence[Epoch]) -> list[tuple[str, int, int]]:
    """(name, first, end) of each run of epochs of one phase."""
    starts = [i for i, e in enumerate(history) if i == 0 or e.phase != history[i - 1].phase]
    return [(history[i].phase, i, end) for i, end in pairwise([*starts, len(history)])]


def _name_phases(plot: Axes, history: Sequence[Epoch]) -> None:
    """A bar over the epochs of each phase, and its name over the bar, inside the plot's width however short
    the phase is."""
    if {epoch.phase for epoch in history} == {"masks"}:
        return  # there is no other phase to tell it from
    left, top, right, bottom = plot.box_xyxy
    used = left - 8
    for name, first, end in _phases(history):
        start, stop = plot.x(first + 0.5), plot.x(end + 0.5)
        width = text_width(name)
        middle = min(max((start + stop) / 2, left + width / 2, used + 8 + width / 2), right - width / 2)
        used = middle + width / 2
        if first:
            plot.drawing.line(start, top - 10, start, bottom, "phase")
        plot.drawing.line(start + 2, top - 10, max(stop - 2, start + 3), top - 10, "phase-bar")
        plot.drawing.text(middle, top - 17, name, "phase-name", "middle")


def _loss_panel(drawing: Drawing, history: Sequence[Epoch], kept: int | None) -> None:
    train, held_back = [e.train_loss for e in history], [e.validation_loss for e in history]
    low, high = padded([*train, *held_back], 0.08, 0.005)
    plot = _epoch_axes(drawing, history, AxisStyle(max(low, 0.0), high, "loss"))
    _curve(plot, history, train, "curve train", "training loss")
    _curve(plot, history, held_back, "curve validation", "validation loss")
    _ring(plot, history, held_back, kept)


def _figure_panel(
    drawing: Drawing, history: Sequence[Epoch], levels: Mapping[str, float], kept: int | None, figure: str
) -> None:
    values = [e.validation_f1 for e in history]
    low, high = padded(values, 0.1, 0.004)
    is_near = (low - (high - low), high + (high - low))
    known = {n: v for n, v in levels.items() if is_near[0] <= v <= is_near[1] or n.endswith("shipped")}
    low, high = padded([*values, *known.values()], 0.1, 0.004)
    low, high = max(low, 0.0), min(high, 1.0)
    style = AxisStyle(low, high, figure, format=even_decimals(low, high))
    plot = _epoch_axes(drawing, history, style)
    left, _, right, _ = plot.box_xyxy
    lines = {name: (left, plot.y(v), right, plot.y(v)) for name, v in known.items()}
    for name, (_, y, _, _) in lines.items():
        drawing.line(left, y, right, y, "level shipped" if name.endswith("shipped") else "level")
    _curve(plot, history, values, "curve validation", figure)
    _ring(plot, history, values, kept)
    taken = _along(plot, values)
    for name, line in lines.items():
        others = [other for other in lines.values() if other is not line]
        taken.append(_name_level(plot, name, line[1], [*taken, *others]))


def _along(plot: Axes, values: Sequence[float]) -> list[_Box]:
    """Small boxes all along a curve, between its points too."""
    points = plot.points(range(1, len(values) + 1), values)
    found = [(x, y, x, y) for x, y in points]
    for (x1, y1), (x2, y2) in pairwise(points):
        n = max(2, math.ceil(math.hypot(x2 - x1, y2 - y1) / 4))
        steps = [(x1 + (x2 - x1) * k / n, y1 + (y2 - y1) * k / n) for k in range(1, n)]
        found += [(x, y, x, y) for x, y in steps]
    return found


def _name_level(plot: Axes, text: str, y: float, taken: Sequence[_Box]) -> _Box:
    """Write the name of a dashed line above or below it, where most room is left by `taken`."""
    left, top, right, bottom = plot.box_xyxy
    width = text_width(text)

    def room(box: _Box) -> float:
        if box[1] < top - 6 or box[3] > bottom:
            return -100.0
        beside = [other for other in taken if other[0] < box[2] + 6 and box[0] - 6 < other[2]]
        gaps = [max(other[1] - box[3], box[1] - other[3]) for other in beside]
        return min([*gaps, 12.0])

    starts = (right - width, left + 4, (left + right - width) / 2)
    boxes = [(x, y + dy - 6, x + width, y + dy + 6) for x in starts for dy in (-10, 11)]
    best = max(boxes, key=room)
    css = "level-name shipped" if text.endswith("shipped") else "level-name"
    plot.drawing.text(best[0], best[1] + 10, text, css)
    return best


def _curve(plot: Axes, history: Sequence[Epoch], values: Sequence[float], css: str, what: str) -> None:
    """A line per phase: the next one need not start from where the last one ended."""
    write: Callable[[float], str] = "{:.4f}".format
    for _, first, end in _phases(history):
        plot.drawing.polyline(plot.points(range(first + 1, end + 1), values[first:end]), css)
        radius = 2.6 if end - first > 1 else 3.6
        for i in range(first, end):
            if math.isfinite(values[i]):
                tip = f"{epoch_name(history, i)}: {what} {write(values[i])}"
                plot.drawing.circle(plot.x(i + 1), plot.y(values[i]), radius, f"{css} knot", tip)


def _ring(plot: Axes, history: Sequence[Epoch], values: Sequence[float], kept: int | None) -> None:
    if kept is not None and math.isfinite(values[kept]):
        tip = f"kept: {epoch_name(history, kept)}"
        plot.drawing.circle(plot.x(kept + 1), plot.y(values[kept]), 5.5, "best", tip)
