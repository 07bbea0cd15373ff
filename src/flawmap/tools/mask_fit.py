"""Bring masks to the size of their photo, and the same way up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from flawmap.errors import MaskError, option
from flawmap.records import Photo
from flawmap.tools.photos import PhotoOptions, read_orientation_of
from flawmap.tools.photos.pixels import turn_upright

Turn = Literal["exif", "left", "right"]
_ORIENTATION_OF: dict[Turn, int] = {"left": 8, "right": 6}


@dataclass(frozen=True)
class MaskFit:
    """How masks come to lie on a photo. `turn`: "exif" turns them as the photo's EXIF orientation turns it;
    "left" or "right" turns those by 90° that are rotated against it, and no others."""

    photo: Photo
    photos: PhotoOptions
    resize: bool = False
    turn: Turn | None = None

    @cached_property
    def orientation(self) -> int:
        """How each mask has to be turned, as EXIF says it: 1 (not at all) to 8."""
        return read_orientation_of(self.photo.path, self.photos) if self.turn == "exif" else 1

    @property
    def drawn_hw(self) -> tuple[int, int]:
        """The size on which masks of the photo were drawn, where nothing else tells it."""
        return self._upright(self.photo.size_hw)

    def check(self, size_hw: tuple[int, int], what: str = "its mask") -> None:
        """Raises MaskError for a mask of another size, where it is not to be resized, and for one that is
        rotated against the photo, where it is not to be turned."""
        (height, width), (tall, wide) = self._upright(size_hw), self.photo.size_hw
        if (height, width) == (tall, wide):
            return
        turned = "" if self.orientation == 1 else " once turned as the photo"
        sizes = f"{what} is {width}×{height}{turned}, the photo {wide}×{tall}"
        if self._is_rotated((height, width)):
            if self.turn in _ORIENTATION_OF:
                height, width = width, height
            else:
                self._refuse_rotated(sizes)
        if (height, width) != (tall, wide) and not self.resize:
            raise MaskError(f"{sizes}; the same size was wanted, or {option('--resize-masks')}")

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(h, w) of a mask at the photo's size. Raises MaskError as check()."""
        self.check((values.shape[0], values.shape[1]))
        values = turn_upright(values, self.orientation)
        if self.turn in _ORIENTATION_OF and self._is_rotated((values.shape[0], values.shape[1])):
            values = turn_upright(values, _ORIENTATION_OF[self.turn])
        (height, width), (tall, wide) = values.shape, self.photo.size_hw
        if (height, width) == (tall, wide):
            return values
        rows = ((np.arange(tall) + 0.5) * height / tall).astype(np.int64)
        columns = ((np.arange(wide) + 0.5) * width / wide).astype(np.int64)
        return values[rows[:, None], columns]

    def _upright(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        return size_hw if self.orientation < 5 else (size_hw[1], size_hw[0])

    def _is_rotated(self, size_hw: tuple[int, int]) -> bool:
        (height, width), (tall, wide) = size_hw, self.photo.size_hw
        return (height > width) != (tall > wide) and height * tall == width * wide

    def _refuse_rotated(self, sizes: str) -> None:
        flag = option("--turn-masks")
        if self.orientation != 1:
            raise MaskError(f"{sizes}; masks as the photos are stored were wanted, as {flag} is exif")
        orientation = read_orientation_of(self.photo.path, self.photos)
        if orientation >= 5:
            sizes += f" once its EXIF orientation ({orientation}) has turned it upright"
            remedy = "exif turns masks as their photos"
        else:
            remedy = "left or right turns such masks"
        raise MaskError(f"{sizes}; the mask is rotated against it: {flag} {remedy}")
