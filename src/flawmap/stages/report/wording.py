"""How the report names and writes things: numbers with their units, and short names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeGuard

DASH = "–"
NARROW_SPACE = "\u202f"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a figure is there and finite."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """A figure with fixed decimals, more where it would else be rounded to 0 or 1; a dash without a value."""
    if not is_number(value):
        return DASH
    text = f"{value:.{digits}f}"
    while digits < 6 and value not in (0, 1) and float(text) in (0.0, 1.0):
        digits += 1
        text = f"{value:.{digits}f}"
    return text.replace("-", "−")


def count(value: Any) -> str:
    """A whole number with narrow spaces between thousands."""
    return f"{round(value):,}".replace(",", NARROW_SPACE) if is_number(value) else DASH


def percent(value: Any, digits: int = 1) -> str:
    """A share as a percentage; a share that is not whole is never rounded up to 100 or down to 0."""
    if not is_number(value):
        return DASH
    text = f"{100 * value:.{digits}f}"
    least = 10.0**-digits
    if float(text) >= 100 and value < 1:
        text = f"over {100 - least:.{digits}f}"
    elif float(text) == 0 and value > 0:
        text = f"under {least:.{digits}f}"
    elif float(text) in (0.0, 100.0):
        text = str(round(float(text)))
    return f"{text}{NARROW_SPACE}%"


def size_text(n_bytes: Any) -> str:
    """Bytes as kB or MB (powers of ten)."""
    if not is_number(n_bytes):
        return DASH
    if n_bytes < 1e6:
        return f"{max(n_bytes / 1e3, 0.1):.{0 if n_bytes >= 1e4 else 1}f}{NARROW_SPACE}kB"
    return f"{n_bytes / 1e6:.{1 if n_bytes < 1e8 else 0}f}{NARROW_SPACE}MB"


def macs_text(macs: float) -> str:
    """Multiply-accumulates with M or G."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= factor:
            value = macs / factor
            return f"{value:.2f}".rstrip("0").rstrip(".") + unit if value < 10 else f"{value:.0f}{unit}"
    return f"{macs:.0f}"


def millions(value: Any) -> str:
    """A count of parameters, in millions or thousands."""
    if not is_number(value):
        return DASH
    if value >= 1e6:
        return f"{value / 1e6:.2f}{NARROW_SPACE}M"
    return f"{value / 1e3:.0f}{NARROW_SPACE}k"


def duration(seconds: Any) -> str:
    """Seconds in words that suit their length."""
    if not is_number(seconds):
        return DASH
    if seconds < 0.095:
        return f"{1000 * seconds:.0f}{NARROW_SPACE}ms"
    if seconds < 10:
        return f"{seconds:.1f}{NARROW_SPACE}s"
    if seconds < 120:
        return f"{seconds:.0f}{NARROW_SPACE}s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes}{NARROW_SPACE}min"
    return f"{minutes // 60}{NARROW_SPACE}h {minutes % 60}{NARROW_SPACE}min"


def plural(n: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 photo", "2 photos"."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """ "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def kind_text(label: str) -> str:
    """A kind of flaw within a sentence: where it has no name but a number, "kind 1"."""
    return f"kind {label}" if label.isdecimal() else label


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """With a capital, unless it starts with a name such as "tf_net", and a full stop."""
    text = text.strip()
    if text.split(" ", 1)[0].replace("-", "").isalpha():
        text = capital(text)
    return text if not text or text[-1] in ".!?:" else f"{text}."


def rate_text(value: Any) -> str:
    """A rate that someone chose, as a percentage without needless zeros: "1 %", "0.5 %"."""
    return f"{100 * value:.3g}{NARROW_SPACE}%" if is_number(value) else DASH


def small_number(value: float) -> str:
    """A small positive number in plain decimals with two figures: 0.0000027."""
    digits = 1 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(digits, 0)}f}"


def short_backbone(backbone_id: str) -> str:
    """The part of a backbone's id that tells it from others, short enough for a chart."""
    name = backbone_id.split(":")[-1].split("/")[-1].removeprefix("tf_")
    return name if len(name) <= 22 else name[:21] + "…"
