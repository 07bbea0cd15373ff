"""What the regions of one mask are: cracks with their sizes, and patches, which have an area alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from flawmap.records import CrackMeasurement

Region = TypeVar("Region", "LocatedCrack", "Patch")


@dataclass(frozen=True)
class LocatedCrack:
    """One crack of a photo. Plain JSON values."""

    box_xyxy: tuple[int, int, int, int]
    """In pixels of the photo; right and bottom are exclusive."""
    widest_xy: tuple[float, float]
    """Where the largest width was read."""
    measurement: CrackMeasurement
    class_index: int | None = None
    """Its number in a mask of class numbers; None in a mask of 0 and 255."""
    label: str = ""
    """The name of that class, where it is known."""


@dataclass(frozen=True)
class Patch:
    """A region of a mask that is no line, so that it has no width. Plain JSON values."""

    box_xyxy: tuple[int, int, int, int]
    """In pixels of the photo; right and bottom are exclusive."""
    area_px: int
    reason: str
    """Why it is not measured as a crack."""
    class_index: int | None = None
    """As that of a crack."""
    area_mm2: float | None = None
    """With a scale."""
    label: str = ""
    """As that of a crack."""


@dataclass(frozen=True)
class MeasuredCracks:
    """All cracks of one mask, and what they are together. Plain JSON values."""

    cracks: tuple[LocatedCrack, ...]
    """From the top down, class by class."""
    total: CrackMeasurement | None
    """None where there is no crack."""
    n_specks: int
    """Specks of the mask that are too small for a crack."""
    patches: tuple[Patch, ...] = ()
    """In the order of the cracks."""

    def named(self, labels: Sequence[str]) -> MeasuredCracks:
        """The same with the names of classes 1, 2, …; a class that has none stays without."""

        def name(one: Region) -> Region:
            place = one.class_index
            return replace(one, label=labels[place - 1]) if place and place <= len(labels) else one

        return replace(self, cracks=tuple(map(name, self.cracks)), patches=tuple(map(name, self.patches)))
