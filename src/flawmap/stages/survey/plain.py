"""A survey as plain JSON values: what findings.json holds, and the rows that every table is made of."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from flawmap.records import CrackMeasurement, Finding, Survey, SurveyRow
from flawmap.stages.survey.parts import to_parts
from flawmap.tools.plain import to_plain

_DIGITS = {"_px": 3, "_mm": 4, "_deg": 2, "lon": 7, "lat": 7}
_MEASURED = tuple(f.name for f in fields(CrackMeasurement) if f.name not in ("area_px", "scale_mm_per_px"))


def to_document(survey: Survey) -> dict[str, Any]:
    """All of findings.json: equal findings give equal values; nothing of when or how fast."""
    document: dict[str, Any] = {
        "photos": [to_photo(row) for row in survey.rows],
        "model": to_plain(survey.model),
        "options": to_plain(survey.options),
        "meta": to_plain(survey.meta),
    }
    if survey.grades:
        document["grading"] = {"grades": list(survey.grades), "note": survey.grading_note}
    if parts := to_parts(survey):
        document["parts"] = to_plain(parts)
    return document


def to_photo(row: SurveyRow) -> dict[str, Any]:
    """One photo and its findings, highest score first."""
    found = row.inspection
    photo: dict[str, Any] = {
        "path": found.path,
        "name": row.name,
        "width_px": found.width_px,
        "height_px": found.height_px,
        "assessable": found.assessable and not found.error,
        "reason": found.reason,
        "error": found.error,
        "share_seen": _rounded("share_seen", found.share_seen),
    }
    lon, lat = row.camera_lon_lat or (None, None)
    photo |= {"camera_lon": _rounded("lon", lon), "camera_lat": _rounded("lat", lat)}
    if row.part:
        photo["part"] = row.part
    return photo | {"findings": [to_finding(finding) for finding in found.findings]}


def to_finding(finding: Finding) -> dict[str, Any]:
    """One finding; sizes in pixels of the photo, and in millimetres (names in _mm) where a scale is known."""
    values: dict[str, Any] = {
        "label": finding.label,
        "score": finding.score,
        "box_xyxy": list(finding.box_xyxy),
        "polygon": [list(point) for point in finding.polygon],
        "area_px": finding.area_px,
    }
    values |= _measured(finding.measurement, finding.area_px)
    values |= {
        "severity": finding.severity,
        "lon": finding.lon,
        "lat": finding.lat,
        "position_source": finding.position_source,
    }
    return {key: _rounded(key, value) for key, value in values.items()}


def _measured(measured: CrackMeasurement | None, area_px: int) -> dict[str, Any]:
    """A crack's sizes under their own names; without a measurement every one is null."""
    values = {name: getattr(measured, name) if measured else None for name in _MEASURED}
    scale = measured.scale_mm_per_px if measured else None
    values["scale_mm_per_px"] = scale
    for name in ("area_px", *_MEASURED):
        value = area_px if name == "area_px" else values[name]
        if name == "area_px":
            values["area_mm2"] = None if scale is None else value * scale**2
        elif name == "density_px_per_px2":
            values["density_mm_per_mm2"] = None if scale is None or value is None else value / scale
        elif name.endswith("_px"):
            in_mm = None if scale is None or value is None else value * scale
            values[f"{name.removesuffix('_px')}_mm"] = in_mm
    return values


def _rounded(key: str, value: Any) -> Any:
    """Floats without digits that mean nothing; lists of numbers likewise, to a tenth of a pixel."""
    if isinstance(value, float):
        return round(value, next((n for end, n in _DIGITS.items() if key.endswith(end)), 6))
    if isinstance(value, list):
        return [_rounded("", item) if isinstance(item, list) else round(item, 1) for item in value]
    return value
