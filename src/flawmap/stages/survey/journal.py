"""journal.sqlite: what is finished of a survey. One row per photo, which is there whole or not at all.

SQLite's write-ahead log takes a kill at any moment: what was committed is there when the file is opened
again, what was not is looked at again. Rows are added in the order in which photos are finished; they are
read back by name, so that the order leaves no trace.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError, option
from flawmap.records import CrackMeasurement, Finding, Inspection, SurveyRow
from flawmap.stages.survey.aligning import Alignment, to_alignment
from flawmap.tools.files import make_parents
from flawmap.tools.plain import different_options, to_plain

JOURNAL = "journal.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS survey (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS photos (
  name TEXT PRIMARY KEY, digest TEXT, n_bytes INTEGER, mtime_ns INTEGER, model TEXT, options TEXT, error TEXT,
  inspection TEXT, lon REAL, lat REAL
);
CREATE TABLE IF NOT EXISTS pictures (
  name TEXT, kind TEXT, number INTEGER, jpeg BLOB, PRIMARY KEY (name, kind, number)
);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, name TEXT);
CREATE TABLE IF NOT EXISTS pairs (
  first TEXT, second TEXT, digests TEXT, alignment TEXT, PRIMARY KEY (first, second)
);
"""


@dataclass(frozen=True)
class Stamp:
    """What tells a file's bytes from others: the digest, and, cheaper, its size and time."""

    digest: str
    n_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Finished:
    """One photo as the journal keeps it."""

    name: str
    stamp: Stamp
    inspection: Inspection
    pictures: Mapping[tuple[str, int], bytes]
    """(kind, number) → JPEG: ("photo", 0) and ("close-up", i) of finding i."""
    camera_lon_lat: tuple[float, float] | None = None


class Journal:
    """An open journal; one process writes at a time, and only the thread that opened it."""

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        """Opens or makes `folder`/journal.sqlite. `asked` is all that decides the findings but the photos:
        {"model": …, "options": …} as plain JSON.

        Raises OptionError where another process writes it, where it was begun for something else, or where
        it cannot be written.
        """
        self.path = folder / JOURNAL
        self._model, self._options = (_digest(asked[key]) for key in ("model", "options"))
        make_parents(self.path)
        try:
            self._connection = sqlite3.connect(self.path, timeout=0.2, isolation_level=None)
            # One process, and no file of shared memory, which network drives do not have.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A kill loses nothing; a power cut may lose the last photos, which are then looked at again.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_TABLES)
            self._check(asked)
        except sqlite3.OperationalError as error:
            self._connection.close()
            if "locked" in str(error):
                raise OptionError(f"another inspection writes {self.path}; wait for its end") from error
            raise self._unwritable(error) from error
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise OptionError(
                f"{self.path} is damaged or no journal of flawmap ({error}); pass {option('--overwrite')} to "
                "begin anew"
            ) from error
        except OptionError:
            self._connection.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _check(self, asked: Mapping[str, Any]) -> None:
        before = {k: json.loads(v) for k, v in self._connection.execute("SELECT key, value FROM survey")}
        different = [key for key in asked if key in before and _given(before[key]) != _given(asked[key])]
        if different:
            raise OptionError(
                f"the survey in {self.path.parent} was begun with another "
                f"{_told(before, asked, different)}; "
                f"ask for the same to go on with it, pass {option('--overwrite')} to begin anew, or name "
                f"another {option('--out')}"
            )
        rows = [(key, _text(_given(value))) for key, value in asked.items()]
        self._connection.executemany("INSERT OR REPLACE INTO survey VALUES (?, ?)", rows)

    def add(self, done: Finished) -> None:
        """One photo and its pictures, in one transaction."""
        stamp, found = done.stamp, done.inspection
        row = (done.name, stamp.digest, stamp.n_bytes, stamp.mtime_ns, self._model, self._options)
        pictures = [(done.name, kind, i, jpeg) for (kind, i), jpeg in done.pictures.items()]
        with self._transaction() as connection:
            connection.execute("DELETE FROM pictures WHERE name = ?", (done.name,))
            connection.executemany("INSERT INTO pictures VALUES (?, ?, ?, ?)", pictures)
            connection.execute(
                "INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, found.error, _text(found), *(done.camera_lon_lat or (None, None))),
            )
            if not found.error:  # one that cannot be read is tried at every call, and changes nothing by that
                today = _text(str(datetime.date.today()))
                connection.execute("INSERT OR IGNORE INTO survey VALUES ('first_day', ?)", (today,))
                connection.execute("INSERT OR REPLACE INTO survey VALUES ('last_day', ?)", (today,))

    def note_files(self, name: str, paths: Iterable[str]) -> None:
        """Say that the survey is about to write these files, relative to its folder, for a photo: what is not
        noted was written by somebody else."""
        with self._transaction() as connection:
            rows = [(path, name) for path in paths]
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)

    def files(self) -> dict[str, str]:
        """Path → name of its photo, of all files that were noted and not forgotten."""
        return dict(self._connection.execute("SELECT path, name FROM files WHERE name <> ''"))

    def forget(self, files: Mapping[str, str]) -> None:
        """Of these files (path → name of its photo), which are removed: their photos are to be looked at
        again, should they be given again."""
        names = [(name,) for name in set(files.values())]
        with self._transaction() as connection:
            connection.executemany("DELETE FROM photos WHERE name = ?", names)
            connection.executemany("DELETE FROM pictures WHERE name = ?", names)
            # The paths stay: a survey at an address has them there, too.
            connection.executemany("UPDATE files SET name = '' WHERE path = ?", [(path,) for path in files])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done in the block is kept as a whole. Raises OptionError where it cannot be written."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: sqlite3.OperationalError) -> OptionError:
        remedy = "Make room there, or name another place." if "full" in str(error) else "Name another place."
        return OptionError(f"cannot write {self.path} ({error}). {remedy}")

    @property
    def days(self) -> tuple[str, ...]:
        """The first and the last day on which a photo was looked at, as 2026-11-20, or the one that is both;
        empty where none was read, or a version that kept no days began the survey."""
        rows = self._connection.execute("SELECT value FROM survey WHERE key IN ('first_day', 'last_day')")
        return tuple(sorted({json.loads(value) for (value,) in rows}))

    def stamps(self) -> dict[str, Stamp]:
        """Of the photos that need not be looked at again, by name: all but those that could not be read."""
        rows = self._connection.execute(
            "SELECT name, digest, n_bytes, mtime_ns FROM photos "
            "WHERE error = '' AND model = ? AND options = ?",
            (self._model, self._options),
        )
        return {name: Stamp(digest, n_bytes, mtime_ns) for name, digest, n_bytes, mtime_ns in rows}

    def rows(self, names: Iterable[str]) -> tuple[SurveyRow, ...]:
        """The named photos that are finished, sorted by name."""
        wanted = set(names)
        rows = self._connection.execute("SELECT name, inspection, lon, lat FROM photos")
        found = {
            name: SurveyRow(
                name,
                _to_inspection(json.loads(text)),
                camera_lon_lat=None if lon is None else (lon, lat),
            )
            for name, text, lon, lat in rows
            if name in wanted
        }
        return tuple(found[name] for name in sorted(found))

    def alignments(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Alignment | None]:
        """How those pairs of photos lie over one another that were compared as they are now; None: they do
        not."""
        wanted, digests = set(pairs), self.digests()
        rows = self._connection.execute("SELECT first, second, digests, alignment FROM pairs")
        return {
            (first, second): to_alignment(json.loads(text))
            for first, second, known, text in rows
            if (first, second) in wanted and known == f"{digests.get(first)} {digests.get(second)}"
        }

    def add_alignments(self, found: Mapping[tuple[str, str], Alignment | None]) -> None:
        """All of them, in one transaction."""
        digests = self.digests()
        rows = [
            (first, second, f"{digests[first]} {digests[second]}", _text(one))
            for (first, second), one in found.items()
        ]
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?, ?)", rows)

    def digests(self) -> dict[str, str]:
        """Of every photo's bytes, by name; "" for one that could not be read."""
        return {name: digest for name, digest in self._connection.execute("SELECT name, digest FROM photos")}

    def picture(self, name: str, kind: str, number: int = 0) -> bytes | None:
        """A JPEG that was kept, or None."""
        row = self._connection.execute(
            "SELECT jpeg FROM pictures WHERE name = ? AND kind = ? AND number = ?", (name, kind, number)
        ).fetchone()
        return None if row is None else row[0]


