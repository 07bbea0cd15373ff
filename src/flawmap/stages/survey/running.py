"""Goes through the photos of a survey: reading ahead, looking and writing overlap, and all is bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from flawmap.errors import FlawmapError, PhotoError
from flawmap.records import InspectedPhoto, Inspection, Progress, no_progress
from flawmap.stages.survey.journal import Finished, Journal, Stamp
from flawmap.stages.survey.options import SurveyOptions
from flawmap.stages.survey.pictures import PictureFolder, draw_pictures, to_kept_pictures
from flawmap.tools.execute import map_unordered
from flawmap.tools.positions import read_camera_position
from flawmap.tools.remote import Place, on_this_machine, read_size_and_time

Look = Callable[[Path], InspectedPhoto]
"""Threads may call it at once; what it says of a photo depends on nothing but the photo. For Ray it must be
picklable."""
_UNREAD = Stamp("", -1, -1)


def run_survey(
    photos: Mapping[str, Path] | Mapping[str, Place],
    look: Look,
    journal: Journal,
    pictures: PictureFolder,
    options: SurveyOptions,
    progress: Progress = no_progress,
) -> None:
    """Look at every photo (name → file or address) that the journal does not hold yet, and add it there.

    Photos that could not be read last time are tried again, as are those whose bytes have changed. A photo
    that cannot be read is a row with an error. Pictures that this survey drew of photos that are given no
    longer are removed. Raises FlawmapError for what concerns all photos.
    """
    pictures.clear_unfinished()
    _remove_pictures_of_others(photos, journal, pictures)
    known = journal.stamps()
    known = {name: stamp for name, stamp in known.items() if pictures.has_heat(name)}
    todo = [
        _Task(name, photos[name], known[name].digest if name in known else "")
        for name in sorted(photos)
        if not _is_untouched(photos[name], known.get(name))
    ]
    n_done = len(photos) - len(todo)
    progress("inspecting photos", n_done, len(photos))
    work = _PhotoWork(look, options.max_close_ups, pictures.heatmaps, pictures.kinds)
    for done in map_unordered(work, todo, options.execution):
        if done is not None:
            name = done.finished.name
            journal.note_files(name, pictures.names_of(name, done.drawn))
            pictures.write(name, done.drawn)
            journal.add(done.finished)
        n_done += 1
        progress("inspecting photos", n_done, len(photos))


def _remove_pictures_of_others(photos: Iterable[str], journal: Journal, pictures: PictureFolder) -> None:
    """Remove what this survey drew of photos that are given no longer, or that were named in another way, as
    another one of the same stem was there. Stopped in between, the next call does it."""
    given = set(photos)
    others = {
        path: name
        for path, name in journal.files().items()
        if name not in given or path not in pictures.names_of(name)
    }
    if others:
        pictures.remove(others)
        journal.forget(others)


@dataclass(frozen=True)
class _Task:
    name: str
    place: Place
    known_digest: str
    """Of what was looked at before; "" for a photo that is new or could not be read."""


@dataclass(frozen=True)
class _Ready:
    """A photo that lies on this machine, its bytes digested."""

    task: _Task
    path: Path
    stamp: Stamp
    reason: str
    """Why it could not be fetched."""
    borrowed: ExitStack
    """Closing it removes the copy of a remote photo."""


@dataclass(frozen=True)
class _Done:
    finished: Finished
    drawn: Mapping[str, bytes]


@dataclass(frozen=True)
class _PhotoWork:
    """One photo, in a thread or on another machine: all but the journal and the survey's folder."""

    look: Look
    max_close_ups: int
    heatmaps: bool
    kinds: tuple[str, ...]

    def prepare(self, task: _Task) -> _Ready:
        """Fetch and digest it: the looking then finds the file in memory."""
        borrowed = ExitStack()
        try:
            path = borrowed.enter_context(on_this_machine(task.place))
        except PhotoError as error:
            return _Ready(task, Path(str(task.place)), _UNREAD, str(error), borrowed)
        return _Ready(task, path, _read_stamp(path, task.place), "", borrowed)

    def finish(self, ready: _Ready) -> _Done | None:
        """What is found; None where the bytes are those that were looked at before."""
        with ready.borrowed:
            if ready.stamp.digest and ready.stamp.digest == ready.task.known_digest:
                return None
            if ready.reason:
                seen, position = _not_read(ready.path, ready.reason), None
            else:
                # Of an ordinary file alone: a named pipe would keep whoever opens it waiting for ever.
                position = read_camera_position(ready.path) if ready.stamp.digest else None
                seen = _place(_look_at(self.look, ready.path), position)
        # Masks to the pixel of thousands of photos would not fit into memory when the files are written.
        findings = tuple(replace(one, runs=None) for one in seen.inspection.findings)
        inspection = replace(seen.inspection, path=str(ready.task.place), findings=findings)
        kept = to_kept_pictures(seen, self.max_close_ups)
        finished = Finished(ready.task.name, ready.stamp, inspection, kept, position)
        return _Done(finished, draw_pictures(seen, heatmaps=self.heatmaps, kinds=self.kinds))


def _look_at(look: Look, path: Path) -> InspectedPhoto:
    """What is seen; whatever goes wrong with one photo must not cost the others."""
    try:
        return look(path)
    except PhotoError as error:
        reason = str(error)
    except FlawmapError:
        raise
    except MemoryError:
        reason = "not enough memory for this photo"
    except Exception as error:
        reason = f"a bug in flawmap, please report it: {type(error).__name__}: {error}"
    return _not_read(path, reason)


def _not_read(path: Path, reason: str) -> InspectedPhoto:
    return InspectedPhoto(Inspection(path=str(path), assessable=False, error=" ".join(reason.split())))


def _place(seen: InspectedPhoto, camera_lon_lat: tuple[float, float] | None) -> InspectedPhoto:
    """Findings without a position of their own get the camera's, and say so."""
    if camera_lon_lat is None or not seen.inspection.findings:
        return seen
    lon, lat = camera_lon_lat
    placed = tuple(
        one if one.lon is not None else replace(one, lon=lon, lat=lat, position_source="camera")
        for one in seen.inspection.findings
    )
    return replace(seen, inspection=replace(seen.inspection, findings=placed))


def _is_untouched(place: Place, before: Stamp | None) -> bool:
    """Whether size and time are those of the journal; if not, the digest decides."""
    if before is None:
        return False
    try:
        return read_size_and_time(place) == (before.n_bytes, before.mtime_ns)
    except ValueError:  # a name that no file can have
        return False


def _read_stamp(path: Path, place: Place) -> Stamp:
    """Of the file at `path`, with the size and time at `place`. An unreadable file has the empty digest; why
    it cannot be read is said when it is looked at."""
    try:
        if not path.is_file():
            return _UNREAD
        told = read_size_and_time(place) or (path.stat().st_size, -1)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
        return Stamp(digest, *told)
    except (OSError, ValueError):
        return _UNREAD
