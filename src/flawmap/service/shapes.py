"""What goes in and comes out of the REST interface. Unknown keys are refused, so that no typing mistake is a
silent default."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flawmap.errors import known_hint

Verdict = Literal["accept", "reject", "relabel", "painted", "missed", "checked", "withdrawn"]
JobState = Literal["waiting", "running", "done", "cancelled"]
Digest = Field(pattern="^[0-9a-f]{64}$", examples=["0" * 64])
MOST_PHOTOS = 100_000
MOST_ROWS = 2**31 - 1
"""Numbers of rows are 32 bits in PostgreSQL."""
MOST_RUNS_TEXT = 8_000_000
"""Characters: half a million runs, more than a hand paints."""


class Asked(BaseModel):
    """Base of what comes in."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_half_characters(cls, values: Any) -> Any:
        """JSON can spell halves of characters and NUL, which databases cannot keep."""
        if isinstance(values, bytes):  # as what another Content-Type declares arrives
            raise ValueError("wanted JSON; send it with Content-Type: application/json")
        text = json.dumps(values, ensure_ascii=False)
        if "\\u0000" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("a text holds NUL or half a character")
        return values

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        """With the nearest spelling of what there is."""
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                shown = ascii(name[:100])
                raise ValueError(f"unknown field {shown}{known_hint(name, cls.model_fields)}")
        return values


class KeptPhoto(BaseModel):
    """An upload that is on the disk."""

    photo: str = Field(description="The digest of its bytes: how inspections name it.")
    format: str
    n_bytes: int
    width_px: int
    height_px: int


class PredictedPhoto(BaseModel):
    """One photo's answer; where `error` is set it could not be read and the rest is empty."""

    name: str
    label: str = ""
    score: float | None = Field(default=None, description="Calibrated probability of the printed label.")
    flaw_score: float | None = None
    review: bool | None = Field(default=None, description="Whether a person should look.")
    error: str = ""
    probabilities: dict[str, float] | None = None


class Predicted(BaseModel):
    """Answers in the order of the photos."""

    model: str
    photos: list[PredictedPhoto]


class ModelInfo(BaseModel):
    """A model that is served."""

    name: str
    task: str
    labels: list[str]
    good_labels: list[str]
    backbone: str
    digest: str
    test: dict[str, Any] = Field(description="The figures of the model's own test.")
    can_inspect: bool
    why_not: str = Field(default="", description="Why it cannot inspect.")
    is_default: bool


class AskedPhoto(Asked):
    """A photo of an inspection."""

    photo: str = Digest
    name: str = Field(
        default="", max_length=500, description="Shown to people; nothing else is done with it."
    )


class AskedInspection(Asked):
    """Photos for a model to look at."""

    photos: list[AskedPhoto] = Field(min_length=1, max_length=MOST_PHOTOS)
    model: str | None = Field(default=None, description="Of /v1/models; the one in use where none is named.")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"photos": [{"photo": "0" * 64, "name": "pier-3.jpg"}]}]},
    )


class InspectionInfo(BaseModel):
    """How far an inspection is."""

    id: str
    model: str
    state: JobState
    note: str = Field(default="", description="Why it does not go on, where it does not.")
    n_photos: int
    n_done: int
    n_findings: int
    created_at: str
    created_by: str
    finished_at: str | None


class ReviewInfo(BaseModel):
    """What a person said, and when."""

    id: int
    verdict: Verdict
    finding: int | None
    label: str | None
    polygon: list[list[float]] | None
    runs: str | None = Field(default=None, description="A painted mask, as it was given.")
    of_review: int | None
    note: str
    reviewer: str
    at: str


class FindingInfo(BaseModel):
    """A finding as the model gave it, and what was said of it last."""

    model_config = ConfigDict(extra="allow")

    id: int
    number: int
    label: str
    score: float
    box_xyxy: list[float]
    polygon: list[list[float]]
    area_px: int
    has_mask: bool = Field(default=False, description="Whether /v1/findings/{id}/mask has it to the pixel.")
    review: ReviewInfo | None


class FindingMask(BaseModel):
    """A finding's mask as the model gave it, to the pixel."""

    finding: int
    width_px: int = Field(description="Of the whole upright photo, as height_px is.")
    height_px: int
    runs: str = Field(description="As a review's: what was painted.")


