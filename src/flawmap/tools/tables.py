"""Tables in CSV.

A text that a spreadsheet would run as a formula stays a text: an apostrophe stands before it ("./" before a
path, which names the same file).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], n_decimals: int | None = None) -> str:
    """The table with its heading; what a row lacks is an empty cell, columns not named are left out."""
    return "".join([csv_line(columns), *(csv_line(to_cells(columns, row, n_decimals)) for row in rows)])


def to_cells(columns: Sequence[str], row: Mapping[str, Any], n_decimals: int | None = None) -> list[str]:
    """A row's cells: true and false, empty for None, `n_decimals` of fractions where they are given."""
    return [_to_cell(name, row.get(name), n_decimals) for name in columns]


def csv_line(cells: Sequence[Any]) -> str:
    """As they are, with quotes where they are needed and the end of the line."""
    stream = io.StringIO(newline="")
    quoting = (
        csv.QUOTE_ALL if any("\r" in str(cell) for cell in cells) else csv.QUOTE_MINIMAL
    )  # else left bare
    csv.writer(stream, lineterminator="\n", quoting=quoting).writerow(cells)
    return stream.getvalue()


def _to_cell(name: str, value: Any, n_decimals: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and n_decimals is not None:
        return f"{value:.{n_decimals}f}"
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"./{value}" if name == "path" else f"'{value}"
    return str(value)
