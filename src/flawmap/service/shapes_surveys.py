"""What goes in and comes out around surveys: reports, and the watched folder."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flawmap.errors import OptionError
from flawmap.pipeline.reporting import TellingOptions
from flawmap.records import SurveyMeta
from flawmap.service.shapes import Asked
from flawmap.tools.grading import GradingOptions, read_grading
from flawmap.tools.scale import ScaleOptions

ReportFile = Literal[
    "report.html",
    "report.pdf",
    "findings.csv",
    "findings.xlsx",
    "findings.json",
    "findings.geojson",
    "findings.coco.json",
]
GradingName = Literal["aci-224r", "bre-251", "eurocode-2"]
"""The tables that come with flawmap; files of the service's machine are nobody's to name."""
_Line = Field(default="", max_length=200)
_META = ("structure", "element", "span", "inspector", "organisation", "date", "scale", "notes")
_FOLDER = r"^(?:(.+)/)?"
"""What a photo's name has before its last slash; a photo without a folder is a part by itself."""
_OPTION = re.compile(r"--([a-z-]+) \(Python: [^()]*(?:\([^()]*\))?[^()]*\)")


class AskedReport(Asked):
    """What the report says of the survey, and how its sizes are told; all of it may be left out.

    The scale is one for all photos: `mm_per_px`, or `distance_m` with the lens. It serves what was measured
    in pixels, and replaces a number that the service was given for all photos; what a marker or a photo's
    EXIF told when the photo was looked at stays.
    """

    structure: str = _Line
    element: str = _Line
    span: str = _Line
    inspector: str = _Line
    organisation: str = _Line
    date: str = Field(default="", max_length=200, description="As it is to be printed.")
    scale: str = Field(default="", max_length=200, description="How the scale was found, in words.")
    notes: str = Field(default="", max_length=2000)
    mm_per_px: float | None = Field(
        default=None, ge=1e-6, le=1000, description="Millimetres that a pixel shows."
    )
    distance_m: float | None = Field(
        default=None, gt=0, le=100_000, description="From the lens to the surface, taken straight on."
    )
    focal_mm: float | None = Field(
        default=None, gt=0, le=100_000, description="Of the lens; null: as each photo's EXIF says."
    )
    sensor_width_mm: float | None = Field(
        default=None, gt=0, le=1000, description="Along the longer side; null: as each photo's EXIF says."
    )
    grading: GradingName | None = Field(default=None, description="Of /v1/gradings.")
    exposure: str | None = Field(
        default=None, max_length=100, description="Of the table, where it has exposures."
    )
    parts: Literal["folder"] | None = Field(
        default=None, description="'folder': one verdict over the photos of each folder, by their names."
    )

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "structure": "Bridge 7",
                    "element": "Pier 3, north face",
                    "span": "2–3",
                    "inspector": "A. Muster",
                    "date": "2026-11-20",
                    "scale": "rule held to the wall on photo 3",
                    "mm_per_px": 0.2,
                    "grading": "eurocode-2",
                    "exposure": "XC3",
                }
            ]
        },
    )

    @model_validator(mode="after")
    def _check(self) -> AskedReport:
        try:
            telling = self.to_telling()
            if telling.grading is not None:
                read_grading(telling.grading)
        except OptionError as error:
            raise ValueError(in_rest_words(error)) from None
        return self

    def to_meta(self) -> SurveyMeta:
        """What is printed."""
        return SurveyMeta(**{name: getattr(self, name) for name in _META})

    def to_telling(self) -> TellingOptions:
        """How sizes are told. Raises OptionError for what does not go together."""
        if self.grading is None and self.exposure is not None:
            raise OptionError("exposure is given without a grading; name the table that it is of")
        return TellingOptions(
            ScaleOptions(self.mm_per_px, self.distance_m, self.focal_mm, self.sensor_width_mm),
            None if self.grading is None else GradingOptions(self.grading, self.exposure),
            _FOLDER if self.parts == "folder" else None,
        )

    @property
    def has_scale(self) -> bool:
        return self.mm_per_px is not None or self.distance_m is not None


def in_rest_words(error: OptionError) -> str:
    """The message in a line, with options named as the REST interface names them, by underscores."""
    return " ".join(_OPTION.sub(lambda found: found[1].replace("-", "_"), str(error)).split())


class Graded(BaseModel):
    """A grade of a table, up to a width, or an exposure and the width that is accepted then."""

    name: str
    words: str
    width_mm: float | None = Field(description="None: of all wider cracks.")


class GradingInfo(BaseModel):
    """A published table that grades cracks by their width."""

    name: GradingName
    title: str
    source: str
    limits: str = Field(description="What the grades are not good for.")
    bands: list[Graded] = Field(description="Grades, mildest first; empty where the table has exposures.")
    exposures: list[Graded] = Field(description="A report that uses the table names one of them.")


class ReportInfo(BaseModel):
    """A report that was asked for."""

    id: str
    inspection: str
    state: Literal["waiting", "done", "failed"]
    note: str = Field(default="", description="Why it could not be written.")
    title: str
    sizes: str = Field(default="", description="The scale and the grades that were asked for, in words.")
    files: list[ReportFile] = Field(description="What can be fetched, once it is done.")
    created_at: str
    created_by: str
    finished_at: str | None


class RefusedFile(BaseModel):
    """A file of the watched folder that was not taken up."""

    path: str = Field(description="Relative to the folder.")
    reason: str
    at: str | None = Field(description="None where it is tried again.")


class WatchInfo(BaseModel):
    """The watched folder."""

    folder: str | None = Field(description="None where no folder is watched.")
    is_there: bool = True
    n_taken: int = 0
    n_refused: int = 0
    n_waiting: int = Field(default=0, description="New files that are not complete yet, or cannot be opened.")
    refused: list[RefusedFile] = Field(default=[], description="The latest first.")
    inspection: str | None = Field(default=None, description="Where the photos go that came last.")


class DeliveryInfo(BaseModel):
    """A message to the webhook."""

    id: str
    event: str
    created_at: str
    n_tries: int
    delivered_at: str | None
    given_up_at: str | None
    note: str = Field(description="What went wrong last.")
