"""The report's charts of the choice, drawn as SVG at two widths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flawmap.records import Candidate, Ranking
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
from flawmap.stages.report.wording import macs_text, plural, short_backbone

_MAX_WITH_BARS = 80
"""Candidates up to which every one gets its error bar; above, only the marked ones do."""
_WIDE, _NARROW = (760, 400), (340, 320)
_BALL_PX = 9.5


def ranking_chart(ranking: Ranking) -> str:
    """All that was scored: F1 with standard error against multiply-accumulates, the chosen candidate and the
    control marked. What was scored beyond the depth limit is drawn apart: it could not be chosen."""
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
            _plain_mark(plot, candidate, 4 if has_bars else 3)
        _marked(plot, ranking, plain, has_bars)
        return drawing.finish(_ranking_words(ranking))

    return both_widths(draw, _WIDE, _NARROW)


def best_ten_chart(ranking: Ranking) -> str:
    """The ten best that could be chosen, numbered as in the table beside them. What would cover another one
    is moved sideways, bar and all."""
    best = [c for c in ranking.choosable if math.isfinite(c.f1)][:10]
    if not best:
        return ""

    def draw(drawing: Drawing) -> str:
        plot = _ranking_axes(drawing, best)
        places: list[tuple[float, float]] = []
        taken: list[_Box] = []
        for candidate in best:
            x, radius, (high, low) = plot.x(max(candidate.cost.macs, 1)), _BALL_PX, _bar_ends(plot, candidate)
            y = plot.y(candidate.f1)
            top, bottom = min(high, y - radius), max(low, y + radius)
            x = _free_x(x, (top, bottom), (plot.x.start, plot.x.end), taken)
            taken.append((x - radius, top, x + radius, bottom))
            places.append((x, y))
        for candidate, (x, _) in zip(best, places, strict=True):
            high, low = _bar_ends(plot, candidate)
            drawing.line(x, low, x, high, "error")
        for rank, (candidate, (x, y)) in enumerate(zip(best, places, strict=True), 1):
            css = "ball chosen" if id_of(candidate) == id_of(ranking.chosen) else "ball"
            drawing.circle(x, y, _BALL_PX, css, _tip(candidate))
            drawing.text(x, y + 4, str(rank), "ball-text", "middle")
        return drawing.finish("The ten best candidates: F1 against cost, numbered as in the table.")

    return both_widths(draw, (760, 340), (340, 320))


def id_of(candidate: Candidate) -> tuple[str, int, str]:
    """What makes a candidate the same one: backbone, depth, pooling."""
    return candidate.backbone_id, candidate.cut.depth, candidate.cut.pooling


_Box = tuple[float, float, float, float]


def _ranking_axes(drawing: Drawing, shown: Sequence[Candidate]) -> Axes:
    macs = [max(c.cost.macs, 1) for c in shown]
    ends = [c.f1 - _spread(c) for c in shown] + [c.f1 + _spread(c) for c in shown]
    low, high = padded(ends, 0.06, 0.004)
    low, high = max(low, 0.0), min(high, 1.0)
    width = 1.25 if max(macs) > 1.5 * min(macs) else 1.6
    x = AxisStyle(
        min(macs) / width, max(macs) * width, "cost: multiply-accumulates per photo", "log", macs_text
    )
    y = AxisStyle(low, high, "F1 (cross-validated)", format=even_decimals(low, high))
    return axes(drawing, x, y, (44, 26, 12, 42))


def _spread(candidate: Candidate) -> float:
    return candidate.standard_error if math.isfinite(candidate.standard_error) else 0.0


def _tip(candidate: Candidate) -> str:
    return (
        f"{candidate.backbone_id}, {candidate.cut.words}: F1 {candidate.f1:.3f} ± "
        f"{candidate.standard_error:.3f}, {macs_text(candidate.cost.macs)}"
    )


def _place(plot: Axes, candidate: Candidate) -> tuple[float, float]:
    return plot.x(max(candidate.cost.macs, 1)), plot.y(candidate.f1)


def _plain_mark(plot: Axes, candidate: Candidate, radius: float) -> None:
    x, y = _place(plot, candidate)
    if not candidate.is_choosable:
        plot.drawing.diamond(x, y, radius + 1, "dot beyond", f"{_tip(candidate)}; not to be chosen")
        return
    css = "dot both" if candidate.cut.pooling == "average+maximum" else "dot average"
    plot.drawing.circle(x, y, radius, css, _tip(candidate))


def _bar_ends(plot: Axes, candidate: Candidate) -> tuple[float, float]:
    """Upper and lower end of the error bar, in pixels."""
    spread = _spread(candidate)
    return plot.y(candidate.f1 + spread), plot.y(candidate.f1 - spread)


def _error_bar(plot: Axes, candidate: Candidate, css: str) -> None:
    x, (high, low) = _place(plot, candidate)[0], _bar_ends(plot, candidate)
    plot.drawing.line(x, low, x, high, css)


def _bar_box(plot: Axes, candidate: Candidate) -> _Box:
    x, (high, low) = _place(plot, candidate)[0], _bar_ends(plot, candidate)
    return x - 3, high - 2, x + 3, low + 2


def _marked(plot: Axes, ranking: Ranking, plain: Sequence[Candidate], has_bars: bool) -> None:
    """The control, then the chosen candidate over it, each with its name where nothing is covered."""
    is_same = id_of(ranking.control) == id_of(ranking.chosen)
    marks = [] if is_same else [(ranking.control, "control", "control")]
    marks.append((ranking.chosen, "chosen", "chosen, also the control" if is_same else "chosen"))
    taken = [_around(*_place(plot, c), 5) for c in plain]
    taken += [_around(*_place(plot, c), 9) for c, _, _ in marks]
    bars = [_bar_box(plot, c) for c in ([*plain] if has_bars else []) + [c for c, _, _ in marks]]
    is_wide, labels = plot.drawing.width > 500, []
    for candidate, css, word in reversed(marks):
        where = f": {short_backbone(candidate.backbone_id)} to depth {candidate.cut.depth}" if is_wide else ""
        box = _free_box(plot, _place(plot, candidate), text_width(word + where), taken, bars)
        taken.append(box)
        labels.append((box, word + where, css))
        _leader(plot, _place(plot, candidate), box, css)
    for candidate, css, _ in marks:
        _error_bar(plot, candidate, f"error {css}")
        draw = plot.drawing.diamond if css == "control" else plot.drawing.circle
        draw(*_place(plot, candidate), 7, f"dot {css}", _tip(candidate))
    for box, label, css in labels:  # last: over every bar
        plot.drawing.text(box[0], box[1] + 11, label, f"mark-name {css}")


def _around(x: float, y: float, r: float) -> _Box:
    return x - r, y - r, x + r, y + r


def _free_box(
    plot: Axes, at: tuple[float, float], width: float, taken: Sequence[_Box], bars: Sequence[_Box]
) -> _Box:
    """The nearest place for a text in the plot that covers neither marks nor bars; where there is none, one
    that covers no mark."""
    x, y = at
    left, top, right, bottom = plot.box_xyxy
    moves = [(float(dx), float(dy)) for dx in range(-300, 301, 12) for dy in range(-72, 241, 8)]
    moves.sort(key=lambda move: (move[0] ** 2 + (1.5 * move[1]) ** 2, move))
    tried = [(x + dx - width / 2, y + dy - 7, x + dx + width / 2, y + dy + 7) for dx, dy in moves]
    inside = [b for b in tried if b[0] >= left and b[2] <= right and b[1] >= top - 10 and b[3] <= bottom - 3]
    for others in (np.array([*taken, *bars]), np.array(taken)):
        found = next((box for box in inside if not _covers_any(box, others.reshape(-1, 4))), None)
        if found is not None:
            return found
    return x - width / 2, y - 25, x + width / 2, y - 11


def _leader(plot: Axes, at: tuple[float, float], box: _Box, css: str) -> None:
    """A line from a mark to its name, where they are not side by side."""
    x, y = at
    end = (min(max(x, box[0] + 6), box[2] - 6), min(max(y, box[1]), box[3]))
    if abs(end[1] - y) > 12 or abs(end[0] - x) > 20:
        plot.drawing.line(x, y, *end, f"leader {css}")


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _covers_any(box: _Box, others: np.ndarray) -> bool:
    """Whether a box overlaps any of (n, 4)."""
    x1, y1, x2, y2 = others.T
    return bool(((box[0] < x2) & (x1 < box[2]) & (box[1] < y2) & (y1 < box[3])).any())


def _free_x(
    x: float, y_ends: tuple[float, float], x_ends: tuple[float, float], taken: Sequence[_Box]
) -> float:
    """The x of the plot nearest to `x` at which a ball and its bar cover nothing that is already there."""
    for step in range(80):
        for side in (1, -1):
            moved = x + side * step * 4.0
            box = (moved - _BALL_PX, y_ends[0], moved + _BALL_PX, y_ends[1])
            if x_ends[0] <= moved <= x_ends[1] and not any(_overlap(box, other) for other in taken):
                return moved
    return x


def _ranking_words(ranking: Ranking) -> str:
    chosen, control = ranking.chosen, ranking.control
    return (
        f"F1 against cost of {plural(len(ranking.choosable), 'candidate')}. Chosen: {_tip(chosen)}. "
        f"Control, the last layer averaged: {_tip(control)}."
    )
