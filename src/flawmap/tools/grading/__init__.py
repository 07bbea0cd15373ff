"""Grades by crack width, from published tables kept as data, or from the user's own.

A table either has bands (a grade up to each width) or exposures (a limit for each; the grade is the ratio of
the width to it). Each states its source and its limits. A width never tells what caused a crack.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError, nearest_hint, option
from flawmap.tools.options import Options
from flawmap.tools.plain import Reading, to_record

_HERE = Path(__file__).parent
TABLES = tuple(sorted(path.stem for path in _HERE.glob("*.toml")))
"""The names of the tables that come with flawmap."""
_READING = Reading(OptionError, key="key", record="a table")


@dataclass(frozen=True)
class Band:
    """A grade, up to a width."""

    name: str
    words: str = ""
    up_to_mm: float = math.inf
    """The width from which the next grade begins; the last band has none."""


@dataclass(frozen=True)
class Exposure:
    """What a part is exposed to, and the width that is then accepted."""

    name: str
    limit_mm: float
    words: str = ""


@dataclass(frozen=True)
class GradingTable:
    """How widths are graded: by bands, or against the limit of an exposure."""

    title: str
    source: str
    limits: str
    """In words: what the grades are not good for."""
    bands: tuple[Band, ...] = ()
    exposures: tuple[Exposure, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.bands) == bool(self.exposures):
            raise OptionError("wanted [[bands]] or [[exposures]], one of them")
        ends = [band.up_to_mm for band in self.bands]
        if any(not 0 < low < high for low, high in pairwise(ends)):
            raise OptionError(f"wanted bands with up_to_mm rising from above 0; got {ends}")
        if ends and ends[-1] != math.inf:
            raise OptionError(f"wanted a last band without up_to_mm, for all wider cracks; got {ends[-1]:g}")
        for exposure in self.exposures:
            if not 0 < exposure.limit_mm < math.inf:
                raise OptionError(f"wanted limit_mm above 0; got {exposure.limit_mm} for {exposure.name}")


@dataclass(frozen=True)
class Grade:
    """What a table says of one width. Plain JSON values."""

    name: str
    words: str
    ratio: float | None
    """The width over the exposure's limit; None for bands."""
    is_certain: bool
    """Whether the width's whole 95 % interval lies in this grade, and the photo resolves it."""


@dataclass(frozen=True)
class GradingOptions(Options):
    """Which table, by name or as a TOML file of the same form; and the exposure that some of them need."""

    table: str = "bre-251"
    exposure: str | None = None


def read_grading(options: GradingOptions | str) -> tuple[GradingTable, Exposure | None]:
    """The table, and the exposure where it has them; a text is the table's name or file.

    Raises OptionError for what is not there.
    """
    options = GradingOptions(options) if isinstance(options, str) else options
    table = read_table(options.table)
    return table, _find_exposure(table, options)


def read_table(name: str) -> GradingTable:
    """One of TABLES, or a TOML file of the same form. Raises OptionError for what is not there."""
    path = _HERE / f"{name}.toml" if name in TABLES else Path(name)
    if not path.is_file():
        raise OptionError(_missing(name, path))
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not valid TOML: {error}") from error
    return to_record(GradingTable, values, str(path), _READING)


def _missing(name: str, path: Path) -> str:
    """What is said of a name that is neither a table nor a file."""
    known = ", ".join(TABLES)
    if path.exists() or path.suffix or path.name != name:
        found = "is no file" if path.exists() else "does not exist"
        return f"the grading table {name} {found}; name your TOML file, or one of: {known}"
    hint = nearest_hint(name, TABLES) or f"; known are: {known}; or name a TOML file"
    return f"no grading table '{name}'{hint}"


def _find_exposure(table: GradingTable, options: GradingOptions) -> Exposure | None:
    if not table.exposures:
        if options.exposure is not None:
            raise OptionError(f"{options.table} grades by width alone; leave out {option('--exposure')}")
        return None
    for exposure in table.exposures:
        if exposure.name.lower() == (options.exposure or "").lower():
            return exposure
    known = ", ".join(exposure.name for exposure in table.exposures)
    found = "is missing" if options.exposure is None else f"is '{options.exposure}'"
    raise OptionError(f"{option('--exposure')} {found}; {options.table} has: {known}")


def grade_width(
    width_mm: float,
    u95_mm: float,
    table: GradingTable,
    exposure: Exposure | None = None,
    is_resolved: bool = True,
) -> Grade:
    """The grade of a width with its 95 % half-interval, both in mm; `exposure` for a table that has them."""
    low_mm, high_mm = max(0.0, width_mm - u95_mm), width_mm + u95_mm
    if exposure is None:
        found = _band(width_mm, table)
        is_certain = _band(low_mm, table) is found is _band(high_mm, table)
        return Grade(found.name, found.words, None, is_certain and is_resolved)
    is_over = width_mm > exposure.limit_mm
    is_certain = (low_mm > exposure.limit_mm) if is_over else (high_mm <= exposure.limit_mm)
    name = f"{'above' if is_over else 'within'} {exposure.limit_mm:g} mm ({exposure.name})"
    return Grade(name, exposure.words, width_mm / exposure.limit_mm, is_certain and is_resolved)


def _band(width_mm: float, table: GradingTable) -> Band:
    return next(band for band in table.bands if width_mm < band.up_to_mm)
