"""Read a table (CSV, TSV, Parquet) as text cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flawmap.errors import DatasetError, require_extra

Cell = str | tuple[str, ...]
"""Text, or several texts where a Parquet column holds lists."""
_MAX_CELL = 1 << 28
"""Characters in a cell: the runs of a large mask are more than the csv module takes by itself."""
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".pq"})


@dataclass(frozen=True)
class Table:
    """`rows` are (line or row number as a person counts it, cells); every row has a cell per column."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]
    short_lines: Mapping[int, int] = field(default_factory=dict)
    """How many cells a line had that lacks some, which are empty here."""


def read_table(path: Path) -> Table:
    """Raises DatasetError for a file that is no table; byte-order marks, `;`, tabs and quotes are handled."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    return _read_csv(path)


def read_columns(path: Path) -> tuple[str, ...]:
    """The column names alone; empty where the file is no table."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            import pyarrow.parquet as parquet

            return tuple(parquet.read_schema(path).names)
        with path.open("rb") as stream:
            text = _decode(path, stream.read(1 << 16), is_whole=False)
        rows = _split_cells(path, text[: text.rfind("\n")] if "\n" in text else text)
        return tuple(rows[0][1]) if rows else ()
    except (DatasetError, ImportError, OSError, ValueError):
        return ()


def _read_csv(path: Path) -> Table:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})") from None
    rows = _split_cells(path, _decode(path, data))
    if not rows:
        raise DatasetError(
            f"{path} is empty; a header line such as path,label was wanted, and a line per photo"
        )
    columns = tuple(cell.strip() for cell in rows[0][1])
    n_named = max((i + 1 for i, column in enumerate(columns) if column), default=0)
    filled, short = [], {}
    for line, cells in rows[1:]:
        if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
            raise DatasetError(
                f"{path}, line {line}: {len(cells)} cells for {len(columns)} columns; put quotes around "
                "cells that hold the separator"
            )
        if len(cells) < n_named:
            short[line] = len(cells)
        padded = [*cells, *[""] * (len(columns) - len(cells))][: len(columns)]
        filled.append((line, tuple(cell.strip() for cell in padded)))
    return Table(path, columns, tuple(filled), short)


def _decode(path: Path, data: bytes, is_whole: bool = True) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if not is_whole and error.start > len(data) - 8:
            return data[: error.start].decode(encoding)
        raise DatasetError(f"{path} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from None


def _split_cells(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of each row that is not blank. The separator is what cuts the header most often."""
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # written by Excel
        text, skipped = rest, 1
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t|", key=lambda one: len(next(csv.reader([header], delimiter=one), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    limit = csv.field_size_limit(_MAX_CELL)  # for all readers of this process; put back below
    try:
        return [(reader.line_num + skipped, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num + skipped}: not CSV ({error})") from None
    finally:
        csv.field_size_limit(limit)


def _read_parquet(path: Path) -> Table:
    require_extra("pyarrow", "train")
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(f"{path} is not a Parquet file ({' '.join(str(error).split())[:120]})") from None
    columns = [[_to_cell(value) for value in column.to_pylist()] for column in table.columns]
    rows = tuple((i + 1, cells) for i, cells in enumerate(zip(*columns, strict=True)))
    return Table(path, tuple(table.column_names), rows)


def _to_cell(value: object) -> Cell:
    if value is None or value != value:  # null, or not a number
        return ""
    if isinstance(value, list | tuple):
        return tuple(str(one).strip() for one in value if one is not None)
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
