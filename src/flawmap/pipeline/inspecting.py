"""Site photos to findings, measurements and a report to sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flawmap.errors import require_extra
from flawmap.pipeline.inspectors import InspectOptions, open_look
from flawmap.pipeline.sizing import Grading, grade_survey
from flawmap.pipeline.survey_places import (
    as_places,
    find_survey_photos,
    name_folder,
    printable,
    survey_folder,
)
from flawmap.pipeline.using import Outcome
from flawmap.records import (
    Overlaps,
    Progress,
    Survey,
    SurveyMeta,
    SurveyRow,
    Unreadable,
    no_progress,
)
from flawmap.stages.report import (
    ShownFinding,
    SurveyFacts,
    SurveyReportOptions,
    write_survey_pdf,
    write_survey_report,
)
from flawmap.stages.survey import (
    Journal,
    Look,
    PictureFolder,
    SurveyOptions,
    draw_close_up,
    draw_kept,
    find_overlaps,
    name_parts,
    run_survey,
    to_parts,
    write_findings,
    write_workbook,
)
from flawmap.tools.grading import read_grading
from flawmap.tools.options import read_options
from flawmap.tools.regions import find_folders_without
from flawmap.tools.remote import Place


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

    Photos and `out` may also be addresses in object stores, such as "s3://bucket/folder".
    What is finished is kept: the same call does only what is missing. `meta` is what the reports say of the
    survey, or a TOML file of it. A photo that cannot be read or judged is listed, never counted clean.
    """
    from flawmap.pipeline.texts import survey_lines

    options = options or InspectOptions()
    require_handing_over()
    told = meta if isinstance(meta, SurveyMeta) else read_meta(meta)
    grading = None if options.grading is None else Grading(*read_grading(options.grading))
    given = find_survey_photos(as_places(photos), out)
    found = given.photos
    region = options.inspection.region
    without_region = [] if region is None else find_folders_without(region, found.values())
    looking = open_look(model, options, len(found), progress)
    asked = {"model": looking.model.digest, "options": looking.options}
    with survey_folder(out, overwrite=overwrite) as folder:
        kinds = looking.model.flaw_labels
        rows = survey_photos(found, folder, looking.look, asked, options.survey, progress, kinds=kinds)
        overlaps = match_photos(rows, folder, asked, options.survey, progress)
        survey = Survey(rows, looking.model, dict(looking.options), told, overlaps=overlaps)
        if grading is not None:
            survey = grade_survey(survey, grading)
        hand_over(survey, folder, asked, options.report, progress, photos_from=name_folder(found.values()))
    lines = survey_lines(survey, out, without_region, given.passed_over)
    return Inspected(lines=lines, left_out=left_out(rows), survey=survey)


def survey_photos(
    photos: Mapping[str, Place],
    folder: Path,
    look: Look,
    asked: Mapping[str, Any],
    options: SurveyOptions,
    progress: Progress = no_progress,
    *,
    kinds: Sequence[str] = (),
) -> tuple[SurveyRow, ...]:
    """Look at all photos (by name) that `folder` has no record of, and give back what is known of each.

    `asked` is as for Journal, `kinds` as for PictureFolder. Raises OptionError where the survey was begun
    for something else.
    """
    parts = name_parts(photos, options.part_by)
    with Journal(folder, asked) as journal:
        pictures = PictureFolder(folder, photos, heatmaps=options.heatmaps, kinds=kinds)
        run_survey(photos, look, journal, pictures, options, progress)
        rows = journal.rows(photos)
    return tuple(_as_given(row, photos[row.name], parts[row.name]) for row in rows)


def match_photos(
    rows: Sequence[SurveyRow],
    folder: Path,
    asked: Mapping[str, Any],
    options: SurveyOptions,
    progress: Progress = no_progress,
) -> Overlaps | None:
    """Which findings are one flaw, seen on several photos; as survey_photos() otherwise."""
    with Journal(folder, asked) as journal:
        return find_overlaps(rows, journal, options, progress)


def _as_given(row: SurveyRow, place: Place, part: str) -> SurveyRow:
    """The journal's row with the path of this call, which may name the same folder in another way."""
    return replace(row, part=part, inspection=replace(row.inspection, path=printable(str(place))))


def hand_over(
    survey: Survey,
    out: Path,
    asked: Mapping[str, Any],
    options: SurveyReportOptions,
    progress: Progress = no_progress,
    *,
    keys: Mapping[str, str] | None = None,
    photos_from: str | None = None,
) -> None:
    """Write every file of a survey. Raises MissingExtraError where flawmap[inspect] is not installed.

    `keys` are the journal's names of photos, where these are not the survey's. `photos_from` is the name of
    their folder; None: the journal did not follow the inspection, and knows neither folder nor days.
    """
    with Journal(out, asked) as journal:
        days = () if photos_from is None else journal.days
    shown = _shown(survey, out, asked, options.n_worst, keys or {})
    facts = SurveyFacts(survey, to_parts(survey), shown, photos_from or "", days)
    write_findings(survey, out)
    progress("writing reports", 0, 3)
    write_survey_report(facts, out / "report.html", options)
    progress("writing reports", 1, 3)
    write_survey_pdf(facts, out / "report.pdf", options)
    progress("writing reports", 2, 3)
    write_workbook(survey, out / "findings.xlsx")
    progress("writing reports", 3, 3)


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


def _shown(
    survey: Survey, out: Path, asked: Mapping[str, Any], n_worst: int, keys: Mapping[str, str]
) -> tuple[ShownFinding, ...]:
    """The worst finding of each of the worst photos, with the pictures that the journal keeps."""
    worst: dict[str, tuple[SurveyRow, int]] = {}
    numbers, is_shown = survey.number_flaws(), set()
    for row, i in survey.worst_first():
        if row.name not in worst and numbers[row.name, i] not in is_shown:
            worst[row.name] = (row, i)
            is_shown.add(numbers[row.name, i])
    shown = []
    with Journal(out, asked) as journal:
        for row, i in list(worst.values())[:n_worst]:
            key = keys.get(row.name, row.name)
            photo = journal.picture(key, "photo")
            overlay, n_numbered = (None, 0)
            if photo is not None:
                overlay, n_numbered = draw_kept(photo, row.inspection, i, survey.model.flaw_labels)
            close_up = journal.picture(key, "close-up", i) or draw_close_up(row.inspection, i)
            shown.append(ShownFinding(row, i + 1, overlay, photo, close_up, n_numbered))
    return tuple(shown)
