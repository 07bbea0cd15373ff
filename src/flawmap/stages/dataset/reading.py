"""Recognise the layout, read every photo, and make the Dataset."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from flawmap.errors import DatasetError, nearest_hint
from flawmap.records import Dataset, Progress, Unreadable, no_progress
from flawmap.stages.dataset.coco import find_coco, list_coco
from flawmap.stages.dataset.cvat import find_cvat, is_cvat, list_cvat
from flawmap.stages.dataset.entries import Entry, Listing, MaskListing
from flawmap.stages.dataset.folders import has_class_folders, has_labels, list_folder
from flawmap.stages.dataset.good_labels import guess_good_labels
from flawmap.stages.dataset.labelme import find_labelme, list_labelme
from flawmap.stages.dataset.manifest import find_manifest, list_manifest
from flawmap.stages.dataset.mask_folders import has_mask_folders, list_mask_folders
from flawmap.stages.dataset.masked import read_masked
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.stages.dataset.severstal import find_mask_tables, is_mask_table, list_mask_tables
from flawmap.stages.dataset.tables import TABLE_SUFFIXES
from flawmap.stages.dataset.via import find_via, is_via, list_via
from flawmap.stages.dataset.yolo import find_yolo, is_yolo, list_yolo
from flawmap.tools.photos import Found, find_photos, is_photo_name, read_photos

_DEFAULTS = DatasetOptions()


def read_dataset(
    path: Path | str,
    options: DatasetOptions = _DEFAULTS,
    progress: Progress = no_progress,
    known_labels: Collection[str] = (),
) -> Dataset:
    """A folder in any layout, or a manifest. Every photo is decoded, so that what cannot be read is known.

    Photos that cannot be read, and rows or files without a label, are in `Dataset.unreadable`; the labels are
    those that readable photos carry. Photos of a single class do where it is one of `known_labels`. Raises
    DatasetError, with a remedy, where the layout is not understood.
    """
    listing = _list(Path(path), options, known_labels)
    if isinstance(listing, MaskListing):
        if options.good:
            raise DatasetError(
                f"{path} marks flaws by masks, so that none of its labels can be good; leave out good labels"
            )
        return read_masked(Path(path), listing, options.photos, progress)
    if options.good:  # refused before photos are read, where the listing tells
        _good_labels(_labels(listing, listing.entries), options.good)
    photos, unreadable = read_photos(
        [(entry.path, entry.name) for entry in listing.entries], options.photos, progress
    )
    entry_of = {entry.name: entry for entry in listing.entries}
    unreadable = [_told(one, entry_of[one.path], listing) for one in unreadable]
    unreadable = tuple(sorted((*listing.unreadable, *unreadable), key=lambda one: one.path))
    if not photos:
        first = f"; the first: {unreadable[0].path}: {unreadable[0].reason}" if unreadable else ""
        raise DatasetError(f"none of the {len(unreadable)} photos of {path} can be used{first}")
    kept = [entry_of[photo.name] for photo in photos]
    labels = _labels(listing, kept)
    if not labels or not set(labels) <= set(known_labels):
        _refuse_too_few_labels(path, listing, labels)
    targets = np.array([[label in entry.labels for label in labels] for entry in kept], np.uint8)
    return Dataset(
        root=listing.root,
        photos=photos,
        labels=labels,
        targets=targets,
        good_labels=_good_labels(labels, options.good),
        is_multilabel=listing.is_multilabel,
        parts=tuple(entry.part for entry in kept),
        groups=tuple(entry.group for entry in kept),
        unreadable=unreadable,
        ignored=listing.ignored,
        layout=listing.layout,
    )


def _told(one: Unreadable, entry: Entry, listing: Listing) -> Unreadable:
    """An unreadable photo; of one that is not there, where it was looked for."""
    if not listing.paths_count_from or os.path.lexists(entry.path):
        return one
    why = f"{one.reason}: looked for {entry.path}; paths count from {listing.paths_count_from}"
    return Unreadable(one.path, why)


def _list(path: Path, options: DatasetOptions, known: Collection[str]) -> Listing | MaskListing:
    if not path.exists():
        raise DatasetError(f"{path} does not exist; a folder of photos or a manifest was wanted")
    if path.is_dir():
        return _list_folder(path, options, known)
    if is_via(path):
        return list_via(path, find_photos(path.parent), options)
    if path.suffix.lower() in TABLE_SUFFIXES:
        if is_mask_table(path):
            return list_mask_tables([path], find_photos(path.parent), options)
        return list_manifest(path)
    if path.suffix.lower() == ".json":
        return list_coco([path], path.parent, options)
    if is_cvat(path):
        return list_cvat([path], find_photos(path.parent), options)
    if is_yolo(path):
        return list_yolo(path, find_photos(path.parent), options)
    if is_photo_name(path.name):
        raise DatasetError(f"{path} is one photo; a folder of photos or a manifest was wanted")
    raise DatasetError(
        f"{path} is no manifest that can be read; .csv, .tsv or .parquet was wanted, or the file of masks"
    )


def _list_folder(path: Path, options: DatasetOptions, known: Collection[str]) -> Listing | MaskListing:
    """Labels go before masks, and what states masks in a file before mask images."""
    found = find_photos(path)
    if tables := find_mask_tables(path):
        return list_mask_tables(tables, found, options)
    if via := find_via(path):
        return list_via(via, found, options)
    manifest = find_manifest(path)
    if manifest is not None and has_class_folders(found):
        raise DatasetError(
            f"{path} holds class folders and the manifest {manifest.name}; give {manifest} itself, or move it"
        )
    if manifest is not None:
        return list_manifest(manifest)
    if labelme := find_labelme(found, path):  # beside the photos, whose folders are then no classes
        return list_labelme(labelme, path, found, options)
    if not has_labels(found) and (drawn := _list_drawn(path, found, options)):
        return drawn
    if has_mask_folders(found):
        images = options.mask_images()
        return list_mask_folders(path, found, images, options.photos, options.unmasked_good)
    return list_folder(path, found, {*known, *(options.good or ())})


def _list_drawn(path: Path, found: Found, options: DatasetOptions) -> MaskListing | None:
    """Masks that a file in the folder states for all photos."""
    if coco := find_coco(path):
        return list_coco(coco, path, options)
    if cvat := find_cvat(path):
        return list_cvat(cvat, found, options)
    if yolo := find_yolo(path):
        return list_yolo(yolo, found, options)
    return None


def _labels(listing: Listing, entries: Sequence[Entry]) -> tuple[str, ...]:
    """What these entries carry, and what the layout names besides; sorted."""
    return tuple(sorted({label for entry in entries for label in entry.labels} | set(listing.labels)))


def _refuse_too_few_labels(path: Path | str, listing: Listing, labels: Sequence[str]) -> None:
    if len(labels) >= (1 if listing.is_multilabel else 2):
        return
    had = sorted({label for entry in listing.entries for label in entry.labels} - set(labels))
    lost = f" (no photo of {', '.join(had)} could be read)" if had else ""
    what = f"only the class '{labels[0]}'" if labels else "no label at all"
    raise DatasetError(f"{path}: the photos carry {what}{lost}; two or more classes were wanted")


def _good_labels(labels: Sequence[str], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    if wanted is None:
        return guess_good_labels(labels)
    for name in wanted:
        if name not in labels:
            hint = nearest_hint(name, labels, cutoff=0.5)
            raise DatasetError(f"good label '{name}' is not among the labels {', '.join(labels)}{hint}")
    return tuple(label for label in labels if label in wanted)
