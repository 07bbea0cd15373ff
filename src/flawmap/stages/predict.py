"""Photos → one row each, in the order given; nothing but the rows in flight is held in memory."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import OptionError, PhotoError
from flawmap.records import Answer, PhotoMask, Progress, no_progress
from flawmap.tools.bundle import is_bundle
from flawmap.tools.files import NewFile, check_files
from flawmap.tools.mask_files import MaskWriter
from flawmap.tools.options import Options
from flawmap.tools.photos import Found, PhotoOptions, find_photos, read_images
from flawmap.tools.runtime import Model, map_ordered
from flawmap.tools.tables import csv_line, to_cells

COLUMNS = ("path", "label", "score", "flaw_score", "review", "error")
SUFFIXES = (".csv", ".jsonl")
_WANTED = "Give photos, folders of photos, or patterns such as 'a/*.jpg'."
LARGE_TIMES = 3
"""The longer side of a photo over that of a training photo, from which on one label for it says little."""


@dataclass(frozen=True)
class PredictOptions(Options):
    """How photos are read for prediction."""

    photos: PhotoOptions = field(default_factory=PhotoOptions)


DEFAULT_OPTIONS = PredictOptions()
_Prepared = tuple[np.ndarray, tuple[int, int]]
"""What a model is given of a photo, and the size that it had."""


@dataclass(frozen=True)
class PredictionRow:
    """One photo's answer; where `error` is set the photo could not be read and the rest is empty."""

    path: str
    """As given; inside a folder, the folder as given and the place in it."""
    label: str = ""
    score: float | None = None
    """Calibrated probability of the printed label; of masks, the highest of any of its pixels."""
    flaw_score: float | None = None
    """Probability of any flaw; of masks, the highest of any pixel."""
    review: bool | None = None
    """Whether a person should look; see Answer."""
    error: str = ""
    probabilities: dict[str, float] | None = None
    mask: PhotoMask | None = None
    """Of a model that gives masks; tables leave it out."""
    size_hw: tuple[int, int] | None = None
    """Of the upright photo, in pixels; tables leave it out."""


@dataclass(frozen=True)
class PredictSummary:
    """What was written."""

    n_photos: int
    n_review: int | None
    """Photos for a person to look at; None where the model has no such band."""
    counts: dict[str, int]
    """Photos per printed label."""
    errors: tuple[tuple[str, str], ...]
    """(path, reason) of the photos that could not be read."""


def list_photos(given: Iterable[str | Path]) -> list[str]:
    """Files, folders and patterns → paths in the order given; folders and patterns sorted by name.

    A folder gives its photos by the rule of find_photos(). A file is taken whatever its extension; one that
    vanishes afterwards becomes a row with an error. Raises OptionError for a path that is not there, and for
    a pattern or folder without photos.
    """
    paths: list[str] = []
    for item in [os.fspath(item) for item in given]:
        why = ""
        if Path(item).is_dir():
            listed = find_photos(Path(item))
            # Not by the printable name, which is not that of a file whose name is no valid text.
            below = [path.relative_to(item) for path, _ in listed.files]
            found = [os.path.join(item, name) for name in below]  # noqa: PTH118
            why = _why_none(Path(item), listed)
        elif os.path.lexists(item):  # a link that leads nowhere is a photo that cannot be read
            found = [item]
        elif glob.has_magic(item):
            matches = glob.glob(item, recursive=True)  # noqa: PTH207 - pathlib would drop "./" and such
            found = sorted(match for match in matches if Path(match).is_file())
        else:
            raise OptionError(f"there is no {item}. {_WANTED}")
        if not found:
            raise OptionError(f"no photos in {item}{why}. {_WANTED}")
        paths += found
    if not paths:
        raise OptionError(f"no photos given. {_WANTED}")
    return paths


def _why_none(folder: Path, listed: Found) -> str:
    """What a folder holds in place of photos, where that can be told."""
    if is_bundle(folder):
        return ", which holds a model: the model is named first, then the photos"
    if listed.ignored:
        first = listed.ignored[0]
        others = f" and {len(listed.ignored) - 1} more files" if len(listed.ignored) > 1 else ""
        return f"; it holds {first.path} ({first.reason}){others}"
    return ""


def name_photos(given: Iterable[str | Path], paths: Sequence[str] | None = None) -> dict[str, str]:
    """The paths of list_photos(), or some of them → names below which outputs are kept: POSIX, relative, each
    of its own.

    A photo of a given folder is named by its place in it, any other by its file name; where two would be the
    same, all are named by their place in the folder that holds them all.
    """
    given = [os.fspath(item) for item in given]
    paths = list_photos(given) if paths is None else paths
    folders = [item for item in given if Path(item).is_dir()]
    names = {}
    for path in paths:
        folder = next((f for f in folders if path.startswith(os.path.join(f, ""))), None)  # noqa: PTH118
        names[path] = Path(os.path.relpath(path, folder)).as_posix() if folder else Path(path).name
    if len(set(names.values())) < len(names):
        top = os.path.commonpath([Path(path).absolute().parent for path in names])
        names = {path: Path(os.path.relpath(Path(path).absolute(), top)).as_posix() for path in names}
    return names


