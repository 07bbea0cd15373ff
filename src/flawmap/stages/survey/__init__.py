"""Thousands of photos → one Survey, whatever happens on the way, and its files.

The journal holds what is finished; the same command given again does only what is missing. What comes out
does not depend on the number of threads, on the order, or on how often it was stopped.
"""

from flawmap.stages.survey.comparing import LIMITS, Change, CompareOptions, compare_surveys, name_differences
from flawmap.stages.survey.drawing import draw_findings
from flawmap.stages.survey.earlier import read_survey
from flawmap.stages.survey.journal import JOURNAL, Journal, list_removed_files
from flawmap.stages.survey.options import SurveyOptions
from flawmap.stages.survey.overlapping import choose_pairs, find_overlaps, find_same
from flawmap.stages.survey.parts import name_parts, to_parts
from flawmap.stages.survey.pictures import (
    PictureFolder,
    draw_close_up,
    draw_kept,
    shrink,
    to_jpeg,
    to_layers,
    to_png,
)
from flawmap.stages.survey.plain import from_finding, to_document, to_finding
from flawmap.stages.survey.running import Look, run_survey
from flawmap.stages.survey.writing import write_findings, write_workbook

__all__ = [
    "JOURNAL",
    "LIMITS",
    "Change",
    "CompareOptions",
    "Journal",
    "Look",
    "PictureFolder",
    "SurveyOptions",
    "choose_pairs",
    "compare_surveys",
    "draw_close_up",
    "draw_findings",
    "draw_kept",
    "find_overlaps",
    "find_same",
    "from_finding",
    "list_removed_files",
    "name_differences",
    "name_parts",
    "read_survey",
    "run_survey",
    "shrink",
    "to_document",
    "to_finding",
    "to_jpeg",
    "to_layers",
    "to_parts",
    "to_png",
    "write_findings",
    "write_workbook",
]
