"""Masks as runs in a table, as in the Severstal steel set, beside a folder of photos.

Three forms: ImageId,ClassId,EncodedPixels with a row per photo and class (also under names of their own, such
as image,class,pixels); the older ImageId_ClassId ("a.jpg_1"),EncodedPixels; and a row per photo with a column
of runs per class. No flaw is an empty cell, "-1" or "0 0". Several rows of one photo and class are joined. A
photo without a row is good; one whose row is broken is left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from flawmap.errors import DatasetError, MaskError
from flawmap.records import Part, Photo, Unreadable
from flawmap.stages.dataset.class_names import find_class_names, read_class_names
from flawmap.stages.dataset.entries import Entry, Listing, Marks, MaskListing, named, without_files
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.stages.dataset.photo_names import PhotoNames
from flawmap.stages.dataset.tables import TABLE_SUFFIXES, Table, read_columns, read_table
from flawmap.tools import rle
from flawmap.tools.photos import Found
from flawmap.tools.places import PART_OF_NAME, place_of

_IMAGE = {"imageid", "image", "fname", "filename", "file", "imagename", "img", "imagefile"}
_CLASS = {"classid", "class", "label", "defect"}
_NOTHING = {"", "-1", "nan", "none"}
_NO_FLAW = {*_NOTHING, "0 0"}
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
    problem: str = ""
    """Why its photo cannot be used, whatever the runs."""


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
    """Whether a table holds runs: by a column's name, or a column that holds hardly anything else. Beside a
    column of classes that column is taken only where photos lie as Severstal's do (train_images/)."""
    columns = [_normal(column) for column in read_columns(path)]
    if "encodedpixels" in columns:
        return bool({*columns} & {*_IMAGE, "imageidclassid"})
    if not {*columns} & _IMAGE or len(columns) < 2:
        return False
    if {*columns} & _CLASS and not (path.parent / f"{path.stem}_images").is_dir():
        return False  # a manifest with two numbers in a column
    try:
        table = read_table(path)
        wide = _wide_columns(table, ()) or _wide_columns(table, read_class_names([path.parent]))
        return len(wide) == 1 if {*columns} & _CLASS else bool(wide)
    except DatasetError:  # told where the table is read as a manifest
        return False


def list_mask_tables(tables: Sequence[Path], found: Found, options: DatasetOptions) -> MaskListing:
    """Rows whose photo is missing and photos whose rows cannot be understood are listed as unreadable.

    Raises DatasetError where the tables cannot be understood, or name no photo that is there.
    """
    root = tables[0].parent
    names = read_class_names([root])
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
        unreadable += _assign(path, _read_rows(read_table(path), names), folder, here, rows_of)
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
        ignored=(
            *without_files(found.ignored, [*tables, *find_class_names([root])], root),
            *_other_folders(found, folders),
        ),
    )
    return MaskListing(listing, partial(_read, labels, bool(names), rows_of, options), named(labels))


def _normal(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).lower()


def _wide_columns(table: Table, names: Sequence[str]) -> list[int]:
    """Columns of runs by class. At least half of the cells that are not empty look like runs, or one does in
    a column that is headed by a class; beside such columns all that are headed by a class are taken, so that
    a broken cell does not hide the others."""

    def looks_like_runs(column: int) -> bool:
        cells = [text for _, row in table.rows if (text := str(row[column]).strip()).lower() not in _NOTHING]
        n_runs = sum(_RUNS.match(cell) is not None for cell in cells)
        return n_runs > 0 and (2 * n_runs >= len(cells) or is_headed(column))

    def is_headed(column: int) -> bool:
        head = table.columns[column]
        return head in names or (head.isdecimal() and 1 <= int(head) <= _MAX_CLASS)

    columns = range(len(table.columns))
    found = {i for i in columns if looks_like_runs(i)}
    return [i for i in columns if i in found or (found and is_headed(i))]


