"""Where a survey's photos come from and where its files go: folders of this machine, or object stores."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flawmap.errors import OptionError, option, some_of
from flawmap.stages.predict import list_photos, name_photos
from flawmap.stages.survey import JOURNAL, list_removed_files
from flawmap.tools.files import cache_folder
from flawmap.tools.remote import (
    Place,
    fetch_files,
    is_remote,
    list_names,
    list_remote_photos,
    remove_files,
    send_folder,
)

OURS = (
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


@dataclass(frozen=True)
class SurveyPhotos:
    """What a survey is to look at."""

    photos: dict[str, Place]
    """Name → file or address."""
    passed_over: dict[str, int]
    """Folder of a survey among them → how many pictures lie there, which are none to look at."""


def find_survey_photos(given: Sequence[Place], out: Place | None = None) -> SurveyPhotos:
    """Every photo but those below `out`, and below folders of other surveys that lie in what was given.

    Raises OptionError for a path that is not there, and for a folder, pattern or address without photos.
    """
    near = [item for item in given if not is_remote(item)]
    paths = list_photos(near) if near or not given else []  # of nothing at all it says what was wanted
    surveys = [*([] if out is None else _own_survey(out)), *_find_surveys(near, paths)]
    far: list[tuple[str, str]] = []
    for item in given:
        if is_remote(item):
            found, folders = list_remote_photos(str(item), JOURNAL)
            far += found
            surveys += folders
    places = [*paths, *(place for place, _ in far)]
    survey_of = {place: _survey_of(place, surveys) for place in places}
    passed_over = Counter(folder for place in places if (folder := survey_of[place]))
    if passed_over.total() == len(places):
        raise OptionError(
            f"all photos given lie in folders of surveys ({some_of(sorted(passed_over), 3)}); give the "
            "folder of the photos that these were made of"
        )
    names = name_photos(near, [path for path in paths if not survey_of[path]])
    far = [(place, name) for place, name in far if not survey_of[place]]
    photos: dict[str, Place] = {printable(name): Path(path) for path, name in names.items()}
    is_plain = len({*photos, *(name for _, name in far)}) == len(far) + len(photos)
    photos |= {name if is_plain else place.split("://", 1)[1]: place for place, name in far}
    return SurveyPhotos(photos, dict(passed_over))


def _own_survey(out: Place) -> list[str]:
    """The folder or address to write to where it holds a survey already."""
    if is_remote(out):
        return [str(out).rstrip("/")] if JOURNAL in list_names(str(out).rstrip("/")) else []
    return [os.path.realpath(out)] if Path(out, JOURNAL).is_file() else []


def _find_surveys(given: Sequence[Place], photos: Sequence[str]) -> list[str]:
    """The folders of surveys among local photos, at or below what all that was given lies in."""
    folders = {Path(os.path.realpath(os.path.dirname(photo))) for photo in photos}  # noqa: PTH120
    tops = [os.path.realpath(item) for item in given if Path(item).is_dir()]
    top = os.path.commonpath([*tops, *folders]) if folders else ""
    above = {one for folder in folders for one in (folder, *folder.parents) if one.is_relative_to(top)}
    return sorted(str(folder) for folder in above if (folder / JOURNAL).is_file())


def _survey_of(photo: Place, surveys: Sequence[str]) -> str:
    """The first of these folders that a photo lies below; "" where there is none."""
    place = PurePosixPath(photo) if is_remote(photo) else Path(os.path.realpath(Path(photo).parent), "photo")
    return next((one for one in surveys if place.is_relative_to(one)), "")


def name_folder(photos: Iterable[Place]) -> str:
    """The name of the folder that all of them lie in, at any depth; "" where there is none."""
    folders = {(Path(one) if is_remote(one) else Path(one).absolute()).parent for one in photos}
    try:
        return printable(Path(os.path.commonpath(folders)).name)
    except ValueError:  # none at all, or some here and some elsewhere
        return ""


@contextmanager
def survey_folder(out: Place, *, overwrite: bool) -> Iterator[Path]:
    """The folder of this machine in which a survey is made.

    One for an address is sent there at the end, also where it was interrupted; what is finished there is
    fetched first. `overwrite` clears what an earlier survey left, never other files. Raises OptionError where
    `out` holds somebody else's files.
    """
    if not is_remote(out):
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"{out} is a file; {option('--out')} wants a folder that flawmap may make")
        _check_ours([path.name for path in folder.iterdir()] if folder.is_dir() else [], out)
        if overwrite:
            _clear(folder)
        yield folder
        return
    address = str(out).rstrip("/")
    there = list_names(address)
    _check_ours(there, out)
    folder = cache_folder() / "surveys" / hashlib.blake2b(address.encode(), digest_size=12).hexdigest()
    if overwrite:
        _clear(folder)
        remove_files(address, OURS)
    elif not (folder / JOURNAL).is_file():  # else it was killed here, and knows at least as much
        fetch_files(address, (JOURNAL, "heat"), folder)
    try:
        yield folder
    finally:
        if folder.is_dir():
            send_folder(folder, address)
            remove_files(address, list_removed_files(folder))
    shutil.rmtree(folder)


def printable(text: str) -> str:
    """File names that are not valid text with their bytes spelt out, so that every file can hold them."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_places(given: Place | Sequence[Place]) -> list[Place]:
    """One or several, each a path or an address."""
    several = [given] if isinstance(given, str | Path) else given
    return [item if is_remote(item) else os.fspath(item) for item in several]


def _check_ours(names: Sequence[str], out: Place) -> None:
    if names and JOURNAL not in names:
        raise OptionError(
            f"{out} holds files that are not a flawmap survey; choose another folder for {option('--out')}"
        )


def _clear(folder: Path) -> None:
    for name in OURS:
        place = folder / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
