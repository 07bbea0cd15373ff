"""Photos with their labels or masks, and what is found out about them before training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import DatasetError
from flawmap.records.basics import Part, check
from flawmap.records.masks import PhotoMask, have_overlap


@dataclass(frozen=True)
class Photo:
    """One readable file. `name` (POSIX, relative to the data set) is its identity in every table."""

    path: Path
    name: str
    digest: str
    """BLAKE2b-256 of the file's bytes, in hexadecimal."""
    size_hw: tuple[int, int]
    """Height and width in pixels after the camera orientation is applied."""
    note: str = ""
    """How unusual pixels were read ("16-bit, scaled by 255/65535"); empty for plain 8-bit photos."""
    address: str = ""
    """Where it lies in an object store, `path` being no file then; "" for a file."""


@dataclass(frozen=True)
class Unreadable:
    """A file that was left out, with the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Labelled photos. `targets` is (n_photos, n_labels) uint8; one 1 per row unless `is_multilabel`."""

    root: Path
    photos: tuple[Photo, ...]
    labels: tuple[str, ...]
    targets: np.ndarray
    good_labels: tuple[str, ...] = ()
    is_multilabel: bool = False
    parts: tuple[Part | None, ...] = ()
    """The part that the user's layout or manifest gives each photo; None where it gives none."""
    groups: tuple[str | None, ...] = ()
    """The source that a manifest column gives each photo; None where it gives none."""
    unreadable: tuple[Unreadable, ...] = ()
    ignored: tuple[Unreadable, ...] = ()
    """Files passed over by a stated rule (hidden, outside the folder, not an image's extension)."""
    layout: str = ""
    """What the folder was recognised as, in words."""
    masks: tuple[PhotoMask, ...] = ()
    """One per photo where flaws are marked pixel by pixel, else empty. With masks, `labels` are kinds of
    flaws, none of them good, and a target is 1 where the mask of the label has any pixel."""
    masks_overlap: bool = False
    """Whether a pixel may carry several labels."""

    def __post_init__(self) -> None:
        n = len(self.photos)
        object.__setattr__(self, "parts", self.parts or (None,) * n)
        object.__setattr__(self, "groups", self.groups or (None,) * n)
        check(
            self.targets.shape == (n, len(self.labels)),
            f"targets ({n}, {len(self.labels)})",
            self.targets.shape,
        )
        check(self.targets.dtype == np.uint8, "uint8 targets", self.targets.dtype)
        check(len(self.parts) == n and len(self.groups) == n, f"{n} parts and groups", len(self.parts))
        known = set(self.good_labels) <= set(self.labels)
        check(known, f"good labels among {self.labels}", self.good_labels)
        if not self.is_multilabel:
            check(bool((self.targets.sum(axis=1) == 1).all()), "one label per photo", "none or several")

        if self.masks:
            self._check_masks()

    def _check_masks(self) -> None:
        check(len(self.masks) == len(self.photos), f"{len(self.photos)} masks", len(self.masks))
        check(self.is_multilabel and not self.good_labels, "flaw kinds only, several per photo", self.labels)
        for photo, mask, row in zip(self.photos, self.masks, self.targets, strict=True):
            check(mask.size_hw == photo.size_hw, f"a mask of {photo.size_hw}", f"{mask.size_hw} {photo.name}")
            present = [len(runs) > 0 for runs in mask.runs]
            check(present == row.astype(bool).tolist(), f"targets of {photo.name} as its mask {present}", row)
            if not self.masks_overlap:
                check(not have_overlap(mask.runs), f"one label per pixel of {photo.name}", "several")

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def has_masks(self) -> bool:
        """Whether flaws are marked pixel by pixel."""
        return bool(self.masks)

    @property
    def has_exclusive_masks(self) -> bool:
        """Whether there are masks of several labels, of which a pixel carries one at most."""
        return self.has_masks and len(self.labels) > 1 and not self.masks_overlap

    @property
    def class_indices(self) -> np.ndarray:
        """(n,) int64: the label of each photo. Raises DatasetError where photos have several."""
        if self.is_multilabel:
            raise DatasetError("these photos carry several labels each; one label per photo was wanted")
        return self.targets.argmax(axis=1).astype(np.int64)

    @property
    def is_flawed(self) -> np.ndarray:
        """(n,) bool: whether a photo carries any label that is not good."""
        flawed = [label not in self.good_labels for label in self.labels]
        return np.asarray(self.targets[:, flawed].any(axis=1))


@dataclass(frozen=True)
class LabelSuspect:
    """A photo whose label the out-of-fold model disagrees with; `score` is the suggestion's probability."""

    path: str
    label: str
    suggested: str
    score: float


@dataclass(frozen=True)
class Audit:
    """What is in the folder and what is wrong with it. Names are Photo.name."""

    groups: tuple[str, ...]
    """One source group per photo of the data set."""
    group_origin: str
    """In words: where the groups come from (a column, a pattern, content, content and file order)."""
    exact_duplicates: tuple[tuple[str, ...], ...] = ()
    conflicting_duplicates: tuple[tuple[str, ...], ...] = ()
    near_duplicates: tuple[tuple[str, str], ...] = ()
    leaks: tuple[tuple[str, str], ...] = ()
    """The same photo in two given parts."""
    shared_groups: tuple[str, ...] = ()
    """Groups with photos in several given parts; training photos that are to be left out do not count."""
    label_suspects: tuple[LabelSuspect, ...] = ()
    class_counts: dict[str, int] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values: sizes, brightness, modes, group sizes, notes."""
    blocks: tuple[str, ...] = ()
    """Coarser than `groups`: groups that may yet share a source, which the split does not part; or empty."""
    are_groups_found: bool = False
    """Whether the sources were told from the photos and their names; else the user named them."""


@dataclass(frozen=True)
class Split:
    """Sorted row indices of each part; `left_out` photos are in none (they stand in another part too)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    groups: tuple[str, ...]
    seed: int
    why: str
    left_out: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    uneven: str = ""
    """What whole sources did not allow to be shared out evenly, in words; empty where nothing."""

    def __post_init__(self) -> None:
        together = np.concatenate([self.train, self.validation, self.test, self.left_out])
        check(
            sorted(together.tolist()) == list(range(len(self.groups))),
            f"each of {len(self.groups)} photos in one part",
            f"{len(together)} places",
        )

    @property
    def development(self) -> np.ndarray:
        """Training and validation rows together, sorted: all that a choice may look at."""
        return np.sort(np.concatenate([self.train, self.validation]))
