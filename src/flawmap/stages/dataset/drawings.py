"""Shapes that annotation tools drew on photos → runs by label, whichever tool it was.

The tools' files are read here rather than by a library: of those that are kept up, none reads all of Labelme,
VIA, CVAT and YOLO with polygons; each passes over what it does not know (which would leave a mask half used),
and they bring up to eighteen packages with versions of their own.

A shape takes the pixels whose centres it holds. Shapes of one label are joined; one that is named background
takes away what was drawn before it, which is how some tools make holes. A shape without an area (a box, a
line, a point) leaves its photo out, because the rest would be half a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import DatasetError, MaskError
from flawmap.records import Photo, Unreadable
from flawmap.stages.dataset.entries import Entry, Listing, Marks, MaskListing, named, without_files
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.stages.dataset.photo_names import PhotoNames
from flawmap.tools import rle
from flawmap.tools.masks import fill_polygon
from flawmap.tools.photos import Found

NAMELESS = "flaw"
"""The label of shapes that have none."""
Paint = Callable[[np.ndarray, bool], None]
"""Gives the pixels of a shape a value in a layer, (H, W) bool. Raises MaskError for what marks no pixels."""


@dataclass(frozen=True)
class Shape:
    """`label` is None for background; `where` tells a person where it stands."""

    label: str | None
    paint: Paint
    where: str


@dataclass(frozen=True)
class Drawing:
    """The shapes on one photo, in the order in which they lie on each other."""

    entry: Entry
    shapes: tuple[Shape, ...]
    size_hw: tuple[int, int] | None = None
    """Of the picture as the tool showed it; None where its file does not tell."""
    file: str = ""
    """That tells the size."""


@dataclass
class Drawings:
    """What the files of a tool say: gathered photo by photo."""

    found: Found
    root: Path
    of_photo: dict[str, Drawing] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._paths = {name: path for path, name in self.found.files}
        self._names = PhotoNames(self._paths)

    def find(self, wanted: str, file: Path, folder: str = "") -> Entry | None:
        """The photo that `file` calls `wanted`, as seen from `folder`. What is not found, or could be two, is
        listed as unreadable."""
        names = self._names.find(wanted, folder)
        if len(names) == 1:
            return Entry(self._paths[names[0]], names[0], ())
        why = f"could be {' or '.join(names[:2])}" if names else f"no such photo below {self.root.name}/"
        self.unreadable.append(Unreadable(wanted or file.name, f"{why} (listed in {file.name})"))
        return None

    def add(self, drawing: Drawing, file: Path) -> None:
        """Raises DatasetError for a photo that was added before."""
        name = drawing.entry.name
        if name in self.of_photo:
            raise DatasetError(f"{file} lists {name}, which another file or line lists too; list it once")
        self.of_photo[name] = drawing

    def left_out(self, name: str, reason: str) -> None:
        """A photo, or file, that cannot be used."""
        self.of_photo.pop(name, None)
        self.unreadable.append(Unreadable(name, reason))

    def unlisted(self) -> list[str]:
        """Photos that no file speaks of."""
        told = {*self.of_photo, *(one.path for one in self.unreadable)}
        return [name for name in self._paths if name not in told]

    def entry_of(self, name: str) -> Entry | None:
        """The photo of exactly that name."""
        return Entry(self._paths[name], name, ()) if name in self._paths else None

    def beside(self, file: str) -> list[str]:
        """Photos in the folder of a file, and of its name but for the extension."""
        return self._names.beside(file)

    def listing(
        self,
        tool: str,
        files: Sequence[Path],
        labels: Sequence[str],
        options: DatasetOptions,
        others_read: Sequence[Path] = (),
    ) -> MaskListing:
        """`others_read` are files that were read besides. Raises DatasetError where no photo is there, or a
        shape's label is not among `labels`."""
        if not self.of_photo:
            first = f": {self.unreadable[0].path}: {self.unreadable[0].reason}" if self.unreadable else ""
            raise DatasetError(f"{files[0]} names no photo that can be used{first}")
        _refuse_unknown(self.of_photo.values(), labels)
        others = [Unreadable(name, "not listed") for name in self.unlisted()]
        listing = Listing(
            self.root,
            f"{tool} in {_names(files, self.root)}",
            tuple(self.of_photo[name].entry for name in sorted(self.of_photo)),
            is_multilabel=True,
            unreadable=tuple(self.unreadable),
            ignored=(*without_files(self.found.ignored, [*files, *others_read], self.root), *others),
        )
        return MaskListing(listing, partial(read_drawing, self.of_photo, options), named(tuple(labels)))


def labels_of(drawings: Iterable[Drawing]) -> tuple[str, ...]:
    """In the order of the alphabet."""
    return tuple(sorted({shape.label for one in drawings for shape in one.shapes if shape.label is not None}))


