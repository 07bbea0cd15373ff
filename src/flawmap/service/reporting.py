"""The survey's report of an inspection, as people corrected it: a thread that writes what was asked for."""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlmodel import col, select

from flawmap.errors import FlawmapError, OptionError
from flawmap.pipeline.reporting import SeenFile, TellingOptions, write_survey
from flawmap.records import (
    Finding,
    Inspection,
    ReviewedFinding,
    ReviewKind,
    Survey,
    SurveyMeta,
    SurveyModel,
    SurveyReviews,
)
from flawmap.service import shapes
from flawmap.service.database import Database, Job, StoredPhoto, now
from flawmap.service.results import read_photos
from flawmap.service.shapes_surveys import in_rest_words
from flawmap.service.storage import Storage
from flawmap.service.tables import Report
from flawmap.stages.survey import from_finding
from flawmap.tools.mask_files.outlines import trace_outlines
from flawmap.tools.options import to_mapping
from flawmap.tools.plain import Reading, to_record
from flawmap.tools.rle import parse_runs

FILES = {
    "report.html": "text/html; charset=utf-8",
    "report.pdf": "application/pdf",
    "findings.csv": "text/csv; charset=utf-8",
    "findings.xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "findings.json": "application/json",
    "findings.geojson": "application/geo+json",
    "findings.coco.json": "application/json",
}
"""What can be fetched of a report, and as what."""
_READING = Reading(OptionError, key="key", record="a table")
_KINDS: dict[str, ReviewKind] = {"reject": "rejected", "relabel": "relabelled", "painted": "repainted"}
Outline = tuple[tuple[float, float], ...]
Box = tuple[float, float, float, float]
_log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The service ends while a report is being written."""


class Reports:
    """Writes waiting reports, oldest first; one that was begun when the service ended is written anew."""

    def __init__(self, database: Database, storage: Storage, folder: Path) -> None:
        self._database, self._storage, self._folder = database, storage, folder
        self._wake, self._is_closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop after a photo; the report that is being written is begun anew after the next start."""
        self._is_closed = True
        self._wake.set()
        self._thread.join()

    def ask(self, job_id: str, meta: SurveyMeta, telling: TellingOptions, who: str) -> Report:
        """Have the report of an inspection written."""
        report = Report(
            id=uuid.uuid4().hex,
            job_id=job_id,
            meta=vars(meta),
            telling=to_mapping(telling),
            state="waiting",
            created_at=now(),
            created_by=who,
        )
        with self._database.writing(who, "ask for report", job_id) as session:
            session.add(report)
        self._wake.set()
        return report

    def path(self, report_id: str, file: str) -> Path:
        """Where one of FILES of a finished report lies."""
        return self._folder / report_id / file

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.clear()
            try:
                report = self._next()
                if report is not None:
                    self._work_off(report)
                    continue
            except Exception:  # a lost database, for one: tried again
                _log.exception("a report was interrupted")
            self._wake.wait(5.0)

    def _next(self) -> Report | None:
        query = select(Report).where(Report.state == "waiting").order_by(col(Report.created_at))
        with self._database.reading() as session:
            return session.exec(query).first()

    def _work_off(self, report: Report) -> None:
        state, note = "done", ""
        try:
            self._write(report)
        except _Stopped:
            return
        except OptionError as error:
            state, note = "failed", in_rest_words(error)
        except (FlawmapError, OSError) as error:
            state, note = "failed", str(error)
        except Exception:
            _log.exception("report %s of inspection %s", report.id, report.job_id)
            state, note = "failed", "a fault of flawmap's while writing it; its log says more"
        with self._database.writing() as session:
            kept = session.get_one(Report, report.id)
            kept.state, kept.note, kept.finished_at = state, note, now()

    def _write(self, report: Report) -> None:
        with self._database.reading() as session:
            job = session.get_one(Job, report.job_id)
            photos = read_photos(session, job.id)
            files = {photo.digest: photo.file for photo in session.exec(select(StoredPhoto))}
        seen = {name: self._to_file(photo, files) for name, photo in name_photos(photos).items()}
        reviews = to_reviews(name_photos(photos))
        model = to_model(job.model_record)
        survey = Survey(
            (), model, job.model_record.get("options", {}), SurveyMeta(**report.meta), reviews=reviews
        )
        place = self._folder / report.id
        shutil.rmtree(place, ignore_errors=True)  # of a kill
        telling = to_record(TellingOptions, report.telling or {}, "the report", _READING)
        write_survey(seen, survey, place, self._storage.options, self._check_open, telling)

    def _check_open(self, *_: object) -> None:
        """Called with every photo, so that the service need not wait for a long report when it stops."""
        if self._is_closed:
            raise _Stopped

    def _to_file(self, photo: shapes.SeenPhoto, files: dict[str, str]) -> SeenFile:
        return SeenFile(self._storage.photo_path(files[photo.photo]), to_inspection(photo))


