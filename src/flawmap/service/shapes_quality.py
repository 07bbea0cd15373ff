"""What goes in and comes out around quality: orders, samples, comparisons of models, drift."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from flawmap.service.shapes import Asked, InspectionInfo

Order = Literal["worst", "uncertain", "different"]
PhotoVerdict = Literal["finding", "no finding", "not assessable", "not readable"]
SampleVerdict = Literal["flaw", "good", "unclear"]
_Inspection = Field(pattern="^[0-9a-f]{32}$", examples=["0" * 32])


class QueuedPhoto(BaseModel):
    """A photo in the order in which to go through."""

    number: int
    photo: str
    name: str
    value: float | None = Field(
        description="worst: the highest score; uncertain: minus its distance to the threshold in log-odds; "
        "different: the distance to all seen before. null: nothing is known, it comes last."
    )


class Queue(BaseModel):
    """Photos in an order that is for people's work; never a measure of how good the model is."""

    order: Order
    photos: list[QueuedPhoto]


class AskedSample(Asked):
    """A simple random sample to be answered by people who do not see the model's answer."""

    inspection: str = _Inspection
    n: int = Field(default=100, ge=1, le=5000, description="All photos where there are fewer.")

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"inspection": "0" * 32, "n": 100}]}
    )


class DrawnPhoto(BaseModel):
    """A photo that was drawn, without what the model says of it."""

    number: int = Field(description="In the order of drawing.")
    photo: str
    name: str
    answer: SampleVerdict | None
    reviewer: str | None


class Rate(BaseModel):
    """A share with Wilson's 95 % interval."""

    n: int = Field(description="Photos that it rests on.")
    value: float | None
    low: float | None
    high: float | None
    is_reliable: bool = Field(description="false: it rests on too few photos.")


class Estimate(BaseModel):
    """How good the model is on the photos of an inspection; a photo counts as flawed as a whole."""

    n_population: int = Field(description="Photos that were drawn from.")
    n_not_judged: int
    n_drawn: int
    n_answered: int
    n_unclear: int = Field(description="Photos that people could not tell.")
    recall: Rate = Field(description="Of the flawed photos, those with a finding.")
    precision: Rate = Field(description="Of the photos with a finding, those that are flawed.")
    accuracy: Rate
    flawed: Rate = Field(description="Of all photos, those that are flawed.")
    notes: list[str] = Field(description="What a reader has to know of the figures.")


class SampleInfo(BaseModel):
    """A drawn sample."""

    id: int
    inspection: str
    model: str
    seed: int
    created_at: str
    created_by: str
    photos: list[DrawnPhoto]


class AskedAnswer(Asked):
    """What a person sees on a drawn photo."""

    answer: SampleVerdict

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"answer": "flaw"}]})


class AskedComparison(Asked):
    """The photos of an inspection, to be looked at by another model as well."""

    inspection: str = _Inspection
    model: str = Field(max_length=300, description="The other model, of /v1/models.")

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"inspection": "0" * 32, "model": "next"}]}
    )


class BegunComparison(BaseModel):
    """Two inspections of the same photos; compare them once both have ended."""

    first: InspectionInfo
    second: InspectionInfo


class ComparedPhoto(BaseModel):
    """One photo under two models."""

    number: int
    photo: str
    name: str
    first: PhotoVerdict
    second: PhotoVerdict
    n_first: int = Field(description="Findings.")
    n_second: int
    score_first: float | None = Field(description="The highest of a finding.")
    score_second: float | None
    difference: float = Field(description="Between the two scores; no finding counts 0.")
    is_different: bool = Field(description="Whether the verdicts differ.")


class Comparison(BaseModel):
    """Where two models differ. Agreement is not correctness: both may be wrong."""

    n_photos: int
    n_compared: int = Field(description="Photos that both have looked at so far.")
    n_judged_by_both: int
    both_find: int
    first_only: int
    second_only: int
    neither_finds: int
    agreement: Rate
    kappa: float | None = Field(description="Cohen's: 0 is what chance gives, 1 is agreement throughout.")
    photos: list[ComparedPhoto] = Field(description="Those whose verdicts differ first.")


class DriftMeasure(BaseModel):
    """One property of photos, then and now."""

    name: str
    reference_mean: float
    latest_mean: float
    statistic: float = Field(description="Of Kolmogorov and Smirnov: 0 alike, 1 nothing in common.")
    p_value: float
    is_alarm: bool


class TrainingDrift(BaseModel):
    """The latest photos, one window of each, held against photos of the training set that training never
    read: against that mixture of its flawed and good ones whose scores come nearest, whatever the shares."""

    n_latest: int
    n_flawed: int = Field(description="Photos of the training set's flawed ones.")
    n_good: int
    share_flawed: float = Field(description="Of the mixture.")
    measures: list[DriftMeasure] = Field(
        description="Scores and features; of these the axis that differs most."
    )
    is_alarm: bool


class DriftInfo(BaseModel):
    """Whether the latest photos are like those that the model was put to use on and like the training set."""

    model: str
    state: Literal["too few photos", "alike", "alarm"]
    reference: str = Field(description="What the latest photos are held against, in words.")
    n_reference: int
    n_latest: int
    latest_from: str | None
    latest_to: str | None
    measures: list[DriftMeasure]
    foreign: Rate | None = Field(
        description="Of the latest photos, those that are mostly unlike the model's training photos; null "
        "where its folder does not tell, or under 50 photos. Those of the reference count too where they are "
        "among the latest."
    )
    training: TrainingDrift | None = Field(
        description="null under 50 photos, and where the model's folder keeps too few of the training set."
    )
    notes: list[str]


class AskedReference(Asked):
    """An inspection whose photos are as they should be."""

    inspection: str = _Inspection

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"inspection": "0" * 32}]})