def _read_rows(table: Table, names: Sequence[str]) -> Iterator[_Row]:
    """A row per photo and class; the label is "" where the table has none, the text "" for no flaw."""
    columns = [_normal(column) for column in table.columns]
    image = next((i for i, name in enumerate(columns) if name in {*_IMAGE, "imageidclassid"}), None)
    if image is None:
        raise DatasetError(f"{table.path}: no column for the photo; ImageId,ClassId,EncodedPixels was wanted")
    label = next((i for i, name in enumerate(columns) if name in _CLASS), None)
    wide = [] if "encodedpixels" in columns else _wide_columns(table, names)
    pixels = wide if wide and label is None else [wide[0] if wide else columns.index("encodedpixels")]
    for line, cells in table.rows:
        name, problem = str(cells[image]), ""
        class_id = str(cells[label]) if label is not None else _NAMELESS
        if columns[image] == "imageidclassid":
            before, mark, class_id = name.rpartition("_")
            name, problem = (before, "") if mark else (name, "no class behind the photo's name (a.jpg_1)")
        if line in table.short_lines:
            problem = f"{table.short_lines[line]} cells, where the header has {len(table.columns)}"
        for i in pixels:
            own = table.columns[i] if wide and label is None else class_id
            yield _Row(line, name, _class_id(own), _text(str(cells[i])), problem)


def _class_id(cell: str) -> str:
    """Without the zero that pandas writes behind whole numbers once a cell of their column is empty."""
    text = _text(cell.strip())
    return text.removesuffix(".0") if text.removesuffix(".0").isdecimal() else text


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
    """Put rows to their photos in `rows_of`; the result lists photos that are missing. A row of another
    extension belongs to the photo of its stem, if no row has that photo's own name."""
    names = PhotoNames(entry.name for entry in entries)
    rows_by_image: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        rows_by_image[row.image].append(row)
    named = {image: names.find(image, folder) for image in rows_by_image if image}
    taken = {name for found in named.values() for name in found}
    missing = []
    for image, own in rows_by_image.items():
        stems = names.find_by_stem(image, folder) if image and not named[image] else []
        found = named.get(image) or [name for name in stems if name not in taken]
        where = f"line {own[0].line} of {table.name}"
        if not found:
            missing.append(Unreadable(image or where, f"no such photo in {folder or '.'} ({where})"))
        elif len(found) > 1:
            problem = f"'{image}' could be {' or '.join(found[:2])}; write the name with its extension"
            own = [replace(row, problem=problem) for row in own]
        for name in found:
            rows_of[name] += [(table, row) for row in own]
    return missing


def _labels(rows: Sequence[_Row]) -> tuple[str, ...]:
    """Numbers up to the highest, or the words that stand there."""
    found = {row.label for row in rows if not row.problem} - {""}
    if found and all(label.isdecimal() and 1 <= int(label) <= _MAX_CLASS for label in found):
        return tuple(str(i + 1) for i in range(max(map(int, found))))
    return tuple(sorted(found))


def _other_folders(found: Found, folders: Sequence[str]) -> list[Unreadable]:
    tops = {name.split("/")[0] for _, name in found.files if "/" in name}
    used = {folder.rstrip("/") for folder in folders}
    return [Unreadable(top, "a folder that the table does not speak of") for top in sorted(tops - used)]


def _read(
    labels: tuple[str, ...],
    is_named: bool,
    rows_of: dict[str, list[tuple[Path, _Row]]],
    options: DatasetOptions,
    photo: Photo,
) -> Marks:
    fit = options.mask_images().fit(photo, options.photos)
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for table, row in rows_of.get(photo.name, []):
        if not (row.label or row.text or row.problem):
            continue
        try:
            if row.problem:
                raise MaskError(row.problem)
            label = _label(row, labels, is_named)
            parts[label].append(rle.parse_runs(row.text, fit.drawn_hw))
        except MaskError as error:
            raise MaskError(f"line {row.line} of {table.name}: {error}") from None
    joined: Marks = {label: rle.union(runs) for label, runs in parts.items()}
    if fit.orientation == 1:
        return joined
    return {label: rle.encode(fit.apply(rle.decode(runs, fit.drawn_hw))) for label, runs in joined.items()}


def _label(row: _Row, labels: tuple[str, ...], is_named: bool) -> str:
    """A name as it is; where classes.txt names them, a number is the place of one."""
    if is_named and row.label.isdecimal() and 1 <= int(row.label) <= len(labels):
        return labels[int(row.label) - 1]
    if row.label in labels:
        return row.label
    if row.label == _NAMELESS and len(labels) == 1:
        return labels[0]
    raise MaskError(f"the class '{row.label}' is not among {', '.join(labels)}")
