"""A survey as plain JSON values: what findings.json holds, and the rows that every table is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from flawmap.records import CrackMeasurement, Finding, Survey, SurveyRow
from flawmap.stages.survey.parts import to_parts
from flawmap.tools.plain import to_plain

_DIGITS = {"mm_per_px": 6, "_px": 3, "_mm": 4, "_deg": 2, "lon": 7, "lat": 7}
_MEASURED = tuple(f.name for f in fields(CrackMeasurement) if f.name != "area_px")
_LENGTHS = tuple(name for name in _MEASURED if name.endswith("_px") and name != "scale_mm_per_px")
_IN_MM = (
    *(f"{name.removesuffix('_px')}_mm" for name in _LENGTHS),
    "density_mm_per_mm2",
    "area_mm2",
)
"""Names of CrackMeasurement.to_mm(); `area_mm2` is the crack's own, as `crack_area_px` is, `region_area_mm2`
that of the region, which a classifier draws wider."""


def to_document(survey: Survey) -> dict[str, Any]:
    """All of findings.json: equal findings give equal values; nothing of when or how fast."""
    flaws = name_flaws(survey)
    document: dict[str, Any] = {
        "photos": [to_photo(row, flaws) for row in survey.rows],
        "model": to_plain(survey.model),
        "options": to_plain(survey.options),
        "meta": to_plain(survey.meta),
    }
    if survey.overlaps is not None:
        compared, matched = survey.overlaps.n_pairs, survey.overlaps.n_matched
        document["overlaps"] = {
            "n_flaws": survey.n_flaws,
            "n_pairs_compared": compared,
            "n_pairs_matched": matched,
        }
        if survey.overlaps.copies:
            document["overlaps"]["same_files"] = to_plain(survey.overlaps.copies)
    if survey.grades:
        document["grading"] = {"grades": list(survey.grades), "note": survey.grading_note}
    if survey.reviews is not None:
        document["reviews"] = to_plain(survey.reviews)
    if parts := to_parts(survey):
        document["parts"] = to_plain(parts)
    return document


def name_flaws(survey: Survey) -> dict[tuple[str, int], dict[str, Any]]:
    """(photo's name, index of the finding) → "flaw_id", which findings share that were matched across photos,
    and "same_as", the others of them as "name of the photo#number on it"; empty where none were matched."""
    if survey.overlaps is None:
        return {}
    others = {
        one: [other for other in group if other != one] for group in survey.overlaps.same for one in group
    }
    return {
        one: {"flaw_id": number, "same_as": [f"{name}#{i + 1}" for name, i in others.get(one, [])]}
        for one, number in survey.number_flaws().items()
    }


def to_photo(row: SurveyRow, flaws: Mapping[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    """One photo and its findings, highest score first; `flaws` as name_flaws() gives them."""
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
        "share_foreign": _rounded("share_foreign", found.share_foreign),
    }
    lon, lat = row.camera_lon_lat or (None, None)
    photo |= {"camera_lon": _rounded("lon", lon), "camera_lat": _rounded("lat", lat)}
    if found.position_system:
        photo["position_system"] = found.position_system
    if row.part:
        photo["part"] = row.part
    findings = [to_finding(one) | flaws.get((row.name, i), {}) for i, one in enumerate(found.findings)]
    return photo | {"findings": findings}


def to_finding(finding: Finding) -> dict[str, Any]:
    """One finding; sizes in pixels of the photo, and in millimetres (names in _mm) where a scale is known."""
    values: dict[str, Any] = {
        "label": finding.label,
        "score": finding.score,
        "box_xyxy": list(finding.box_xyxy),
        "polygon": [list(point) for point in finding.polygon],
        "area_px": finding.area_px,
        "region_area_mm2": finding.region_area_mm2,
    }
    values |= _measured(finding.measurement)
    values |= {
        "severity": finding.severity,
        "severity_is_certain": finding.severity_is_certain,
        "severity_ratio": finding.severity_ratio,
        "is_foreign": finding.is_foreign,
        "lon": finding.lon,
        "lat": finding.lat,
        "position_source": finding.position_source,
    }
    return {key: _rounded(key, value) for key, value in values.items()}


def from_finding(values: Mapping[str, Any]) -> Finding:
    """The finding that to_finding() was given, to the digits that it keeps."""
    measured = None
    if values["length_px"] is not None:
        area_px = values.get("crack_area_px")
        if area_px is None:  # not kept by earlier versions
            area_px = round(values["length_px"] * values["width_mean_px"])
        measured = CrackMeasurement(area_px=area_px, **{name: values[name] for name in _MEASURED})
    exact = {
        "box_xyxy": tuple(values["box_xyxy"]),
        "polygon": tuple((x, y) for x, y in values["polygon"]),
        "measurement": measured,
    }
    return Finding(**{f.name: values[f.name] for f in fields(Finding) if f.name in values} | exact)


def _measured(measured: CrackMeasurement | None) -> dict[str, Any]:
    """A crack's sizes under their own names; what is not known is null."""
    values = {name: getattr(measured, name) if measured else None for name in _MEASURED}
    values["crack_area_px"] = measured.area_px if measured else None
    in_mm = measured.to_mm() if measured else {}
    return values | {name: in_mm.get(name) for name in _IN_MM}


def _rounded(key: str, value: Any) -> Any:
    """Floats without digits that mean nothing; lists of numbers likewise, to a tenth of a pixel."""
    if isinstance(value, float):
        return round(value, next((n for end, n in _DIGITS.items() if key.endswith(end)), 6))
    if isinstance(value, list):
        return [_rounded("", item) if isinstance(item, list) else round(item, 1) for item in value]
    return value
