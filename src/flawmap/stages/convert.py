"""A data set of masks → another form of the same, exact to the pixel.

What is written, in a folder that is complete or not there at all:

- masks: `images/` and `masks/` (PNG), inside `train/`, `validation/` and `test/` where photos have parts;
- severstal: `train_images/` and `train.csv`; with parts also `validation_images/`, `validation.csv`, ...;
- coco: `images/` and `annotations.json`; with parts `images/train/`, `annotations/instances_train.json`, ...

Photos are copied byte by byte, under their names without the folders that said what they were. Masks are
those of the upright photo: a photo with an EXIF orientation keeps it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from flawmap.errors import DatasetError, OptionError, option
from flawmap.records import Dataset, Part, Progress, no_progress
from flawmap.tools.files import check_new_folder, new_folder, write_file, writing
from flawmap.tools.mask_files import Form, MaskWriter, open_mask_writer
from flawmap.tools.mask_files.writers import write_class_names
from flawmap.tools.places import place_of

Layout = Literal["severstal", "coco", "masks"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_FORM: dict[Layout, Form] = {"severstal": "rle", "coco": "coco", "masks": "png"}
_MARK = "converted.json"
"""Tells that a folder is flawmap's, and may be replaced."""


@dataclass(frozen=True)
class _Place:
    """Where one part goes: the folder of its photos, that of its masks' files, and their name."""

    photos: Path
    masks: Path
    file_name: str


def convert(
    dataset: Dataset, out: Path, to: Layout, *, overwrite: bool = False, progress: Progress = no_progress
) -> None:
    """Write `dataset` to the folder `out` in another layout.

    Raises OptionError where `out` holds other files, or an earlier conversion without `overwrite`;
    DatasetError for photos without masks; MaskError for a label that the layout cannot hold.
    """
    if to not in LAYOUTS:
        raise OptionError(f"no layout '{to}'; {', '.join(LAYOUTS)} are known")
    if not dataset.has_masks:
        raise DatasetError(f"{dataset.root} holds labels ({dataset.layout}); masks were wanted")
    check_place(dataset.root, out, overwrite)
    with new_folder(out) as folder:
        _write(dataset, folder, to, progress)
        if to != "coco":  # at the top, whatever the parts
            write_class_names(folder, dataset.labels)
        told = {"layout": dataset.layout, "to": to, "n_photos": len(dataset)}
        write_file(folder / _MARK, json.dumps(told, ensure_ascii=False) + "\n")


def _write(dataset: Dataset, folder: Path, to: Layout, progress: Progress) -> None:
    writers: dict[Part | None, MaskWriter] = {}
    rows = zip(dataset.photos, dataset.masks, dataset.parts, _short_names(dataset), strict=True)
    try:
        for i, (photo, mask, part, name) in enumerate(rows):
            place = _place(folder, to, part)
            if part not in writers:
                writers[part] = open_mask_writer(
                    _FORM[to], place.masks, dataset.labels, dataset.masks_overlap, place.file_name
                )
            _copy(photo.path, place.photos / name)
            writers[part].add(name, mask)
            progress("converting photos", i + 1, len(dataset))
        for writer in writers.values():
            writer.close()
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise


def check_place(root: Path, out: Path, overwrite: bool) -> None:
    """Raise OptionError unless a conversion of the data set at `root` may be written to `out`."""
    here, there = root.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise OptionError(f"{out} and the data set {root} lie inside each other; name another folder")
    if out.is_file():
        raise OptionError(f"{out} is a file; name a folder to convert into")
    check_new_folder(out)
    if out.is_dir() and any(out.iterdir()):
        if not (out / _MARK).is_file():
            raise OptionError(f"{out} holds files already; name an empty or a new folder")
        if not overwrite:
            raise OptionError(f"{out} holds an earlier conversion; add {option('--overwrite')} to replace it")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as photo, writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            shutil.copyfileobj(photo, copy)


def _place(folder: Path, to: Layout, part: Part | None) -> _Place:
    if to == "masks":
        top = folder / part if part else folder
        return _Place(top / "images", top, "")
    if to == "severstal":
        return _Place(folder / f"{part or 'train'}_images", folder, f"{part or 'train'}.csv")
    if part is None:
        return _Place(folder / "images", folder, "annotations.json")
    return _Place(folder / "images" / part, folder / "annotations", f"instances_{part}.json")


def _short_names(dataset: Dataset) -> list[str]:
    """Names without the folders for parts and roles; whole where two would be the same."""
    short = []
    for photo, part in zip(dataset.photos, dataset.parts, strict=True):
        place = place_of(photo.name)
        is_role_only = place.role is not None or part is not None
        short.append(place.rest if is_role_only else photo.name)
    together = list(zip(dataset.parts, short, strict=True))
    return short if len(set(together)) == len(together) else [photo.name for photo in dataset.photos]
