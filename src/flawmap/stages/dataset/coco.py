"""Masks from COCO's JSON: polygons, runs, and compressed runs.

Polygons take the pixels whose centres they hold; those of one annotation are joined, as are all annotations
of one photo and category, crowds (`iscrowd`) included. A listed photo without annotations is good. An
annotation with a box and nothing more, or with a mask of another size, leaves its photo out.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flawmap.errors import DatasetError, MaskError
from flawmap.records import Part, Photo, Unreadable
from flawmap.stages.dataset.entries import Entry, Listing, Marks, MaskListing, named, without_files
from flawmap.tools import rle
from flawmap.tools.masks import fill_polygon
from flawmap.tools.photos.finding import find_photos, is_photo_name, to_name
from flawmap.tools.places import PART_OF_NAME

_PATTERNS = ("_annotations.coco.json", "*/_annotations.coco.json", "annotations/*.json", "*.json")
_INSTANCES = re.compile(r"(?i)(instances_)?(.+)")
_Shape = tuple[str, Any, str]
"""Label, segmentation, and where it stands in the file."""


def find_coco(root: Path) -> tuple[Path, ...]:
    """COCO's files in a folder: those of the first place where there are any."""
    for pattern in _PATTERNS:
        found = tuple(path for path in islice(sorted(root.glob(pattern)), 64) if looks_like_coco(path))
        if pattern == "annotations/*.json":  # beside instances there may be captions and keypoints
            found = tuple(path for path in found if path.name.startswith("instances_")) or found
        if found:
            return found
    return ()


def looks_like_coco(path: Path) -> bool:
    """By the keys near the file's beginning and end: it may be large."""
    try:
        with path.open("rb") as stream:
            head, tail = stream.read(1 << 16), b""
            if len(head) == 1 << 16:
                stream.seek(-(1 << 16), 2)
                tail = stream.read()
    except OSError:
        return False
    return sum(key in head + tail for key in (b'"images"', b'"annotations"', b'"categories"')) >= 2


def list_coco(files: Sequence[Path], root: Path) -> MaskListing:
    """Several files are parts, told by the folder or name (train/..., instances_train.json).

    Raises DatasetError where a file is not COCO's, names no photo that is there, or holds boxes only.
    """
    root = root.parent if root.name == "annotations" else root
    labels: dict[str, None] = {}
    entries: dict[str, Entry] = {}
    shapes: dict[str, list[_Shape]] = defaultdict(list)
    unreadable = []
    for path in files:
        data = _read_json(path)
        names = _category_names(data, path)
        labels |= dict.fromkeys(names.values())
        own, missing = _entries(data, path, root, _part(path, root) if len(files) > 1 else None)
        twice = next((entry.name for entry in own.values() if entry.name in entries), None)
        if twice is not None:
            raise DatasetError(f"{path} lists {twice}, which another file or line lists too; list it once")
        entries |= {entry.name: entry for entry in own.values()}
        unreadable += missing
        for shape_of in _shapes(data, names, own, path):
            shapes[shape_of[0]].append(shape_of[1])
    if not entries:
        first = f", such as {unreadable[0].path}" if unreadable else ""
        raise DatasetError(f"{files[0]} names no photo that is there{first}; wanted its photos below {root}")
    if shapes and not any(shape[1] for own in shapes.values() for shape in own):
        raise DatasetError(
            f"{files[0]} holds boxes without masks; a polygon or runs per annotation were wanted"
        )
    found = find_photos(root)
    others = [Unreadable(name, "not listed") for _, name in found.files if name not in entries]
    listing = Listing(
        root,
        f"COCO masks in {' and '.join(to_name(path, root) for path in files)}",
        tuple(entries[name] for name in sorted(entries)),
        is_multilabel=True,
        unreadable=tuple(unreadable),
        ignored=(*without_files(found.ignored, files, root), *others),
    )
    return MaskListing(listing, partial(_read, dict(shapes)), named(tuple(labels)))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON ({str(error)[:120]})") from None
    lists = ("images", "annotations", "categories")
    if not isinstance(data, dict) or any(not isinstance(data.get(key), list) for key in lists):
        raise DatasetError(f"{path} is not COCO's: lists of {', '.join(lists)} were wanted")
    if any(not isinstance(one, dict) for key in lists for one in data[key]):
        raise DatasetError(f"{path} is not COCO's: objects in {', '.join(lists)} were wanted")
    return data


