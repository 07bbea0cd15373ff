"""What an inspection found, with the latest word of people on each finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlmodel import Session, col, select

from flawmap.service import shapes
from flawmap.service.database import FoundFlaw, JobPhoto, Review
from flawmap.service.tables import FoundMask


def read_photos(session: Session, job_id: str) -> list[shapes.SeenPhoto]:
    """The photos of an inspection in the order given, each with its findings, worst first."""
    photos = session.exec(select(JobPhoto).where(JobPhoto.job_id == job_id).order_by(col(JobPhoto.number)))
    of_job = select(JobPhoto.id).where(JobPhoto.job_id == job_id)
    flaws: dict[int, list[FoundFlaw]] = defaultdict(list)
    query = select(FoundFlaw).where(col(FoundFlaw.job_photo_id).in_(of_job))
    for flaw in session.exec(query.order_by(col(FoundFlaw.number))):
        flaws[flaw.job_photo_id].append(flaw)
    of_flaws = select(FoundFlaw.id).where(col(FoundFlaw.job_photo_id).in_(of_job))
    masked = set(session.exec(select(FoundMask.finding_id).where(col(FoundMask.finding_id).in_(of_flaws))))
    reviews: dict[int, list[Review]] = defaultdict(list)
    for review in session.exec(
        select(Review).where(col(Review.job_photo_id).in_(of_job)).order_by(col(Review.id))
    ):
        reviews[review.job_photo_id].append(review)
    return [_to_seen(photo, flaws[photo.id or 0], masked, reviews[photo.id or 0]) for photo in photos]


def read_masks(session: Session, findings: Sequence[shapes.FindingInfo]) -> dict[int, str]:
    """The runs of the model's own masks of some of a photo's findings, by id; of those that have one."""
    wanted = [one.id for one in findings if one.has_mask]
    found: dict[int, str] = {}
    for i in range(0, len(wanted), 500):  # databases limit the values of one query
        query = select(FoundMask).where(col(FoundMask.finding_id).in_(wanted[i : i + 500]))
        found.update((mask.finding_id, mask.runs) for mask in session.exec(query))
    return found


def to_review(review: Review) -> shapes.ReviewInfo:
    """As the REST interface gives it."""
    return shapes.ReviewInfo(
        id=review.id or 0,
        verdict=review.verdict,  # type: ignore[arg-type] - a text of the database
        finding=review.finding_id,
        label=review.label,
        polygon=review.polygon,
        runs=review.runs,
        of_review=review.of_review,
        note=review.note,
        reviewer=review.reviewer,
        at=review.at,
    )


def _to_seen(
    photo: JobPhoto, flaws: Sequence[FoundFlaw], masked: set[int], reviews: Sequence[Review]
) -> shapes.SeenPhoto:
    """`masked` are the ids of findings with a mask; `reviews` are in the order in which they were given."""
    last = {review.finding_id: review for review in reviews if review.finding_id is not None}
    withdrawn = {review.of_review for review in reviews if review.verdict == "withdrawn"}
    missed = [one for one in reviews if one.verdict == "missed" and one.id not in withdrawn]
    checked = [one for one in reviews if one.verdict == "checked" and one.id not in withdrawn]
    return shapes.SeenPhoto(
        number=photo.number,
        photo=photo.digest,
        name=photo.name,
        is_done=photo.done_at is not None,
        **{key: value for key, value in (photo.seen or {}).items() if key != "facts"},
        findings=[
            shapes.FindingInfo(
                **{
                    **flaw.record,
                    "id": flaw.id,
                    "number": flaw.number,
                    "has_mask": flaw.id in masked,
                    "review": to_review(last[flaw.id]) if flaw.id in last else None,
                }
            )
            for flaw in flaws
        ],
        missed=[to_review(one) for one in missed],
        checked=to_review(checked[-1]) if checked else None,
    )
