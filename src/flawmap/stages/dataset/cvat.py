"""Masks from CVAT's XML ("CVAT for images 1.1"): polygons, ellipses and masks.

Listed images without a shape are good; tags say nothing of pixels and are passed over; boxes, lines, points
and skeletons are no masks. Shapes lie on each other by `z_order`. A subset (Train, Validation, Test) is the
photo's part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from flawmap.errors import DatasetError
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
from flawmap.stages.dataset.json_files import read_ends
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.tools.photos import Found
from flawmap.tools.places import PART_OF_NAME

_ROOT = re.compile(rb"<annotations[\s>]")
_AREAS = {"any", "polygon", "ellipse", "mask"}
"""Types of labels whose shapes can have an area."""
_NO_SHAPES = {"tag", "attribute"}


def find_cvat(root: Path) -> tuple[Path, ...]:
    """CVAT's files in a folder: one per task."""
    return tuple(path for path in sorted(root.glob("*.xml")) if is_cvat(path))


def is_cvat(path: Path) -> bool:
    """By the element that holds all others."""
    return path.suffix.lower() == ".xml" and bool(_ROOT.search(read_ends(path)[: 1 << 16]))


def list_cvat(files: Sequence[Path], found: Found, options: DatasetOptions) -> MaskListing:
    """Raises DatasetError where a file is not CVAT's for images, or names no photo that is there."""
    root = files[0].parent
    drawings = Drawings(found, root)
    labels: dict[str, None] = {}
    for path in files:
        top = _read_xml(path)
        images = top.findall("image")
        used = {shape.get("label", "") for image in images for shape in image if shape.tag not in _NO_SHAPES}
        for one in top.iterfind("meta//label"):
            name, kind = (one.findtext("name") or "").strip(), (one.findtext("type") or "any").strip()
            if name and not is_nothing(name) and (name in used or kind in _AREAS):
                labels[name] = None
        for image in images:
            name, subset = image.get("name", ""), image.get("subset", "")
            entry = drawings.find(name, path, subset)
            if entry is None:
                continue
            entry = Entry(entry.path, entry.name, (), PART_OF_NAME.get(subset.lower()))
            size_hw = told_size(image.get("height"), image.get("width"))
            drawings.add(Drawing(entry, _shapes(image, path), size_hw, path.name), path)
    names = read_class_names([root]) or tuple(labels) or labels_of(drawings.of_photo.values())
    return drawings.listing("shapes of CVAT", files, names, options, find_class_names([root]))


def _read_xml(path: Path) -> ElementTree.Element:
    try:
        top = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as XML ({str(error)[:120]})") from None
    if top.tag != "annotations" or top.find("image") is None:
        tracks = ": it holds the tracks of a video" if top.find("track") is not None else ""
        raise DatasetError(f"{path} is not 'CVAT for images 1.1'{tracks}; export the task in that format")
    return top


def _shapes(image: ElementTree.Element, path: Path) -> tuple[Shape, ...]:
    shapes = [one for one in image if one.tag not in _NO_SHAPES]
    shapes.sort(key=_z_order)  # stable: else in the order of the file
    made = []
    for one in shapes:
        label = one.get("label", "").strip()
        where = f"a {one.tag} ('{label}') of {image.get('name')} in {path.name}"
        paint = _paint(one) if label else no_area("a shape without a label")
        made.append(Shape(None if is_nothing(label) else label, paint, where))
    return tuple(made)


def _paint(one: ElementTree.Element) -> Paint:
    if one.tag == "polygon":
        return polygon([pair.split(",") for pair in one.get("points", "").split(";")])
    if one.tag == "ellipse":
        centre, radii = (one.get("cx"), one.get("cy")), (one.get("rx"), one.get("ry"))
        return ellipse(centre, radii, one.get("rotation") or 0.0)
    if one.tag == "mask":
        return _mask(one)
    return no_area("it is a box" if one.tag == "box" else f"it is a {one.tag}")


def _mask(one: ElementTree.Element) -> Paint:
    """Counts row by row through the box, in turn of pixels that are not marked and that are."""
    try:
        left, top, width, height = (
            int(float(one.get(key, ""))) for key in ("left", "top", "width", "height")
        )
        counts = [int(word) for word in one.get("rle", "").split(",")]
    except ValueError:
        return no_area("a mask whose runs or box are no numbers")
    if min(counts) < 0 or sum(counts) != width * height:
        return no_area(f"a mask whose runs add up to {sum(counts)} of {width}×{height} pixels")
    marked = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return stamp(marked.reshape(height, width), left, top)


def _z_order(one: ElementTree.Element) -> int:
    try:
        return int(one.get("z_order") or 0)
    except ValueError:
        return 0
