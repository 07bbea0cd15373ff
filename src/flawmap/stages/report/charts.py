"""The report's charts of the choice and of the training, drawn as SVG at two widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flawmap.records import Candidate, Epoch, Ranking
from flawmap.stages.report.svg import Axes, AxisStyle, Drawing, axes, both_widths, padded, text_width
from flawmap.stages.report.wording import cut_name, macs_text, short_backbone

_MAX_WITH_BARS = 80
"""Candidates up to which every one gets its error bar; above, only the marked ones do."""
_WIDE, _NARROW = (760, 400), (340, 320)


def ranking_chart(ranking: Ranking) -> str:
    """All candidates: F1 with standard error against multiply-accumulates, the chosen one and the control
    marked."""
    shown = [c for c in ranking.candidates if math.isfinite(c.f1)]
    if not shown:
        return ""
    marked = {id_of(ranking.chosen), id_of(ranking.control)}
    has_bars = len(shown) <= _MAX_WITH_BARS

    def draw(drawing: Drawing) -> str:
        plot = _ranking_axes(drawing, shown)
        plain = [c for c in shown if id_of(c) not in marked]
        for candidate in plain if has_bars else ():
            _error_bar(plot, candidate, "error")
        for candidate in plain:
            css = "dot both" if candidate.cut.pooling == "average+maximum" else "dot average"
            _dot(plot, candidate, css, 4 if has_bars else 3)
        _marked(plot, ranking, [_around(plot.x(max(c.cost.macs, 1)), plot.y(c.f1), 5) for c in plain])
        return drawing.finish(_ranking_words(ranking, len(shown)))

    return both_widths(draw, _WIDE, _NARROW)


def best_ten_chart(ranking: Ranking) -> str:
    """The ten best by F1, numbered as in the table beside them."""
    best = [c for c in ranking.candidates if math.isfinite(c.f1)][:10]
    if not best:
        return ""

    def draw(drawing: Drawing) -> str:
        plot = _ranking_axes(drawing, best)
        for candidate in best:
            _error_bar(plot, candidate, "error")
        placed: list[_Box] = []
        for rank, candidate in enumerate(best, 1):
            x, y = plot.x(candidate.cost.macs), plot.y(candidate.f1)
            radius = 9.5
            x = _free_x(x, y, radius, placed)
            placed.append((x - radius, y - radius, x + radius, y + radius))
            css = "ball chosen" if id_of(candidate) == id_of(ranking.chosen) else "ball"
            drawing.circle(x, y, radius, css, _tip(candidate))
            drawing.text(x, y + 4, str(rank), "ball-text", "middle")
        return drawing.finish("The ten best candidates: F1 against cost, numbered as in the table.")

    return both_widths(draw, (760, 340), (340, 320))


def training_chart(history: Sequence[Epoch], levels: Mapping[str, float], winner: str) -> str:
    """Loss and validation F1 over the epochs of all phases. `levels`: name → F1 drawn as a dashed line."""
    if not history:
        return ""

    def draw(drawing: Drawing) -> str:
        is_wide = drawing.width > 500
        gap = 56
        panel_w = (drawing.width - gap) / 2 if is_wide else drawing.width
        panel_h = drawing.height if is_wide else (drawing.height - 26) / 2
        second = (panel_w + gap, 0.0) if is_wide else (0.0, panel_h + 26)
        loss, f1 = Drawing(panel_w, panel_h), Drawing(panel_w, panel_h)
        _loss_panel(loss, history)
        _f1_panel(f1, history, levels)
        drawing.parts += ["<g>", *loss.parts, "</g>"]
        drawing.parts += [f'<g transform="translate({second[0]:g} {second[1]:g})">', *f1.parts, "</g>"]
        best = max((e.validation_f1 for e in history if math.isfinite(e.validation_f1)), default=math.nan)
        words = f"Loss and validation F1 over {len(history)} epochs; best validation F1 {best:.3f}; {winner}."
        return drawing.finish(words)

    return both_widths(draw, (760, 300), (340, 540))


def id_of(candidate: Candidate) -> tuple[str, int, str]:
    """What makes a candidate the same one: backbone, depth, pooling."""
    return candidate.backbone_id, candidate.cut.depth, candidate.cut.pooling


_Box = tuple[float, float, float, float]


def _ranking_axes(drawing: Drawing, shown: Sequence[Candidate]) -> Axes:
    macs = [max(c.cost.macs, 1) for c in shown]
    ends = [c.f1 - _spread(c) for c in shown] + [c.f1 + _spread(c) for c in shown]
    low, high = padded(ends, 0.06, 0.004)
    width = 1.25 if max(macs) > 1.5 * min(macs) else 1.6
    x = AxisStyle(
        min(macs) / width, max(macs) * width, "cost: multiply-accumulates per photo", "log", macs_text
    )
    digits = 2 if high - low > 0.06 else 3
    y = AxisStyle(max(low, 0.0), min(high, 1.0), "F1 (cross-validated)", format=f"{{:.{digits}f}}".format)
    return axes(drawing, x, y, (44, 26, 12, 42))


def _spread(candidate: Candidate) -> float:
    return candidate.standard_error if math.isfinite(candidate.standard_error) else 0.0


def _tip(candidate: Candidate) -> str:
    return (
        f"{candidate.backbone_id}, {cut_name(candidate.cut)}: F1 {candidate.f1:.3f} ± "
        f"{candidate.standard_error:.3f}, {macs_text(candidate.cost.macs)}"
    )


def _dot(plot: Axes, candidate: Candidate, css: str, radius: float) -> None:
    plot.drawing.circle(plot.x(candidate.cost.macs), plot.y(candidate.f1), radius, css, _tip(candidate))


def _error_bar(plot: Axes, candidate: Candidate, css: str) -> None:
    x, spread = plot.x(candidate.cost.macs), _spread(candidate)
    plot.drawing.line(x, plot.y(candidate.f1 - spread), x, plot.y(candidate.f1 + spread), css)


def _marked(plot: Axes, ranking: Ranking, taken: list[_Box]) -> None:
    """The control, then the chosen candidate over it, each with its name where nothing is covered."""
    is_same = id_of(ranking.control) == id_of(ranking.chosen)
    marks = [] if is_same else [(ranking.control, "control", "control")]
    marks.append((ranking.chosen, "chosen", "chosen, also the control" if is_same else "chosen"))
    places = [(plot.x(max(c.cost.macs, 1)), plot.y(c.f1)) for c, _, _ in marks]
    taken += [_around(x, y, 9) for x, y in places]
    is_wide = plot.drawing.width > 500
    for (candidate, css, word), at in reversed(list(zip(marks, places, strict=True))):
        where = f": {short_backbone(candidate.backbone_id)} to stage {candidate.cut.depth}" if is_wide else ""
        _place_label(plot, at, word + where, css, taken)
    for (candidate, css, _), (x, y) in zip(marks, places, strict=True):
        _error_bar(plot, candidate, f"error {css}")
        draw = plot.drawing.diamond if css == "control" else plot.drawing.circle
        draw(x, y, 7, f"dot {css}", _tip(candidate))


def _around(x: float, y: float, r: float) -> _Box:
    return x - r, y - r, x + r, y + r


def _place_label(plot: Axes, at: tuple[float, float], label: str, css: str, taken: list[_Box]) -> None:
    """Write `label` at the nearest place in the plot that is free of `taken`, with a line to its point."""
    width, (x, y) = text_width(label), at
    left, top, right, bottom = plot.box_xyxy
    moves = [(float(dx), float(dy)) for dx in range(-300, 301, 12) for dy in range(-72, 241, 8)]
    moves.sort(key=lambda move: (move[0] ** 2 + (1.5 * move[1]) ** 2, move))
    box = (x - width / 2, y - 25, x + width / 2, y - 11)
    others = np.array(taken).reshape(-1, 4)
    for dx, dy in moves:
        tried = (x + dx - width / 2, y + dy - 7, x + dx + width / 2, y + dy + 7)
        inside = tried[0] >= left and tried[2] <= right and tried[1] >= top - 10 and tried[3] <= bottom - 3
        if inside and not _covers_any(tried, others):
            box = tried
            break
    taken.append(box)
    end = (min(max(x, box[0] + 6), box[2] - 6), min(max(y, box[1]), box[3]))
    if abs(end[1] - y) > 12:
        plot.drawing.line(x, y, *end, f"leader {css}")
    plot.drawing.text(box[0], box[1] + 11, label, f"mark-name {css}")


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _covers_any(box: _Box, others: np.ndarray) -> bool:
    """Whether a box overlaps any of (n, 4)."""
    x1, y1, x2, y2 = others.T
    return bool(((box[0] < x2) & (x1 < box[2]) & (box[1] < y2) & (y1 < box[3])).any())


def _free_x(x: float, y: float, radius: float, placed: Sequence[_Box]) -> float:
    """The x nearest to `x` at which a ball does not cover those already there."""
    for step in range(40):
        for side in (1, -1):
            moved = x + side * step * 4.0
            if not any(_overlap(_around(moved, y, radius), box) for box in placed):
                return moved
    return x


def _ranking_words(ranking: Ranking, n: int) -> str:
    chosen, control = ranking.chosen, ranking.control
    return (
        f"F1 against cost of {n} candidates. Chosen: {_tip(chosen)}. "
        f"Control, the last layer averaged: {_tip(control)}."
    )


def _epoch_axes(drawing: Drawing, history: Sequence[Epoch], y: AxisStyle) -> Axes:
    n = len(history)
    step = max(1, math.ceil(n / (8 if drawing.width > 340 else 6)))
    x = AxisStyle(0.5, n + 0.5, "epoch", ticks=tuple(float(v) for v in range(1, n + 1, step)))
    plot = axes(drawing, x, y, (44, 44, 10, 40))
    starts = [i for i in range(n) if i == 0 or history[i].phase != history[i - 1].phase]
    for i, end in zip(starts, [*starts[1:], n], strict=True):
        _phase(plot, history[i].phase, i, end, i > 0)
    return plot


def _phase(plot: Axes, name: str, start: int, end: int, has_line: bool) -> None:
    left, right = plot.x(start + 0.5), plot.x(end + 0.5)
    _, top, _, bottom = plot.box_xyxy
    if has_line:
        plot.drawing.line(left, top - 14, left, bottom, "phase")
    if text_width(name) < right - left - 4:
        plot.drawing.text((left + right) / 2, top - 6, name, "phase-name", "middle")


def _loss_panel(drawing: Drawing, history: Sequence[Epoch]) -> None:
    train, held_back = [e.train_loss for e in history], [e.validation_loss for e in history]
    low, high = padded([*train, *held_back], 0.08, 0.005)
    plot = _epoch_axes(drawing, history, AxisStyle(max(low, 0.0), high, "loss"))
    _line(plot, train, "curve train", "training loss")
    _line(plot, held_back, "curve validation", "validation loss")


def _f1_panel(drawing: Drawing, history: Sequence[Epoch], levels: Mapping[str, float]) -> None:
    values = [e.validation_f1 for e in history]
    low, high = padded(values, 0.1, 0.004)
    known = {name: v for name, v in levels.items() if low - (high - low) <= v <= high + (high - low)}
    low, high = padded([*values, *known.values()], 0.1, 0.004)
    digits = 2 if high - low > 0.06 else 3
    plot = _epoch_axes(
        drawing,
        history,
        AxisStyle(max(low, 0), min(high, 1), "validation F1", format=f"{{:.{digits}f}}".format),
    )
    left, _, right, _ = plot.box_xyxy
    for name, level in known.items():
        y = plot.y(level)
        drawing.line(left, y, right, y, "level")
        _level_name(plot, f"{name} {level:.3f}", level, values)
    _line(plot, values, "curve validation", "validation F1")
    finite = [(v, -i) for i, v in enumerate(values) if math.isfinite(v)]
    if finite:
        best, place = max(finite)
        drawing.circle(
            plot.x(1 - place), plot.y(best), 5, "best", f"best: {best:.3f} after epoch {1 - place}"
        )


def _level_name(plot: Axes, text: str, level: float, values: Sequence[float]) -> None:
    """Write the name of a dashed line above or below it, at the end where the curve is farthest off."""
    left, top, right, bottom = plot.box_xyxy
    y, width = plot.y(level), text_width(text)
    points = plot.points(range(1, len(values) + 1), values)

    def room(place: tuple[float, float]) -> float:
        start, middle = place
        if not top - 4 <= middle <= bottom - 4:
            return -1.0
        near = [abs(py - middle) for px, py in points if start - 12 <= px <= start + width + 12]
        return min([*near, 60.0])

    start, middle = max(((s, y + dy) for s in (right - width, left + 4) for dy in (-9, 11)), key=room)
    plot.drawing.text(start, middle + 4, text, "level-name")


def _line(plot: Axes, values: Sequence[float], css: str, what: str) -> None:
    points = plot.points(range(1, len(values) + 1), values)
    plot.drawing.polyline(points, css)
    write: Callable[[float], str] = "{:.4f}".format
    for i, value in enumerate(values, 1):
        if math.isfinite(value):
            plot.drawing.circle(
                plot.x(i), plot.y(value), 2.6, f"{css} knot", f"epoch {i}: {what} {write(value)}"
            )