class SeenPhoto(BaseModel):
    """A photo of an inspection. `assessable` false is never "clean"."""

    number: int
    photo: str
    name: str
    is_done: bool
    width_px: int | None = None
    height_px: int | None = None
    assessable: bool | None = None
    reason: str = ""
    error: str = ""
    share_seen: float = Field(default=1.0, description="Of its pixels; less where a region was given.")
    share_foreign: float | None = Field(
        default=None,
        description="Of what was looked at, unlike the training photos; null: it cannot be told.",
    )
    position_system: str = Field(
        default="", description="Of a GeoTIFF's coordinates that were not converted to degrees, as EPSG:2056."
    )
    findings: list[FindingInfo]
    missed: list[ReviewInfo] = Field(description="Flaws that people marked and the model did not see.")
    checked: ReviewInfo | None = Field(description="Who said that every flaw of the photo is marked.")


class InspectionResult(InspectionInfo):
    """All that an inspection found so far."""

    labels: list[str] = Field(description="Of the model, without those that mean no flaw.")
    photos: list[SeenPhoto]


_OF_REVIEWS = ("finding", "inspection", "number", "of_review", "label", "polygon", "runs")
_WANTED: dict[str, set[str]] = {
    "accept": {"finding"},
    "reject": {"finding"},
    "relabel": {"finding", "label"},
    "painted": {"finding", "runs"},
    "missed": {"inspection", "number", "label"},
    "checked": {"inspection", "number"},
    "withdrawn": {"of_review"},
}


def _wants(verdict: str, given: set[str], more: str = "") -> str:
    wanted = [name for name in _OF_REVIEWS if name in _WANTED[verdict]]
    found = [name for name in _OF_REVIEWS if name in given] or ["none of them"]
    return f"{verdict} wants {', '.join(wanted)}{more}; found {', '.join(found)}"


class AskedReview(Asked):
    """A correction. `accept`, `reject`, `relabel` and `painted` speak of a finding; `missed` and `checked` of
    a photo; `withdrawn` of an earlier `missed` or `checked`."""

    verdict: Verdict
    finding: int | None = Field(default=None, ge=1, le=MOST_ROWS)
    inspection: str | None = Field(default=None, max_length=64)
    number: int | None = Field(
        default=None, ge=1, le=MOST_ROWS, description="Of the photo in the inspection."
    )
    of_review: int | None = Field(default=None, ge=1, le=MOST_ROWS)
    label: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Of the model, or a new one: people may name what the model does not know. One that is "
        "spelled almost like a known one is refused, unless is_new_label says that it is meant.",
    )
    is_new_label: bool = Field(
        default=False, description="The label is meant as it stands, though it resembles a known one."
    )
    polygon: list[tuple[float, float]] | None = Field(
        default=None,
        min_length=3,
        max_length=10_000,
        description="(x, y) corners in pixels of the upright photo.",
    )
    runs: str | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_RUNS_TEXT,
        description="A mask of the whole upright photo, 'start length start length …': its pixels are "
        "numbered from 1, down the columns and then rightwards.",
    )
    note: str = Field(default="", max_length=2000)

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"verdict": "reject", "finding": 1}]}
    )

    @model_validator(mode="after")
    def _check(self) -> AskedReview:
        given = {name for name in _OF_REVIEWS if getattr(self, name) is not None}
        wanted = _WANTED[self.verdict]
        if not wanted <= given:
            raise ValueError(_wants(self.verdict, given))
        shapes = given & {"polygon", "runs"}
        if self.verdict == "missed" and len(shapes) != 1:
            raise ValueError(_wants("missed", given, " and either polygon or runs"))
        if "runs" in given and self.verdict not in ("painted", "missed"):
            raise ValueError(f"runs go with painted or missed only; the verdict is {self.verdict}")
        if "of_review" in given and self.verdict != "withdrawn":
            raise ValueError(f"of_review goes with withdrawn only; the verdict is {self.verdict}")
        if self.verdict == "withdrawn" and "finding" in given:
            raise ValueError("withdrawn speaks of an earlier review; leave finding out")
        return self


class EventInfo(BaseModel):
    """A line of the audit log."""

    id: int
    at: str
    who: str
    what: str
    target: str


class Health(BaseModel):
    """Whether the service is there."""

    status: Literal["ok"]
    version: str


class Problem(BaseModel):
    """What was wrong, in one line."""

    detail: str
