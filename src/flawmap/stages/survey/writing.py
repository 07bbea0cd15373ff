"""The files of findings, each written whole or not at all, all from one Survey.

In every table a text that a spreadsheet would run as a formula stays a text; the workbook marks it as such.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flawmap.errors import require_extra
from flawmap.records import Finding, Survey
from flawmap.stages.survey.coco import to_coco
from flawmap.stages.survey.parts import to_parts
from flawmap.stages.survey.plain import name_flaws, to_document, to_finding
from flawmap.tools.files import write_file
from flawmap.tools.plain import to_plain
from flawmap.tools.tables import to_csv

_PHOTO_COLUMNS = (
    "path",
    "name",
    "width_px",
    "height_px",
    "assessable",
    "reason",
    "error",
    "share_seen",
    "share_foreign",
)
_MOST_TEXT = 32_767
"""Characters that a cell of a workbook holds."""


def write_findings(survey: Survey, folder: Path) -> None:
    """findings.json, .csv, .geojson and .coco.json; parts.csv where parts were asked for."""
    document = to_document(survey)
    write_file(folder / "findings.json", _json(document))
    rows = to_rows(survey)
    write_file(folder / "findings.csv", to_csv(_columns(survey), rows))
    write_file(folder / "findings.geojson", _json(to_geojson(survey, rows)))
    write_file(folder / "findings.coco.json", _json(to_coco(survey, document)))
    parts = [{**to_plain(part), "photos": ";".join(part.photos)} for part in to_parts(survey)]
    if parts:
        write_file(folder / "parts.csv", to_csv(tuple(parts[0]), parts))
    else:
        (folder / "parts.csv").unlink(missing_ok=True)


def to_rows(survey: Survey) -> list[dict[str, Any]]:
    """A row per finding: the photo, the finding's number on its overlay, all its values but the outline."""
    rows, flaws = [], name_flaws(survey)
    for row in survey.rows:
        for number, finding in enumerate(row.inspection.findings, start=1):
            values = to_finding(finding)
            del values["polygon"]
            box = dict(
                zip(("left_px", "top_px", "right_px", "bottom_px"), values.pop("box_xyxy"), strict=True)
            )
            part = {"part": row.part} if row.part else {}
            same = dict(flaws.get((row.name, number - 1), {}))
            if same:
                same["same_as"] = "; ".join(same["same_as"])
            rows.append({"path": row.inspection.path, "finding": number, **part, **values, **box, **same})
    return rows


def to_geojson(survey: Survey, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """RFC 7946: a point (WGS 84) per finding, null where no position is known. `position_source` says
    whether the point is the camera's place, which may be metres from the flaw, or the finding's own."""
    features = []
    for row in rows:
        is_known = row["lon"] is not None and row["lat"] is not None
        point = {"type": "Point", "coordinates": [row["lon"], row["lat"]]} if is_known else None
        features.append({"type": "Feature", "geometry": point, "properties": dict(row)})
    return {"type": "FeatureCollection", "features": features}


def write_workbook(survey: Survey, path: Path) -> None:
    """findings.xlsx: findings, photos, parts and what it was made with, a sheet each.

    Raises MissingExtraError without openpyxl.
    """
    require_extra("openpyxl", "inspect")
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    photos = [{key: photo[key] for key in _PHOTO_COLUMNS} for photo in to_document(survey)["photos"]]
    for photo, row in zip(photos, survey.rows, strict=True):
        photo["n_findings"] = len(row.inspection.findings)
    _add_sheet(book, "findings", _columns(survey), to_rows(survey))
    _add_sheet(book, "photos", (*_PHOTO_COLUMNS, "n_findings"), photos)
    parts = [{**to_plain(part), "photos": ", ".join(part.photos)} for part in to_parts(survey)]
    if parts:
        _add_sheet(book, "parts", tuple(parts[0]), parts)
    told = {**to_plain(survey.meta), **_model_facts(survey), "grading": survey.grading_note}
    about = [{"what": key, "value": value} for key, value in told.items() if value]
    _add_sheet(book, "about", ("what", "value"), about)
    stream = io.BytesIO()
    book.save(stream)
    write_file(path, stream.getvalue())


def _add_sheet(book: Any, title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    for i, name in enumerate(columns, start=1):
        longest = max([len(name), *(len(str(row.get(name, ""))) for row in rows[:200])])
        sheet.column_dimensions[get_column_letter(i)].width = min(longest + 2, 60)

    def cell(value: Any, is_bold: bool = False) -> Any:
        if not isinstance(value, str):
            return value
        made = WriteOnlyCell(
            sheet, ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)[:_MOST_TEXT]
        )
        made.data_type = "s"  # also where it begins like a formula
        if is_bold:
            made.font = Font(bold=True)
        return made

    sheet.append([cell(name, is_bold=True) for name in columns])
    for row in rows:
        sheet.append([cell(row.get(name)) for name in columns])
    if rows:
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{len(rows) + 1}"


def _model_facts(survey: Survey) -> dict[str, str]:
    model = survey.model
    return {"model": model.name, "backbone": model.backbone, "model digest": model.digest}


def _columns(survey: Survey) -> tuple[str, ...]:
    """The same whatever was found, so that tables of several surveys can be joined."""
    values = to_finding(Finding("", 0.0, (0, 0, 1, 1), (), 0))
    inner = [name for name in values if name not in ("polygon", "box_xyxy")]
    part = ["part"] if any(row.part for row in survey.rows) else []
    box = ("left_px", "top_px", "right_px", "bottom_px")
    return ("path", "finding", *part, *inner, *box, "flaw_id", "same_as")


def _json(values: Mapping[str, Any]) -> str:
    """An object, with the items of its lists a line each: to be read by people and by programs."""
    parts = []
    for key, value in values.items():
        is_list = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n" + ",\n".join(map(_line, value)) + "\n]" if is_list else _line(value)
        parts.append(f"{_line(key)}: {text}")
    return "{" + ",\n".join(parts) + "}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
