"""Where a photo is to be looked at: a polygon or a mask, one for all photos or one per camera's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from flawmap.errors import OptionError, PhotoError, some_of
from flawmap.tools.masks import fill_polygon
from flawmap.tools.remote import Place, is_remote

_EXTENSIONS = (".json", ".png")
_WANTED = "[[x, y], ...] or a list of such polygons, in pixels of the upright photo"


@dataclass(frozen=True, eq=False)
class Region:
    """Polygons in pixels of the upright photo, or a mask of its size."""

    polygons: tuple[np.ndarray, ...] = ()
    """Each (n, 2) x, y."""
    mask: np.ndarray | None = None
    """(H, W) bool."""

    def cells(self, map_hw: tuple[int, int], cell_px: float, size_hw: tuple[int, int]) -> np.ndarray:
        """(h, w) bool: which cells of `cell_px` have their middle inside. Raises PhotoError for a mask of
        another size than the photo's."""
        return self._sample(map_hw, (cell_px, cell_px), size_hw)

    def shares(self, map_hw: tuple[int, int], size_hw: tuple[int, int]) -> np.ndarray:
        """(h, w) bool: the region of a photo of `size_hw`, drawn as large as the map. Raises PhotoError as
        cells()."""
        return self._sample(map_hw, (size_hw[0] / map_hw[0], size_hw[1] / map_hw[1]), size_hw)

    def _sample(
        self, map_hw: tuple[int, int], cell_hw: tuple[float, float], size_hw: tuple[int, int]
    ) -> np.ndarray:
        """(h, w) bool: which cells of a map have their middle inside; a cell is `cell_hw` pixels."""
        if self.mask is None:
            return np.any([fill_polygon(points / cell_hw[::-1], map_hw) for points in self.polygons], axis=0)
        self._check_size(self.mask, size_hw)
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) * cell).astype(int), side - 1)
            for n, cell, side in zip(map_hw, cell_hw, size_hw, strict=True)
        )
        return self.mask[np.ix_(rows, columns)]

    def rows(self, top: int, bottom: int, size_hw: tuple[int, int]) -> np.ndarray:
        """(bottom - top, W) bool: which pixels of these rows are inside. Raises PhotoError as cells()."""
        if self.mask is None:
            band_hw = (bottom - top, size_hw[1])
            return np.any([fill_polygon(points - [0, top], band_hw) for points in self.polygons], axis=0)
        self._check_size(self.mask, size_hw)
        return self.mask[top:bottom]

    @staticmethod
    def _check_size(mask: np.ndarray, size_hw: tuple[int, int]) -> None:
        if mask.shape != size_hw:
            (height, width), (has_h, has_w) = size_hw, mask.shape
            raise PhotoError(
                f"the region's mask is {has_w}×{has_h}, the photo {width}×{height}; give a mask of the "
                "photo's size, or a polygon"
            )


def find_region(given: Path, photo: Path) -> Region | None:
    """The region of a photo: of the file given, or of the file in a folder that is named like the photo's
    own folder (None where there is none). Raises OptionError."""
    if given.is_file():
        return read_region(given)
    if not given.is_dir():
        raise OptionError(f"there is no region {given}; give a .json or .png file, or a folder of them")
    file = _file_for(given, photo.resolve().parent.name)
    return None if file is None else read_region(file)


def _file_for(given: Path, folder_name: str) -> Path | None:
    files = (given / f"{folder_name}{extension}" for extension in _EXTENSIONS)
    return next((file for file in files if file.is_file()), None)


def check_region(given: Path) -> None:
    """Raise OptionError where no photo could have this region."""
    if not given.is_dir():
        find_region(given, given)


def find_folders_without(given: Path, photos: Iterable[Place]) -> list[str]:
    """Names of the photos' folders for which a folder of regions has none; [] where `given` is a file.

    Raises OptionError where it has none for any photo.
    """
    if not given.is_dir():
        return []
    names = sorted({_folder_name(photo) for photo in photos})
    without = [name for name in names if _file_for(given, name) is None]
    if names and len(without) == len(names):
        there = sorted(file.name for file in given.iterdir() if file.suffix.lower() in _EXTENSIONS)
        found = f"holds {some_of(there, 3)}" if there else "holds no .json or .png file"
        wanted = some_of([f"{name}.json" for name in names], 3)
        raise OptionError(
            f"the folder of regions {given} {found}, none of which is for these photos; {wanted} (or .png) "
            "was wanted, named like the folder of the photos"
        )
    return without


def _folder_name(photo: Place) -> str:
    if is_remote(photo):
        return PurePosixPath(str(photo).split("://", 1)[1]).parent.name
    return Path(photo).resolve().parent.name


def read_region(file: Path) -> Region:
    """A polygon from .json, or a mask (what is not 0 is looked at) from .png. Raises OptionError."""
    if file.suffix.lower() == ".png":
        from flawmap.tools.photos import read_stored

        try:
            stored = np.asarray(read_stored(file)[0])
        except PhotoError as error:
            raise OptionError(f"the region {file} cannot be read: {error}") from error
        return Region(mask=np.asarray(stored.reshape(*stored.shape[:2], -1).any(axis=2)))
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(values[0][0], int | float):
            values = [values]
        polygons = tuple(np.array(polygon, float) for polygon in values)
        is_fine = all(p.ndim == 2 and p.shape[1] == 2 and len(p) >= 3 for p in polygons)
    except (TypeError, LookupError, OverflowError, RecursionError) as error:
        raise OptionError(f"the region {file} is no list of points; wanted {_WANTED}") from error
    except (OSError, ValueError) as error:
        raise OptionError(f"the region {file} cannot be read ({error}); wanted {_WANTED}") from error
    if not is_fine or not all(np.isfinite(p).all() for p in polygons):
        raise OptionError(f"the region {file} holds no polygon of three corners or more; wanted {_WANTED}")
    return Region(polygons)
