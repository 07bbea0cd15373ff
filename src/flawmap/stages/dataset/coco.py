"""Masks from COCO's JSON: polygons, runs, and compressed runs.

Polygons take the pixels whose centres they hold; those of one annotation are joined, as are all annotations
of one photo and category, crowds (`iscrowd`) included. A listed photo without annotations is good. An
annotation with a box and nothing more, or with a mask of another size, leaves its photo out, as does an image
that is listed with another size than its photo's.
"""

from __future__ import annotations

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
from flawmap.records import Part, Unreadable
from flawmap.stages.dataset.drawings import Drawing, Paint, Shape, polygon, read_drawing, refuse, told_size
from flawmap.stages.dataset.entries import Entry, Listing, MaskListing, named, without_files
from flawmap.stages.dataset.json_files import has_keys, read_json
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.tools import rle
from flawmap.tools.photos.finding import find_photos, is_photo_name, to_name
from flawmap.tools.places import PART_OF_NAME

_PATTERNS = ("_annotations.coco.json", "*/_annotations.coco.json", "annotations/*.json", "*.json")
_LISTS = ("images", "annotations", "categories")
_INSTANCES = re.compile(r"(?i)(instances_)?(.+)")


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
    """By its keys."""
    return sum(has_keys(path, [key]) for key in _LISTS) >= 2


def list_coco(files: Sequence[Path], root: Path, options: DatasetOptions) -> MaskListing:
    """Several files are parts, told by the folder or name (train/..., instances_train.json).

    Raises DatasetError where a file is not COCO's, names no photo that is there, or holds boxes only.
    """
    root = root.parent if root.name == "annotations" else root
    labels: dict[str, None] = {}
    drawings: dict[str, Drawing] = {}
    has_masks: list[bool] = []
    unreadable = []
    for path in files:
        data = _read_coco(path)
        names = _category_names(data, path)
        labels |= dict.fromkeys(names.values())
        own, missing = _entries(data, path, root, _part(path, root) if len(files) > 1 else None)
        twice = next((entry.name for entry in own.values() if entry.name in drawings), None)
        if twice is not None:
            raise DatasetError(f"{path} lists {twice}, which another file or line lists too; list it once")
        unreadable += missing
        shapes, marked = _shapes(data, names, path)
        has_masks += marked
        for one in data["images"]:
            if entry := own.get(one["id"]):
                size_hw = told_size(one.get("height"), one.get("width"))
                drawings[entry.name] = Drawing(entry, tuple(shapes[one["id"]]), size_hw, path.name)
    if not drawings:
        first = f", such as {unreadable[0].path}" if unreadable else ""
        raise DatasetError(f"{files[0]} names no photo that is there{first}; wanted its photos below {root}")
    if has_masks and not any(has_masks):
        raise DatasetError(
            f"{files[0]} holds boxes without masks; a polygon or runs per annotation were wanted"
        )
    found = find_photos(root)
    others = [Unreadable(name, "not listed") for _, name in found.files if name not in drawings]
    listing = Listing(
        root,
        f"COCO masks in {' and '.join(to_name(path, root) for path in files)}",
        tuple(drawings[name].entry for name in sorted(drawings)),
        is_multilabel=True,
        unreadable=tuple(unreadable),
        ignored=(*without_files(found.ignored, files, root), *others),
    )
    return MaskListing(listing, partial(read_drawing, drawings, options), named(tuple(labels)))


def _read_coco(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or any(not isinstance(data.get(key), list) for key in _LISTS):
        raise DatasetError(f"{path} is not COCO's: lists of {', '.join(_LISTS)} were wanted")
    if any(not isinstance(one, dict) for key in _LISTS for one in data[key]):
        raise DatasetError(f"{path} is not COCO's: objects in {', '.join(_LISTS)} were wanted")
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
    data: dict[str, Any], names: dict[Any, str], path: Path
) -> tuple[dict[Any, list[Shape]], list[bool]]:
    """The shapes of each image id; and of each annotation whether it holds more than a box."""
    known = {one.get("id") for one in data["images"]}
    shapes: dict[Any, list[Shape]] = defaultdict(list)
    for i, one in enumerate(data["annotations"]):
        where = f"annotation {one.get('id', f'number {i + 1}')} of {path.name}"
        image, category = one.get("image_id"), one.get("category_id")
        if image not in known:
            raise DatasetError(f"{path}: {where} belongs to image {image}, which is not listed")
        if category not in names:
            raise DatasetError(f"{path}: {where} is of category {category}, which is not listed")
        shapes[image].append(Shape(names[category], _paint(one.get("segmentation")), where))
    return shapes, [bool(one.get("segmentation")) for one in data["annotations"]]


def _paint(segmentation: Any) -> Paint:
    if not segmentation:
        return refuse("a box without a mask")
    if isinstance(segmentation, dict):
        return partial(_paint_runs, segmentation)
    if not isinstance(segmentation, list):
        return refuse("its mask is neither polygons nor runs")
    polygons = [segmentation] if isinstance(segmentation[0], int | float) else segmentation
    return partial(_paint_all, [polygon(_pairs(one)) for one in polygons])


def _paint_runs(segmentation: dict[str, Any], layer: np.ndarray, value: bool) -> None:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != list(layer.shape):
        raise MaskError(
            f"its mask is {size} (height, width), its picture {list(layer.shape)}; the same was wanted"
        )
    if isinstance(counts, str):
        counts = rle.unpack_counts(counts)
    if not isinstance(counts, list):
        raise MaskError("its mask has no counts")
    layer[rle.decode(rle.from_counts(counts, layer.shape), layer.shape)] = value


def _paint_all(paints: Sequence[Paint], layer: np.ndarray, value: bool) -> None:
    for paint in paints:
        paint(layer, value)


def _pairs(numbers: Any) -> Any:
    """x, y, x, y, ... as points; what is no such list is left for the polygon to refuse."""
    is_flat = isinstance(numbers, list) and len(numbers) % 2 == 0
    return [numbers[i : i + 2] for i in range(0, len(numbers), 2)] if is_flat else numbers
