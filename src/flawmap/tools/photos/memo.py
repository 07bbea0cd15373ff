"""A file that remembers which bytes were decoded without fault, so that a later run only has to hash them.

SQLite does the locking, so that it stands a kill and several writers; where it cannot be used (a folder that
cannot be written, a broken file) photos are simply decoded again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

_RULES = "1"
"""Raised whenever the rules of reading change, so that notes and refusals are made anew."""


@dataclass(frozen=True)
class Verdict:
    """What decoding a file's bytes told. `size_hw` is upright."""

    format: str
    size_hw: tuple[int, int]
    note: str


class Memo:
    """Verdicts by digest. `rules` is all else that decides them (library versions, options)."""

    def __init__(self, folder: Path, rules: str) -> None:
        self._path = Path(folder) / "photos.sqlite"
        self._rules = f"{_RULES}|{rules}"

    def read(self) -> dict[str, Verdict]:
        """All verdicts made by the same rules."""
        try:
            with _Connection(self._path) as connection:
                rows = connection.execute(
                    "SELECT digest, format, height, width, note FROM photos WHERE rules = ?", (self._rules,)
                )
                return {d: Verdict(kind, (h, w), note) for d, kind, h, w, note in rows}
        except (sqlite3.Error, OSError):
            return {}

    def write(self, verdicts: dict[str, Verdict]) -> None:
        """Add verdicts, all or none; quietly none where the file cannot be written."""
        rows = [(d, self._rules, v.format, *v.size_hw, v.note) for d, v in verdicts.items()]
        try:
            with _Connection(self._path) as connection:
                connection.executemany("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError):
            return


class _Connection:
    """One transaction, and the file closed after it (sqlite3's own context manager leaves it open)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=10)

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS photos (digest TEXT, rules TEXT, format TEXT, height INTEGER, "
            "width INTEGER, note TEXT, PRIMARY KEY (digest, rules)) WITHOUT ROWID"
        )
        return self._connection

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._connection.commit()
        self._connection.close()
