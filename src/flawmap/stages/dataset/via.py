"""Masks from VIA, the VGG Image Annotator (2 and 1): its project, or the annotations as JSON or CSV.

Polygons, circles and ellipses count; rectangles, lines and points are no masks. Listed photos without a
region are good. The label is the region's attribute of a usual name (label, class, type, ...), or the only
one. VIA's files do not tell the photos' sizes: that a photo was made smaller since shows only in points that
lie outside of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flawmap.errors import DatasetError
from flawmap.stages.dataset.class_names import find_class_names, is_nothing, read_class_names
from flawmap.stages.dataset.drawings import (
    NAMELESS,
    Drawing,
    Drawings,
    Paint,
    Shape,
    ellipse,
    labels_of,
    no_area,
    polygon,
)
from flawmap.stages.dataset.entries import MaskListing
from flawmap.stages.dataset.json_files import has_keys, read_json
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.stages.dataset.tables import read_columns, read_table
from flawmap.tools.photos import Found

_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
_LABELS = ("label", "labels", "class", "name", "type", "category", "defect", "flaw", "object", "damage")
_Region = tuple[str, Any, Any]
"""Where it stands, its shape's attributes, its own attributes."""


def find_via(root: Path) -> Path | None:
    """VIA's file in a folder. Raises DatasetError for several: they may hold the same regions."""
    paths = [path for path in sorted(root.iterdir()) if not path.name.startswith(".") and path.is_file()]
    found = [path for path in paths if is_via(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DatasetError(f"{root} holds several files of VIA ({names}); give the one that is meant")
    return found[0] if found else None


def is_via(path: Path) -> bool:
    """By its keys or columns."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return set(_COLUMNS) <= {column.lstrip("#") for column in read_columns(path)}
    return suffix == ".json" and has_keys(path, ("shape_attributes", "region_attributes"))


def list_via(path: Path, found: Found, options: DatasetOptions) -> MaskListing:
    """Raises DatasetError where the file is not VIA's, names no photo that is there, or several attributes
    could be the label."""
    root = path.parent
    regions = _read_csv(path) if path.suffix.lower() == ".csv" else _read_project(path)
    key = _label_key(path, [own for of_photo in regions.values() for _, _, own in of_photo])
    drawings = Drawings(found, root)
    for file_name, of_photo in regions.items():
        if entry := drawings.find(file_name, path):
            shapes = tuple(_to_shape(key, region) for region in of_photo)
            drawings.add(Drawing(entry, shapes), path)
    labels = read_class_names([root]) or labels_of(drawings.of_photo.values())
    return drawings.listing("regions of VIA", [path], labels, options, find_class_names([root]))


def _read_project(path: Path) -> dict[str, list[_Region]]:
    data = read_json(path)
    photos = data.get("_via_img_metadata", data) if isinstance(data, dict) else None
    if not isinstance(photos, dict) or not all(isinstance(one, dict) for one in photos.values()):
        raise DatasetError(f"{path} is not VIA's: an object per photo was wanted")
    regions: dict[str, list[_Region]] = {}
    for one in photos.values():
        name, listed = one.get("filename"), one.get("regions")
        listed = list(listed.values()) if isinstance(listed, dict) else listed  # as version 1 has them
        if not isinstance(name, str) or not isinstance(listed, list) or name in regions:
            raise DatasetError(
                f"{path}: a photo needs a filename of its own and a list of regions; got {str(one)[:120]}"
            )
        regions[name] = list(_regions(path, name, listed))
    return regions


def _regions(path: Path, name: str, listed: Sequence[Any]) -> Iterator[_Region]:
    for i, one in enumerate(listed):
        where = f"region {i + 1} of {name} in {path.name}"
        if not isinstance(one, dict):
            raise DatasetError(f"{path}: {where} is no object: {str(one)[:60]}")
        yield where, one.get("shape_attributes"), one.get("region_attributes")


def _read_csv(path: Path) -> dict[str, list[_Region]]:
    """A row per region; a photo without one has a row of empty attributes."""
    table = read_table(path)
    columns = [column.lstrip("#") for column in table.columns]
    name, shape, own = (columns.index(column) for column in _COLUMNS)
    regions: dict[str, list[_Region]] = {}
    for line, cells in table.rows:
        of_photo = regions.setdefault(str(cells[name]), [])
        where = f"line {line} of {path.name}"
        try:
            values = json.loads(str(cells[shape]) or "{}"), json.loads(str(cells[own]) or "{}")
        except ValueError:
            raise DatasetError(f"{path}, line {line}: its attributes are not JSON") from None
        if values[0]:
            of_photo.append((where, *values))
    return regions


def _label_key(path: Path, attributes: Sequence[Any]) -> str | None:
    """The attribute that names the label; None where no region has any."""
    keys = list(dict.fromkeys(key for own in attributes if isinstance(own, dict) for key in own))
    usual = [key for name in _LABELS for key in keys if key.lower() == name]
    if len(keys) > 1 and not usual:
        raise DatasetError(
            f"{path}: the regions carry the attributes {', '.join(keys[:6])}; rename the one that says what "
            "they are to 'label'"
        )
    return (usual or keys or [None])[0]


def _to_shape(key: str | None, region: _Region) -> Shape:
    where, shape, own = region
    if key is None:
        return Shape(NAMELESS, _paint(shape), where)
    label = _label(own.get(key) if isinstance(own, dict) else None)
    if label is None:
        return Shape(NAMELESS, no_area(f"a region without one '{key}'"), where)
    return Shape(None if is_nothing(label) else label, _paint(shape), where)


def _label(value: Any) -> str | None:
    """A text, or the only box that is ticked."""
    if isinstance(value, dict):
        ticked = [name for name, is_on in value.items() if is_on]
        value = ticked[0] if len(ticked) == 1 else None
    text = str(value).strip() if isinstance(value, str | int) else ""
    return text or None


def _paint(shape: Any) -> Paint:
    if not isinstance(shape, Mapping):
        return no_area("a region without a shape")
    kind = shape.get("name")
    if kind == "polygon":
        x, y = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            return no_area("a polygon without as many x as y")
        return polygon(list(zip(x, y, strict=True)))
    centre = (shape.get("cx"), shape.get("cy"))
    if kind == "circle":
        return ellipse(centre, (shape.get("r"), shape.get("r")))
    if kind == "ellipse":
        turn = shape.get("theta")  # in radians
        degrees = math.degrees(turn) if isinstance(turn, int | float) else turn or 0.0
        return ellipse(centre, (shape.get("rx"), shape.get("ry")), degrees)
    return no_area(f"a {kind}")
