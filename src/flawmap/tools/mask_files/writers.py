"""One writer per form. What is not closed leaves no file behind under its name (of png: no classes.txt)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol, get_args

import numpy as np
from PIL import Image

from flawmap.errors import MaskError
from flawmap.records import PhotoMask
from flawmap.tools import rle
from flawmap.tools.files import NewFile, write_file
from flawmap.tools.mask_files.outlines import trace_outlines
from flawmap.tools.masks import to_class_indices

Form = Literal["png", "rle", "coco", "geojson"]
FORMS: tuple[Form, ...] = get_args(Form)
PLACES: dict[Form, str] = {
    "png": "masks",
    "rle": "submission.csv",
    "coco": "annotations.json",
    "geojson": "masks.geojson",
}
"""What masks are written to, in the folder that is named: a folder for png, else a file."""
CLASSES = "classes.txt"
NAMES = (*PLACES.values(), CLASSES)
"""All that can be written into that folder."""


class MaskWriter(Protocol):
    """Takes masks one by one."""

    def add(self, name: str, mask: PhotoMask) -> None:
        """The mask of a photo; `name` is the photo's, POSIX, relative to the folder of the photos."""
        ...

    def close(self) -> None:
        """Complete the files."""
        ...

    def discard(self) -> None:
        """Remove what is not complete."""
        ...


def open_mask_writer(
    form: Form, folder: Path, labels: Sequence[str], overlap: bool = False, file_name: str = ""
) -> MaskWriter:
    """A writer into `folder`, which is made. `file_name` is another than the form's usual one; for png,
    another folder than masks/. Raises MaskError for a label that the form cannot hold."""
    if form == "png":
        return _PngWriter(folder, labels, overlap, file_name or PLACES[form])
    path = folder / (file_name or PLACES[form])
    kinds = {"rle": _RunsWriter, "coco": _CocoWriter, "geojson": _GeoJsonWriter}
    return kinds[form](path, labels)


def write_class_names(folder: Path, labels: Sequence[str]) -> None:
    """classes.txt, a label a line: so that labels come back even where no photo has the last of them."""
    write_file(folder / CLASSES, "".join(f"{label}\n" for label in labels))


def _check_names(labels: Sequence[str]) -> None:
    """Raise MaskError for a name that would not come back from classes.txt."""
    for label in labels:
        if label != label.strip() or len(label.splitlines()) != 1:
            raise MaskError(f"the label {label!r} cannot be a line of classes.txt; rename it")


class _PngWriter:
    def __init__(self, folder: Path, labels: Sequence[str], overlap: bool, top: str) -> None:
        self._folder, self._labels, self._top = folder, tuple(labels), folder / top
        _check_names(labels)
        self._by_class = overlap and len(self._labels) > 1
        if len(self._labels) > 255 and not self._by_class:
            raise MaskError(
                f"{len(self._labels)} labels; a class number takes 255 at most. Write rle or coco"
            )
        for label in self._labels if self._by_class else ():
            if label in ("", ".", "..") or label.startswith(".") or set(label) & set('/\\:*?"<>|\0'):
                raise MaskError(f"the label '{label}' cannot be a folder's name; write rle or coco instead")
        self._taken: set[PurePosixPath] = set()

    def add(self, name: str, mask: PhotoMask) -> None:
        short = PurePosixPath(name).with_suffix(".png")
        if short in self._taken:  # a.jpg and a.png
            short = PurePosixPath(f"{name}.png")
        self._taken.add(short)
        if self._by_class:
            for label, runs in zip(self._labels, mask.runs, strict=True):
                self._write(self._top / label / short, rle.decode(runs, mask.size_hw))
        elif len(self._labels) == 1:
            self._write(self._top / short, rle.decode(mask.runs[0], mask.size_hw))
        else:
            self._write(self._top / short, to_class_indices(mask))

    def close(self) -> None:
        write_class_names(self._folder, self._labels)

    def discard(self) -> None:
        pass

    def _write(self, path: Path, values: np.ndarray) -> None:
        grey = values.astype(np.uint8) * 255 if values.dtype == np.bool_ else values
        stream = io.BytesIO()
        Image.fromarray(grey).save(stream, "PNG")
        write_file(path, stream.getvalue())


class _Streamed:
    """A text file that is written bit by bit beside its place, and moved there when it is closed."""

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        _check_names(labels)
        self._path, self._labels = path, tuple(labels)
        self._file = NewFile(path)
        self._n_rows = 0
        self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._end()
        self._file.close()

    def discard(self) -> None:
        self._file.discard()

    def _write_item(self, value: Any) -> None:
        """An object of a JSON list, on a line of its own."""
        self._file.write((",\n" if self._n_rows else "\n") + json.dumps(value, ensure_ascii=False))
        self._n_rows += 1


class _RunsWriter(_Streamed):
    def _begin(self) -> None:
        self._table = csv.writer(self._file, lineterminator="\n")
        self._table.writerow(["ImageId", "ClassId", "EncodedPixels"])

    def add(self, name: str, mask: PhotoMask) -> None:
        for i, runs in enumerate(mask.runs):
            if len(runs):
                self._table.writerow([name, i + 1, rle.to_text(runs)])

    def _end(self) -> None:
        write_class_names(self._path.parent, self._labels)


class _CocoWriter(_Streamed):
    def _begin(self) -> None:
        self._images: list[dict[str, Any]] = []
        categories = [{"id": i + 1, "name": label} for i, label in enumerate(self._labels)]
        head = json.dumps(categories, ensure_ascii=False)
        self._file.write(f'{{"categories": {head},\n"annotations": [')

    def add(self, name: str, mask: PhotoMask) -> None:
        height, width = mask.size_hw
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for i, runs in enumerate(mask.runs):
            if len(runs):
                annotation = {
                    "id": self._n_rows + 1,
                    "image_id": image_id,
                    "category_id": i + 1,
                    "iscrowd": 0,
                    "area": int(runs[:, 1].sum()),
                    "bbox": _box_xywh(runs, mask.size_hw),
                    "segmentation": {"size": [height, width], "counts": rle.to_counts(runs, mask.size_hw)},
                }
                self._write_item(annotation)

    def _end(self) -> None:
        images = ",\n".join(json.dumps(one, ensure_ascii=False) for one in self._images)
        self._file.write(f'],\n"images": [\n{images}]}}\n')


class _GeoJsonWriter(_Streamed):
    """Coordinates are pixels: x to the right and y downwards from the photo's upper left corner."""

    def _begin(self) -> None:
        self._file.write('{"type": "FeatureCollection", "features": [')

    def add(self, name: str, mask: PhotoMask) -> None:
        for label, runs in zip(self._labels, mask.runs, strict=True):
            if len(runs):
                shape = {"type": "MultiPolygon", "coordinates": trace_outlines(runs, mask.size_hw)}
                properties = {"photo": name, "label": label, "area_px": int(runs[:, 1].sum())}
                self._write_item({"type": "Feature", "geometry": shape, "properties": properties})

    def _end(self) -> None:
        self._file.write("]}\n")


def _box_xywh(runs: np.ndarray, size_hw: tuple[int, int]) -> list[int]:
    """The box around all pixels of some runs."""
    height = size_hw[0]
    first, last = runs[:, 0] - 1, runs.sum(axis=1) - 2
    left, right = int(first[0] // height), int(last[-1] // height)
    if (first // height != last // height).any():  # a run over the end of a column touches both edges
        return [left, 0, right - left + 1, height]
    top, bottom = int((first % height).min()), int((last % height).max())
    return [left, top, right - left + 1, bottom - top + 1]
