"""Masks from Labelme: a JSON file per photo, beside it or in a folder of its own.

Polygons, circles and masks count; rectangles, lines and points are no masks. A file without shapes says that
its photo is good; a photo without a file was not looked at, and is left out unless --unmasked-good says else.
"""

from __future__ import annotations

import base64
import io
import posixpath
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flawmap.errors import DatasetError, MaskError, option
from flawmap.stages.dataset.class_names import find_class_names, is_nothing, read_class_names
from flawmap.stages.dataset.drawings import (
    Drawing,
    Drawings,
    Paint,
    Shape,
    ellipse,
    labels_of,
    no_area,
    polygon,
    stamp,
    told_size,
)
from flawmap.stages.dataset.entries import Entry, MaskListing
from flawmap.stages.dataset.json_files import has_keys, read_json
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.tools.photos import Found, why_no_photo

_KEYS = ("shapes", "imagePath")
_LOOKED_AT = 16
"""So many JSON files of a folder are asked whether they are Labelme's."""
_IGNORED = "__ignore__"


def find_labelme(found: Found, root: Path) -> tuple[Path, ...]:
    """Labelme's files below a folder, if it holds any."""
    files = [root / one.path for one in found.ignored if one.path.lower().endswith(".json")]
    first = islice((path for path in files if path.is_file()), _LOOKED_AT)
    return tuple(files) if any(has_keys(path, _KEYS) for path in first) else ()


def list_labelme(files: Sequence[Path], root: Path, found: Found, options: DatasetOptions) -> MaskListing:
    """Raises DatasetError where no file belongs to a photo, or classes.txt lacks a label."""
    drawings = Drawings(found, root)
    file_of: dict[str, Path] = {}
    used = []
    for path in files:
        name = path.relative_to(root).as_posix()
        try:
            data = read_json(path)
        except DatasetError as error:
            _leave_out(drawings, name, str(error))
            continue
        if not isinstance(data, dict) or not all(key in data for key in _KEYS):
            continue  # another program's file
        used.append(path)
        entry = _photo(data, name, path, drawings)
        if entry is None:
            continue
        if entry.name in file_of:
            both = f"{file_of[entry.name].name} and {path.name}"
            drawings.left_out(entry.name, f"several files of Labelme ({both}); one was wanted")
            continue
        file_of[entry.name] = path
        size_hw = told_size(data.get("imageHeight"), data.get("imageWidth"))
        drawings.add(Drawing(entry, _shapes(data, path), size_hw, path.name), path)
    paths = {name: path for path, name in found.files}
    for name in drawings.unlisted():
        if options.unmasked_good and (entry := drawings.entry_of(name)):
            drawings.add(Drawing(entry, ()), root)
        else:
            undrawn = f"no file of Labelme; {option('--unmasked-good')} takes such photos as good"
            drawings.left_out(name, why_no_photo(paths[name]) or undrawn)
    folders = [root, *(path.parent for path in used)]
    labels = read_class_names(folders) or labels_of(drawings.of_photo.values())
    return drawings.listing("shapes of Labelme", used, labels, options, find_class_names(folders))


def _leave_out(drawings: Drawings, name: str, reason: str) -> None:
    """A file that cannot be read, and the photo beside it: it is not known to be good."""
    for one in drawings.beside(name) or [name]:
        drawings.left_out(one, reason)


def _photo(data: dict[str, Any], name: str, path: Path, drawings: Drawings) -> Entry | None:
    """By the path that the file names, else by the file's own name: photos are renamed with it."""
    told = str(data["imagePath"] or "").replace("\\", "/")
    folder, beside = posixpath.dirname(name), drawings.beside(name)
    exact = drawings.entry_of(posixpath.normpath(posixpath.join(folder, told)))
    if exact is None and len(beside) == 1:
        exact = drawings.entry_of(beside[0])
    return exact or drawings.find(told, path, folder)


def _shapes(data: dict[str, Any], path: Path) -> tuple[Shape, ...]:
    if not isinstance(data["shapes"], list) or any(not isinstance(one, dict) for one in data["shapes"]):
        raise DatasetError(f"{path} is not Labelme's: a list of objects in 'shapes' was wanted")
    shapes = []
    for i, one in enumerate(data["shapes"]):
        label = str(one.get("label") or "").strip()
        where = f"shape {i + 1} ('{label}') of {path.name}"
        shapes.append(Shape(None if is_nothing(label) else label, _paint(label, one), where))
    return tuple(shapes)


def _paint(label: str, one: dict[str, Any]) -> Paint:
    kind, points = one.get("shape_type") or "polygon", one.get("points")
    if not label:
        return no_area("a shape without a label")
    if label == _IGNORED:
        return no_area("a shape that says to ignore what it covers")
    if kind == "polygon":
        return polygon(points)
    if kind == "circle":
        return _circle(points)
    if kind == "mask":
        return _mask(points, one.get("mask"))
    return no_area(f"a {kind}")


def _circle(points: Any) -> Paint:
    """By its centre and a point on its edge."""
    try:
        (x0, y0), (x1, y1) = points
        radius = float(np.hypot(x1 - x0, y1 - y0))
    except (TypeError, ValueError):
        return no_area(f"a circle without centre and edge ({str(points)[:60]})")
    return ellipse((x0, y0), (radius, radius))


def _mask(points: Any, text: Any) -> Paint:
    """A PNG in base 64, laid on the photo at the first of the two corners of its box."""
    try:
        (left, top), _ = points
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            pixels = np.asarray(image.convert("L")) > 0
        return stamp(pixels, int(left), int(top))
    except (TypeError, ValueError, OSError, MaskError, Image.DecompressionBombError):
        return no_area("a mask that cannot be read")
