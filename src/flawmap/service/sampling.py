"""How good the model is on these photos, from a simple random sample that people answer for themselves.

What people review is chosen by the model's own scores, so rates among it are those of no survey. Here photos
are drawn by lot, once, and people say whether a photo shows a flaw without the model's answer. The order of
drawing is random too: the answers given so far are a random sample as well, as long as they are given in
that order.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from sqlmodel import Session, col, select

from flawmap.service.database import FoundFlaw, Job, JobPhoto, now
from flawmap.service.shapes_quality import Estimate, Rate
from flawmap.service.tables import Sample, SampleAnswer, SamplePhoto
from flawmap.tools.words import counted

LEAST = 20
"""Answers under which a rate is said to rest on too few: its interval is then 0.3 wide or more."""


def draw_sample(session: Session, job: Job, n: int, who: str, seed: int | None = None) -> Sample:
    """Draw `n` of the photos that were looked at and judged, or all; nothing else decides who is drawn."""
    query = select(JobPhoto).where(JobPhoto.job_id == job.id, col(JobPhoto.done_at).is_not(None))
    photos = session.exec(query.order_by(col(JobPhoto.number))).all()
    judged = [photo for photo in photos if (photo.seen or {}).get("assessable")]
    seed = secrets.randbelow(2**31) if seed is None else seed
    sample = Sample(
        job_id=job.id,
        seed=seed,
        n_population=len(judged),
        n_not_judged=len(photos) - len(judged),
        created_at=now(),
        created_by=who,
    )
    session.add(sample)
    session.flush()
    order = np.random.default_rng(seed).permutation(len(judged))[:n]
    session.add_all(
        SamplePhoto(sample_id=sample.id or 0, number=number, job_photo_id=judged[i].id or 0)
        for number, i in enumerate(order.tolist(), start=1)
    )
    session.flush()
    return sample


def read_drawn(session: Session, sample: Sample) -> list[tuple[SamplePhoto, JobPhoto, SampleAnswer | None]]:
    """The drawn photos in their order, with the latest answer of each."""
    of_photo = col(SamplePhoto.job_photo_id) == col(JobPhoto.id)
    query = select(SamplePhoto, JobPhoto).join(JobPhoto, of_photo).where(SamplePhoto.sample_id == sample.id)
    drawn = session.exec(query.order_by(col(SamplePhoto.number))).all()
    of_sample = select(SamplePhoto.id).where(SamplePhoto.sample_id == sample.id)
    answers = select(SampleAnswer).where(col(SampleAnswer.sample_photo_id).in_(of_sample))
    latest = {one.sample_photo_id: one for one in session.exec(answers.order_by(col(SampleAnswer.id)))}
    return [(one, photo, latest.get(one.id or 0)) for one, photo in drawn]


def estimate(session: Session, sample: Sample) -> Estimate:
    """What the answers given so far say of the model, photo by photo, with Wilson's 95 % intervals."""
    drawn = read_drawn(session, sample)
    ids = [photo.id for _, photo, _ in drawn]
    flawed = set(session.exec(select(FoundFlaw.job_photo_id).where(col(FoundFlaw.job_photo_id).in_(ids))))
    answers = [(photo.id in flawed, answer.answer) for _, photo, answer in drawn if answer is not None]
    clear = [(said, truth == "flaw") for said, truth in answers if truth != "unclear"]
    n_unclear = len(answers) - len(clear)
    return Estimate(
        n_population=sample.n_population,
        n_not_judged=sample.n_not_judged,
        n_drawn=len(drawn),
        n_answered=len(answers),
        n_unclear=n_unclear,
        recall=to_rate([said for said, truth in clear if truth]),
        precision=to_rate([truth for said, truth in clear if said]),
        accuracy=to_rate([said == truth for said, truth in clear]),
        flawed=to_rate([truth for _, truth in clear]),
        notes=_notes(sample, len(drawn), len(answers), n_unclear),
    )


def to_rate(hits: Sequence[bool]) -> Rate:
    """A share with Wilson's 95 % interval; without a value where nothing was counted."""
    if not hits:
        return Rate(n=0, value=None, low=None, high=None, is_reliable=False)
    from scipy.stats import binomtest

    span = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return Rate(
        n=len(hits),
        value=sum(hits) / len(hits),
        low=float(span.low),
        high=float(span.high),
        is_reliable=len(hits) >= LEAST,
    )


def _notes(sample: Sample, n_drawn: int, n_answered: int, n_unclear: int) -> list[str]:
    notes = [
        f"drawn by lot from the {sample.n_population:,} photos of this inspection that were judged; says "
        "nothing of other photos"
    ]
    if n_answered < n_drawn:
        notes.append(f"{n_drawn - n_answered:,} of {n_drawn:,} drawn photos are not answered yet")
    if sample.n_not_judged:
        notes.append(f"not drawn: {counted(sample.n_not_judged, 'photo')} that could not be judged")
    if n_unclear:
        notes.append(f"left out of every rate: {counted(n_unclear, 'photo')} that people could not tell")
    notes.append(f"a rate that rests on fewer than {LEAST} photos is marked: too few to rely on")
    return notes
