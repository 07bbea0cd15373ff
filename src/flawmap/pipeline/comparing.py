"""Two surveys of one structure, held against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import option
from flawmap.pipeline.using import Outcome
from flawmap.stages.survey import (
    LIMITS,
    Change,
    CompareOptions,
    compare_surveys,
    name_differences,
    read_survey,
)
from flawmap.tools.files import check_files, write_json

_KINDS = ("new", "grown", "unchanged", "not found again", "not comparable")
_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Compared(Outcome):
    """Outcome of `compare`."""

    changes: tuple[Change, ...]
    """Every finding of both surveys, once."""
    differences: tuple[str, ...] = ()
    """In what the surveys were made with: the model, limits and scales. Changes may come from these alone."""


def compare(
    old: Path | str,
    new: Path | str,
    options: CompareOptions | None = None,
    *,
    json_file: Path | str | None = None,
) -> Compared:
    """What is new, grown or unchanged between two survey folders, with what can and cannot be told.

    Photos are paired by name, else by position, and only where the pictures themselves can be aligned.
    """
    options = options or CompareOptions()
    read = [path for survey in (old, new) for path in Path(survey).glob("*")]
    check_files(json_file, inputs=read, holds=['"changes"', '"limits"'])
    earlier, later = read_survey(Path(old)), read_survey(Path(new))
    changes = compare_surveys(earlier, later, options)
    differences = tuple(name_differences(earlier, later))
    counts = Counter(change.kind for change in changes)
    n = {kind: counts[kind] for kind in _KINDS}
    if json_file is not None:
        told = {"changes": changes, "differences": differences, "options": options, "limits": LIMITS}
        write_json(Path(json_file), {"n": n, **told})
    lines = []
    if differences:
        lines.append(f"the surveys differ in {', '.join(differences)}: changes may come from that alone")
    lines += [f"{kind}: {n[kind]}" for kind in _KINDS]
    reasons = Counter(change.reason for change in changes if change.kind == "not comparable")
    lines += [f"  {n_found}: {reason}" for reason, n_found in reasons.most_common()]
    listed = [change for kind in ("grown", "new") for change in changes if change.kind == kind]
    lines += [LIMITS, *map(_line, listed[:_SHOWN])]
    if len(listed) > _SHOWN:
        where = f"{json_file}" if json_file is not None else f"a file named by {option('--json')}"
        lines.append(f"  … and {len(listed) - _SHOWN:,} more; {where} holds all")
    return Compared(lines=tuple(lines), changes=changes, differences=differences)


def _line(change: Change) -> str:
    text = f"  {change.kind}: {change.new_photo}, finding {change.new_finding} ({change.label})"
    if change.kind == "grown" and change.new_area_px is not None:
        text += f": {change.reason}; area {change.old_area_px:,} to {change.new_area_px:,} px²"
    elif change.kind == "grown":
        widths = f"{change.old_width_max:.2f} to {change.new_width_max:.2f} {change.unit}"
        text += f": {change.reason}; largest width {widths}, "
        text += f"length {change.old_length:.1f} to {change.new_length:.1f} {change.unit}"
    return text
