"""Files written whole or not at all, and the folder for things that can be made again."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError
from flawmap.tools.plain import to_plain


def make_parents(path: Path) -> None:
    """Make the folder that `path` is to lie in. Raises OptionError where it cannot be made or written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot write {path}: its folder cannot be made ({error.strerror}). Name another place."
        ) from error
    if not os.access(path.parent, os.W_OK):
        raise OptionError(f"cannot write {path}: no permission in {path.parent}. Name another place.")


def write_file(path: Path, content: bytes | str) -> None:
    """Write beside the place, flush to the disk, then move there in one step; parents are made.

    Raises OptionError where the folder cannot be written.
    """
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
    """Where things that can be made again are kept: `given`, else $FLAWMAP_CACHE, else the user's cache."""
    if given is not None:
        return given
    if named := os.environ.get("FLAWMAP_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flawmap"
