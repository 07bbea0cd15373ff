"""An example of everything that the REST interface gives, for its OpenAPI document.

They are made as records, so that none can differ from what is really given.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from flawmap.service import shapes
from flawmap.service import shapes_quality as quality
from flawmap.service import shapes_surveys as surveys

_JOB, _OTHER_JOB, _PHOTO = "3f" * 16, "a4" * 16, "9c" * 32
_BEGAN, _ENDED = "2026-11-20T09:30:00.000000+00:00", "2026-11-20T09:31:10.000000+00:00"
_NAME = "pier-3.jpg"


def add_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with an example in every schema that an answer has."""
    known = document["components"]["schemas"]
    for one in make_examples():
        if type(one).__name__ in known:
            known[type(one).__name__]["examples"] = [one.model_dump(mode="json")]
    return document


def make_examples() -> list[BaseModel]:
    """One of each kind of answer."""
    return [*_photos(), *_inspections(), *_surveys(), *_samples(), *_comparisons(), _drift()]


def _photos() -> list[BaseModel]:
    predicted = shapes.PredictedPhoto(
        name=_NAME,
        label="crack",
        score=0.97,
        flaw_score=0.97,
        review=False,
        probabilities={"crack": 0.97, "good": 0.03},
    )
    model = shapes.ModelInfo(
        name="concrete",
        task="classification",
        labels=["crack", "good"],
        good_labels=["good"],
        backbone="efficientnet_lite0",
        digest="5e" * 32,
        test={"n": 378, "recall": 0.975, "precision": 0.979},
        can_inspect=True,
        is_default=True,
    )
    kept = shapes.KeptPhoto(photo=_PHOTO, format="JPEG", n_bytes=2_400_000, width_px=4000, height_px=3000)
    return [
        kept,
        shapes.Predicted(model="concrete", photos=[predicted]),
        model,
        shapes.Health(status="ok", version="0.1.0"),
        shapes.Problem(detail=f"there is no inspection {_JOB}"),
        shapes.EventInfo(id=12, at=_BEGAN, who="anna", what="begin inspection", target=_JOB),
    ]


def _info(job_id: str = _JOB, model: str = "concrete") -> shapes.InspectionInfo:
    return shapes.InspectionInfo(
        id=job_id,
        model=model,
        state="done",
        n_photos=1,
        n_done=1,
        n_findings=1,
        created_at=_BEGAN,
        created_by="anna",
        finished_at=_ENDED,
    )


def _inspections() -> list[BaseModel]:
    review = shapes.ReviewInfo(
        id=7,
        verdict="accept",
        finding=1,
        label=None,
        polygon=None,
        of_review=None,
        note="",
        reviewer="anna",
        at=_ENDED,
    )
    finding = shapes.FindingInfo(
        id=1,
        number=1,
        label="crack",
        score=0.97,
        box_xyxy=[410.0, 220.0, 980.0, 460.0],
        polygon=[[410.0, 220.0], [980.0, 240.0], [960.0, 460.0]],
        area_px=52_000,
        review=review,
    )
    photo = shapes.SeenPhoto(
        number=1,
        photo=_PHOTO,
        name=_NAME,
        is_done=True,
        width_px=4000,
        height_px=3000,
        assessable=True,
        findings=[finding],
        missed=[],
        checked=None,
    )
    result = shapes.InspectionResult(**_info().model_dump(), labels=["crack"], photos=[photo])
    mask = shapes.FindingMask(finding=1, width_px=4000, height_px=3000, runs="1230221 3 1233219 5")
    return [_info(), result, review, mask]


def _surveys() -> list[BaseModel]:
    report = surveys.ReportInfo(
        id="b7" * 16,
        inspection=_JOB,
        state="done",
        title="Bridge 7",
        sizes="0.2 mm/px, eurocode-2 XC3",
        files=["report.html", "report.pdf", "findings.csv"],
        created_at=_BEGAN,
        created_by="anna",
        finished_at=_ENDED,
    )
    refused = surveys.RefusedFile(path="0815.txt", reason="not a photo that flawmap knows", at=_BEGAN)
    watch = surveys.WatchInfo(
        folder="/line/camera-1", n_taken=1200, n_refused=1, refused=[refused], inspection=_JOB
    )
    delivery = surveys.DeliveryInfo(
        id="c1" * 16,
        event="finding",
        created_at=_BEGAN,
        n_tries=2,
        delivered_at=_ENDED,
        given_up_at=None,
        note="",
    )
    exposure = surveys.Graded(name="XC3", words="moderate humidity", width_mm=0.3)
    grading = surveys.GradingInfo(
        name="eurocode-2",
        title="Eurocode 2: recommended limits of the calculated crack width",
        source="EN 1992-1-1:2004, 7.3.1, table 7.1N",
        limits="Limits of a width calculated in design.",
        bands=[],
        exposures=[exposure],
    )
    return [report, grading, watch, delivery]


def _samples() -> list[BaseModel]:
    drawn = quality.DrawnPhoto(number=1, photo=_PHOTO, name=_NAME, answer="flaw", reviewer="anna")
    sample = quality.SampleInfo(
        id=1,
        inspection=_JOB,
        model="concrete",
        seed=815,
        created_at=_BEGAN,
        created_by="anna",
        photos=[drawn],
    )
    rate = quality.Rate(n=50, value=0.9, low=0.786, high=0.957, is_reliable=True)
    estimate = quality.Estimate(
        n_population=3000,
        n_not_judged=4,
        n_drawn=100,
        n_answered=100,
        n_unclear=0,
        recall=rate,
        precision=rate,
        accuracy=rate,
        flawed=rate,
        notes=["drawn by lot from the 3,000 photos of this inspection that were judged"],
    )
    queued = quality.QueuedPhoto(number=1, photo=_PHOTO, name=_NAME, value=0.97)
    return [drawn, sample, estimate, quality.Queue(order="worst", photos=[queued])]


def _comparisons() -> list[BaseModel]:
    photo = quality.ComparedPhoto(
        number=1,
        photo=_PHOTO,
        name=_NAME,
        first="finding",
        second="no finding",
        n_first=1,
        n_second=0,
        score_first=0.97,
        score_second=None,
        difference=0.97,
        is_different=True,
    )
    comparison = quality.Comparison(
        n_photos=1,
        n_compared=1,
        n_judged_by_both=1,
        both_find=0,
        first_only=1,
        second_only=0,
        neither_finds=0,
        agreement=quality.Rate(n=1, value=0.0, low=0.0, high=0.793, is_reliable=False),
        kappa=0.0,
        photos=[photo],
    )
    return [quality.BegunComparison(first=_info(), second=_info(_OTHER_JOB, "next")), comparison]


def _drift() -> BaseModel:
    measure = quality.DriftMeasure(
        name="brightness",
        reference_mean=128.0,
        latest_mean=71.5,
        statistic=0.62,
        p_value=1e-12,
        is_alarm=True,
    )
    return quality.DriftInfo(
        model="concrete",
        state="alarm",
        reference="the first 200 photos that this model looked at here",
        n_reference=200,
        n_latest=200,
        latest_from=_BEGAN,
        latest_to=_ENDED,
        measures=[measure],
        foreign=None,
        training=quality.TrainingDrift(
            n_latest=200,
            n_flawed=90,
            n_good=100,
            share_flawed=0.12,
            measures=[measure.model_copy(update={"name": "window score"})],
            is_alarm=True,
        ),
        notes=["alike is not the same as right: measure on a random sample how good the model is"],
    )