def _category_names(data: dict[str, Any], path: Path) -> dict[Any, str]:
    """Names by id, in the order of the file, without those above others that mark nothing themselves."""
    used = {one.get("category_id") for one in data["annotations"]}
    above = {one.get("supercategory") for one in data["categories"]}
    names: dict[Any, str] = {}
    for one in data["categories"]:
        name, number = str(one.get("name", "")).strip(), one.get("id")
        if not name or number is None or number in names or name in names.values():
            raise DatasetError(f"{path}: a category needs a name and an id of its own; got {str(one)[:120]}")
        if number in used or name not in above or one.get("supercategory") == name:
            names[number] = name
    return names


def _entries(
    data: dict[str, Any], path: Path, root: Path, part: Part | None
) -> tuple[dict[Any, Entry], list[Unreadable]]:
    """Entries by image id, and photos that are not there."""
    match = _INSTANCES.fullmatch(path.stem)
    stem = match.group(2) if match else path.stem
    bases = [
        path.parent,
        path.parent / "images",
        root / "images" / stem,
        root / stem,
        root / f"{stem}_images",
        root / "images",
        root,
    ]
    bases = [base for base in bases if base.is_dir()]
    entries, missing = {}, []
    for one in data["images"]:
        file_name, number = one.get("file_name"), one.get("id")
        if not isinstance(file_name, str) or not file_name or number is None or number in entries:
            raise DatasetError(
                f"{path}: an image needs a file_name and an id of its own; got {str(one)[:120]}"
            )
        photo = _find(file_name.replace("\\", "/"), bases)
        if photo is None or not photo.resolve().is_relative_to(root.resolve()):
            missing.append(Unreadable(file_name, f"no such photo below {root.name}/ (listed in {path.name})"))
        elif not is_photo_name(photo.name):
            missing.append(Unreadable(file_name, f"not a photo's extension (listed in {path.name})"))
        else:
            entries[number] = Entry(photo, to_name(photo, root), (), part)
    return entries, missing


def _find(file_name: str, bases: Iterable[Path]) -> Path | None:
    candidates = (Path(os.path.normpath(base / file_name)) for base in bases)
    return next((path for path in candidates if path.is_file()), None)


def _part(path: Path, root: Path) -> Part | None:
    """Of train/_annotations.coco.json and of instances_train2017.json."""
    steps = PurePosixPath(to_name(path, root)).with_suffix("").parts
    words = [word for step in steps for word in re.split(r"[^a-z]+", step.lower())]
    return next((PART_OF_NAME[word] for word in words if word in PART_OF_NAME), None)


def _shapes(
    data: dict[str, Any], names: dict[Any, str], entries: dict[Any, Entry], path: Path
) -> Iterable[tuple[str, _Shape]]:
    """(the photo's name, shape) of each annotation whose photo is there."""
    known = {one.get("id") for one in data["images"]}
    for i, one in enumerate(data["annotations"]):
        where = f"annotation {one.get('id', f'number {i + 1}')} of {path.name}"
        image, category = one.get("image_id"), one.get("category_id")
        if image not in known:
            raise DatasetError(f"{path}: {where} belongs to image {image}, which is not listed")
        if category not in names:
            raise DatasetError(f"{path}: {where} is of category {category}, which is not listed")
        if image in entries:
            yield entries[image].name, (names[category], one.get("segmentation"), where)


def _read(shapes: dict[str, list[_Shape]], photo: Photo) -> Marks:
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for label, segmentation, where in shapes.get(photo.name, []):
        try:
            parts[label].append(_to_runs(segmentation, photo.size_hw))
        except MaskError as error:
            raise MaskError(f"{where}: {error}") from None
    return {label: rle.union(runs) for label, runs in parts.items()}


def _to_runs(segmentation: Any, size_hw: tuple[int, int]) -> np.ndarray:
    if not segmentation:
        raise MaskError("a box without a mask")
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != list(size_hw):
            raise MaskError(
                f"its mask is {size} (height, width), the photo {list(size_hw)}, upright; the same was wanted"
            )
        if isinstance(counts, str):
            counts = rle.unpack_counts(counts)
        if not isinstance(counts, list):
            raise MaskError("its mask has no counts")
        return rle.from_counts(counts, size_hw)
    if not isinstance(segmentation, list):
        raise MaskError("its mask is neither polygons nor runs")
    polygons = [segmentation] if isinstance(segmentation[0], int | float) else segmentation
    pixels = np.zeros(size_hw, bool)
    for polygon in polygons:
        pixels |= fill_polygon(_points(polygon), size_hw)
    return rle.encode(pixels)


def _points(polygon: Any) -> np.ndarray:
    try:
        points = np.array(polygon, float)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise MaskError(
            f"its polygon is no list of three points or more (x, y, x, y, ...): {str(polygon)[:60]}"
        )
    return points.reshape(-1, 2)
