"""Site photos to findings, measurements and a report to sign."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError, option, require_extra
from flawmap.pipeline.inspectors import InspectOptions, open_look
from flawmap.pipeline.sizing import Grading, grade_row
from flawmap.pipeline.using import Outcome
from flawmap.records import (
    Progress,
    Survey,
    SurveyMeta,
    SurveyRow,
    Unreadable,
    no_progress,
)
from flawmap.stages.predict import list_photos, name_photos
from flawmap.stages.report import (
    ShownFinding,
    SurveyFacts,
    SurveyReportOptions,
    write_survey_pdf,
    write_survey_report,
)
from flawmap.stages.survey import (
    JOURNAL,
    Journal,
    Look,
    PictureFolder,
    SurveyOptions,
    cut_close_up,
    draw_kept,
    name_parts,
    run_survey,
    to_parts,
    write_findings,
    write_workbook,
)
from flawmap.tools.grading import read_grading
from flawmap.tools.options import read_options

_OURS = (
    "overlays",
    "heat",
    "findings.json",
    "findings.csv",
    "findings.geojson",
    "findings.coco.json",
    "findings.xlsx",
    "parts.csv",
    "report.html",
    "report.pdf",
    JOURNAL,
    f"{JOURNAL}-wal",
    f"{JOURNAL}-shm",
)
"""Files of a survey, the journal last: without it a folder is not flawmap's."""


@dataclass(frozen=True, kw_only=True)
class Inspected(Outcome):
    """Outcome of `inspect`. Photos that could not be read are `left_out`."""

    survey: Survey
    """Every photo with its findings; `survey.worst_first()` ranks these."""


def inspect(
    model: Path | str,
    photos: Path | str | Sequence[Path | str],
    out: Path | str,
    options: InspectOptions | None = None,
    *,
    meta: Path | str | SurveyMeta | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Inspected:
    """Look at site photos, folders of photos or patterns; write findings, pictures and reports into `out`.

    What is finished is kept: the same call does only what is missing. `meta` is what the reports say of the
    survey, or a TOML file of it. A photo that cannot be read or judged is listed, never counted clean.
    """
    from flawmap.pipeline.texts import survey_lines

    options = options or InspectOptions()
    given = [photos] if isinstance(photos, str | Path) else list(photos)
    out = Path(out)
    require_handing_over()
    told = meta if isinstance(meta, SurveyMeta) else read_meta(meta)
    grading = None if options.grading is None else Grading(*read_grading(options.grading))
    looking = open_look(model, options, len(list_photos(given)), progress)
    asked = {"model": looking.model.digest, "options": looking.options}
    rows = survey_photos(
        given, out, looking.look, asked, options.survey, overwrite=overwrite, progress=progress
    )
    survey = Survey(rows, looking.model, dict(looking.options), told)
    if grading is not None:
        rows = tuple(grade_row(row, grading) for row in rows)
        survey = replace(survey, rows=rows, grades=grading.grades, grading_note=grading.note)
    hand_over(survey, out, asked, options.report, progress)
    return Inspected(lines=survey_lines(survey, out), left_out=left_out(rows), survey=survey)


def survey_photos(
    given: Sequence[Path | str],
    out: Path,
    look: Look,
    asked: Mapping[str, Any],
    options: SurveyOptions,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> tuple[SurveyRow, ...]:
    """Look at all photos that `out` has no record of, and give back what is known of each.

    `asked` is as for Journal. Raises OptionError where `out` holds somebody else's files, or a survey that
    was begun for something else.
    """
    names = name_photos(given)
    photos = {_printable(names[path]): Path(path) for path in list_photos(given)}
    parts = name_parts(photos, options.part_by)
    _prepare_folder(out, overwrite=overwrite)
    with Journal(out, asked) as journal:
        pictures = PictureFolder(out, photos, heatmaps=options.heatmaps)
        run_survey(photos, look, journal, pictures, options, progress)
        rows = journal.rows(photos)
    return tuple(_as_given(row, photos[row.name], parts[row.name]) for row in rows)


def _as_given(row: SurveyRow, path: Path, part: str) -> SurveyRow:
    """The journal's row with the path of this call, which may name the same folder in another way."""
    return replace(row, part=part, inspection=replace(row.inspection, path=_printable(str(path))))


def hand_over(
    survey: Survey,
    out: Path,
    asked: Mapping[str, Any],
    options: SurveyReportOptions,
    progress: Progress = no_progress,
) -> None:
    """Write every file of a survey. Raises MissingExtraError where flawmap[inspect] is not installed."""
    facts = SurveyFacts(survey, to_parts(survey), _shown(survey, out, asked, options.n_worst))
    write_findings(survey, out)
    progress("write reports", 0, 3)
    write_survey_report(facts, out / "report.html", options)
    progress("write reports", 1, 3)
    write_survey_pdf(facts, out / "report.pdf", options)
    progress("write reports", 2, 3)
    write_workbook(survey, out / "findings.xlsx")
    progress("write reports", 3, 3)


def require_handing_over() -> None:
    """Raise MissingExtraError, before any photo is looked at, where the reports could not be written."""
    for module in ("jinja2", "openpyxl", "typst"):
        require_extra(module, "inspect")


def read_meta(path: Path | str | None) -> SurveyMeta:
    """The file for `--meta`. Raises OptionError for a key that is unknown, with the nearest spelling."""
    return SurveyMeta() if path is None else read_options(Path(path), SurveyMeta)


def left_out(rows: Sequence[SurveyRow]) -> tuple[Unreadable, ...]:
    """Photos that could not be read."""
    return tuple(
        Unreadable(row.inspection.path, row.inspection.error) for row in rows if row.inspection.error
    )


def _shown(survey: Survey, out: Path, asked: Mapping[str, Any], n_worst: int) -> tuple[ShownFinding, ...]:
    """The worst finding of each of the worst photos, with the pictures that the journal keeps."""
    worst: dict[str, tuple[SurveyRow, int]] = {}
    for row, i in survey.worst_first():
        worst.setdefault(row.name, (row, i))
    shown = []
    with Journal(out, asked) as journal:
        for row, i in list(worst.values())[:n_worst]:
            photo = journal.picture(row.name, "photo")
            overlay = None if photo is None else draw_kept(photo, row.inspection)
            close_up = journal.picture(row.name, "close-up", i) or cut_close_up(row.inspection, i)
            shown.append(ShownFinding(row, i + 1, overlay, photo, close_up))
    return tuple(shown)


def _prepare_folder(out: Path, *, overwrite: bool) -> None:
    """Make it, or, with `overwrite`, clear what an earlier survey left. Never touches other files."""
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file; {option('--out')} wants a folder that flawmap may make")
    if out.is_dir() and any(out.iterdir()) and not (out / JOURNAL).is_file():
        raise OptionError(
            f"{out} holds files that are not a flawmap survey; choose another folder for {option('--out')}"
        )
    if overwrite:
        for name in _OURS:
            place = out / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)


def _printable(text: str) -> str:
    """File names that are not valid text with their bytes spelt out, so that every file can hold them."""
    return text.encode("utf-8", "backslashreplace").decode()
