"""One page that says what a training run found: `report.html`, a single file without outside links.

A run that trained a classifier and one that trained a segmenter have pages of their own, in one frame.

Labels, file names and reasons are foreign text: the template escapes everything except the drawings made here
and the style sheet. The same facts give the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from flawmap.stages.report.facts import MaskPicture, MaskReportFacts, RandomSplit, ReportFacts, ReportOptions
from flawmap.stages.report.heats import wanted_heats
from flawmap.stages.report.mask_examples import wanted_pictures
from flawmap.stages.report.mask_page import render_masks
from flawmap.stages.report.page import render
from flawmap.stages.report.standalone import write_ranking_charts
from flawmap.stages.report.survey_facts import ShownFinding, SurveyFacts, SurveyReportOptions
from flawmap.stages.report.survey_page import render_survey
from flawmap.stages.report.survey_pdf import compile_survey
from flawmap.stages.report.survey_words import copies_note, position_note, scale_note
from flawmap.tools.files import write_file

__all__ = [
    "MaskPicture",
    "MaskReportFacts",
    "RandomSplit",
    "ReportFacts",
    "ReportOptions",
    "ShownFinding",
    "SurveyFacts",
    "SurveyReportOptions",
    "copies_note",
    "position_note",
    "scale_note",
    "wanted_heats",
    "wanted_pictures",
    "write_mask_report",
    "write_ranking_charts",
    "write_report",
    "write_survey_pdf",
    "write_survey_report",
]


def write_report(
    facts: ReportFacts,
    path: Path,
    options: ReportOptions = ReportOptions(),  # noqa: B008 - frozen
) -> None:
    """Write the page, whole or not at all. Raises MissingExtraError without jinja2, OSError if it cannot."""
    write_file(path, render(facts, options))


def write_mask_report(
    facts: MaskReportFacts,
    path: Path,
    options: ReportOptions = ReportOptions(),  # noqa: B008 - frozen
) -> None:
    """The page of a run that trained a segmenter; as write_report."""
    write_file(path, render_masks(facts, options))


def write_survey_report(
    facts: SurveyFacts,
    path: Path,
    options: SurveyReportOptions = SurveyReportOptions(),  # noqa: B008 - frozen
) -> None:
    """The page of a survey; as write_report."""
    write_file(path, render_survey(facts, options))


def write_survey_pdf(
    facts: SurveyFacts,
    path: Path,
    options: SurveyReportOptions = SurveyReportOptions(),  # noqa: B008 - frozen
) -> None:
    """The same on paper, with a place to sign. Raises MissingExtraError without typst."""
    write_file(path, compile_survey(facts, options))
