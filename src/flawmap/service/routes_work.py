"""Photos in, answers out: /v1/photos, /v1/predict, /v1/inspections, /v1/models."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, File, Header, HTTPException, Path, Query, Response, UploadFile
from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from flawmap.errors import PhotoError
from flawmap.records import Answer
from flawmap.service import shapes
from flawmap.service.access import Admin, Reviewer, ServiceHere, Viewer
from flawmap.service.database import FoundFlaw, Job, JobPhoto, StoredPhoto, now
from flawmap.service.inspecting import is_servable
from flawmap.service.models import ServedModel
from flawmap.service.results import read_photos
from flawmap.service.running import Service
from flawmap.service.uploads import keep_upload

router = APIRouter(prefix="/v1", tags=["photos"])

JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
ModelName = Annotated[str | None, Query(description="Of /v1/models; the one in use where none is named.")]
_KEY = "Of your choice, 8 to 100 characters, such as a UUID: unlike for every inspection that is meant anew."
_NONE: list[UploadFile] = []
_OtherName = Annotated[
    list[UploadFile], File(deprecated=True, description="The same by another name, for older callers.")
]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": shapes.Problem, "description": meaning}
    for status, meaning in (
        (400, "The request cannot be read."),
        (401, "Nobody said who asks."),
        (403, "The caller's role does not allow it."),
        (404, "There is no such thing."),
        (409, "It stands against what is there."),
        (413, "Too many bytes."),
        (415, "Not a photo that can be read."),
        (429, "Too many requests; Retry-After says when."),
        (503, "Too much waits already; Retry-After says when."),
    )
}


@router.get("/models", responses={401: PROBLEMS[401]})
def list_models(service: ServiceHere, _: Viewer) -> list[shapes.ModelInfo]:
    """The models that are served, the default one first."""
    first = service.default_model
    others = [model for model in service.models.values() if model is not first]
    return [to_model_info(model, is_default=model is first) for model in (first, *others)]


@router.post("/models/{model}/use", responses={k: PROBLEMS[k] for k in (401, 403, 404, 409)})
def use_model(
    model: Annotated[str, Path(max_length=300)], service: ServiceHere, caller: Admin
) -> shapes.ModelInfo:
    """Answer with this model from now on where none is named. Inspections that were begun keep theirs."""
    served = find_model(service, model)
    if service.watch is not None and served.looking is None:
        raise HTTPException(409, f"a folder is watched, which needs a model that inspects: {served.why_not}")
    return to_model_info(service.in_use.use(served.name, caller.name), is_default=True)


def to_model_info(model: ServedModel, *, is_default: bool) -> shapes.ModelInfo:
    """As the REST interface gives it."""
    return shapes.ModelInfo(
        name=model.name,
        task=model.described.task,
        labels=list(model.described.labels),
        good_labels=list(model.described.good_labels),
        backbone=model.described.backbone,
        digest=model.described.digest,
        test=model.described.test,
        can_inspect=model.looking is not None,
        why_not=model.why_not,
        is_default=is_default,
    )


@router.post("/predict", responses={k: PROBLEMS[k] for k in (400, 401, 403, 404, 413, 429, 503)})
async def predict(
    service: ServiceHere,
    _: Reviewer,
    photo: Annotated[list[UploadFile], File(description="As many as fit into one request.")] = _NONE,
    photos: _OtherName = _NONE,
    model: ModelName = None,
) -> shapes.Predicted:
    """Label photos while the caller waits. A photo that cannot be read is a row with an error."""
    served = find_model(service, model)
    given = _given(photo, photos)
    for one in given:
        _check_bytes(service, one)

    def work(photo: UploadFile) -> Answer | PhotoError:
        try:
            return served.predict(photo.file.read())  # read here: what waits stays on the disk
        except PhotoError as error:
            return error

    futures = service.queue.answer([lambda photo=photo: work(photo) for photo in given])
    answers = await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
    rows = [_to_row(photo.filename or "", answer) for photo, answer in zip(given, answers, strict=True)]
    n_unread = sum(bool(row.error) for row in rows)
    service.metrics.photos.labels(served.name, "unreadable").inc(n_unread)
    service.metrics.photos.labels(served.name, "predicted").inc(len(rows) - n_unread)
    return shapes.Predicted(model=served.name, photos=rows)


def _to_row(name: str, answer: Answer | PhotoError) -> shapes.PredictedPhoto:
    if isinstance(answer, PhotoError):
        return shapes.PredictedPhoto(name=name, error=str(answer))
    return shapes.PredictedPhoto(
        name=name,
        label=answer.label,
        score=answer.score,
        flaw_score=answer.flaw_score,
        review=answer.review,
        probabilities=answer.probabilities,
    )


@router.post("/photos", status_code=201, responses={k: PROBLEMS[k] for k in (400, 401, 403, 413, 415, 429)})
def upload_photo(
    service: ServiceHere,
    caller: Reviewer,
    photo: Annotated[list[UploadFile], File(description="One photo.")] = _NONE,
    photos: _OtherName = _NONE,
) -> shapes.KeptPhoto:
    """Keep one photo for inspections. The same bytes sent again are answered alike and kept once."""
    first, *others = _given(photo, photos)
    if others:
        raise HTTPException(422, f"found {len(others) + 1} photos; wanted one: send each by itself")
    _check_bytes(service, first)
    try:
        kept = keep_upload(service.database, service.storage, first.file.read(), caller.name)
    except PhotoError as error:
        raise HTTPException(415, str(error)) from error
    height, width = kept.size_hw
    return shapes.KeptPhoto(
        photo=kept.digest, format=kept.format, n_bytes=kept.n_bytes, width_px=width, height_px=height
    )


@router.post("/inspections", status_code=202, responses={k: PROBLEMS[k] for k in (400, 401, 403, 404, 409)})
def begin_inspection(
    asked: shapes.AskedInspection,
    service: ServiceHere,
    caller: Reviewer,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=8, max_length=100, description=_KEY)] = None,
) -> shapes.InspectionInfo:
    """Begin to look at uploaded photos. It goes on by itself, also after the service was stopped.

    Asked again with the same Idempotency-Key, the inspection that is there is answered.
    """
    served = find_model(service, asked.model)
    if served.looking is None:
        raise HTTPException(409, served.why_not)
    job = Job(
        id=uuid.uuid4().hex,
        model=served.name,
        model_record=served.record,
        state="waiting",
        request_key=None if idempotency_key is None else f"{caller.name}: {idempotency_key}",
        created_at=now(),
        created_by=caller.name,
    )
    if (begun := _find_begun(service, job.request_key)) is None:
        _check_known(service, asked)
        begun = _add_job(service, caller.name, job, asked)
        service.inspections.wake()
    response.headers["Location"] = f"/v1/inspections/{begun}"
    return _info(service, begun)


def _find_begun(service: Service, key: str | None) -> str | None:
    if key is None:
        return None
    with service.database.reading() as session:
        return session.exec(select(Job.id).where(Job.request_key == key)).first()


def _check_known(service: Service, asked: shapes.AskedInspection) -> None:
    wanted = sorted({one.photo for one in asked.photos})
    known: set[str] = set()
    with service.database.reading() as session:
        for i in range(0, len(wanted), 500):  # databases limit the values of one query
            query = select(StoredPhoto.digest).where(col(StoredPhoto.digest).in_(wanted[i : i + 500]))
            known.update(session.exec(query))
    missing = next((one for one in wanted if one not in known), None)
    if missing is not None:
        raise HTTPException(404, f"the photo {missing} was not uploaded; send it to /v1/photos first")


def _add_job(service: Service, who: str, job: Job, asked: shapes.AskedInspection) -> str:
    try:
        with service.database.writing(who, "begin inspection", job.id) as session:
            session.add(job)
            session.flush()
            session.add_all(
                JobPhoto(job_id=job.id, number=number, name=one.name or one.photo[:12], digest=one.photo)
                for number, one in enumerate(asked.photos, start=1)
            )
    except IntegrityError:  # the same key, a moment ago
        found = _find_begun(service, job.request_key)
        if found is None:
            raise
        return found
    return job.id


@router.get("/inspections", responses={401: PROBLEMS[401]})
def list_inspections(
    service: ServiceHere,
    _: Viewer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> list[shapes.InspectionInfo]:
    """The inspections, latest first."""
    query = select(Job).order_by(col(Job.created_at).desc()).offset(offset).limit(limit)
    with service.database.reading() as session:
        return [_to_info(service, session, job) for job in session.exec(query).all()]


@router.get("/inspections/{inspection}", responses={k: PROBLEMS[k] for k in (401, 404)})
def get_inspection(inspection: JobId, service: ServiceHere, _: Viewer) -> shapes.InspectionInfo:
    """How far an inspection is."""
    return _info(service, inspection)


@router.get("/inspections/{inspection}/result", responses={k: PROBLEMS[k] for k in (401, 404)})
def get_result(inspection: JobId, service: ServiceHere, _: Viewer) -> shapes.InspectionResult:
    """All that was found so far, with what people said of it."""
    info = _info(service, inspection)
    with service.database.reading() as session:
        job = session.get_one(Job, inspection)
        good = job.model_record["good_labels"]
        labels = [label for label in job.model_record["labels"] if label not in good]
        photos = read_photos(session, inspection)
    return shapes.InspectionResult(**info.model_dump(), labels=labels, photos=photos)


@router.post("/inspections/{inspection}/cancel", responses={k: PROBLEMS[k] for k in (401, 403, 404)})
def cancel_inspection(inspection: JobId, service: ServiceHere, caller: Reviewer) -> shapes.InspectionInfo:
    """Stop an inspection; what it found is kept. One that has ended stays as it is."""
    _info(service, inspection)
    with service.database.writing(caller.name, "cancel inspection", inspection) as session:
        job = session.get_one(Job, inspection)
        if job.state in ("waiting", "running"):
            job.state, job.finished_at = "cancelled", now()
    return _info(service, inspection)


def find_model(service: Service, name: str | None) -> ServedModel:
    """The model of this name, or the default one."""
    if name is None:
        return service.default_model
    if name not in service.models:
        raise HTTPException(404, f"no model '{name}' is served; there are: {', '.join(service.models)}")
    return service.models[name]


def _given(photo: list[UploadFile], photos: list[UploadFile]) -> list[UploadFile]:
    """The photos of a form, by whichever name they came."""
    if not photo and not photos:
        raise HTTPException(422, "photo is missing; send the file as the field 'photo' of a multipart form")
    return [*photo, *photos]


def _check_bytes(service: Service, photo: UploadFile) -> None:
    limit = service.options.max_photo_bytes
    if (photo.size or 0) > limit:
        raise HTTPException(413, f"the photo is larger than {limit / 1e6:g} MB")


def _info(service: Service, job_id: str) -> shapes.InspectionInfo:
    with service.database.reading() as session:
        job = session.get(Job, job_id)
        if job is None:
            raise HTTPException(404, f"there is no inspection {job_id}")
        return _to_info(service, session, job)


def _to_info(service: Service, session: Session, job: Job) -> shapes.InspectionInfo:
    of_job = JobPhoto.job_id == job.id
    counts = select(func.count(), func.count(col(JobPhoto.done_at))).select_from(JobPhoto).where(of_job)
    n_photos, n_done = session.exec(counts).one()
    joined = select(func.count()).select_from(FoundFlaw).join(JobPhoto, _is_of()).where(of_job)
    is_stuck = job.state in ("waiting", "running") and not is_servable(job, service.models)
    return shapes.InspectionInfo(
        id=job.id,
        model=job.model,
        state=job.state,  # type: ignore[arg-type] - a text of the database
        note=f"waits until the model {job.model} is served again, as it was" if is_stuck else "",
        n_photos=n_photos,
        n_done=n_done,
        n_findings=session.exec(joined).one(),
        created_at=job.created_at,
        created_by=job.created_by,
        finished_at=job.finished_at,
    )


def _is_of() -> Any:
    return col(FoundFlaw.job_photo_id) == col(JobPhoto.id)
