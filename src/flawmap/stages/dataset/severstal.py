"""Masks as runs in a table, as in the Severstal steel set, beside a folder of photos.

Three forms: ImageId,ClassId,EncodedPixels with a row per photo and class (also under names of their own, such
as image,class,pixels); the older ImageId_ClassId ("a.jpg_1"),EncodedPixels; and a row per photo with a column
of runs per class. No flaw is an empty cell, "-1" or "0 0". Several rows of one photo and class are joined. A
photo without a row is good.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from flawmap.errors import DatasetError, MaskError
from flawmap.records import Part, Photo, Unreadable
from flawmap.stages.dataset.class_names import read_class_names
from flawmap.stages.dataset.entries import Entry, Listing, Marks, MaskListing, named, without_files
from flawmap.stages.dataset.tables import TABLE_SUFFIXES, Table, read_columns, read_table
from flawmap.tools import rle
from flawmap.tools.photos import Found
from flawmap.tools.places import PART_OF_NAME, place_of

_IMAGE = {"imageid", "image", "fname", "filename", "file", "imagename", "img", "imagefile"}
_CLASS = {"classid", "class", "label", "defect"}
_NO_FLAW = {"", "-1", "0 0", "nan", "none"}
_RUNS = re.compile(r"\d+ \d+( \d+ \d+)*")
_NAMELESS = "flaw"
_MAX_CLASS = 255
"""The highest ClassId for which the lower ones, too, count as classes."""


@dataclass(frozen=True)
class _Row:
    line: int
    image: str
    label: str
    text: str


def find_mask_tables(root: Path) -> tuple[Path, ...]:
    """The tables of runs in a folder. Those named after parts (train.csv) come before others; of others there
    may be one only, else DatasetError."""
    tables = [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    fitting = [path for path in tables if is_mask_table(path)]
    of_parts = [path for path in fitting if path.stem.lower() in PART_OF_NAME]
    chosen = of_parts or fitting
    if len(chosen) > 1 and not of_parts:
        names = ", ".join(path.name for path in chosen)
        raise DatasetError(f"{root} holds several tables of masks ({names}); give the one that is meant")
    return tuple(chosen)


def is_mask_table(path: Path) -> bool:
    """Whether a table holds runs: by a column's name, or a column that holds nothing else. Beside a column of
    classes that column is taken only where the table's photos lie as Severstal's do (train_images/)."""
    columns = [_normal(column) for column in read_columns(path)]
    if "encodedpixels" in columns:
        return bool({*columns} & {*_IMAGE, "imageidclassid"})
    if not {*columns} & _IMAGE or len(columns) < 2:
        return False
    if {*columns} & _CLASS and not (path.parent / f"{path.stem}_images").is_dir():
        return False  # a manifest with two numbers in a column
    try:
        wide = _wide_columns(read_table(path))
        return len(wide) == 1 if {*columns} & _CLASS else bool(wide)
    except DatasetError:  # told where the table is read as a manifest
        return False


def list_mask_tables(tables: Sequence[Path], found: Found) -> MaskListing:
    """Rows whose photo is missing and photos whose rows cannot be understood are listed as unreadable.

    Raises DatasetError where the tables cannot be understood, or name no photo that is there.
    """
    root = tables[0].parent
    rows_of: dict[str, list[tuple[Path, _Row]]] = defaultdict(list)
    entries, unreadable, folders = [], [], []
    for path in tables:
        folder = _photo_folder(path, found)
        folders.append(folder)
        part = PART_OF_NAME.get(path.stem.lower()) if len(tables) > 1 else None
        here = _entries(folder, found, part)
        taken = {entry.name for entry in entries}
        if any(entry.name in taken for entry in here):
            raise DatasetError(f"{root}: {path.name} and another table share the photos of {folder or '.'}/")
        entries += here
        unreadable += _assign(path, _read_rows(read_table(path)), folder, here, rows_of)
    names = read_class_names([root])
    labels = names or _labels([row for own in rows_of.values() for _, row in own])
    if not rows_of and unreadable:
        raise DatasetError(
            f"{tables[0]} names {len(unreadable)} photos, none of which is there (such as "
            f"{unreadable[0].path}); wanted: {tables[0].stem}_images/ or images/"
        )
    listing = Listing(
        root,
        f"photos and runs of masks in {' and '.join(path.name for path in tables)}",
        tuple(sorted(entries, key=lambda entry: entry.name)),
        is_multilabel=True,
        unreadable=tuple(unreadable),
        ignored=(*without_files(found.ignored, tables, root), *_other_folders(found, folders)),
    )
    return MaskListing(listing, partial(_read, labels, bool(names), rows_of), named(labels))


def _normal(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).lower()


def _wide_columns(table: Table) -> list[int]:
    """Columns that hold runs, or nothing, in every row."""

    def holds_runs(column: int) -> bool:
        cells = {str(cells[column]).strip() for _, cells in table.rows} - _NO_FLAW
        return bool(cells) and all(_RUNS.match(cell) for cell in cells)

    def holds_nothing(column: int) -> bool:
        return {str(cells[column]).strip() for _, cells in table.rows} == {"0 0"}

    return [i for i in range(len(table.columns)) if holds_runs(i) or holds_nothing(i)]


def _read_rows(table: Table) -> Iterator[_Row]:
    """A row per photo and class; the label is "" where the table has none, the text "" for no flaw."""
    columns = [_normal(column) for column in table.columns]
    image = next((i for i, name in enumerate(columns) if name in {*_IMAGE, "imageidclassid"}), None)
    if image is None:
        raise DatasetError(f"{table.path}: no column for the photo; ImageId,ClassId,EncodedPixels was wanted")
    label = next((i for i, name in enumerate(columns) if name in _CLASS), None)
    wide = [] if "encodedpixels" in columns else _wide_columns(table)
    if wide and label is None:
        for line, cells in table.rows:
            for i in wide:
                yield _Row(line, str(cells[image]), table.columns[i], _text(str(cells[i])))
        return
    pixels = wide[0] if wide else columns.index("encodedpixels")
    for line, cells in table.rows:
        name, class_id = str(cells[image]), str(cells[label]) if label is not None else _NAMELESS
        if columns[image] == "imageidclassid":
            name, _, class_id = name.rpartition("_")
        yield _Row(line, name, class_id, _text(str(cells[pixels])))


def _text(cell: str) -> str:
    return "" if cell.strip().lower() in _NO_FLAW else cell


def _photo_folder(table: Path, found: Found) -> str:
    """The folder whose photos a table speaks of, with a slash at its end; "" for the table's own."""
    stem = table.stem
    for folder in (f"{stem}_images", f"{stem}-images", "images", "train_images", stem, "photos"):
        if any(name.startswith(f"{folder}/") for _, name in found.files):
            return f"{folder}/"
    return ""


