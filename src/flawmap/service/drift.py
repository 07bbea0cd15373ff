"""Whether the photos that come in now are like those that the model was put to use on, and like its training
set, with an alarm.

Held against one another are the model's highest score on each photo, its sharpness, brightness and contrast,
and its features, of which the axis counts that differs most. Each is compared by the two-sample test of
Kolmogorov and Smirnov. An alarm wants both: that chance does not explain the difference, over all measures
together, and that it is large; with many photos the smallest difference is none of chance.

The reference is an inspection that an admin names, else the first photos that the model looked at here.

Against the training set, what photos look like and what the model says of them is held against photos that
training never read (service.training_drift), and photo by photo those are counted that are mostly unlike the
training photos (tools.familiarity).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from flawmap.service.database import Database, Job, JobPhoto, now
from flawmap.service.facts import MEASURES
from flawmap.service.metrics import Metrics
from flawmap.service.models import ServedModel
from flawmap.service.ordering import facts_of
from flawmap.service.repeating import Repeated
from flawmap.service.sampling import to_rate
from flawmap.service.shapes_quality import DriftInfo, DriftMeasure, Rate
from flawmap.service.tables import DriftChange, DriftReference
from flawmap.service.training_drift import (
    LEAST_KNOWN,
    LEAST_LATEST,
    LEAST_STATISTIC,
    MOST_P,
    hold_against_training,
)
from flawmap.service.webhook import Webhook

LEAST, MOST = 50, 200
"""Photos on each side: fewer say too little, more would hide that it began only lately."""
FOREIGN_SHARE, MOST_FOREIGN = 0.5, 0.1
"""A photo is foreign where more than this share of it is unlike the training photos; of all photos, more than
this share, by the lower end of its interval, is an alarm."""
_EVERY_S = 60.0


@dataclass(frozen=True)
class _Sides:
    reference: Sequence[JobPhoto]
    latest: Sequence[JobPhoto]
    """None of the reference among them."""
    recent: Sequence[JobPhoto]
    """The latest ones, the reference's too."""
    words: str


def look_for_drift(session: Session, model: ServedModel) -> DriftInfo:
    """The latest photos of a model against its reference, and against its training set."""
    sides = _read(session, model)
    old, new, recent = (
        [facts_of(one) for one in side] for side in (sides.reference, sides.latest, sides.recent)
    )
    is_enough = min(len(old), len(new)) >= LEAST
    measures = measure(old, new) if is_enough else []
    foreign = count_foreign(recent)
    training = hold_against_training(recent, model.model.bundle)
    is_alarm = (
        any(one.is_alarm for one in measures)
        or (foreign is not None and _is_much(foreign))
        or (training is not None and training.is_alarm)
    )
    is_told = is_enough or training is not None or is_alarm
    times = [one.done_at for one in sides.latest]
    notes = [
        f"alarm: a difference of {LEAST_STATISTIC} or more that chance gives in less than {MOST_P:.0%} of "
        "cases, all measures taken together",
        f"alarm too: over {MOST_FOREIGN:.0%} of the photos are mostly unlike the model's training photos, or "
        "scores or features differ from the training set's, whatever the share of flawed photos",
        "alike is not the same as right: measure on a random sample how good the model is",
    ]
    if not is_enough:
        notes.insert(0, f"{LEAST} photos or more are wanted on each side of a comparison with the reference")
    if training is None and len(recent) >= LEAST_LATEST:
        wanted = f"{LEAST_KNOWN} flawed and {LEAST_KNOWN} good photos"
        notes.insert(0, f"not held against the training set: the model's folder keeps no {wanted} of it")
    return DriftInfo(
        model=model.name,
        state=("alarm" if is_alarm else "alike") if is_told else "too few photos",
        reference=sides.words,
        n_reference=len(old),
        n_latest=len(new),
        latest_from=min(times, default=None),  # type: ignore[type-var] - those read are done
        latest_to=max(times, default=None),  # type: ignore[type-var] - as above
        measures=measures,
        foreign=foreign,
        training=training,
        notes=notes,
    )


def count_foreign(facts: Sequence[Mapping[str, Any]]) -> Rate | None:
    """How many photos are mostly unlike the training photos; None where the model cannot tell."""
    shares = [one["share_foreign"] for one in facts if one.get("share_foreign") is not None]
    return to_rate([share > FOREIGN_SHARE for share in shares]) if len(shares) >= LEAST else None


def _is_much(foreign: Rate) -> bool:
    return foreign.low is not None and foreign.low > MOST_FOREIGN


