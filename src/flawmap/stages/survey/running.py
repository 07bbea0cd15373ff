"""Goes through the photos of a survey: reading ahead, looking and writing overlap, and all is bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from flawmap.errors import FlawmapError, PhotoError
from flawmap.records import InspectedPhoto, Inspection, Progress, no_progress
from flawmap.stages.survey.journal import Finished, Journal, Stamp
from flawmap.stages.survey.options import SurveyOptions
from flawmap.stages.survey.pictures import PictureFolder, to_kept_pictures
from flawmap.tools.positions import read_camera_position
from flawmap.tools.runtime import map_ordered, n_usable_cores

Look = Callable[[Path], InspectedPhoto]
"""Threads may call it at once; what it says of a photo depends on nothing but the photo."""
_READERS = 2
_UNREAD = Stamp("", -1, -1)


def run_survey(
    photos: Mapping[str, Path],
    look: Look,
    journal: Journal,
    pictures: PictureFolder,
    options: SurveyOptions,
    progress: Progress = no_progress,
) -> None:
    """Look at every photo (name → file) that the journal does not hold yet, and add it there.

    Photos that could not be read last time are tried again, as are those whose bytes have changed. A photo
    that cannot be read is a row with an error. Raises FlawmapError for what concerns all photos.
    """
    pictures.clear_unfinished()
    known = journal.stamps()
    known = {name: stamp for name, stamp in known.items() if pictures.has_heat(name)}
    todo = [name for name in sorted(photos) if not _is_untouched(photos[name], known.get(name))]
    n_done = len(photos) - len(todo)
    progress("inspect", n_done, len(photos))

    def read(name: str) -> tuple[str, Stamp]:
        return name, _read_stamp(photos[name])

    def work(name: str, stamp: Stamp) -> Finished:
        position = read_camera_position(photos[name])
        seen = _place(_look_at(look, photos[name]), position)
        pictures.write(name, seen)
        kept = to_kept_pictures(seen, options.max_close_ups)
        return Finished(name, stamp, seen.inspection, kept, position)

    def tasks() -> Iterator[tuple[str, Stamp]]:
        nonlocal n_done
        # The digest is read ahead of the looking, which then finds the file in memory.
        for name, stamp in map_ordered(read, todo, _READERS):
            before = known.get(name)
            if before is not None and before.digest == stamp.digest and stamp.digest:
                n_done += 1
                progress("inspect", n_done, len(photos))
            else:
                yield name, stamp

    for done in _as_finished(work, tasks(), options.n_threads or n_usable_cores()):
        journal.add(done)
        n_done += 1
        progress("inspect", n_done, len(photos))


def _as_finished(
    work: Callable[[str, Stamp], Finished], tasks: Iterator[tuple[str, Stamp]], n_threads: int
) -> Iterator[Finished]:
    """In the order in which they end, so that a large photo holds up no other; one waits per thread."""
    running: set[Future[Finished]] = set()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for name, stamp in tasks:
                running.add(pool.submit(work, name, stamp))
                if len(running) >= 2 * n_threads:
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in ended)
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        finally:
            for future in running:
                future.cancel()


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


def _is_untouched(path: Path, before: Stamp | None) -> bool:
    """Whether size and time are those of the journal; if not, the digest decides."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False
    return before is not None and (status.st_size, status.st_mtime_ns) == (before.n_bytes, before.mtime_ns)


def _read_stamp(path: Path) -> Stamp:
    """An unreadable file has the empty digest; why it cannot be read is said when it is looked at."""
    try:
        status = path.stat()
        if not path.is_file():
            return _UNREAD
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
        return Stamp(digest, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):
        return _UNREAD
