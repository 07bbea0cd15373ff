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

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0" * 32,
                    "inspection": "0" * 32,
                    "state": "done",
                    "note": "",
                    "title": "Bridge 7",
                    "files": ["report.html", "report.pdf", "findings.csv"],
                    "created_at": "2026-11-20T09:30:00.000000+00:00",
                    "created_by": "anna",
                    "finished_at": "2026-11-20T09:30:04.000000+00:00",
                }
            ]
        }
    )
