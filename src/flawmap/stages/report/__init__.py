"""One page that says what a training run found: `report.html`, a single file without outside links.

Labels, file names and reasons are foreign text: the template escapes everything except the drawings made here
and the style sheet. The same facts give the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from flawmap.stages.report.facts import RandomSplit, ReportFacts, ReportOptions
from flawmap.stages.report.heats import wanted_heats
from flawmap.stages.report.page import render
from flawmap.stages.report.standalone import write_ranking_charts
from flawmap.tools.files import write_file

__all__ = [
    "RandomSplit",
    "ReportFacts",
    "ReportOptions",
    "wanted_heats",
    "write_ranking_charts",
    "write_report",
]


def write_report(
    facts: ReportFacts,
    path: Path,
    options: ReportOptions = ReportOptions(),  # noqa: B008 - frozen
) -> None:
    """Write the page, whole or not at all. Raises MissingExtraError without jinja2, OSError if it cannot."""
    write_file(path, render(facts, options))
