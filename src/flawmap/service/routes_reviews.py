"""What people say of findings: /v1/reviews, and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query
from sqlmodel import Session, col, select

from flawmap.errors import MaskError, nearest
from flawmap.service import shapes
from flawmap.service.access import Admin, Reviewer, ServiceHere, Viewer
from flawmap.service.database import Event, FoundFlaw, Job, JobPhoto, Review, now
from flawmap.service.results import to_review
from flawmap.service.routes_work import PROBLEMS
from flawmap.service.tables import FoundMask
from flawmap.tools.rle import parse_runs

router = APIRouter(prefix="/v1", tags=["reviews"])
_ALIKE = 0.75
"""A new label as alike as this to a known one (difflib's ratio) is taken for a typing mistake."""


@router.post("/reviews", status_code=201, responses={k: PROBLEMS[k] for k in (400, 401, 403, 404, 409)})
def add_review(asked: shapes.AskedReview, service: ServiceHere, caller: Reviewer) -> shapes.ReviewInfo:
    """Say something of a finding or a photo. Nothing is overwritten: the latest word counts, all are kept."""
    with service.database.writing(caller.name, f"review: {asked.verdict}") as session:
        photo, finding_id = _find_target(session, asked)
        if photo.done_at is None:
            raise HTTPException(409, "the photo has not been looked at yet")
        _check_label(session, asked, photo)
        outline = _check_mask(asked, photo)
        assert photo.id is not None
        review = Review(
            job_photo_id=photo.id,
            finding_id=finding_id,
            verdict=asked.verdict,
            label=asked.label,
            polygon=outline,
            runs=asked.runs,
            of_review=asked.of_review,
            note=asked.note,
            reviewer=caller.name,
            at=now(),
        )
        session.add(review)
        session.flush()
    return to_review(review)


@router.get("/findings/{finding}/mask", responses={k: PROBLEMS[k] for k in (401, 404)})
def get_mask(
    finding: Annotated[int, Path(ge=1, le=shapes.MOST_ROWS)], service: ServiceHere, _: Viewer
) -> shapes.FindingMask:
    """The mask that the model gave of a finding, to the pixel; models that label windows give none."""
    with service.database.reading() as session:
        flaw, mask = session.get(FoundFlaw, finding), session.get(FoundMask, finding)
        if flaw is None or mask is None:
            raise HTTPException(
                404, f"there is no {'finding' if flaw is None else 'mask of finding'} {finding}"
            )
        seen = session.get_one(JobPhoto, flaw.job_photo_id).seen or {}
    return shapes.FindingMask(
        finding=finding, width_px=seen["width_px"], height_px=seen["height_px"], runs=mask.runs
    )


def _find_target(session: Session, asked: shapes.AskedReview) -> tuple[JobPhoto, int | None]:
    """The photo and, where one is meant, the finding."""
    if asked.finding is not None:
        flaw = session.get(FoundFlaw, asked.finding)
        if flaw is None:
            raise HTTPException(404, f"there is no finding {asked.finding}")
        return session.get_one(JobPhoto, flaw.job_photo_id), flaw.id
    if asked.of_review is not None:
        earlier = session.get(Review, asked.of_review)
        if earlier is None or earlier.verdict not in ("missed", "checked"):
            raise HTTPException(404, f"there is no 'missed' or 'checked' review {asked.of_review}")
        return session.get_one(JobPhoto, earlier.job_photo_id), None
    query = select(JobPhoto).where(JobPhoto.job_id == asked.inspection, JobPhoto.number == asked.number)
    photo = session.exec(query).first()
    if photo is None:
        raise HTTPException(404, f"there is no photo {asked.number} of inspection {asked.inspection}")
    return photo, None


def _check_label(session: Session, asked: shapes.AskedReview, photo: JobPhoto) -> None:
    """A label may be new, but not by a typing mistake."""
    label = asked.label
    known = list(session.get_one(Job, photo.job_id).model_record["labels"])
    if label is None or asked.is_new_label or label in known:
        return
    said = session.exec(select(Review.label).where(col(Review.label).is_not(None)).distinct())
    known += [one for one in said if one is not None and one not in known]
    near = None if label in known else nearest(label, known, _ALIKE)
    if near is not None:
        raise HTTPException(
            409,
            f"there is no label '{label}'; did you mean '{near}'? A label that is meant to be new and "
            "resembles one goes with is_new_label: true",
        )


def _check_mask(asked: shapes.AskedReview, photo: JobPhoto) -> list[list[float]] | None:
    """The outline of what is marked; of a painted mask the box around it. Has to lie within the photo."""
    if asked.polygon is None and asked.runs is None:
        return None
    width, height = ((photo.seen or {}).get(side) for side in ("width_px", "height_px"))
    if not width or not height:
        raise HTTPException(409, "the photo could not be read, so nothing can be marked in it")
    if asked.runs is not None:
        return _box_around(asked.runs, (height, width))
    outline = [[x, y] for x, y in asked.polygon or ()]
    if not all(0 <= x <= width and 0 <= y <= height for x, y in outline):
        raise HTTPException(409, f"the outline leaves the photo, which has {width}×{height} pixels")
    return outline


def _box_around(text: str, size_hw: tuple[int, int]) -> list[list[float]]:
    """The corners of the box around a painted mask."""
    try:
        runs = parse_runs(text, size_hw)
    except MaskError as error:
        raise HTTPException(409, f"the painted mask holds {error}") from error
    if not len(runs):
        raise HTTPException(409, "the painted mask is empty; reject the finding instead")
    first, last = runs[:, 0] - 1, runs.sum(axis=1) - 2  # pixels, counted from 0
    left, right = int(first[0]) // size_hw[0], int(last[-1]) // size_hw[0] + 1
    # A run over the foot of a column covers both ends of columns.
    is_within = first // size_hw[0] == last // size_hw[0]
    top = int((first % size_hw[0]).min()) if is_within.all() else 0
    bottom = int((last % size_hw[0]).max()) + 1 if is_within.all() else size_hw[0]
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


@router.get("/reviews", responses={k: PROBLEMS[k] for k in (401, 404)})
def list_reviews(
    service: ServiceHere,
    _: Viewer,
    inspection: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> list[shapes.ReviewInfo]:
    """Every review that was ever given, in the order in which they were."""
    query = select(Review).order_by(col(Review.id)).offset(offset).limit(limit)
    if inspection is not None:
        of_job = select(JobPhoto.id).where(JobPhoto.job_id == inspection)
        query = query.where(col(Review.job_photo_id).in_(of_job))
    with service.database.reading() as session:
        if inspection is not None and session.get(Job, inspection) is None:
            raise HTTPException(404, f"there is no inspection {inspection}")
        return [to_review(review) for review in session.exec(query)]


@router.get("/audit-log", responses={k: PROBLEMS[k] for k in (401, 403)})
def list_events(
    service: ServiceHere, _: Admin, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
) -> list[shapes.EventInfo]:
    """Who did what, latest first."""
    with service.database.reading() as session:
        events = session.exec(select(Event).order_by(col(Event.id).desc()).limit(limit)).all()
    return [shapes.EventInfo(**{**event.model_dump(), "id": event.id or 0}) for event in events]
