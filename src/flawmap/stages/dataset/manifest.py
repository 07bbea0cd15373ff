"""Labels from a table: a row per photo."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from flawmap.errors import DatasetError, some_of
from flawmap.records import Part, Unreadable
from flawmap.stages.dataset.entries import Entry, Listing
from flawmap.stages.dataset.tables import TABLE_SUFFIXES, Cell, Table, read_columns, read_table
from flawmap.tools.photos.finding import to_name
from flawmap.tools.places import PART_OF_NAME

_SYNONYMS = {
    "path": "path filepath file_path filename file_name file image_path img_path photo_path relative_path "
    "image_file image_name photo_name image img photo name",
    "label": "label labels class classes class_name category categories target tag tags defect flaw",
    "group": "group groups group_id source source_id site specimen parent origin photo_id photo",
    "split": "split part subset set partition",
}
_PLURAL = {"labels", "classes", "categories", "tags"}
_USUAL_STEMS = {"manifest", "labels", "dataset"}
_FORMS = "several labels of a photo stand in one cell (crack;stain), in columns label1, label2, or of 0 and 1"
_YES, _NO = {"1", "true", "yes", "y", "x"}, {"0", "false", "no", "n", ""}


@dataclass(frozen=True)
class _Roles:
    """Column numbers. Either `labels` (label, or label1, label2, ...) or `flags` (0/1 columns) is given."""

    path: int
    labels: tuple[int, ...]
    flags: tuple[int, ...]
    unread: tuple[int, ...]
    """Columns of 0 and 1 beside labels in words, which go before."""
    group: int | None
    split: int | None


def find_manifest(root: Path) -> Path | None:
    """The only table in a folder that could be a manifest; one of a usual name comes before others.

    Tables that flawmap's predictions were written to are passed over. Raises DatasetError where several could
    be meant, and for run-length codes of masks.
    """
    tables = [
        path for path in sorted(root.iterdir()) if path.suffix.lower() in TABLE_SUFFIXES and path.is_file()
    ]
    fitting = [path for path in tables if not path.name.startswith(".") and _could_be(path)]
    usual = [path for path in fitting if path.stem.lower() in _USUAL_STEMS]
    chosen = usual or fitting
    if len(chosen) > 1:
        names = ", ".join(path.name for path in chosen)
        raise DatasetError(f"{root} holds several manifests ({names}); give the one that is meant")
    return chosen[0] if chosen else None


def list_manifest(path: Path) -> Listing:
    """Raises DatasetError, with a remedy, where the table cannot be understood; rows that lack a label or
    lead out of the manifest's folder are listed as unreadable."""
    table = read_table(path)
    roles = _assign_roles(table)
    if not table.rows:
        raise DatasetError(f"{path} lists no photos")
    root = path.parent
    labels_of_rows, names, is_multilabel = _read_labels(table, roles)
    real_root = root.resolve()
    listed: dict[str, tuple[int, Entry]] = {}
    unreadable, ignored = [], []
    for (line, cells), labels in zip(table.rows, labels_of_rows, strict=True):
        text = _text(cells[roles.path])
        try:
            photo = _resolve(root, real_root, text)
        except DatasetError as error:
            unreadable.append(Unreadable(text or f"line {line}", str(error)))
            continue
        group = _text(cells[roles.group]) if roles.group is not None else ""
        entry = Entry(photo, to_name(photo, root), labels, _part(table, roles, line, cells), group or None)
        if not labels and not is_multilabel:
            unreadable.append(Unreadable(entry.name, f"no label in line {line} of {path.name}"))
        elif entry.name not in listed:
            listed[entry.name] = (line, entry)
        elif listed[entry.name][1] == entry:
            ignored.append(Unreadable(entry.name, f"listed again in line {line} of {path.name}"))
        else:
            raise DatasetError(
                f"{path}: {entry.name} stands in lines {listed[entry.name][0]} and {line} with different "
                'entries; keep one row per photo (several labels in one cell: "crack;stain")'
            )
    entries = tuple(entry for _, entry in sorted(listed.values(), key=lambda pair: pair[1].name))
    layout = f"manifest {path.name}" + (", several labels per photo" if is_multilabel else "")
    if roles.unread:
        names_of = [f"'{table.columns[i]}'" for i in roles.unread]
        layout += (
            f", its labels from '{table.columns[roles.labels[0]]}', not from {some_of(names_of, 4)} (0 and 1)"
        )
    return Listing(
        root,
        layout,
        entries,
        is_multilabel,
        names,
        tuple(unreadable),
        tuple(ignored),
        paths_count_from="the manifest's folder",
    )


