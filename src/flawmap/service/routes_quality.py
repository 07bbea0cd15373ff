"""How good the answers are: /v1/inspections/{id}/queue, /v1/samples, /v1/comparisons, /v1/drift."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Response
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from flawmap.service.access import Admin, Reviewer, ServiceHere, Viewer
from flawmap.service.comparing import compare_photos
from flawmap.service.database import Job, JobPhoto, now
from flawmap.service.drift import look_for_drift
from flawmap.service.ordering import order_photos
from flawmap.service.results import read_photos
from flawmap.service.routes_work import PROBLEMS, JobId, ModelName, find_model, get_inspection
from flawmap.service.running import Service
from flawmap.service.sampling import draw_sample, estimate, read_drawn
from flawmap.service.shapes_quality import (
    AskedAnswer,
    AskedComparison,
    AskedReference,
    AskedSample,
    BegunComparison,
    Comparison,
    DrawnPhoto,
    DriftInfo,
    Estimate,
    Order,
    Queue,
    QueuedPhoto,
    SampleInfo,
)
from flawmap.service.tables import DriftReference, Sample, SampleAnswer, SamplePhoto

router = APIRouter(prefix="/v1", tags=["quality"])

SampleId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("/inspections/{inspection}/queue", responses={k: PROBLEMS[k] for k in (401, 404)})
def get_queue(
    inspection: JobId,
    service: ServiceHere,
    _: Viewer,
    order: Annotated[Order, Query(description="What comes first.")] = "worst",
) -> Queue:
    """The photos that were looked at, first the one to go through first.

    Rates among what such a queue puts first are not those of the photos: draw a sample for these.
    """
    with service.database.reading() as session:
        job = _find_job(session, inspection)
        ranked = order_photos(session, job, order, job.model_record.get("threshold", 0.5))
    photos = [
        QueuedPhoto(number=one.photo.number, photo=one.photo.digest, name=one.photo.name, value=one.value)
        for one in ranked
    ]
    return Queue(order=order, photos=photos)


@router.post("/samples", status_code=201, responses={k: PROBLEMS[k] for k in (400, 401, 403, 404, 409)})
def draw(asked: AskedSample, service: ServiceHere, caller: Reviewer) -> SampleInfo:
    """Draw photos of an inspection by lot, once: asked again, the sample that is there is answered."""
    try:
        with service.database.writing(caller.name, "draw sample", asked.inspection) as session:
            job = _find_job(session, asked.inspection)
            sample = session.exec(select(Sample).where(Sample.job_id == job.id)).first()
            if sample is None:
                if job.state not in ("done", "cancelled"):
                    raise HTTPException(
                        409, "the inspection has not ended; a sample is drawn from all its photos"
                    )
                sample = draw_sample(session, job, asked.n, caller.name)
                if not sample.n_population:
                    raise HTTPException(
                        409, "no photo of this inspection was judged; there is nothing to draw"
                    )
    except IntegrityError as error:  # drawn by another service a moment ago
        raise HTTPException(409, "a sample is being drawn; ask again") from error
    return _to_sample(service, sample)


@router.get("/samples", responses={401: PROBLEMS[401]})
def list_samples(
    service: ServiceHere, _: Viewer, inspection: Annotated[str, Query(pattern="^[0-9a-f]{32}$")]
) -> list[SampleInfo]:
    """The sample of an inspection, or none where none was drawn."""
    with service.database.reading() as session:
        found = session.exec(select(Sample).where(Sample.job_id == inspection)).all()
    return [_to_sample(service, sample) for sample in found]


@router.post(
    "/samples/{sample}/photos/{number}/answer",
    status_code=201,
    responses={k: PROBLEMS[k] for k in (400, 401, 403, 404)},
)
def answer_photo(
    sample: SampleId,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    asked: AskedAnswer,
    service: ServiceHere,
    caller: Reviewer,
) -> DrawnPhoto:
    """Say what a drawn photo shows. All answers are kept, the latest one counts."""
    with service.database.writing(caller.name, "answer sample", f"{sample}/{number}") as session:
        here = (SamplePhoto.sample_id == sample, SamplePhoto.number == number)
        drawn = session.exec(select(SamplePhoto).where(*here)).first()
        if drawn is None or drawn.id is None:
            raise HTTPException(404, f"there is no photo {number} of sample {sample}")
        photo = session.get_one(JobPhoto, drawn.job_photo_id)
        session.add(
            SampleAnswer(sample_photo_id=drawn.id, answer=asked.answer, reviewer=caller.name, at=now())
        )
    return DrawnPhoto(
        number=number, photo=photo.digest, name=photo.name, answer=asked.answer, reviewer=caller.name
    )


@router.get("/samples/{sample}/estimate", responses={k: PROBLEMS[k] for k in (401, 404)})
def get_estimate(sample: SampleId, service: ServiceHere, _: Viewer) -> Estimate:
    """How good the model is on these photos, by the answers to the sample alone."""
    with service.database.reading() as session:
        found = session.get(Sample, sample)
        if found is None:
            raise HTTPException(404, f"there is no sample {sample}")
        return estimate(session, found)


@router.post("/comparisons", status_code=202, responses={k: PROBLEMS[k] for k in (400, 401, 403, 404, 409)})
def begin_comparison(
    asked: AskedComparison, service: ServiceHere, caller: Reviewer, response: Response
) -> BegunComparison:
    """Have another model look at the photos of an inspection. The same pair is begun once."""
    served = find_model(service, asked.model)
    if served.looking is None:
        raise HTTPException(409, served.why_not)
    with service.database.reading() as session:
        first = _find_job(session, asked.inspection)
    if first.model_record["digest"] == served.described.digest:
        raise HTTPException(409, f"the model {served.name} has looked at these photos already; name another")
    if first.state not in ("done", "cancelled"):
        raise HTTPException(409, "the inspection has not ended; its photos may not all be there yet")
    key = f"comparison of {first.id} with {served.described.digest}"
    with service.database.writing(caller.name, "compare models", f"{first.id} {served.name}") as session:
        second = session.exec(select(Job).where(Job.request_key == key)).first()
        if second is None:
            second = Job(
                id=uuid.uuid4().hex,
                model=served.name,
                model_record=served.record,
                state="waiting",
                request_key=key,
                created_at=now(),
                created_by=caller.name,
            )
            session.add(second)
            session.flush()
            photos = session.exec(select(JobPhoto).where(JobPhoto.job_id == first.id)).all()
            session.add_all(
                JobPhoto(job_id=second.id, number=one.number, name=one.name, digest=one.digest)
                for one in photos
            )
    service.inspections.wake()
    response.headers["Location"] = f"/v1/comparisons/{first.id}/{second.id}"
    return BegunComparison(
        first=get_inspection(first.id, service, caller), second=get_inspection(second.id, service, caller)
    )


@router.get("/comparisons/{first}/{second}", responses={k: PROBLEMS[k] for k in (401, 404, 409)})
def get_comparison(first: JobId, second: JobId, service: ServiceHere, _: Viewer) -> Comparison:
    """Where two inspections of the same photos differ, as far as both are."""
    with service.database.reading() as session:
        photos = []
        for one in (first, second):
            _find_job(session, one)
            photos.append(read_photos(session, one))
    try:
        return compare_photos(*photos)
    except ValueError as error:
        raise HTTPException(409, str(error)) from error


@router.get("/drift", responses={k: PROBLEMS[k] for k in (401, 404)})
def get_drift(service: ServiceHere, _: Viewer, model: ModelName = None) -> DriftInfo:
    """Whether the latest photos are like those that the model was put to use on."""
    with service.database.reading() as session:
        return look_for_drift(session, find_model(service, model))


@router.post("/drift/reference", status_code=201, responses={k: PROBLEMS[k] for k in (400, 401, 403, 404)})
def set_reference(asked: AskedReference, service: ServiceHere, caller: Admin) -> DriftInfo:
    """Hold later photos against those of this inspection, by the model that looked at them."""
    with service.database.writing(caller.name, "set drift reference", asked.inspection) as session:
        job = _find_job(session, asked.inspection)
        digest = job.model_record["digest"]
        served = next((one for one in service.models.values() if one.described.digest == digest), None)
        if served is None:
            raise HTTPException(404, f"the model {job.model} that looked at it is not served")
        session.add(DriftReference(digest=digest, job_id=job.id, who=caller.name, at=now()))
    with service.database.reading() as session:
        return look_for_drift(session, served)


def _find_job(session: Session, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None:
        raise HTTPException(404, f"there is no inspection {job_id}")
    return job


def _to_sample(service: Service, sample: Sample) -> SampleInfo:
    with service.database.reading() as session:
        job = session.get_one(Job, sample.job_id)
        drawn = read_drawn(session, sample)
    return SampleInfo(
        id=sample.id or 0,
        inspection=job.id,
        model=job.model,
        seed=sample.seed,
        created_at=sample.created_at,
        created_by=sample.created_by,
        photos=[
            DrawnPhoto(
                number=one.number,
                photo=photo.digest,
                name=photo.name,
                answer=None if answer is None else answer.answer,  # type: ignore[arg-type] - of the database
                reviewer=None if answer is None else answer.reviewer,
            )
            for one, photo, answer in drawn
        ],
    )
