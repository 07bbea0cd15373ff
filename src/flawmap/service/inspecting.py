"""Long inspections: a thread that goes through the photos of jobs, keeps each as it is done, and after a kill
goes on with those that are not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait

from sqlmodel import Session, col, select

from flawmap.records import Finding
from flawmap.service.database import Database, FoundFlaw, Job, JobPhoto, StoredPhoto, now
from flawmap.service.facts import NotedPhoto
from flawmap.service.models import ServedModel
from flawmap.service.queueing import PhotoQueue
from flawmap.service.shapes import MOST_RUNS_TEXT
from flawmap.service.storage import Storage
from flawmap.service.tables import FoundMask
from flawmap.stages.survey import to_finding, to_layers

_MOST_TRIES = 10
"""Of a photo at whose sight the whole process ended each time. Photos that were tried before come last, so
that other kills do not add up on one photo."""
Tell = Callable[[Session, JobPhoto, Sequence[FoundFlaw]], None]
_log = logging.getLogger(__name__)


def is_servable(job: Job, models: Mapping[str, ServedModel]) -> bool:
    """Whether the very model that a job was asked of is served; until it is, the job waits."""
    served = models.get(job.model)
    return (
        served is not None
        and served.looking is not None
        and served.described.digest == job.model_record["digest"]
    )


def _to_masks(flaws: Sequence[FoundFlaw], findings: Sequence[Finding]) -> list[FoundMask]:
    """Those that the page could send back."""
    return [
        FoundMask(finding_id=flaw.id or 0, runs=one.runs)
        for flaw, one in zip(flaws, findings, strict=True)
        if one.runs is not None and len(one.runs) <= MOST_RUNS_TEXT
    ]


class Inspections:
    """Works off waiting jobs, oldest first."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        queue: PhotoQueue,
        models: Mapping[str, ServedModel],
        tell: Tell | None = None,
    ) -> None:
        """`tell` hears of every photo with findings, in the transaction that keeps them."""
        self._tell = tell
        self._database, self._storage, self._queue, self._models = database, storage, queue, models
        self._wake, self._is_closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="inspections", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the photos that are being looked at; the rest is done after the next start."""
        self._is_closed = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.clear()
            try:
                job = self._next_job()
                if job is not None:
                    self._work_off(job)
                    continue
            except Exception:  # a full disk or a lost database: tried again, so that no job is left lying
                _log.exception("an inspection was interrupted")
            self._wake.wait(1.0)

    def _next_job(self) -> Job | None:
        query = select(Job).where(col(Job.state).in_(("waiting", "running"))).order_by(col(Job.created_at))
        with self._database.reading() as session:
            jobs = session.exec(query).all()
        return next((job for job in jobs if is_servable(job, self._models)), None)

    def _work_off(self, job: Job) -> None:
        served = self._models[job.model]
        self._set_running(job.id)
        waiting = self._unfinished(job.id)
        looking: dict[Future[NotedPhoto], JobPhoto] = {}
        while waiting or looking:
            if self._is_closed or self._is_cancelled(job.id):
                waiting.clear()  # what is being looked at is kept all the same
            while waiting and len(looking) <= self._queue.n_threads:
                photo = waiting.pop(0)
                if self._begin(photo):
                    looking[self._look(served, photo)] = photo
            done, _ = wait(looking, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                self._finish(looking.pop(future), future)
        if not self._is_closed:
            self._end(job.id)

    def _look(self, served: ServedModel, photo: JobPhoto) -> Future[NotedPhoto]:
        with self._database.reading() as session:
            stored = session.exec(select(StoredPhoto).where(StoredPhoto.digest == photo.digest)).one()
        path = self._storage.photo_path(stored.file)
        return self._queue.inspect(lambda: served.look(path))

    def _unfinished(self, job_id: str) -> list[JobPhoto]:
        query = select(JobPhoto).where(JobPhoto.job_id == job_id, col(JobPhoto.done_at).is_(None))
        with self._database.reading() as session:
            return list(session.exec(query.order_by(col(JobPhoto.n_tries), col(JobPhoto.number))))

    def _begin(self, photo: JobPhoto) -> bool:
        """Count the try; False where a photo has been given up."""
        if photo.n_tries >= _MOST_TRIES:
            self._keep(photo, error=f"given up: the service ended {_MOST_TRIES} times while looking at it")
            return False
        with self._database.writing() as session:
            kept = session.get_one(JobPhoto, photo.id)
            kept.n_tries += 1
        return True

    def _finish(self, photo: JobPhoto, future: Future[NotedPhoto]) -> None:
        try:
            seen = future.result()
        except CancelledError:  # the service stops
            return
        except Exception:
            _log.exception("photo %s of inspection %s", photo.number, photo.job_id)
            self._keep(photo, error="a fault of flawmap's while looking at it; its log says more")
            return
        for kind, content in to_layers(seen).items():
            self._storage.keep_picture(photo.job_id, photo.number, kind, content)
        self._keep(photo, seen)

    def _keep(self, photo: JobPhoto, seen: NotedPhoto | None = None, error: str = "") -> None:
        """All that was seen of one photo, in one transaction: a photo is done once, or not at all."""
        found = None if seen is None else seen.inspection
        with self._database.writing() as session:
            kept = session.get_one(JobPhoto, photo.id)
            if kept.done_at is not None:
                return
            kept.done_at = now()
            kept.seen = {
                "width_px": found and found.width_px,
                "height_px": found and found.height_px,
                "assessable": bool(found and found.assessable and not found.error),
                "reason": found.reason if found else "",
                "error": found.error if found else error,
                "share_seen": found.share_seen if found else 0.0,
                "share_foreign": found.share_foreign if found else None,
                "position_system": found.position_system if found else "",
                "facts": seen.facts if seen else None,
            }
            flaws = []
            for number, one in enumerate(found.findings if found else (), start=1):
                assert photo.id is not None
                flaw = FoundFlaw(
                    job_photo_id=photo.id,
                    number=number,
                    label=one.label,
                    score=one.score,
                    record=to_finding(one),
                )
                flaws.append(flaw)
            session.add_all(flaws)
            session.flush()
            session.add_all(_to_masks(flaws, found.findings if found else ()))
            if flaws and self._tell is not None:
                self._tell(session, kept, flaws)

    def _set_running(self, job_id: str) -> None:
        with self._database.writing() as session:
            job = session.get_one(Job, job_id)
            if job.state == "waiting":
                job.state = "running"

    def _is_cancelled(self, job_id: str) -> bool:
        with self._database.reading() as session:
            return session.get_one(Job, job_id).state == "cancelled"

    def _end(self, job_id: str) -> None:
        """Done, unless photos came in meanwhile, as from a watched folder: then it goes on."""
        unfinished = select(JobPhoto.id).where(JobPhoto.job_id == job_id, col(JobPhoto.done_at).is_(None))
        with self._database.writing() as session:
            job = session.get_one(Job, job_id)
            if job.state == "running" and session.exec(unfinished).first() is None:
                job.state, job.finished_at = "done", now()