def list_removed_files(folder: Path) -> list[str]:
    """Paths, relative to a survey's folder, of what it wrote there and removed again; [] where no journal can
    be read."""
    if not (folder / JOURNAL).is_file():
        return []
    try:
        with closing(sqlite3.connect(folder / JOURNAL, timeout=0.2)) as connection:
            return [path for (path,) in connection.execute("SELECT path FROM files WHERE name = ''")]
    except sqlite3.Error:
        return []


def _to_inspection(values: Mapping[str, Any]) -> Inspection:
    """The record from what the journal keeps of it."""
    return Inspection(**{**values, "findings": tuple(map(_to_finding, values["findings"]))})


def _to_finding(values: Mapping[str, Any]) -> Finding:
    measured = values["measurement"]
    exact = {
        "box_xyxy": tuple(values["box_xyxy"]),
        "polygon": tuple(map(tuple, values["polygon"])),
        "measurement": None if measured is None else CrackMeasurement(**measured),
        "holes": tuple(tuple(map(tuple, hole)) for hole in values.get("holes", ())),
    }
    return Finding(**{**values, **exact})


def _given(value: Any) -> Any:
    """Plain values without what was not asked for, so that an option added later changes nothing."""
    plain = to_plain(value)
    if isinstance(plain, dict):
        return {key: _given(inner) for key, inner in plain.items() if inner is not None}
    return plain


def _told(before: Mapping[str, Any], asked: Mapping[str, Any], different: list[str]) -> str:
    """What differs, as a person would name it: the options one by one."""
    told = [key for key in different if key != "options"]
    if "options" in different:
        told += different_options(_given(before["options"]), _given(asked["options"]))
    return ", ".join(told)


def _text(value: Any) -> str:
    """JSON; of file names that are not valid text the bytes are spelt out, which JSON reads back."""
    text = json.dumps(to_plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def _digest(value: Any) -> str:
    return hashlib.blake2b(_text(_given(value)).encode(), digest_size=16).hexdigest()
