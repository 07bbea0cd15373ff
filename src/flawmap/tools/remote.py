"""Files in object stores (s3://…, gs://…, memory://…), through fsspec, beside those of this machine.

A place is a path, or an address with "://". What is read is copied to a temporary file first; what is written
is made in a folder of this machine and sent as a whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from flawmap.errors import FlawmapError, OptionError, PhotoError, require_extra
from flawmap.tools.files import write_file
from flawmap.tools.photos import is_photo_name

Place = str | Path
_CHANGED_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def is_remote(place: Place) -> bool:
    """Whether it is an address rather than a path; a Path never is."""
    return isinstance(place, str) and "://" in place


def list_remote_photos(folder: str, marker: str) -> tuple[list[tuple[str, str]], list[str]]:
    """(address, name) of all photos below an address, sorted by name; names are relative to it. An address
    that ends like a photo's is that photo alone. And the addresses of the folders that hold a file `marker`.

    Names that begin with a dot and extensions that are not a photo's are passed over. Raises OptionError
    where there are none, or the store cannot be reached.
    """
    if is_photo_name(folder):
        return [(folder, PurePosixPath(folder).name)], []
    files, path = _open(folder)
    root = path.rstrip("/")
    with _explained(folder):
        found = files.find(root)
    names = [str(one)[len(root) :].lstrip("/") for one in found]
    kept = sorted(name for name in names if is_photo_name(name) and not _is_hidden(name))
    if not kept:
        raise OptionError(f"no photos below {folder}; give the address of a folder that holds some")
    address = folder.rstrip("/")
    found = [f"{address}/{name}" for name in names]
    marked = sorted(one.removesuffix(f"/{marker}") for one in found if one.endswith(f"/{marker}"))
    return [(f"{address}/{name}", name) for name in kept], marked


def read_place(place: Place) -> bytes:
    """Raises PhotoError where it cannot be read."""
    try:
        if not is_remote(place):
            return Path(place).read_bytes()
        files, path = _open(str(place))
        return files.cat_file(path)
    except FlawmapError:
        raise
    except Exception as error:  # every store has errors of its own
        reason = getattr(error, "strerror", None) or _reason(error)
        raise PhotoError(f"cannot be fetched ({reason})") from error


def write_place(place: Place, content: bytes) -> None:
    """One file, whole; its folder is made. Raises OptionError where it cannot be written."""
    if not is_remote(place):
        write_file(Path(place), content)
        return
    files, path = _open(str(place))
    with _explained(str(place)):
        files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        files.pipe_file(path, content)


def read_size_and_time(place: Place) -> tuple[int, int] | None:
    """Bytes, and nanoseconds since 1970 of the last change; None where they cannot be told."""
    try:
        if not is_remote(place):
            status = Path(place).stat()
            return status.st_size, status.st_mtime_ns
        files, path = _open(str(place))
        told = files.info(path)
    except FlawmapError:
        raise
    except Exception:  # it is then read, which says why it cannot be
        return None
    changed = next((told[key] for key in _CHANGED_KEYS if told.get(key)), None)
    at_s = changed.timestamp() if isinstance(changed, datetime) else changed
    if not isinstance(at_s, float | int) or not isinstance(told.get("size"), int):
        return None
    return told["size"], round(at_s * 1e9)


@contextmanager
def on_this_machine(place: Place) -> Iterator[Path]:
    """A file's path; of a remote one, that of a copy in a folder of the same name, gone afterwards.

    Raises PhotoError where it cannot be fetched.
    """
    if not is_remote(place):
        yield Path(place)
        return
    parts = PurePosixPath(str(place).split("://", 1)[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / parts.parent.name / parts.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(read_place(place))
        yield path


def fetch_files(place: str, names: Iterable[str], folder: Path) -> None:
    """Copy those named files and folders that an address holds into `folder`. Raises OptionError."""
    files, root = _open(place)
    folder.mkdir(parents=True, exist_ok=True)
    with _explained(place):
        below = [one for name in names for one in files.find(f"{root}/{name}")]
        for one in below:
            path = folder / str(one)[len(root) :].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.cat_file(one))


def send_folder(folder: Path, place: str) -> None:
    """Copy every file of `folder` to an address, over those that are there. Raises OptionError."""
    files, root = _open(place)
    with _explained(place):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            files.makedirs(str(PurePosixPath(root, name).parent), exist_ok=True)
            files.pipe_file(f"{root}/{name}", path.read_bytes())


def list_names(place: str) -> list[str]:
    """The names that lie directly at an address; [] where there is nothing. Raises OptionError."""
    files, root = _open(place)
    with _explained(place):
        try:
            return [PurePosixPath(one).name for one in files.ls(root, detail=False)]
        except FileNotFoundError:
            return []


def remove_files(place: str, names: Iterable[str]) -> None:
    """Remove files and folders by name; those that are not there are no error. Raises OptionError."""
    files, root = _open(place)
    with _explained(place):
        for name in names:
            if files.exists(f"{root}/{name}"):
                files.rm(f"{root}/{name}", recursive=True)


def _open(place: str) -> tuple[Any, str]:
    """The store, and the path in it."""
    require_extra("fsspec", "ray")
    import fsspec

    try:
        files, path = fsspec.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise OptionError(f"{place} cannot be opened: {_reason(error)}") from error
    return files, path.rstrip("/")


@contextmanager
def _explained(place: str) -> Iterator[None]:
    try:
        yield
    except FlawmapError:
        raise
    except Exception as error:  # every store has errors of its own
        raise OptionError(f"{place} cannot be reached: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