def _normal(column: str) -> str:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.strip())
    return re.sub(r"[\W_]+", "_", parted).strip("_").lower()


def _match(columns: Sequence[str], role: str) -> list[int]:
    """Columns that could play a role; the role's own name (or its plural) excludes the others."""
    normal = [_normal(column) for column in columns]
    own = [i for i, name in enumerate(normal) if name in (role, f"{role}s")]
    return own or [i for i, name in enumerate(normal) if name in _SYNONYMS[role].split()]


def _match_numbered(columns: Sequence[str], label: int | None) -> tuple[int, ...]:
    """Columns such as label1, label2, of one name: that of the column `label`, else the plainest there is."""
    stems = _SYNONYMS["label"].split() if label is None else [_normal(columns[label])]
    found = [
        tuple(i for i, name in enumerate(map(_normal, columns)) if re.fullmatch(rf"{stem}_?\d+", name))
        for stem in stems
    ]
    return next((numbered for numbered in found if numbered), ())


def _rank(column: str) -> int:
    """The place of a path's name among its synonyms: the plainer come first."""
    return _SYNONYMS["path"].split().index(_normal(column).removesuffix("s"))


def _could_be(path: Path) -> bool:
    columns = read_columns(path)
    _refuse_masks(path, columns)
    is_prediction = "flaw_score" in columns
    has_labels = bool(_match(columns, "label") or _match_numbered(columns, None))
    is_usual = path.stem.lower() in _USUAL_STEMS
    return bool(_match(columns, "path")) and (has_labels or is_usual) and not is_prediction


def _refuse_masks(path: Path, columns: Sequence[str]) -> None:
    if any(_normal(column).replace("_", "") == "encodedpixels" for column in columns):
        raise DatasetError(
            f"{path} holds masks as run-length codes; labels per photo were wanted, such as path,label"
        )


def _assign_roles(table: Table) -> _Roles:
    _refuse_masks(table.path, table.columns)
    path = min(_match(table.columns, "path"), key=lambda i: _rank(table.columns[i]), default=None)
    found = {"path": path}
    for role in ("label", "group", "split"):
        matches = [i for i in _match(table.columns, role) if i != path]
        if len(matches) > 1:
            _refuse_several(table, role, matches)
        found[role] = matches[0] if matches else None
    label = found["label"]
    wanted = "wanted a header line such as path,label (and, if known, group and split)"
    if path is None:
        raise DatasetError(f"{table.path}: no column for the path among {list(table.columns)}; {wanted}")
    numbered = _match_numbered(table.columns, label)
    flags = _flag_columns(table, {i for i in found.values() if i is not None})
    labels = (() if label is None else (label,)) + numbered
    if label is None and set(numbered) <= set(flags):
        labels = ()
    if not labels and not flags:
        raise DatasetError(
            f"{table.path}: no column for the label among {list(table.columns)}, nor columns of 0 and 1; "
            f"{wanted}; {_FORMS}"
        )
    unread = tuple(i for i in flags if labels and i not in labels)
    return _Roles(path, labels, () if labels else flags, unread, found["group"], found["split"])