def predict_photos(
    model: Model,
    paths: Sequence[str],
    options: PredictOptions = DEFAULT_OPTIONS,
    progress: Progress = no_progress,
) -> Iterator[PredictionRow]:
    """One row per path, in order; decoding and computing run on threads, a little ahead of the reader."""
    photo_options = options.photos
    if photo_options.n_threads is None:
        photo_options = replace(photo_options, n_threads=model.n_threads)

    def prepared() -> Iterator[_Prepared | PhotoError]:
        # Made small here, where read_images() bounds the pixels held: what waits is what the model needs.
        for image in read_images([Path(path) for path in paths], photo_options):
            if isinstance(image, PhotoError):
                yield image
            else:
                yield model.prepare(image), (image.shape[0], image.shape[1])

    def compute(photo: _Prepared | PhotoError) -> tuple[Answer, tuple[int, int]] | PhotoError:
        return photo if isinstance(photo, PhotoError) else (model.answer(photo[0]), photo[1])

    progress("predicting photos", 0, len(paths))
    found = map_ordered(compute, prepared(), model.n_threads)
    for n_done, (path, one) in enumerate(zip(paths, found, strict=True), start=1):
        yield PredictionRow(path, error=str(one)) if isinstance(one, PhotoError) else _to_row(path, *one)
        progress("predicting photos", n_done, len(paths))


def write_masks(
    rows: Iterable[PredictionRow], names: Mapping[str, str], writer: MaskWriter
) -> Iterator[PredictionRow]:
    """The rows as they come, each mask written on the way; the writer is closed after the last one."""
    try:
        for row in rows:
            if row.mask is not None:
                writer.add(names[row.path], row.mask)
            yield row
        writer.close()
    except BaseException:
        writer.discard()
        raise


def write_rows(rows: Iterable[PredictionRow], path: Path | str) -> PredictSummary:
    """Write rows as they come, to .csv or .jsonl; the file appears under its name only when it is whole.

    Numbers have six decimals. In CSV a path that a spreadsheet would run as a formula gets "./" before it,
    which names the same file; .jsonl keeps every path as given. Raises OptionError for another extension,
    before any row is drawn, and where the file cannot be written.
    """
    path = Path(path)
    check_output(path)
    file = NewFile(path)
    try:
        summary = _write(rows, _writer(file, path.suffix.lower()))
        file.close()
    finally:
        file.discard()
    return summary


def check_output(path: Path) -> None:
    """Raise OptionError unless rows can be written under this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"cannot tell the format of {path}. Name it .csv, or .jsonl for every probability.")
    check_files(path, holds=[",".join(COLUMNS) if path.suffix.lower() == ".csv" else '"flaw_score"'])


def to_record(row: PredictionRow) -> dict[str, Any]:
    """Plain JSON values: the columns of the CSV, and by label `probabilities` and, of masks, `area_px`."""
    record: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    for name in ("score", "flaw_score"):
        record[name] = None if record[name] is None else round(record[name], 6)
    given = row.probabilities
    record["probabilities"] = None if given is None else {k: round(v, 6) for k, v in given.items()}
    if row.mask is not None and given is not None:
        record["area_px"] = dict(zip(given, row.mask.areas_px, strict=True))
    return record


def _to_row(path: str, answer: Answer, size_hw: tuple[int, int]) -> PredictionRow:
    return PredictionRow(
        path=path,
        label=answer.label,
        score=answer.score,
        flaw_score=answer.flaw_score,
        review=answer.review,
        probabilities=answer.probabilities,
        mask=answer.mask,
        size_hw=size_hw,
    )


def _write(rows: Iterable[PredictionRow], write: Callable[[PredictionRow], None]) -> PredictSummary:
    n_photos = n_review = 0
    has_band = False
    counts: dict[str, int] = {}
    errors: list[tuple[str, str]] = []
    for row in rows:
        write(row)
        n_photos += 1
        n_review += bool(row.review)
        has_band |= row.review is not None
        if row.error:
            errors.append((row.path, row.error))
        else:
            counts[row.label] = counts.get(row.label, 0) + 1
    has_band |= len(errors) == n_photos
    return PredictSummary(n_photos, n_review if has_band else None, counts, tuple(errors))


def _writer(file: NewFile, suffix: str) -> Callable[[PredictionRow], None]:
    if suffix == ".jsonl":

        def write_json(row: PredictionRow) -> None:
            file.write(json.dumps(to_record(row), ensure_ascii=False, allow_nan=False) + "\n")

        return write_json
    file.write(csv_line(COLUMNS))

    def write_csv(row: PredictionRow) -> None:
        file.write(csv_line(to_cells(COLUMNS, to_record(row), n_decimals=6)))

    return write_csv
