"""The order in which people go through photos, so that their time is spent where it teaches most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from flawmap.service.database import FoundFlaw, Job, JobPhoto, Review
from flawmap.service.shapes_quality import Order


@dataclass(frozen=True)
class Ranked:
    """A photo in an order; None: nothing is known to order it by, and it comes last."""

    photo: JobPhoto
    value: float | None


def order_photos(session: Session, job: Job, order: Order, threshold: float) -> list[Ranked]:
    """The photos that were looked at, first the one to go through first.

    worst: by the highest score of a finding, else of any place. uncertain: by how near the highest score is
    to `threshold`, where a finding begins. different: each time the photo whose features are farthest from
    those of all photos reviewed with this model or standing before it (farthest-first, Gonzalez 1985).
    """
    query = select(JobPhoto).where(JobPhoto.job_id == job.id, col(JobPhoto.done_at).is_not(None))
    photos = list(session.exec(query.order_by(col(JobPhoto.number))))
    if order == "different":
        return _by_difference(session, job, photos)
    found = select(FoundFlaw.job_photo_id, FoundFlaw.score).join(JobPhoto, _is_of())
    scores: dict[int, float] = {}
    for photo_id, score in session.exec(found.where(JobPhoto.job_id == job.id)):
        scores[photo_id] = max(score, scores.get(photo_id, 0.0))
    ranked = [Ranked(photo, _score(photo, scores)) for photo in photos]
    if order == "worst":
        return _sorted([Ranked(one.photo, one.value) for one in ranked])
    near = [None if one.value is None else -abs(_logit(one.value) - _logit(threshold)) for one in ranked]
    return _sorted([Ranked(one.photo, value) for one, value in zip(ranked, near, strict=True)])


def _score(photo: JobPhoto, of_findings: dict[int, float]) -> float | None:
    """Findings first: a window's score may be high where too small an area is."""
    found = of_findings.get(photo.id or 0)
    return found if found is not None else facts_of(photo).get("flaw_score")


def facts_of(photo: JobPhoto) -> dict[str, Any]:
    """What is kept of a photo, see service.facts; {} where it could not be read."""
    return (photo.seen or {}).get("facts") or {}


def _by_difference(session: Session, job: Job, photos: Sequence[JobPhoto]) -> list[Ranked]:
    reviewed = select(Review.job_photo_id).distinct()
    query = select(JobPhoto, Job.model_record).join(Job, col(Job.id) == col(JobPhoto.job_id))
    digest = job.model_record["digest"]
    of_model = [
        photo
        for photo, record in session.exec(query.where(col(JobPhoto.id).in_(reviewed)))
        if record["digest"] == digest
    ]
    seen = np.array([facts_of(one)["features"] for one in of_model if facts_of(one)])
    known = [photo for photo in photos if facts_of(photo)]
    unknown = [Ranked(photo, None) for photo in photos if not facts_of(photo)]
    if not known:
        return unknown
    features = np.array([facts_of(photo)["features"] for photo in known])
    order = farthest_first(features, seen)
    return [*(Ranked(known[i], distance) for i, distance in order), *unknown]


def farthest_first(features: np.ndarray, seen: np.ndarray) -> list[tuple[int, float]]:
    """(n, k) features and (m, k) of what was seen → (index, distance) of all, the farthest first.

    Where nothing was seen, it begins with the photo that is nearest to the middle of all. Distances are in
    standard deviations of `features`.
    """
    scale = features.std(axis=0) + 1e-9
    features = features / scale
    nearest = np.full(len(features), np.inf)
    if len(seen):
        for one in seen / scale:
            nearest = np.minimum(nearest, np.linalg.norm(features - one, axis=1))
    order: list[tuple[int, float]] = []
    is_left = np.ones(len(features), bool)
    for _ in range(len(features)):
        if np.isinf(nearest).all():
            i = int(np.linalg.norm(features - features.mean(axis=0), axis=1).argmin())
            order.append((i, 0.0))
        else:
            i = int(np.where(is_left, nearest, -1.0).argmax())
            order.append((i, float(nearest[i])))
        is_left[i] = False
        nearest = np.minimum(nearest, np.linalg.norm(features - features[i], axis=1))
    return order


def _sorted(ranked: Sequence[Ranked]) -> list[Ranked]:
    return sorted(ranked, key=lambda one: (one.value is None, -(one.value or 0.0), one.photo.number))


def _logit(score: float) -> float:
    """Scores crowd near 0 and 1; on this scale a step is the same everywhere."""
    kept = min(max(score, 1e-6), 1 - 1e-6)
    return float(np.log(kept / (1 - kept)))


def _is_of() -> Any:
    return col(FoundFlaw.job_photo_id) == col(JobPhoto.id)
