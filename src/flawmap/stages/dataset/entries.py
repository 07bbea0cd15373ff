"""What a layout says of one photo, before the photo is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawmap.errors import MaskError
from flawmap.records import Part, Photo, Unreadable
from flawmap.tools.photos.finding import to_name


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
    paths_count_from: str = ""
    """Where a person wrote the paths: what they count from, to be told where one leads nowhere."""


Marks = Mapping[str | int, np.ndarray]
"""Runs by label, or by the value that they have in a mask image."""
Named = tuple[tuple[str, ...], list[Marks | MaskError]]
"""The labels of a data set, and each photo's runs by label, or what is wrong with them."""


@dataclass(frozen=True)
class MaskListing:
    """A listing whose entries have masks instead of labels."""

    listing: Listing
    read: Callable[[Photo], Marks]
    """Raises MaskError where the photo's mask cannot be used."""
    name: Callable[[Sequence[Marks]], Named]
    """Labels cannot always be told before all masks are read."""


def without_files(ignored: Sequence[Unreadable], files: Sequence[Path], root: Path) -> list[Unreadable]:
    """What was ignored, but for files that were read after all, as no photos."""
    read = {to_name(path, root) for path in files}
    return [one for one in ignored if one.path not in read]


def named(labels: tuple[str, ...]) -> Callable[[Sequence[Marks]], Named]:
    """For masks that are read by label."""
    return lambda marks: (labels, list(marks))
