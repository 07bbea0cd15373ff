"""Around surveys: /v1/inspections/{id}/report, /v1/reports, /v1/watch, /v1/deliveries."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from fastapi.responses import FileResponse
from sqlalchemy import func
from sqlmodel import col, select

from flawmap.pipeline.inspecting import require_handing_over
from flawmap.service.access import Admin, Reviewer, ServiceHere, Viewer
from flawmap.service.database import Job, JobPhoto
from flawmap.service.reporting import FILES
from flawmap.service.routes_work import PROBLEMS, JobId
from flawmap.service.running import Service
from flawmap.service.shapes_surveys import (
    AskedReport,
    DeliveryInfo,
    Graded,
    GradingInfo,
    RefusedFile,
    ReportFile,
    ReportInfo,
    WatchInfo,
)
from flawmap.service.tables import Delivery, Report, WatchedFile
from flawmap.tools.grading import TABLES, read_table

router = APIRouter(prefix="/v1", tags=["surveys"])

ReportId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.post(
    "/inspections/{inspection}/report",
    status_code=202,
    responses={k: PROBLEMS[k] for k in (400, 401, 403, 404, 409)},
)
def ask_report(
    inspection: JobId, asked: AskedReport, service: ServiceHere, caller: Reviewer, response: Response
) -> ReportInfo:
    """Have the survey's report written, with the files that `flawmap inspect` writes.

    Findings are those that are left after the reviews given until then: what was rejected is left out and
    listed, what was relabelled has its new label, what was marked as missed is there. With a scale its sizes
    are in millimetres, and with a table graded, as if the photos had been inspected with them.
    """
    with service.database.reading() as session:
        job = session.get(Job, inspection)
    if job is None:
        raise HTTPException(404, f"there is no inspection {inspection}")
    if job.state not in ("done", "cancelled"):
        raise HTTPException(409, "the inspection has not ended; wait for its end, or stop it")
    if asked.grading is not None and not asked.has_scale and not _has_scale(job):
        raise HTTPException(
            400,
            "a grade needs widths in mm, and the photos were inspected without a scale: give mm_per_px "
            "or distance_m",
        )
    require_handing_over()
    report = service.reports.ask(inspection, asked.to_meta(), asked.to_telling(), caller.name)
    response.headers["Location"] = f"/v1/reports/{report.id}"
    return to_info(report)


@router.get("/inspections/{inspection}/reports", responses={k: PROBLEMS[k] for k in (401, 404)})
def list_reports(inspection: JobId, service: ServiceHere, _: Viewer) -> list[ReportInfo]:
    """The reports of an inspection, latest first."""
    query = select(Report).where(Report.job_id == inspection).order_by(col(Report.created_at).desc())
    with service.database.reading() as session:
        if session.get(Job, inspection) is None:
            raise HTTPException(404, f"there is no inspection {inspection}")
        return [to_info(report) for report in session.exec(query.limit(100))]


@router.get("/gradings", responses={401: PROBLEMS[401]})
def list_gradings(_: Viewer) -> list[GradingInfo]:
    """The published tables that a report may grade widths by, with their sources and limits."""
    return [_to_grading(name) for name in TABLES]


@router.get("/reports/{report}", responses={k: PROBLEMS[k] for k in (401, 404)})
def get_report(report: ReportId, service: ServiceHere, _: Viewer) -> ReportInfo:
    """How far a report is."""
    return to_info(_find(service, report))


@router.get(
    "/reports/{report}/{file}",
    response_class=Response,
    responses={
        200: {"content": {kind: {} for kind in FILES.values()}},
        **{k: PROBLEMS[k] for k in (401, 404)},
    },
)
def fetch_report_file(report: ReportId, file: ReportFile, service: ServiceHere, _: Viewer) -> Response:
    """One file of a finished report, to be kept."""
    found = _find(service, report)
    path = service.reports.path(found.id, file)
    if found.state != "done" or not path.is_file():
        raise HTTPException(404, f"there is no {file} of this report: it is {found.state}")
    return FileResponse(path, media_type=FILES[file], filename=f"{found.created_at[:10]}-{file}")


@router.get("/watch", responses={401: PROBLEMS[401]})
def get_watch(service: ServiceHere, _: Viewer) -> WatchInfo:
    """The watched folder: what was taken up, and what was refused and why."""
    watch = service.watch
    if watch is None:
        return WatchInfo(folder=None)
    here = WatchedFile.folder == watch.key
    is_refused = col(WatchedFile.job_photo_id).is_(None)
    with service.database.reading() as session:
        counts = select(func.count(), func.count(col(WatchedFile.job_photo_id))).select_from(WatchedFile)
        n_known, n_taken = session.exec(counts.where(here)).one()
        latest = col(WatchedFile.id).desc()
        refused = session.exec(select(WatchedFile).where(here, is_refused).order_by(latest).limit(100)).all()
        into = (
            select(JobPhoto.job_id)
            .join(WatchedFile, col(WatchedFile.job_photo_id) == col(JobPhoto.id))
            .where(here)
            .order_by(latest)
        )
        inspection = session.exec(into).first()
    listed = [RefusedFile(path=path, reason=why, at=None) for path, why in watch.state.unopened.items()]
    return WatchInfo(
        folder=str(watch.asked.folder),
        is_there=watch.state.is_there,
        n_taken=n_taken,
        n_refused=n_known - n_taken,
        n_waiting=watch.state.n_waiting,
        refused=[*listed, *(RefusedFile(path=one.path, reason=one.reason, at=one.at) for one in refused)],
        inspection=inspection,
    )


@router.get("/deliveries", responses={k: PROBLEMS[k] for k in (401, 403)})
def list_deliveries(
    service: ServiceHere, _: Admin, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[DeliveryInfo]:
    """Messages to the webhook, latest first."""
    query = select(Delivery).order_by(col(Delivery.created_at).desc()).limit(limit)
    with service.database.reading() as session:
        found = session.exec(query).all()
    return [DeliveryInfo(**one.model_dump(exclude={"body", "due_at"})) for one in found]


def to_info(report: Report) -> ReportInfo:
    return ReportInfo(
        id=report.id,
        inspection=report.job_id,
        state=report.state,  # type: ignore[arg-type] - a text of the database
        note=report.note,
        title=report.meta["structure"] or "Inspection",
        sizes=_to_words(report.telling or {}),
        files=list(FILES) if report.state == "done" else [],  # type: ignore[arg-type] - as above
        created_at=report.created_at,
        created_by=report.created_by,
        finished_at=report.finished_at,
    )


def _has_scale(job: Job) -> bool:
    """Whether a scale was sought when the photos were inspected."""
    return any(value is not None for value in job.model_record.get("options", {}).get("scale", {}).values())


def _to_grading(name: str) -> GradingInfo:
    table = read_table(name)
    return GradingInfo(
        name=name,  # type: ignore[arg-type] - one of TABLES, which a test holds against the type
        title=table.title,
        source=table.source,
        limits=table.limits,
        bands=[
            Graded(name=one.name, words=one.words, width_mm=one.up_to_mm if isfinite(one.up_to_mm) else None)
            for one in table.bands
        ],
        exposures=[Graded(name=one.name, words=one.words, width_mm=one.limit_mm) for one in table.exposures],
    )


def _to_words(telling: dict[str, Any]) -> str:
    scale, grading = telling.get("scale") or {}, telling.get("grading") or {}
    words = [f"{scale['mm_per_px']:g} mm/px"] if scale.get("mm_per_px") else []
    words += [f"distance {scale['distance_m']:g} m"] if scale.get("distance_m") else []
    words += [" ".join(filter(None, (grading["table"], grading["exposure"])))] if grading else []
    return ", ".join(words)


def _find(service: Service, report_id: str) -> Report:
    with service.database.reading() as session:
        report = session.get(Report, report_id)
    if report is None:
        raise HTTPException(404, f"there is no report {report_id}")
    return report
