"""What goes in and comes out around surveys: reports, and the watched folder."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from flawmap.service.shapes import Asked

ReportFile = Literal[
    "report.html",
    "report.pdf",
    "findings.csv",
    "findings.xlsx",
    "findings.json",
    "findings.geojson",
    "findings.coco.json",
]
_Line = Field(default="", max_length=200)


class AskedReport(Asked):
    """What the report says of the survey; all of it may be left out."""

    structure: str = _Line
    element: str = _Line
    span: str = _Line
    inspector: str = _Line
    organisation: str = _Line
    date: str = Field(default="", max_length=200, description="As it is to be printed.")
    scale: str = Field(default="", max_length=200, description="How the scale was found, in words.")
    notes: str = Field(default="", max_length=2000)

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
                }
            ]
        },
    )


class ReportInfo(BaseModel):
    """A report that was asked for."""

    id: str
    inspection: str
    state: Literal["waiting", "done", "failed"]
    note: str = Field(default="", description="Why it could not be written.")
    title: str
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