def measure(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[DriftMeasure]:
    """Facts of photos (see service.facts) then and now, measure by measure."""
    found = [
        _measure(name, *(np.array([one[name] for one in side]) for side in (old, new))) for name in MEASURES
    ]
    before, after = (np.array([one["features"] for one in side]) for side in (old, new))
    scale = before.std(axis=0) + 1e-9
    axes = [_measure("features", *pair) for pair in zip((before / scale).T, (after / scale).T, strict=True)]
    most = min(axes, key=lambda one: one.p_value)
    found.append(most.model_copy(update={"p_value": min(1.0, most.p_value * len(axes))}))
    return [one.model_copy(update={"is_alarm": _is_clear(one, len(found))}) for one in found]


def _is_clear(one: DriftMeasure, n_measures: int) -> bool:
    """Large, and not by chance over all measures (Bonferroni)."""
    return one.statistic >= LEAST_STATISTIC and one.p_value * n_measures <= MOST_P


def _measure(name: str, old: np.ndarray, new: np.ndarray) -> DriftMeasure:
    from scipy.stats import ks_2samp

    found = ks_2samp(old, new)
    return DriftMeasure(
        name=name,
        reference_mean=float(old.mean()),
        latest_mean=float(new.mean()),
        statistic=float(found.statistic),  # type: ignore[attr-defined]
        p_value=float(found.pvalue),  # type: ignore[attr-defined]
        is_alarm=False,
    )


def _read(session: Session, model: ServedModel) -> _Sides:
    digest = model.described.digest
    query = (
        select(JobPhoto)
        .join(Job, col(Job.id) == col(JobPhoto.job_id))
        .where(
            col(Job.model_record)["digest"].as_string() == digest,  # type: ignore[attr-defined]
            col(JobPhoto.done_at).is_not(None),
        )
    )
    named = session.exec(
        select(DriftReference).where(DriftReference.digest == digest).order_by(col(DriftReference.id).desc())
    ).first()
    oldest, newest = (
        (col(JobPhoto.done_at), col(JobPhoto.id)),
        (col(JobPhoto.done_at).desc(), col(JobPhoto.id).desc()),
    )
    if named is None:
        first = session.exec(query.order_by(*oldest).limit(MOST)).all()
        words = f"the first {len(first)} photos that this model looked at here"
    else:
        first = session.exec(query.where(JobPhoto.job_id == named.job_id).order_by(*oldest).limit(MOST)).all()
        words = f"the inspection {named.job_id[:8]}, named by {named.who} on {named.at[:10]}"
    known = {one.id for one in first}
    others = query if named is None else query.where(JobPhoto.job_id != named.job_id)
    last = session.exec(others.order_by(*newest).limit(MOST + len(known))).all()
    everything = last if named is None else session.exec(query.order_by(*newest).limit(MOST)).all()
    latest = [one for one in last if one.id not in known and facts_of(one)][:MOST]
    recent = [one for one in everything[:MOST] if facts_of(one)]
    return _Sides([one for one in first if facts_of(one)], latest, recent, words)


class DriftWatch(Repeated):
    """Looks for drift of the served models now and then; alarms that begin and end are kept and told."""

    def __init__(
        self,
        database: Database,
        models: Mapping[str, ServedModel],
        metrics: Metrics,
        webhook: Webhook | None,
    ) -> None:
        self._database, self._models, self._metrics, self._webhook = database, models, metrics, webhook
        super().__init__(self.look, "drift", _EVERY_S, "drift could not be looked for", waits_first=True)

    def look(self) -> None:
        """Once, at all models that inspect."""
        for model in self._models.values():
            if model.looking is not None:
                self._look_at(model)

    def _look_at(self, model: ServedModel) -> None:
        digest = model.described.digest
        query = select(DriftChange).where(DriftChange.digest == digest).order_by(col(DriftChange.id).desc())
        with self._database.reading() as session:
            found = look_for_drift(session, model)
            before = session.exec(query).first()
        self._metrics.tell_drift(found)
        if found.state == "too few photos":
            return
        is_alarm = found.state == "alarm"
        if is_alarm == (before is not None and before.is_alarm):
            return
        plain = found.model_dump(mode="json")
        row = DriftChange(digest=digest, is_alarm=is_alarm, measures=plain["measures"], at=now())
        what = "drift alarm began" if is_alarm else "drift alarm ended"
        with self._database.writing("flawmap", what, model.name) as session:
            session.add(row)
            if self._webhook is not None:
                self._webhook.tell(session, "drift", {"drift": plain})
