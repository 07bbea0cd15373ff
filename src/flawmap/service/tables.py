"""Tables of what a service keeps besides findings and reviews: masks, reports, a watched folder, deliveries,
models in use, samples, drift. Rows are kept; those with a state change it, all others are only added."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint
from sqlmodel import Field, SQLModel


class FoundMask(SQLModel, table=True):
    """A finding's mask as the model gave it; apart from the finding, which is asked for far more often."""

    finding_id: int = Field(primary_key=True, foreign_key="foundflaw.id")
    runs: str
    """As tools.rle writes it, of the whole upright photo."""


class Report(SQLModel, table=True):
    """The files of a survey that somebody asked for; they lie in a folder of this id."""

    id: str = Field(primary_key=True)
    job_id: str = Field(foreign_key="job.id", index=True)
    meta: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """What the report says of the survey: SurveyMeta."""
    telling: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    """How its sizes are told: TellingOptions."""
    state: str = Field(index=True)
    """waiting, done or failed."""
    note: str = ""
    """Why it failed."""
    created_at: str
    created_by: str
    finished_at: str | None = None


class WatchedFile(SQLModel, table=True):
    """A file of the watched folder as it was when it was taken up or refused."""

    __table_args__ = (UniqueConstraint("folder", "path", "stamp"),)
    id: int | None = Field(default=None, primary_key=True)
    folder: str = Field(index=True)
    path: str
    """Relative to the folder."""
    stamp: str
    """Its size and time of change: the same name with another stamp is another photo."""
    job_photo_id: int | None = Field(default=None, foreign_key="jobphoto.id")
    """None where it was refused."""
    reason: str = ""
    at: str


class Delivery(SQLModel, table=True):
    """A message for the webhook, until it is delivered."""

    id: str = Field(primary_key=True)
    event: str
    body: str
    """The bytes that are signed, as text."""
    created_at: str
    n_tries: int = 0
    due_at: str = Field(index=True)
    delivered_at: str | None = Field(default=None, index=True)
    given_up_at: str | None = None
    note: str = ""
    """What went wrong last."""


class ModelUse(SQLModel, table=True):
    """Which model answers where none is named; the latest row counts."""

    id: int | None = Field(default=None, primary_key=True)
    model: str
    digest: str
    who: str
    at: str


class Sample(SQLModel, table=True):
    """A simple random sample of an inspection's photos; one for each inspection."""

    id: int | None = Field(default=None, primary_key=True)
    job_id: str = Field(foreign_key="job.id", unique=True)
    seed: int
    n_population: int
    """Photos that could be drawn: looked at, and judged."""
    n_not_judged: int
    created_at: str
    created_by: str


class SamplePhoto(SQLModel, table=True):
    """A drawn photo; `number` is its place in the order of drawing, from 1."""

    __table_args__ = (UniqueConstraint("sample_id", "number"),)
    id: int | None = Field(default=None, primary_key=True)
    sample_id: int = Field(foreign_key="sample.id", index=True)
    number: int
    job_photo_id: int = Field(foreign_key="jobphoto.id")


class SampleAnswer(SQLModel, table=True):
    """What a person saw on a drawn photo without the model's answer; the latest one counts."""

    id: int | None = Field(default=None, primary_key=True)
    sample_photo_id: int = Field(foreign_key="samplephoto.id", index=True)
    answer: str
    """flaw, good or unclear."""
    reviewer: str
    at: str


class DriftReference(SQLModel, table=True):
    """The inspection that later photos are held against; the latest row of a model counts."""

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(index=True)
    """Of the model."""
    job_id: str = Field(foreign_key="job.id")
    who: str
    at: str


class DriftChange(SQLModel, table=True):
    """An alarm that began or ended; the latest row of a model says how it is."""

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(index=True)
    is_alarm: bool
    measures: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    at: str