def _refuse_several(table: Table, role: str, matches: Sequence[int]) -> NoReturn:
    names = [f"'{table.columns[i]}'" for i in matches]
    if len(set(names)) == 1:
        found = f"{len(names)} columns are called {names[0]}; keep one of them"
    else:
        found = f"the columns {' and '.join(names)} could each be the {role}; name one of them '{role}'"
    raise DatasetError(f"{table.path}: {found}{f' ({_FORMS})' if role == 'label' else ''}")


def _flag_columns(table: Table, taken: set[int]) -> tuple[int, ...]:
    def is_flag(column: int) -> bool:
        cells = {_text(row[column]).lower() for _, row in table.rows}
        return cells <= _YES | _NO and bool(cells - {""})

    return tuple(i for i in range(len(table.columns)) if i not in taken and is_flag(i))


def _read_labels(table: Table, roles: _Roles) -> tuple[list[tuple[str, ...]], tuple[str, ...], bool]:
    """Labels of each row, all label names that columns give, and whether a photo may have several."""
    if roles.flags:
        names = tuple(table.columns[i].strip() for i in roles.flags)
        flags = [[_text(row[i]).lower() in _YES for i in roles.flags] for _, row in table.rows]
        if len(names) == 1:  # one column of 0 and 1 makes two classes
            return [(names[0] if flag else f"no_{names[0]}",) for (flag,) in flags], (), False
        return [tuple(n for n, f in zip(names, row, strict=True) if f) for row in flags], names, True
    is_plural = _normal(table.columns[roles.labels[0]]) in _PLURAL
    separators = r"[;|,]" if is_plural else r"[;|]"
    rows = [
        _unique([label for i in roles.labels for label in _to_labels(cells[i], separators)])
        for _, cells in table.rows
    ]
    may_be_none = is_plural or len(roles.labels) > 1
    is_multilabel = any(len(row) > 1 for row in rows) or (may_be_none and not all(rows))
    return rows, (), is_multilabel


def _to_labels(cell: Cell, separators: str) -> Sequence[str]:
    return cell if isinstance(cell, tuple) else re.split(separators, cell)


def _unique(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({label.strip() for label in labels} - {""}))


def _part(table: Table, roles: _Roles, line: int, cells: Sequence[Cell]) -> Part | None:
    text = _text(cells[roles.split]).lower() if roles.split is not None else ""
    if text and text not in PART_OF_NAME:
        raise DatasetError(
            f"{table.path}, line {line}: unknown part '{text}'; train, validation, test or nothing was wanted"
        )
    return PART_OF_NAME[text] if text else None


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else ";".join(cell)


def _resolve(root: Path, real_root: Path, text: str) -> Path:
    """The photo of a row. Other spellings (backslashes, other Unicode forms) are tried as well."""
    if not text or "\0" in text:
        raise DatasetError("no path in this row")
    forms = [text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)]
    spellings = dict.fromkeys(forms + [one.replace("\\", "/") for one in forms])
    candidates = [_below(root, real_root, one) for one in spellings]
    photo = next((one for one in candidates if one is not None and os.path.lexists(one)), candidates[0])
    if photo is None or not _leads_into(real_root, photo):
        raise DatasetError("it leads out of the manifest's folder; put the manifest above its photos")
    return photo


def _leads_into(real_root: Path, photo: Path) -> bool:
    try:
        return photo.resolve().is_relative_to(real_root)
    except (OSError, RuntimeError):  # a link that leads to itself; reading it will say so
        return True


def _below(root: Path, real_root: Path, text: str) -> Path | None:
    """`text`, relative or absolute, as a path that begins with `root`; None where it lies elsewhere."""
    path = Path(os.path.normpath(text))
    if path.is_absolute():
        base = next((base for base in (root, real_root) if path.is_relative_to(base)), None)
        return root / path.relative_to(base) if base is not None else None
    return None if path.parts[:1] == ("..",) else root / path
