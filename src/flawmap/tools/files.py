"""Files and folders written whole or not at all, and the folder for things that can be made again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError, option
from flawmap.tools.plain import to_plain

_HEAD, _TAIL = 4096, 65536
"""Bytes of a file by which it is known: keys stand in the one, or in the other, as names of arrays do."""
_SHOWN = 40
"""Characters of a file's beginning that a message repeats."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_files(
    *paths: Path | str | None,
    inputs: Iterable[Path | str | None] = (),
    holds: Iterable[str] | None = None,
    overwrite: bool = True,
) -> None:
    """Raise OptionError, before any work is done for them, where files of these names cannot be written.

    None of them may be one of `inputs`, which are read. None stands for nothing asked for. What a command
    wrote before it may write again, and nothing else: `holds` are texts by which its files are known, such as
    keys of JSON. Pictures and pages are known by nothing; they are replaced with `overwrite` only.
    """
    read = [Path(given) for given in inputs if given is not None]
    for path in (Path(given) for given in paths if given is not None):
        check_folder(path.parent, path)
        _check_file(path)
        if path.exists() and any(given.exists() and path.samefile(given) for given in read):
            raise OptionError(f"cannot write {path}: it is read here. Name another file.")
        if path.exists() and not overwrite:
            raise OptionError(
                f"cannot write {path}: it is there already. Name another file, or replace it with "
                f"{option('--overwrite')}."
            )
        if path.exists() and holds is not None:
            _check_known(path, holds)


def _check_file(path: Path) -> None:
    """Raise OptionError for what is there already and no ordinary file."""
    with writing(path):  # a name may be too long to be looked for
        if path.is_dir():
            raise OptionError(f"cannot write {path}: it is a folder. Name a file.")
        if path.exists() and not path.is_file():
            raise OptionError(f"cannot write {path}: it is no ordinary file. Name another place.")


def _check_known(path: Path, holds: Iterable[str]) -> None:
    """Raise OptionError for a file that has anything in it but lacks one of these texts."""
    with path.open("rb") as file:
        found = file.read(_HEAD)
        rest = path.stat().st_size - len(found)
        file.seek(-min(rest, _TAIL), os.SEEK_END)
        ends = found + file.read()
    if found and not all(text.encode() in ends for text in holds):
        first = " ".join(found.decode("utf-8", "replace").split())[:_SHOWN]
        told = f" (it begins '{first}')" if first.isprintable() and "\ufffd" not in first else ""
        raise OptionError(
            f"cannot write {path}: it is not what this command writes{told} and would be lost. Name another "
            "file."
        )


def check_folder(folder: Path, path: Path | None = None) -> None:
    """Raise OptionError where `folder` cannot be made or written, for `path` in it; nothing is left there."""
    path = path or folder
    there = _find_folder(folder, path)
    try:  # the only way to know: permissions do not tell of systems that are read-only
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise OptionError(
            f"cannot write {path}: nothing can be written in {there} ({error.strerror}). Name another place."
        ) from error


def _find_folder(folder: Path, path: Path) -> Path:
    """The first folder on the way up that is there. Raises OptionError where that is a file."""
    with writing(path):  # a name may be too long to be looked for
        there = next(place for place in (folder, *folder.parents, Path()) if place.exists())
    if not there.is_dir():
        raise OptionError(f"cannot write {path}: {there} is a file, not a folder. Name another place.")
    return there


def check_new_folder(folder: Path) -> None:
    """Raise OptionError, before any work is done for it, where new_folder() could not put `folder` there."""
    place = folder.resolve()
    check_folder(place.parent, folder)
    if place.exists() and not place.is_dir():
        raise OptionError(f"cannot write {folder}: it is no folder. Name another place.")
    if place.is_dir() and (place.samefile(Path()) or os.path.ismount(place)):
        raise OptionError(
            f"cannot write {folder}: it is where you are, or a disk, and cannot be replaced as a whole. Name "
            "a new folder in it."
        )


def make_parents(path: Path) -> None:
    """Make the folder that `path` is to lie in. Raises OptionError where it cannot be made."""
    _find_folder(path.parent, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot write {path}: its folder cannot be made ({error.strerror}). Name another place."
        ) from error


def is_full_disk(error: BaseException) -> bool:
    """Whether the system says that nothing more can be written."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says against writing `path`, inside the block, becomes an OptionError."""
    try:
        yield
    except OSError as error:
        remedy = "Make room there, or name" if is_full_disk(error) else "Name"
        raise OptionError(
            f"cannot write {path}: {error.strerror or error}. {remedy} another place."
        ) from error


class NewFile:
    """A file written bit by bit beside its place, which it takes when it is closed; parents are made.

    Raises OptionError where it cannot be written. discard() removes what was not closed.
    """

    def __init__(self, path: Path) -> None:
        make_parents(path)
        _check_file(path)
        self.path = path
        self._unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        with writing(path):
            self._file = self._unfinished.open("wb")

    def write(self, content: bytes | str) -> int:
        """Bytes, or text in UTF-8; of file names that are not valid text, the bytes are spelt out (\\udc..),
        which JSON reads back."""
        with writing(self.path):
            return self._file.write(
                content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
            )

    def close(self) -> None:
        """Flush to the disk, then move to the place in one step."""
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._unfinished.replace(self.path)

    def discard(self) -> None:
        """After close() there is nothing to remove."""
        with contextlib.suppress(OSError):  # what could not be written is not wanted any more
            self._file.close()
        with contextlib.suppress(OSError):
            self._unfinished.unlink()


def write_file(path: Path, content: bytes | str) -> None:
    """Write beside the place, flush to the disk, then move there in one step; parents are made.

    Raises OptionError where it cannot be written; what was there before is there still.
    """
    file = NewFile(path)
    try:
        file.write(content)
        file.close()
    finally:
        file.discard()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, which takes its place after the block, or is removed.

    A reader sees the old folder or the new one, never a half; an old one comes back where the new one cannot
    take its place. Raises OptionError where nothing can be written there.
    """
    check_new_folder(path)
    place = path.resolve()
    make_parents(place)
    token = uuid.uuid4().hex[:8]
    unfinished, before = (place.with_name(f".{place.name}.{token}.{end}") for end in ("part", "before"))
    with writing(path):
        unfinished.mkdir()
    try:
        yield unfinished
        with writing(path):
            sync_folder(unfinished)
            if place.exists():
                place.rename(before)
            unfinished.rename(place)
            sync_folder(place.parent)
    except OptionError as error:  # of a file in it, under the name that it was to have
        raise OptionError(str(error).replace(f"{unfinished}", f"{path}")) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if before.exists() and not place.exists():
            before.rename(place)
        shutil.rmtree(before, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, values: Any) -> None:
    """Records and arrays as JSON with sorted keys: equal values give equal bytes; written whole or not."""
    text = json.dumps(to_plain(values), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_file(path, text + "\n")


def cache_folder(given: Path | None = None) -> Path:
    """Where things that can be made again are kept: `given`, else $FLAWMAP_CACHE, else the user's cache.

    Raises OptionError where that is a file.
    """
    named = given or os.environ.get("FLAWMAP_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else user / "flawmap"
    if folder.is_file():
        raise OptionError(
            f"the cache {folder} is a file; name a folder with {option('--cache')} or $FLAWMAP_CACHE"
        )
    return folder
