"""Masks from YOLO's text files, as Ultralytics lays them out: images/, labels/ and data.yaml.

A line is a class number and a polygon, x y x y ... as parts of the photo's width and height. A photo without
a text file is good. The folders that data.yaml names are its parts; a folder that belongs to several is none.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from flawmap.errors import DatasetError
from flawmap.records import Part
from flawmap.stages.dataset.drawings import Drawing, Drawings, Paint, Shape, no_area, polygon, refuse
from flawmap.stages.dataset.entries import Entry, MaskListing
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.tools.photos import Found
from flawmap.tools.places import PART_OF_NAME

_SUFFIXES = (".yaml", ".yml")
_KEYS = (re.compile(rb"(?m)^names\s*:"), re.compile(rb"(?m)^(train|val|test)\s*:"))
_MAX_BYTES = 1 << 20


def find_yolo(root: Path) -> Path | None:
    """The data.yaml of a folder. Raises DatasetError for several of other names."""
    found = [path for path in sorted(root.iterdir()) if is_yolo(path)]
    usual = [path for path in found if path.stem.lower() in ("data", "dataset")]
    if len(found) > 1 and len(usual) != 1:
        names = ", ".join(path.name for path in found)
        raise DatasetError(f"{root} holds several data sets of YOLO ({names}); give the one that is meant")
    return (usual or found or [None])[0]


def is_yolo(path: Path) -> bool:
    """By its keys."""
    if path.suffix.lower() not in _SUFFIXES or path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as stream:
        text = stream.read(_MAX_BYTES)
    return all(key.search(text) for key in _KEYS)


def list_yolo(path: Path, found: Found, options: DatasetOptions) -> MaskListing:
    """Raises DatasetError where data.yaml is not understood, none of its folders is there, or no text file
    belongs to a photo."""
    root = path.parent
    data = _read_yaml(path)
    labels = _class_names(data, path)
    drawings = Drawings(found, root)
    files_read: list[Path] = []
    for entry in _entries(data, path, drawings):
        file = root / _label_name(entry.name)
        shapes: tuple[Shape, ...] = ()
        if file.is_file():
            files_read.append(file)
            shapes = tuple(_shapes(file, labels))
        drawings.add(Drawing(entry, shapes), path)
    if drawings.of_photo and not files_read:
        first = next(iter(drawings.of_photo))
        raise DatasetError(
            f"{path}: no photo has a text file of its polygons; {_label_name(first)} was wanted for {first}"
        )
    _list_orphans(drawings)
    files_read += _lists(data, path)
    return drawings.listing("polygons of YOLO", [path], tuple(labels.values()), options, files_read)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DatasetError(f"{path} cannot be read as YAML ({reason})") from None
    if not isinstance(data, dict):
        raise DatasetError(f"{path} is not YOLO's: the keys names, train and val were wanted")
    return data


def _class_names(data: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Names by class number, from 0: a list of names, or numbers with their names."""
    names = data.get("names")
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    by_number = {number: str(name).strip() for number, name in pairs}
    is_right = by_number and all(isinstance(number, int) and number >= 0 for number in by_number)
    if not is_right or len(set(by_number.values())) < len(by_number) or not all(by_number.values()):
        raise DatasetError(
            f"{path}: 'names' is {str(names)[:80]}; a list of names, each once, or 'number: name' was wanted"
        )
    return {number: by_number[number] for number in sorted(by_number)}


def _entries(data: Mapping[str, Any], path: Path, drawings: Drawings) -> Iterator[Entry]:
    """Photos of the parts that are there, each once."""
    parts: dict[str, list[Part]] = {}
    paths = {name: photo for photo, name in drawings.found.files}
    for key in ("train", "val", "test"):
        for place in _places(data.get(key)):
            for name in _photos_at(place, path, drawings):
                parts.setdefault(name, []).append(PART_OF_NAME[key])
    if not parts:
        places = ", ".join(place for key in ("train", "val", "test") for place in _places(data.get(key)))
        raise DatasetError(
            f"{path} names the photos of {places or 'no folder'}; none was found below its folder"
        )
    for name, own in sorted(parts.items()):
        yield Entry(paths[name], name, (), own[0] if len(set(own)) == 1 else None)


def _places(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [place.replace("\\", "/") for place in listed if isinstance(place, str) and place.strip()]


def _photos_at(place: str, path: Path, drawings: Drawings) -> list[str]:
    """The photos of a folder, or of a text file that lists them.

    Folders are often those of another machine or relative to another place, so the longest end of the path
    that is here counts.
    """
    names = [name for _, name in drawings.found.files]
    for end in _ends(place):
        if end == ".":
            return names
        if _is_list(end, path):
            lines = (path.parent / end).read_text(encoding="utf-8-sig", errors="replace").splitlines()
            entries = [drawings.find(line.strip(), path.parent / end) for line in lines if line.strip()]
            return [entry.name for entry in entries if entry]
        below = [name for name in names if name.startswith(f"{end}/")]
        if below:
            return below
    return []


def _ends(place: str) -> list[str]:
    """Of a path, the longest first."""
    steps = [step for step in PurePosixPath(posixpath.normpath(place)).parts if step not in ("..", "/")]
    return ["/".join(steps[i:]) for i in range(len(steps))]


def _is_list(end: str, path: Path) -> bool:
    return end.endswith(".txt") and (path.parent / end).is_file()


def _lists(data: Mapping[str, Any], path: Path) -> list[Path]:
    """The text files that list the photos of the parts."""
    places = [place for key in ("train", "val", "test") for place in _places(data.get(key))]
    return [path.parent / end for place in places for end in _ends(place) if _is_list(end, path)]


def _label_name(photo: str) -> str:
    """labels/a.txt for images/a.jpg, the last folder of that name; else beside the photo."""
    steps = list(PurePosixPath(photo).with_suffix(".txt").parts)
    places = [i for i, step in enumerate(steps[:-1]) if step == "images"]
    if places:
        steps[places[-1]] = "labels"
    return "/".join(steps)


def _list_orphans(drawings: Drawings) -> None:
    """Text files of photos that are not there."""
    wanted = {_label_name(name) for _, name in drawings.found.files}
    folders = {posixpath.dirname(_label_name(name)) for name in drawings.of_photo}
    for one in drawings.found.ignored:
        folder, file = posixpath.split(one.path)
        is_label = file.endswith(".txt") and file != "classes.txt" and "labels" in folder.split("/")
        if is_label and folder in folders and one.path not in wanted:
            drawings.left_out(one.path, "polygons without a photo")


def _shapes(file: Path, labels: Mapping[int, str]) -> Iterable[Shape]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file} cannot be read ({error}); lines of class x y x y ... were wanted"
        ) from None
    first = next(iter(labels.values()))
    for i, line in enumerate(lines):
        words = line.split()
        if not words:
            continue
        where = f"line {i + 1} of {file.name}"
        number = int(words[0]) if words[0].isdecimal() else None
        label = labels.get(number) if number is not None else None
        if label is None:
            known = ", ".join(map(str, labels))
            reason = f"its class is '{words[0][:20]}'; a number that data.yaml names was wanted ({known})"
            yield Shape(first, refuse(reason), where)
        elif len(words) == 5:
            yield Shape(label, no_area("a box"), where)
        else:
            yield Shape(label, _polygon(words[1:]), where)


def _polygon(words: list[str]) -> Paint:
    if len(words) % 2 or len(words) < 6:
        return refuse(f"{len(words)} numbers behind its class; x y of three points or more were wanted")
    return polygon([words[i : i + 2] for i in range(0, len(words), 2)], relative=True)
