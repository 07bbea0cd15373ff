"""Photos with masks → Dataset, whatever layout they came from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from flawmap.errors import DatasetError, MaskError
from flawmap.records import Dataset, Part, Photo, PhotoMask, Progress, Unreadable
from flawmap.records.masks import have_overlap
from flawmap.stages.dataset.entries import Marks, MaskListing
from flawmap.tools.photos import PhotoOptions, count_threads, read_photos
from flawmap.tools.rle import NO_RUNS


def read_masked(path: Path, masked: MaskListing, photos: PhotoOptions, progress: Progress) -> Dataset:
    """Every photo and mask is read; a photo whose mask cannot be used is left out, with the reason.

    Raises DatasetError where no photo is left, or no mask has a flaw.
    """
    listing = masked.listing
    readable, broken = read_photos([(entry.path, entry.name) for entry in listing.entries], photos, progress)
    marks = _read_marks(readable, masked, photos, progress)
    whole = [mark for mark in marks if not isinstance(mark, MaskError)]
    labels, named = masked.name(whole)
    rest = iter(named)
    results = [mark if isinstance(mark, MaskError) else next(rest) for mark in marks]
    kept, masks, left_out = [], [], [*listing.unreadable, *broken]
    for photo, result in zip(readable, results, strict=True):
        if isinstance(result, MaskError):
            left_out.append(Unreadable(photo.name, str(result)))
            continue
        kept.append(photo)
        masks.append(PhotoMask(photo.size_hw, tuple(result.get(label, NO_RUNS) for label in labels)))
    unreadable = tuple(sorted(left_out, key=lambda one: one.path))
    _refuse_nothing(path, masks, unreadable)
    part_of: dict[str, Part | None] = {entry.name: entry.part for entry in listing.entries}
    return Dataset(
        root=listing.root,
        photos=tuple(kept),
        labels=labels,
        targets=np.array([[len(runs) > 0 for runs in mask.runs] for mask in masks], np.uint8),
        is_multilabel=True,
        parts=tuple(part_of[photo.name] for photo in kept),
        unreadable=unreadable,
        ignored=listing.ignored,
        layout=listing.layout,
        masks=tuple(masks),
        masks_overlap=any(have_overlap(mask.runs) for mask in masks),
    )


def _read_marks(
    readable: Sequence[Photo], masked: MaskListing, photos: PhotoOptions, progress: Progress
) -> list[Marks | MaskError]:
    def read(photo: Photo) -> Marks | MaskError:
        try:
            return masked.read(photo)
        except MaskError as error:
            return MaskError(str(error))  # without the traceback, which would keep the pixels

    marks = []
    with ThreadPoolExecutor(count_threads(photos)) as pool:
        for i, mark in enumerate(pool.map(read, readable)):
            marks.append(mark)
            progress("reading masks", i + 1, len(readable))
    return marks


def _refuse_nothing(path: Path, masks: Sequence[PhotoMask], unreadable: Sequence[Unreadable]) -> None:
    first = f"; the first: {unreadable[0].path}: {unreadable[0].reason}" if unreadable else ""
    if not masks:
        raise DatasetError(f"none of the {len(unreadable)} photos of {path} can be used{first}")
    if not any(len(runs) for mask in masks for runs in mask.runs):
        others = f" ({len(unreadable)} files were left out{first})" if unreadable else ""
        raise DatasetError(
            f"{path}: the masks of all {len(masks)} photos are empty; at least one flaw pixel was wanted"
            f"{others}"
        )
