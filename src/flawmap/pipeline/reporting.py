"""The files of a survey for photos that were looked at elsewhere: the same as `inspect` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flawmap.errors import PhotoError
from flawmap.pipeline.inspecting import hand_over, require_handing_over, survey_photos
from flawmap.records import InspectedPhoto, Inspection, Progress, Survey, no_progress
from flawmap.stages.report import SurveyReportOptions
from flawmap.stages.survey import SurveyOptions, cut_around, shrink
from flawmap.tools.photos import PhotoOptions, read_image

_PREVIEW_PX = 1600
"""Longer side of overlays."""
_MOST_CLOSE_UPS = 24
"""Of a photo: reports show that of its worst finding, which need not be among the first ones."""


@dataclass(frozen=True)
class SeenFile:
    """A photo's file and what was found on it."""

    path: Path
    inspection: Inspection


def write_survey(
    seen: Mapping[str, SeenFile],
    survey: Survey,
    out: Path,
    photos: PhotoOptions | None = None,
    progress: Progress = no_progress,
) -> Survey:
    """Write findings, overlays and reports of photos (by name) that were looked at already into `out`, and
    give back what they say.

    `survey` says all but the rows. Every name stands for a file of its own. Photos are read once more, for
    their pictures and positions. The files name photos, never the places where they lie here; and no name
    becomes part of a path, so that it may come from anybody.
    """
    require_handing_over()
    known = {one.path: one.inspection for one in seen.values()}
    options = SurveyOptions(n_threads=1, max_close_ups=_MOST_CLOSE_UPS)

    def look(path: Path) -> InspectedPhoto:
        inspection = replace(known[path], path=str(path))
        if not inspection.findings:
            return InspectedPhoto(inspection)
        try:
            image = read_image(path, photos or PhotoOptions())
        except PhotoError:  # the findings are known all the same
            return InspectedPhoto(inspection)
        close_ups = tuple(cut_around(image, one) for one in inspection.findings[: options.max_close_ups])
        return InspectedPhoto(inspection, shrink(image, _PREVIEW_PX), close_ups)

    asked = {"model": survey.model.digest, "options": survey.options}
    keys = {name: f"{number:06d}" for number, name in enumerate(sorted(seen), start=1)}
    places = {keys[name]: one.path for name, one in seen.items()}
    rows = survey_photos(places, out, look, asked, options, progress)
    named = tuple(
        replace(row, name=name, inspection=replace(row.inspection, path=name))
        for name, row in zip(sorted(seen), rows, strict=True)
    )
    survey = replace(survey, rows=named)
    hand_over(survey, out, asked, SurveyReportOptions(), progress, keys=keys)
    return survey
