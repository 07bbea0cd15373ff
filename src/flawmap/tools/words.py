"""Pieces of the sentences that commands, notes and model cards are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def counted(n: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 photo", "1,200 photos"; `many` where that is not the noun with an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def join_labels(labels: Sequence[str], carried: Iterable[Any]) -> str:
    """The labels that a photo carries (a 0/1 for each), as tables write them: joined by ";", "" for none."""
    return ";".join(label for label, on in zip(labels, carried, strict=True) if on)


def area_words(area_px: int, area_mm2: float | None) -> str:
    """Such as "1,200 px²"; with a scale "0.48 mm²": three digits, and all before the point."""
    if area_mm2 is None:
        return f"{area_px:,} px²"
    return f"{area_mm2:,.0f} mm²" if area_mm2 >= 100 else f"{area_mm2:.3g} mm²"


def kin_words(n: int, are_found: bool | None) -> str:
    """How many photos have kin in training, such as "20 have another photo of their source in training".

    `are_found`: the sources were told from the photos, not named by the user.
    """
    have, whose = ("has", "its") if n == 1 else ("have", "their")
    if are_found:
        have = "appears to have" if n == 1 else "appear to have"
    return f"{n:,} {have} another photo of {whose} source in training"


def shared_words(n: int, are_found: bool) -> str:
    """Such as "10 sources stand in several of the given parts"; `are_found` as for kin_words()."""
    stand = "stands" if n == 1 else "stand"
    if are_found:
        stand = "appears to stand" if n == 1 else "appear to stand"
    return f"{counted(n, 'source')} {stand} in several of the given parts"


def held_back_words(metrics: Mapping[str, Any]) -> str:
    """What test photos were to training, by the figures of their evaluation; follows "20 photos"."""
    n_seen = metrics.get("n_source_seen_in_training")
    if not n_seen:
        return "of sources never seen"
    return f"({kin_words(n_seen, metrics.get('are_sources_found'))})"


def split_words(metrics: Mapping[str, Any]) -> str:
    """How the test photos of a model card were held back, by the figures of their evaluation."""
    n_seen = metrics.get("n_source_seen_in_training")
    if not n_seen:
        return (
            "held back from training and from every choice, split so that no source photo is on both sides."
        )
    kin = kin_words(n_seen, metrics.get("are_sources_found"))
    return (
        f"held back from training and from every choice. The parts were given, and of these photos {kin}: "
        "the figures flatter."
    )