def read_drawing(drawings: Mapping[str, Drawing], options: DatasetOptions, photo: Photo) -> Marks:
    """Raises MaskError for a shape that marks no pixels, and where the shapes were drawn on another size."""
    drawing = drawings[photo.name]
    fit = options.mask_images().fit(photo, options.photos)
    if drawing.size_hw is not None:
        fit.check(drawing.size_hw, f"the size listed in {drawing.file}")
    layers: dict[str, np.ndarray] = {}
    for shape in drawing.shapes:
        if shape.label is not None and shape.label not in layers:
            layers[shape.label] = np.zeros(drawing.size_hw or fit.drawn_hw, bool)
        painted = [layers[shape.label]] if shape.label is not None else layers.values()
        for layer in painted:
            try:
                shape.paint(layer, shape.label is not None)
            except MaskError as error:
                raise MaskError(f"{shape.where}: {error}") from None
    return {label: rle.encode(fit.apply(layer)) for label, layer in layers.items()}


def told_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Height and width in pixels; None where a file does not tell them."""
    numbers = _to_numbers([height, width])
    return (int(numbers[0]), int(numbers[1])) if numbers and min(numbers) >= 1 else None


# Kinds of shapes


def polygon(points_xy: Any, relative: bool = False) -> Paint:
    """(n, 2) corners in pixels, or as parts of width and height; lists of anything, checked when painted."""
    return partial(_paint_polygon, points_xy, relative)


def ellipse(centre_xy: Any, radii_xy: Any, turn_deg: Any = 0.0) -> Paint:
    """Turned clockwise, as seen in the photo; anything, checked when painted."""
    return partial(_paint_ellipse, centre_xy, radii_xy, turn_deg)


def stamp(pixels: np.ndarray, left: int, top: int) -> Paint:
    """(h, w) bool, laid on the photo with its corner there."""
    return partial(_paint_stamp, pixels, left, top)


def no_area(what: str) -> Paint:
    """Says that `what` marks no pixels."""
    return refuse(f"{what}, which is no mask; draw a polygon or a mask, or remove it")


def refuse(reason: str) -> Paint:
    """Leaves the photo out for this reason."""
    return partial(_refuse, reason)


def _refuse(message: str, layer: np.ndarray, value: bool) -> None:
    raise MaskError(message)


def _paint_polygon(points_xy: Any, relative: bool, layer: np.ndarray, value: bool) -> None:
    try:
        points = np.array(points_xy, float)
    except (TypeError, ValueError):
        points = np.zeros((0, 2))
    if points.shape[1:] != (2,) or len(points) < 3 or not np.isfinite(points).all():
        raise MaskError(f"its polygon is no list of three points or more: {str(points_xy)[:60]}")
    size_wh = np.array(layer.shape[::-1])
    points = points * size_wh if relative else points
    _refuse_outside(points, layer, relative)
    left, top = np.clip(np.floor(points.min(axis=0)), 0, size_wh).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, size_wh).astype(int)
    view = layer[top:bottom, left:right]  # a photo may hold thousands of shapes
    if view.size:
        view[fill_polygon(points - (left, top), (bottom - top, right - left))] = value


def _refuse_outside(points: np.ndarray, layer: np.ndarray, relative: bool) -> None:
    """Outlines are drawn a little past the photo's edge; farther out they belong to another picture."""
    size_wh = np.array(layer.shape[::-1])
    if (points < -0.1 * size_wh).any() or (points > 1.1 * size_wh).any():
        far = points[np.abs(points / size_wh - 0.5).max(axis=1).argmax()]
        x, y = far / size_wh if relative else far
        wanted = "parts of it from 0 to 1 were wanted" if relative else "points on the photo were wanted"
        raise MaskError(
            f"its point ({x:g}, {y:g}) lies outside the photo ({size_wh[0]}×{size_wh[1]}); {wanted}"
        )


def _paint_ellipse(centre: Any, radii: Any, turn_deg: Any, layer: np.ndarray, value: bool) -> None:
    numbers = _to_numbers([*centre, *radii, turn_deg])
    if numbers is None or min(numbers[2:4]) <= 0:
        raise MaskError(f"its circle or ellipse has no centre and radius: {[*centre, *radii]}")
    (x0, y0, rx, ry), turn, reach = numbers[:4], np.radians(numbers[4]), max(numbers[2:4])
    _refuse_outside(np.array([[x0 - reach, y0 - reach], [x0 + reach, y0 + reach]]), layer, False)
    y, x = np.ogrid[: layer.shape[0], : layer.shape[1]]
    dx, dy = x + 0.5 - x0, y + 0.5 - y0
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    layer[(along / rx) ** 2 + (across / ry) ** 2 <= 1] = value


def _to_numbers(values: Sequence[Any]) -> list[float] | None:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def _paint_stamp(pixels: np.ndarray, left: int, top: int, layer: np.ndarray, value: bool) -> None:
    bottom, right = top + pixels.shape[0], left + pixels.shape[1]
    if left < 0 or top < 0 or bottom > layer.shape[0] or right > layer.shape[1]:
        height, width = layer.shape
        raise MaskError(f"its mask reaches to ({right}, {bottom}), the photo is {width}×{height}")
    layer[top:bottom, left:right][pixels] = value


def _refuse_unknown(drawings: Iterable[Drawing], labels: Sequence[str]) -> None:
    for one in drawings:
        for shape in one.shapes:
            if shape.label is not None and shape.label not in labels:
                raise DatasetError(
                    f"{shape.where}: the label '{shape.label}' is not among the classes {', '.join(labels)}"
                )


def _names(files: Sequence[Path], root: Path) -> str:
    first = files[0].relative_to(root).as_posix()
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more files"
