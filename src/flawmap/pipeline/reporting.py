"""The files of a survey for photos that were looked at elsewhere: the same as `inspect` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError, PhotoError
from flawmap.pipeline.inspecting import hand_over, require_handing_over, survey_photos
from flawmap.pipeline.sizing import Grading, grade_survey, measure_painted, scale_findings
from flawmap.records import InspectedPhoto, Inspection, Progress, Survey, no_progress
from flawmap.stages.measure import MeasureOptions
from flawmap.stages.report import SurveyReportOptions
from flawmap.stages.survey import SurveyOptions, name_parts, shrink
from flawmap.tools.close_ups import cut_close_up
from flawmap.tools.grading import GradingOptions, read_grading
from flawmap.tools.options import Options, to_mapping
from flawmap.tools.photos import PhotoOptions, read_image
from flawmap.tools.plain import Reading, to_record
from flawmap.tools.scale import ScaleOptions

_READING = Reading(OptionError, key="option", record="a table")
_PREVIEW_PX = 1600
"""Longer side of overlays."""
_MOST_CLOSE_UPS = 24
"""Of a photo: reports show that of its worst finding, which need not be among the first ones."""


@dataclass(frozen=True)
class SeenFile:
    """A photo's file and what was found on it."""

    path: Path
    inspection: Inspection


@dataclass(frozen=True)
class TellingOptions(Options):
    """How the sizes of a survey that was looked at already are told."""

    scale: ScaleOptions = field(default_factory=ScaleOptions)
    """For what was measured in pixels; also instead of one number that was given for all photos when they
    were looked at. What was read off a photo then, by a marker or its EXIF, stays."""
    grading: GradingOptions | None = None
    """A table of grades by width; None: nothing is graded."""
    part_by: str | None = None
    """As SurveyOptions.part_by."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale.marker_mm is not None:
            raise OptionError("a marker gives its scale while photos are measured: inspect them with it")


def write_survey(
    seen: Mapping[str, SeenFile],
    survey: Survey,
    out: Path,
    photos: PhotoOptions | None = None,
    progress: Progress = no_progress,
    telling: TellingOptions | None = None,
) -> Survey:
    """Write findings, overlays and reports of photos (by name) that were looked at already into `out`, and
    give back what they say.

    `survey` says all but the rows and the grades. Every name stands for a file of its own. Photos are read
    once more, for their pictures and positions; a finding with runs and without a measurement is one that a
    person painted, and is measured. The files name photos, never the places where they lie here; and no name
    becomes part of a path, so that it may come from anybody. Raises OptionError for a table or expression
    that cannot be used.
    """
    require_handing_over()
    telling = telling or TellingOptions()
    grading = None if telling.grading is None else Grading(*read_grading(telling.grading))
    parts = name_parts(seen, telling.part_by)
    tell = _Tell(survey.options, telling.scale, photos or PhotoOptions())
    survey = replace(survey, options=tell.name_scales(seen.values()))
    known = {one.path: one.inspection for one in seen.values()}
    options = SurveyOptions(n_threads=1, max_close_ups=_MOST_CLOSE_UPS)

    def look(path: Path) -> InspectedPhoto:
        inspection = replace(tell(known[path], path), path=str(path))
        if not inspection.findings:
            return InspectedPhoto(inspection)
        try:
            image = read_image(path, photos or PhotoOptions())
        except PhotoError:  # the findings are known all the same
            return InspectedPhoto(inspection)
        close_ups = tuple(cut_close_up(image, one) for one in inspection.findings[: options.max_close_ups])
        return InspectedPhoto(inspection, shrink(image, _PREVIEW_PX), close_ups)

    asked = {"model": survey.model.digest, "options": survey.options}
    keys = {name: f"{number:06d}" for number, name in enumerate(sorted(seen), start=1)}
    places = {keys[name]: one.path for name, one in seen.items()}
    rows = survey_photos(places, out, look, asked, options, progress, kinds=survey.model.flaw_labels)
    named = tuple(
        replace(row, name=name, part=parts[name], inspection=replace(row.inspection, path=name))
        for name, row in zip(sorted(seen), rows, strict=True)
    )
    survey = replace(survey, rows=named)
    if grading is not None:
        survey = grade_survey(survey, grading)
    hand_over(survey, out, asked, SurveyReportOptions(), progress, keys=keys)
    return survey


class _Tell:
    """Sizes as they are told: what people painted is measured, as at the inspection, and all is scaled."""

    def __init__(self, options: Mapping[str, Any], scale: ScaleOptions, photos: PhotoOptions) -> None:
        """`options` are the inspection's, `scale` is given now."""
        self._options, self._scale, self._photos = options, scale, photos
        self._measure = to_record(MeasureOptions, options.get("measure") or {}, "measure", _READING)
        self._before = to_record(ScaleOptions, options.get("scale") or {}, "scale", _READING)

    def __call__(self, seen: Inspection, path: Path) -> Inspection:
        found = measure_painted(seen, path, self._measure, self._before, self._photos)
        return scale_findings(found, path, self._scale, keeps_known=self._before.needs_photo)

    def name_scales(self, seen: Iterable[SeenFile]) -> dict[str, Any]:
        """The options with the scale that is given now, and beside it the one that was kept."""
        if self._scale == ScaleOptions():
            return dict(self._options)
        has_kept = self._before.needs_photo and any(
            finding.measurement is not None and finding.measurement.scale_mm_per_px is not None
            for one in seen
            for finding in one.inspection.findings
        )
        kept = {"kept_scale": to_mapping(self._before)} if has_kept else {}
        return {**self._options, "scale": to_mapping(self._scale), **kept}
