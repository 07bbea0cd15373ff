"""Names of flaw classes, written one a line beside masks, and the colours that stand for them."""

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
    found = {path: _read(path) for path in find_class_names(folders)}
    if len(set(found.values())) > 1:
        raise DatasetError(f"{' and '.join(map(str, found))} name different classes; keep one of them")
    return next(iter(found.values()), ())


def find_class_names(folders: Iterable[Path]) -> list[Path]:
    """The files that read_class_names() reads."""
    return [path for folder in dict.fromkeys(folders) for name in _FILES if (path := folder / name).is_file()]


def find_label_map(folders: Iterable[Path]) -> list[Path]:
    """The file that read_label_map() reads, if there is one."""
    return [path for folder in folders if (path := folder / "labelmap.txt").is_file()][:1]


def read_label_map(folders: Iterable[Path]) -> tuple[tuple[str, ...], dict[tuple[int, int, int], int]]:
    """The names of classes 1, 2, ... and the class numbers of their colours, from the first labelmap.txt.

    A line is name:red,green,blue, with more behind as CVAT writes it; a name such as "background" is 0.
    Nothing for no file. Raises DatasetError for another line, or a name or colour that stands twice.
    """
    path = next(iter(find_label_map(folders)), None)
    if path is None:
        return (), {}
    lines = [line.strip() for line in _read_text(path).splitlines()]
    names, numbers = [], {}
    for line in lines:
        name, _, rest = line.partition(":")
        if not line or line.startswith("#"):
            continue
        if not is_nothing(name):
            names.append(name)
        number = 0 if is_nothing(name) else len(names)
        words = rest.split(":")[0].split(",")
        colour = tuple(int(word) for word in words if word.strip().isdecimal() and int(word) < 256)
        is_right = words == [""] or len(words) == len(colour) == 3
        if not is_right or names.count(name) > 1 or colour in numbers:
            raise DatasetError(
                f"{path}: '{line}' is no line of name:red,green,blue, each name and colour once"
            )
        if len(colour) == 3:
            numbers[colour] = number
    return tuple(names), numbers


def is_nothing(label: str) -> bool:
    """Whether a label means background."""
    return label.lower() in _NOTHING


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}); UTF-8 text was wanted, a class a line"
        ) from None


def _read(path: Path) -> tuple[str, ...]:
    names = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
    while names and names[0].lower() in _NO_CLASS:
        names = names[1:]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{path} names the class '{twice}' twice")
    return tuple(names)