def name_photos(photos: Sequence[shapes.SeenPhoto]) -> dict[str, shapes.SeenPhoto]:
    """The photos by names that differ. One that was sent several times stands once, as it was reviewed
    last."""
    by_digest: dict[str, shapes.SeenPhoto] = {}
    for photo in sorted(photos, key=_reviewed_at):
        by_digest[photo.photo] = photo
    named: dict[str, shapes.SeenPhoto] = {}
    for photo in sorted(by_digest.values(), key=lambda one: one.number):
        name = photo.name
        while name in named:
            name = f"{name} ({photo.number})"
        named[name] = photo
    return named


def to_inspection(photo: shapes.SeenPhoto) -> Inspection:
    """What counts of a photo after people had their say: not what they rejected, but what they marked."""
    if not photo.is_done:
        return Inspection(photo.name, error="not looked at: the inspection was stopped before")
    size_hw = (photo.height_px or 0, photo.width_px or 0)
    found = [_to_finding(one, size_hw) for one in photo.findings if _verdict(one) != "reject"]
    found += [_to_marked(one, size_hw) for one in photo.missed]
    return Inspection(
        path=photo.name,
        width_px=photo.width_px,
        height_px=photo.height_px,
        assessable=bool(photo.assessable) or bool(photo.error),
        reason=photo.reason,
        error=photo.error,
        share_seen=photo.share_seen,
        share_foreign=photo.share_foreign,
        position_system=photo.position_system,
        findings=tuple(sorted(found, key=lambda one: -one.score)),
    )


def to_reviews(photos: dict[str, shapes.SeenPhoto]) -> SurveyReviews:
    """What people said of the findings, photo by photo (by name)."""
    verdicts = [_verdict(one) for photo in photos.values() for one in photo.findings]
    changes = []
    for name, photo in sorted(photos.items()):
        for one in photo.findings:
            if one.review is not None and one.review.verdict in _KINDS:
                kind = _KINDS[one.review.verdict]
                new_label = one.review.label or "" if kind == "relabelled" else ""
                said = (one.review.reviewer, one.review.at, one.review.note)
                changes.append(ReviewedFinding(name, kind, one.label, new_label, one.score, *said))
        for one in photo.missed:
            said = (one.reviewer, one.at, one.note)
            changes.append(ReviewedFinding(name, "marked", one.label or "", "", None, *said))
    return SurveyReviews(
        n_accepted=verdicts.count("accept"),
        n_open=verdicts.count(""),
        n_checked=sum(photo.checked is not None for photo in photos.values()),
        changes=tuple(changes),
    )


def to_model(record: dict[str, Any]) -> SurveyModel:
    """The model as its inspection kept it; inspections of earlier versions kept less."""
    return SurveyModel(
        name=record["name"],
        task=record["task"],
        labels=tuple(record["labels"]),
        good_labels=tuple(record["good_labels"]),
        backbone=record.get("backbone", ""),
        digest=record["digest"],
        flawmap_version=record.get("flawmap_version", ""),
        test=record.get("test", {}),
    )


def _to_finding(one: shapes.FindingInfo, size_hw: tuple[int, int]) -> Finding:
    finding = from_finding(one.model_dump(exclude={"id", "number", "has_mask", "review"}))
    if one.review is None or one.review.verdict not in ("relabel", "painted"):
        return finding
    finding = replace(finding, label=one.review.label or finding.label)
    if one.review.verdict == "painted":  # what was measured was another region
        box, outline, area_px = _to_shape(one.review, size_hw)
        shape = {"box_xyxy": box, "polygon": outline, "area_px": area_px, "runs": one.review.runs}
        finding = replace(finding, **shape, measurement=None)
    return finding


def _to_marked(one: shapes.ReviewInfo, size_hw: tuple[int, int]) -> Finding:
    """A flaw that a person outlined or painted; what a person is sure of has the score 1."""
    return Finding(one.label or "", 1.0, *_to_shape(one, size_hw), runs=one.runs)


def _to_shape(one: shapes.ReviewInfo, size_hw: tuple[int, int]) -> tuple[Box, Outline, int]:
    """Box, outline and area of what a person drew; of a mask in several parts, the largest outline."""
    if one.runs is not None:
        runs = parse_runs(one.runs, size_hw)
        rings = [np.asarray(polygon[0], float) for polygon in trace_outlines(runs, size_hw)]
        corners, area_px = max(rings, key=_area), float(runs[:, 1].sum())
        inside = np.concatenate(rings)
    else:
        corners = inside = np.asarray(one.polygon, float)
        area_px = _area(corners)
    (left, top), (right, bottom) = inside.min(axis=0), inside.max(axis=0)
    box = (float(left), float(top), max(float(right), left + 1.0), max(float(bottom), top + 1.0))
    return box, tuple((float(x), float(y)) for x, y in corners), max(1, round(area_px))


def _area(corners: np.ndarray) -> float:
    """Of a polygon, by the shoelace formula."""
    x, y = corners.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _verdict(one: shapes.FindingInfo) -> str:
    return one.review.verdict if one.review is not None else ""


def _reviewed_at(photo: shapes.SeenPhoto) -> str:
    said = [one.review.at for one in photo.findings if one.review] + [one.at for one in photo.missed]
    return max([*said, photo.checked.at if photo.checked else ""])
