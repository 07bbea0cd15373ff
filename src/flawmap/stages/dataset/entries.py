"""What a layout says of one photo, before the photo is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flawmap.records import Part, Unreadable

PART_OF_NAME: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "learn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "hold_out"), "test"),
}


@dataclass(frozen=True)
class Entry:
    """A photo with its labels: none means good, where photos may have several."""

    path: Path
    name: str
    labels: tuple[str, ...]
    part: Part | None = None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """All that a layout says. `labels` is given where columns name labels that no photo may carry."""

    root: Path
    layout: str
    entries: tuple[Entry, ...]
    is_multilabel: bool = False
    labels: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    ignored: tuple[Unreadable, ...] = ()
