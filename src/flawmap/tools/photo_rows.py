"""Photos as rows, so that one larger than memory can be read from top to bottom.

Up to the pixel cap a photo is decoded as everywhere else (`photos`). Above it, TIFF files are read in strips
by libvips, which decodes tiles as they are needed; other formats stay refused, since their size is rarely
meant. What libvips reads is not turned by an orientation tag: such photos are refused as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flawmap.errors import PhotoError, require_extra
from flawmap.records import Progress, no_progress
from flawmap.tools.georeference import Georeference, read_georeference
from flawmap.tools.photos import PhotoOptions, read_pixels

PREVIEW_PX = 1600
_ROWS_PER_STRIP, _TILE_LENGTH = 278, 323
_MOST_BLOCK_BYTES = 400_000_000


class PhotoRows(Protocol):
    """A photo of known size whose rows can be read."""

    size_hw: tuple[int, int]
    ground: Georeference | None
    """Where its pixels lie; None where the file does not say."""

    def read(self, top: int, bottom: int) -> np.ndarray:
        """Rows (h, W, 3) uint8 RGB."""
        ...

    def preview(self) -> np.ndarray:
        """(h, w, 3) uint8: the photo at PREVIEW_PX or less on its longer side, once it was read."""
        ...


def open_rows(path: Path, options: PhotoOptions, progress: Progress = no_progress) -> PhotoRows:
    """A photo, in memory or in strips, whose progress is told. Raises PhotoError, or MissingExtraError."""
    header = _read_tiff_header(path)
    if header is not None and header.width * header.height > options.max_megapixels * 1e6:
        return StripRows(path, header, progress)
    return ImageRows(read_pixels(path, options), None if header is None else header.ground)


class ImageRows:
    """A photo in memory."""

    def __init__(self, image: np.ndarray, ground: Georeference | None = None) -> None:
        self.image, self.ground = image, ground
        self.size_hw = (image.shape[0], image.shape[1])

    def read(self, top: int, bottom: int) -> np.ndarray:
        """Rows (h, W, 3) uint8 RGB, in any order."""
        return self.image[top:bottom]

    def preview(self) -> np.ndarray:
        from PIL import Image

        small = Image.fromarray(self.image)
        small.thumbnail((PREVIEW_PX, PREVIEW_PX), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return np.asarray(small)


@dataclass(frozen=True)
class _TiffHeader:
    width: int
    height: int
    orientation: int
    n_block_rows: int
    """Rows of a tile or strip, which is decoded at once."""
    ground: Georeference | None


class StripRows:
    """A TIFF read in strips; rows that were passed by long ago are gone."""

    _KEPT = 512
    """Rows that stay at hand: more than any reader goes back."""

    def __init__(self, path: Path, header: _TiffHeader, progress: Progress = no_progress) -> None:
        require_extra("pyvips", "inspect")
        import pyvips

        if header.orientation != 1:
            raise PhotoError("too large to be turned upright; save it without its orientation tag")
        if header.n_block_rows * header.width * 3 > _MOST_BLOCK_BYTES:
            raise PhotoError("too large: a TIFF of one strip; save it in tiles")
        self.size_hw, self.ground = (header.height, header.width), header.ground
        self._n_block_rows = header.n_block_rows
        self._what, self._progress = f"reading rows of {path.name}", progress
        self._errors = pyvips.Error
        try:
            image: Any = pyvips.Image.new_from_file(
                str(path),
                access="sequential",
                fail_on="error",  # it would fill what is missing with black
            )
            if image.hasalpha():
                image = image.flatten(background=255)
            if image.format != "uchar":
                raise PhotoError(f"too large: {header.width}×{header.height} with more than 8 bits")
            self._image = image.colourspace("srgb") if image.bands != 3 else image
        except pyvips.Error as error:
            raise _damaged(error) from error
        self._top, self._rows = 0, np.zeros((0, header.width, 3), np.uint8)
        self._step = max(1, -(-max(self.size_hw) // PREVIEW_PX))
        self._preview: list[np.ndarray] = []

    def read(self, top: int, bottom: int) -> np.ndarray:
        """Rows (h, W, 3) uint8 RGB; those far above what was read last are gone: ValueError."""
        end = self._top + len(self._rows)
        if top < self._top:
            raise ValueError(f"wanted rows from {self._top} on; got {top}")
        if bottom > end:
            # Whole tiles: read from top to bottom, libvips does not decode one twice.
            blocks_end = -(-bottom // self._n_block_rows) * self._n_block_rows
            fresh = self._fetch(end, min(blocks_end, self.size_hw[0]))
            first = -(-end // self._step) * self._step
            self._preview.append(fresh[first - end :: self._step, :: self._step].copy())
            keep_from = max(self._top, min(top, end) - self._KEPT)
            self._rows = np.concatenate([self._rows[keep_from - self._top :], fresh])
            self._top = keep_from
            self._progress(self._what, keep_from + len(self._rows), self.size_hw[0])
        return self._rows[top - self._top : bottom - self._top]

    def preview(self) -> np.ndarray:
        return np.concatenate(self._preview)

    def _fetch(self, top: int, bottom: int) -> np.ndarray:
        try:
            return self._image.crop(0, top, self.size_hw[1], bottom - top).numpy()
        except self._errors as error:
            raise _damaged(error) from error


def _damaged(error: Exception) -> PhotoError:
    return PhotoError(f"damaged: {str(error).strip().splitlines()[-1].strip()}")


def _read_tiff_header(path: Path) -> _TiffHeader | None:
    """Of a TIFF; None for other files and for what cannot be read, which read_pixels() then names."""
    if path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
        return None
    from PIL import TiffImagePlugin

    try:
        with path.open("rb") as file:
            image = TiffImagePlugin.TiffImageFile(file)
            tags = image.tag_v2
            orientation = int(tags.get(274, 1))
            n_rows = min(int(tags.get(_TILE_LENGTH) or tags.get(_ROWS_PER_STRIP, 1)), image.size[1])
            stored_wh = (int(tags[256]), int(tags[257]))  # Pillow gives those of the upright photo
            ground = read_georeference(tags, stored_wh, orientation)
            return _TiffHeader(*image.size, orientation, n_rows, ground)
    except Exception:  # whatever a damaged header makes Pillow raise
        return None
