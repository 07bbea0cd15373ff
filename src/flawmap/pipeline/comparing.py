"""Two surveys of one structure, held against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from flawmap.pipeline.using import Outcome
from flawmap.stages.survey import LIMITS, Change, CompareOptions, compare_surveys, read_survey
from flawmap.tools.files import check_files, write_json

_KINDS = ("new", "grown", "unchanged", "not found again", "not comparable")


@dataclass(frozen=True, kw_only=True)
class Compared(Outcome):
    """Outcome of `compare`."""

    changes: tuple[Change, ...]
    """Every finding of both surveys, once."""


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
    changes = compare_surveys(read_survey(Path(old)), read_survey(Path(new)), options)
    counts = Counter(change.kind for change in changes)
    n = {kind: counts[kind] for kind in _KINDS}
    if json_file is not None:
        write_json(Path(json_file), {"n": n, "changes": changes, "options": options, "limits": LIMITS})
    lines = [f"{kind}: {n[kind]}" for kind in _KINDS]
    reasons = Counter(change.reason for change in changes if change.kind == "not comparable")
    lines += [f"  {n_found}: {reason}" for reason, n_found in reasons.most_common()]
    lines += [_line(change) for change in changes if change.kind in ("new", "grown")]
    return Compared(lines=(*lines, LIMITS), changes=changes)


def _line(change: Change) -> str:
    text = f"  {change.kind}: {change.new_photo}, finding {change.new_finding} ({change.label})"
    if change.kind == "grown":
        widths = f"{change.old_width_max:.2f} to {change.new_width_max:.2f} {change.unit}"
        text += f": {change.reason}; largest width {widths}, "
        text += f"length {change.old_length:.1f} to {change.new_length:.1f} {change.unit}"
    return text
