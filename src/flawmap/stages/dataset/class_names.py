"""Names of flaw classes, written one a line beside masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flawmap.errors import DatasetError

_FILES = ("classes.txt", "labels.txt", "class_names.txt")
_NOTHING = {"background", "_background_", "__background__", "bg", "none"}
_NO_CLASS = {*_NOTHING, "__ignore__"}
"""What may stand before class 1: Labelme's tools write both, a line each."""


def read_class_names(folders: Iterable[Path]) -> tuple[str, ...]:
    """The names of classes 1, 2, ...; () for no file. First lines such as "background" name none.

    Raises DatasetError where files differ, or a name stands twice.
    """
    found: dict[Path, tuple[str, ...]] = {}
    for folder in dict.fromkeys(folders):
        for path in (folder / name for name in _FILES):
            if path.is_file():
                found[path] = _read(path)
    if len(set(found.values())) > 1:
        raise DatasetError(f"{' and '.join(map(str, found))} name different classes; keep one of them")
    return next(iter(found.values()), ())


def is_nothing(label: str) -> bool:
    """Whether a label means background."""
    return label.lower() in _NOTHING


def _read(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}); UTF-8 text was wanted, a class a line"
        ) from None
    names = [line.strip() for line in lines if line.strip()]
    while names and names[0].lower() in _NO_CLASS:
        names = names[1:]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{path} names the class '{twice}' twice")
    return tuple(names)
