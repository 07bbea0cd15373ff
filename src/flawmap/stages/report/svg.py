"""Small drawings in SVG text: scales, axes and marks. Colours come from the page's style sheet by class, so
that one drawing serves light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

FONT_PX = 12
_CHARACTER_PX = 6.4
"""Mean width of a character at FONT_PX in common sans-serif faces, rounded up."""


def text_width(text: str) -> float:
    """Estimated pixels of a line of text at FONT_PX."""
    return len(text) * _CHARACTER_PX


@dataclass(frozen=True)
class Scale:
    """Maps values from `low`..`high` to pixels from `start`..`end`."""

    low: float
    high: float
    start: float
    end: float
    kind: Literal["linear", "log", "logit"] = "linear"

    def __call__(self, value: float) -> float:
        low, high = self._bend(self.low), self._bend(self.high)
        share = (self._bend(min(max(value, self.low), self.high)) - low) / ((high - low) or 1.0)
        return self.start + share * (self.end - self.start)

    def _bend(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(value)
        if self.kind == "logit":
            return math.log(value / (1 - value))
        return value

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values inside the range, about `wanted` of them."""
        if self.kind == "log":
            return self._log_ticks(wanted)
        step = _round_step((self.high - self.low) / max(wanted, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]

    def _log_ticks(self, wanted: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for leads in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 8)):
            found = [
                lead * 10.0**d for d in decades for lead in leads if self.low <= lead * 10.0**d <= self.high
            ]
            if len(found) >= min(wanted, 4):
                break
        every = max(1, math.ceil(len(found) / wanted))
        return found[::every] or [self.low, self.high]


def _round_step(rough: float) -> float:
    if rough <= 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(lead * power for lead in (1, 2, 2.5, 5, 10) if lead * power >= rough * 0.999)


def padded(values: Sequence[float], share: float = 0.08, least: float = 0.01) -> tuple[float, float]:
    """A range that holds all finite values with some air."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    air = max((high - low) * share, least)
    return low - air, high + air


@dataclass
class Drawing:
    """An SVG under construction. Coordinates are CSS pixels at the drawing's own width."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self.parts.append(f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def rect(self, box_xyxy: tuple[float, float, float, float], css: str, tip: str = "") -> None:
        x1, y1, x2, y2 = box_xyxy
        size = f'width="{max(x2 - x1, 0):.1f}" height="{max(y2 - y1, 0):.1f}"'
        self._mark(f'<rect class="{css}" x="{x1:.1f}" y="{y1:.1f}" {size}', "rect", tip)

    def circle(self, x: float, y: float, radius: float, css: str, tip: str = "") -> None:
        self._mark(f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"', "circle", tip)

    def diamond(self, x: float, y: float, radius: float, css: str, tip: str = "") -> None:
        r = radius
        path = f"M{x:.1f} {y - r:.1f}L{x + r:.1f} {y:.1f}L{x:.1f} {y + r:.1f}L{x - r:.1f} {y:.1f}Z"
        self._mark(f'<path class="{css}" d="{path}"', "path", tip)

    def polyline(self, points: Sequence[tuple[float, float]], css: str) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline class="{css}" points="{path}"/>')

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        self.parts.append(
            f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def turned_text(self, x: float, y: float, text: str, css: str = "") -> None:
        """Text that reads upwards, centred at (x, y)."""
        where = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"'
        self.parts.append(f'<text class="{css}" {where} text-anchor="middle">{escape(text)}</text>')

    def _mark(self, opened: str, tag: str, tip: str) -> None:
        self.parts.append(f"{opened}><title>{escape(tip)}</title></{tag}>" if tip else f"{opened}/>")

    def finish(self, description: str, css: str = "") -> str:
        """The SVG element; `description` is what a screen reader says in its place."""
        head = (
            f'<svg class="{css}" viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(description)}">'
        )
        return head + "".join(self.parts) + "</svg>"


@dataclass(frozen=True)
class Axes:
    """A plot area inside a drawing, with its two scales; made by `axes`."""

    drawing: Drawing
    x: Scale
    y: Scale

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        return self.x.start, self.y.end, self.x.end, self.y.start

    def points(self, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
        """Pixel positions of finite points, in order."""
        pairs = zip(xs, ys, strict=True)
        return [(self.x(a), self.y(b)) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


Format = Callable[[float], str]


@dataclass(frozen=True)
class AxisStyle:
    """One axis: its range, name, and how its ticks are written."""

    low: float
    high: float
    name: str = ""
    kind: Literal["linear", "log", "logit"] = "linear"
    format: Format = "{:g}".format
    ticks: tuple[float, ...] = ()
    n_ticks: int = 5


def even_decimals(low: float, high: float, least: int = 2, n_ticks: int = 5) -> Format:
    """Writes every tick of a linear axis with the same decimals: as many as tell them exactly."""
    ticks = Scale(low, high, 0, 1).ticks(n_ticks)
    exact = (d for d in range(least, 10) if all(abs(round(t, d) - t) < 1e-9 for t in ticks))
    return f"{{:.{next(exact, 10)}f}}".format


def axes(drawing: Drawing, x: AxisStyle, y: AxisStyle, margins: tuple[float, float, float, float]) -> Axes:
    """Grid, ticks and names. `margins`: left, top, right, bottom in pixels."""
    left, top, right, bottom = margins
    made = Axes(
        drawing,
        Scale(x.low, x.high, left, drawing.width - right, x.kind),
        Scale(y.low, y.high, drawing.height - bottom, top, y.kind),
    )
    x1, _, x2, y2 = made.box_xyxy
    for tick in y.ticks or made.y.ticks(y.n_ticks):
        drawing.line(x1, made.y(tick), x2, made.y(tick), "grid")
        drawing.text(x1 - 7, made.y(tick) + 4, y.format(tick), "tick", "end")
    drawing.line(x1, y2, x2, y2, "axis")
    for tick in x.ticks or made.x.ticks(x.n_ticks):
        drawing.line(made.x(tick), y2, made.x(tick), y2 + 4, "axis")
        drawing.text(made.x(tick), y2 + 17, x.format(tick), "tick", "middle")
    if x.name:
        drawing.text((x1 + x2) / 2, drawing.height - 4, x.name, "name", "middle")
    if y.name:
        drawing.text(0, 12, y.name, "name")
    return made


def both_widths(draw: Callable[[Drawing], str], wide: tuple[int, int], narrow: tuple[int, int]) -> str:
    """The same chart drawn for a desk and for a phone; the style sheet shows the one that fits, so that the
    lettering keeps its size."""
    return f'<div class="wide">{draw(Drawing(*wide))}</div><div class="narrow">{draw(Drawing(*narrow))}</div>'
