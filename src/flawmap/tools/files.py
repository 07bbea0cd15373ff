"""Files written whole or not at all, and the folder for things that can be made again."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError, option
from flawmap.tools.plain import to_plain

_HEAD, _TAIL = 4096, 65536
"""Bytes of a file by which it is known: keys stand in the one, or in the other, as names of arrays do."""
_SHOWN = 40
"""Characters of a file's beginning that a message repeats."""


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
        if path.is_dir():
            raise OptionError(f"cannot write {path}: it is a folder. Name a file.")
        if path.exists() and not path.is_file():
            raise OptionError(f"cannot write {path}: it is no ordinary file. Name another place.")
        if path.exists() and any(given.exists() and path.samefile(given) for given in read):
            raise OptionError(f"cannot write {path}: it is read here. Name another file.")
        if path.exists() and not overwrite:
            raise OptionError(
                f"cannot write {path}: it is there already. Name another file, or replace it with "
                f"{option('--overwrite')}."
            )
        if path.exists() and holds is not None:
            _check_known(path, holds)


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
    """Raise OptionError where `folder` cannot be made or written, for `path` in it; nothing is made."""
    there = next(place for place in (folder, *folder.parents, Path()) if place.exists())
    if not there.is_dir():
        raise OptionError(
            f"cannot write {path or folder}: {there} is a file, not a folder. Name another place."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise OptionError(f"cannot write {path or folder}: no permission in {there}. Name another place.")


def make_parents(path: Path) -> None:
    """Make the folder that `path` is to lie in. Raises OptionError where it cannot be made or written."""
    check_folder(path.parent, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot write {path}: its folder cannot be made ({error.strerror}). Name another place."
        ) from error


def write_file(path: Path, content: bytes | str) -> None:
    """Write beside the place, flush to the disk, then move there in one step; parents are made.

    Raises OptionError where the folder cannot be written.
    """
    check_files(path)
    make_parents(path)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


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
