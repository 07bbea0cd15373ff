"""Pieces of the sentences that commands, notes and model cards are made of."""

from __future__ import annotations


def counted(n: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 photo", "1,200 photos"; `many` where that is not the noun with an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def square_mm(area: float) -> str:
    """Such as "0.48 mm²" or "1,200 mm²": three digits, and all before the point."""
    return f"{area:,.0f} mm²" if area >= 100 else f"{area:.3g} mm²"
