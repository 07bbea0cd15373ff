"""Grey profiles from CSV files, and their widths.

Two layouts are read. Plain: a row per profile, grey values only, sampled a pixel apart; one line of names may
come first. Annotated, once or several times in a file: a line of names with `mean_res` (mm per pixel) among
them, their values, the word `intensities`, and the grey values. No other of the named values is looked at.
Cells lie between commas, or, where the decimal sign may be a comma, between semicolons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import OptionError
from flawmap.records import ProfileWidth
from flawmap.stages.measure.profiles import ProfileOptions, measure_widths

LEAST_SAMPLES = 7
"""Of a profile: a line of one pixel, its blur, and some surface on both sides."""


@dataclass(frozen=True)
class Profile:
    """Grey values across a crack, sampled a pixel apart."""

    values: tuple[float, ...]
    scale_mm_per_px: float | None = None


def read_profiles(path: Path) -> list[Profile]:
    """Every profile of a CSV file, in its order. Raises OptionError, naming the line, for anything else."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise OptionError(f"{path} is not a text file; a CSV of grey values was wanted") from None
    separator = ";" if any(";" in line for line in lines) else ","
    rows = [(i + 1, cells) for i, line in enumerate(lines) if (cells := _split(line, separator))]
    is_annotated = any(cells == ["intensities"] for _, cells in rows)
    profiles = list(_annotated(rows, path) if is_annotated else _plain(rows, path))
    if not profiles:
        raise OptionError(
            f"{path} holds no profile; a row of grey values per profile was wanted, with commas or "
            "semicolons between them"
        )
    return profiles


def _split(line: str, separator: str) -> list[str]:
    """Cells, without empty ones at the end, by which spreadsheets make all rows as long."""
    cells = [cell.strip() for cell in line.split(separator)]
    while cells and not cells[-1]:
        del cells[-1]
    return [cell.replace(",", ".") for cell in cells] if separator == ";" else cells


def measure_profiles(
    profiles: Sequence[Profile], options: ProfileOptions | None = None, scale_mm_per_px: float | None = None
) -> tuple[ProfileWidth, ...]:
    """A width per profile, in their order. `scale_mm_per_px` goes before a profile's own."""
    import numpy as np

    options, found = options or ProfileOptions(), []
    for profile in profiles:
        widths = measure_widths(np.array([profile.values]), options)
        scale = scale_mm_per_px or profile.scale_mm_per_px
        width_px, u95_px = float(widths.width_px[0]), float(widths.u95_px[0])
        found.append(
            ProfileWidth(
                width_px=width_px,
                u95_px=u95_px,
                width_mm=None if scale is None else width_px * scale,
                u95_mm=None if scale is None else u95_px * scale,
                is_resolved=bool(widths.is_seen[0]) and width_px >= options.resolved_px,
            )
        )
    return tuple(found)


def _plain(rows: list[tuple[int, list[str]]], path: Path) -> Iterator[Profile]:
    has_names = bool(rows) and all(_to_number(cell) is None for cell in rows[0][1])
    for line, cells in rows[1:] if has_names else rows:
        yield Profile(_to_values(cells, f"{path}, line {line}"))


def _annotated(rows: list[tuple[int, list[str]]], path: Path) -> Iterator[Profile]:
    for i in range(0, len(rows), 4):
        block = rows[i : i + 4]
        where = f"{path}, line {block[0][0]}"
        if len(block) < 4 or block[2][1] != ["intensities"]:
            raise OptionError(
                f"{where}: wanted names, their values, the word 'intensities' and grey values, a line each"
            )
        told = dict(zip(block[0][1], block[1][1], strict=False))
        scale = _to_number(told.get("mean_res", ""))
        if scale is None or scale <= 0:
            raise OptionError(
                f"{where}: wanted mean_res, the mm per pixel, above 0; got {told.get('mean_res')!r}"
            )
        yield Profile(_to_values(block[3][1], f"{path}, line {block[3][0]}"), scale)


def _to_values(cells: list[str], where: str) -> tuple[float, ...]:
    values = [_to_number(cell) for cell in cells]
    wrong = [cell for cell, value in zip(cells, values, strict=True) if value is None]
    if wrong:
        raise OptionError(f"{where}: wanted grey values; got {wrong[0]!r}")
    if len(values) < LEAST_SAMPLES:
        raise OptionError(
            f"{where}: wanted a profile of {LEAST_SAMPLES} grey values or more, with surface on both sides "
            f"of the crack; got {len(values)}"
        )
    return tuple(value for value in values if value is not None)


def _to_number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
