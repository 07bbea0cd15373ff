"""A folder that cameras write into: what is complete there is taken up, once, into an inspection of its own.

Nothing there is ever written, moved or removed. A file counts as complete when its size and time have not
changed for a while; one that is moved into the folder whole is taken at the second look. Links are refused,
because they could lead anywhere.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from flawmap.errors import OptionError, PhotoError
from flawmap.service.database import Database, Job, JobPhoto, now
from flawmap.service.models import ServedModel
from flawmap.service.repeating import Repeated
from flawmap.service.shapes import MOST_PHOTOS
from flawmap.service.storage import Storage
from flawmap.service.tables import WatchedFile
from flawmap.service.uploads import keep_upload

WHO = "watched folder"
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")
_MOST_NAME = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watched:
    """What is asked of a watched folder."""

    folder: Path
    max_photo_bytes: int
    poll_s: float = 1.0
    settle_s: float = 2.0
    """How long a file must not have changed."""


@dataclass(frozen=True)
class Entry:
    """A file as one look found it."""

    path: str
    stamp: str
    """Size, and time of its last change in nanoseconds."""
    is_link: bool

    @property
    def shown(self) -> str:
        """The path as text, whatever bytes it holds."""
        return self.path.encode("utf-8", "backslashreplace").decode()


@dataclass
class WatchState:
    """What can be told without the database."""

    is_there: bool = True
    n_waiting: int = 0
    """New files that are not complete yet, or could not be opened."""
    unopened: dict[str, str] = field(default_factory=dict)
    """Reasons, by path; they are tried again at every look."""


class Watch(Repeated):
    """Looks at the folder again and again, in a thread of its own."""

    def __init__(
        self, asked: Watched, database: Database, storage: Storage, model: Callable[[], ServedModel]
    ) -> None:
        """`model` says which one looks at what comes next."""
        self.asked, self.state = asked, WatchState()
        self._database, self._storage, self._model = database, storage, model
        self._root = asked.folder.resolve()
        self._known = self._read_known()
        self._unsettled: dict[str, tuple[str, float]] = {}
        self._turn = threading.Lock()
        super().__init__(self.look, "watch", asked.poll_s, "the watched folder could not be gone through")

    @property
    def key(self) -> str:
        """How the database names the folder."""
        return str(self._root)

    def look(self) -> int:
        """Take up what is complete and new; how many files that were."""
        with self._turn:
            return self._look()

    def _look(self) -> int:
        entries = list(self._list())
        fresh = [one for one in entries if (one.shown, one.stamp) not in self._known]
        paths = {one.path for one in fresh}
        self._unsettled = {path: seen for path, seen in self._unsettled.items() if path in paths}
        names = {one.shown for one in fresh}
        self.state.unopened = {name: why for name, why in self.state.unopened.items() if name in names}
        ready = [one for one in fresh if self._is_settled(one)]
        n_taken = 0
        for one in ready:
            if self.is_ending:
                break
            n_taken += self._take(one)
        self.state.n_waiting = len(fresh) - n_taken
        return n_taken

    def _read_known(self) -> set[tuple[str, str]]:
        query = select(WatchedFile.path, WatchedFile.stamp).where(WatchedFile.folder == self.key)
        with self._database.reading() as session:
            return {(path, stamp) for path, stamp in session.exec(query)}

    def _list(self) -> Iterator[Entry]:
        """All files below the folder, the oldest first; hidden and unfinished ones are passed over."""
        found: list[tuple[int, Entry]] = []
        folders = [self._root]
        self.state.is_there = self._root.is_dir()
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        self._sort(entry, found, folders)
            except OSError:  # removed meanwhile, or not ours to read
                continue
        yield from (entry for _, entry in sorted(found, key=lambda one: (one[0], one[1].path)))

    def _sort(self, entry: os.DirEntry[str], found: list[tuple[int, Entry]], folders: list[Path]) -> None:
        if entry.name.startswith(".") or entry.name.lower().endswith(_UNFINISHED):
            return
        try:
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                seen = entry.stat(follow_symlinks=False)
                path = Path(entry.path).relative_to(self._root).as_posix()
                stamp = f"{seen.st_size} {seen.st_mtime_ns}"
                found.append((seen.st_mtime_ns, Entry(path, stamp, entry.is_symlink())))
        except OSError:  # gone again
            return

    def _is_settled(self, one: Entry) -> bool:
        """Whether an earlier look, long enough ago, saw the file as it is."""
        stamp, since_s = self._unsettled.get(one.path, ("", 0.0))
        if stamp != one.stamp:
            self._unsettled[one.path] = (one.stamp, time.monotonic())
            return False
        age_s = time.time() - int(one.stamp.split()[1]) / 1e9
        return time.monotonic() - since_s >= self.asked.settle_s or age_s >= 60 * self.asked.settle_s

    def _take(self, one: Entry) -> bool:
        """Keep a copy and add it to the inspection, or list why not; False where it is to be tried again."""
        try:
            digest, reason = self._keep(one)
        except OSError as error:
            self.state.unopened[one.shown] = f"cannot be opened: {error.strerror or error}"
            return False
        shown = one.shown
        row = WatchedFile(folder=self.key, path=shown, stamp=one.stamp, reason=reason, at=now())
        with self._database.writing(WHO, "refuse" if reason else "take up", shown[:_MOST_NAME]) as session:
            if not reason:
                row.job_photo_id = self._add_photo(session, digest, shown)
            session.add(row)
        self._known.add((shown, one.stamp))
        self.state.unopened.pop(shown, None)
        return True

    def _keep(self, one: Entry) -> tuple[str, str]:
        """The copy's digest, or "" and why there is none. Raises OSError where it may be there later."""
        if one.is_link:
            return "", "a link, which could lead anywhere; put the file itself there"
        try:
            return keep_upload(self._database, self._storage, self._read(one), WHO).digest, ""
        except PhotoError as error:
            return "", str(error)
        except (OSError, OptionError, SQLAlchemyError):  # of no file, but of the disk or the database
            raise
        except Exception:  # one file must not keep all others out
            _log.exception("the file %s of the watched folder", one.shown)
            return "", "a fault of flawmap's while reading it; its log says more"

    def _read(self, one: Entry) -> bytes:
        """Raises PhotoError for a file that is too large, and OSError for one that changes under our eyes."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        path = self._root / one.path
        if path.resolve() != path:  # a folder on the way has become a link
            raise OSError("a link leads there")
        handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise OSError("it is no longer a file")
            if before.st_size > self.asked.max_photo_bytes:
                raise PhotoError(f"larger than {self.asked.max_photo_bytes / 1e6:g} MB")
            content = file.read(before.st_size)
            after = os.fstat(handle)
        if f"{after.st_size} {after.st_mtime_ns}" != one.stamp or len(content) != after.st_size:
            raise OSError("it is still being written")
        return content

    def _add_photo(self, session: Session, digest: str, name: str) -> int:
        """To today's inspection by the model in use; a new one is begun where there is none."""
        job = self._find_job(session) or self._begin_job(session)
        if job.state == "done":
            job.state, job.finished_at = "waiting", None
        last = session.exec(select(func.max(JobPhoto.number)).where(JobPhoto.job_id == job.id)).one()
        photo = JobPhoto(job_id=job.id, number=(last or 0) + 1, name=name[-_MOST_NAME:], digest=digest)
        session.add(photo)
        session.flush()
        assert photo.id is not None
        return photo.id

    def _find_job(self, session: Session) -> Job | None:
        of_photo = col(JobPhoto.id) == col(WatchedFile.job_photo_id)
        query = (
            select(Job, JobPhoto.number)
            .join(JobPhoto, col(JobPhoto.job_id) == col(Job.id))
            .join(WatchedFile, of_photo)
            .where(WatchedFile.folder == self.key)
            .order_by(col(WatchedFile.id).desc())
        )
        found = session.exec(query).first()
        if found is None:
            return None
        job, number = found
        digest = self._model().described.digest
        is_fitting = job.model_record["digest"] == digest and job.created_at[:10] == now()[:10]
        return job if is_fitting and job.state != "cancelled" and number < MOST_PHOTOS else None

    def _begin_job(self, session: Session) -> Job:
        model = self._model()
        job = Job(
            id=uuid.uuid4().hex,
            model=model.name,
            model_record=model.record,
            state="waiting",
            created_at=now(),
            created_by=WHO,
        )
        session.add(job)
        session.flush()
        return job


def check_watched(folder: Path, data: Path) -> None:
    """Raise OptionError for a folder that is not there, or that holds the service's own data."""
    if not folder.is_dir():
        raise OptionError(f"there is no folder {folder} to watch; make it first, or name another")
    inner, outer = folder.resolve(), data.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise OptionError(
            f"the watched folder {folder} and the folder of the service's data, {data}, lie in one another; "
            "name another one"
        )