def _entries(folder: str, found: Found, part: Part | None) -> list[Entry]:
    return [
        Entry(path, name, (), part)
        for path, name in found.files
        if name.startswith(folder) and place_of(name).role != "mask"
    ]


def _assign(
    table: Path,
    rows: Iterator[_Row],
    folder: str,
    entries: list[Entry],
    rows_of: dict[str, list[tuple[Path, _Row]]],
) -> list[Unreadable]:
    """Put rows to their photos in `rows_of`; the result lists photos that are missing."""
    names: dict[str, str] = {}
    for entry in entries:
        short = entry.name.removeprefix(folder)
        names.setdefault(str(PurePosixPath(short).with_suffix("")), entry.name)
    names |= {entry.name.removeprefix(folder): entry.name for entry in entries}
    missing: dict[str, Unreadable] = {}
    for row in rows:
        name = names.get(row.image.replace("\\", "/"))
        if name is not None:
            rows_of[name].append((table, row))
        else:
            where = f"line {row.line} of {table.name}"
            missing.setdefault(
                row.image, Unreadable(row.image or where, f"no such photo in {folder or '.'} ({where})")
            )
    return list(missing.values())


def _labels(rows: Sequence[_Row]) -> tuple[str, ...]:
    """Numbers up to the highest, or the words that stand there."""
    found = {row.label for row in rows} - {""}
    if found and all(label.isdecimal() and 1 <= int(label) <= _MAX_CLASS for label in found):
        return tuple(str(i + 1) for i in range(max(map(int, found))))
    return tuple(sorted(found))


def _other_folders(found: Found, folders: Sequence[str]) -> list[Unreadable]:
    tops = {name.split("/")[0] for _, name in found.files if "/" in name}
    used = {folder.rstrip("/") for folder in folders}
    return [Unreadable(top, "a folder that the table does not speak of") for top in sorted(tops - used)]


def _read(
    labels: tuple[str, ...], is_named: bool, rows_of: dict[str, list[tuple[Path, _Row]]], photo: Photo
) -> Marks:
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for table, row in rows_of.get(photo.name, []):
        try:
            label = _label(row, labels, is_named)
            parts[label].append(rle.parse_runs(row.text, photo.size_hw))
        except MaskError as error:
            raise MaskError(f"line {row.line} of {table.name}: {error}") from None
    return {label: rle.union(runs) for label, runs in parts.items()}


def _label(row: _Row, labels: tuple[str, ...], is_named: bool) -> str:
    """A name as it is; where classes.txt names them, a number is the place of one."""
    if is_named and row.label.isdecimal() and 1 <= int(row.label) <= len(labels):
        return labels[int(row.label) - 1]
    if row.label in labels:
        return row.label
    if row.label == _NAMELESS and len(labels) == 1:
        return labels[0]
    raise MaskError(f"the class '{row.label}' is not among {', '.join(labels)}")
