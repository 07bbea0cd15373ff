"""Mask images → runs per value, strictly: what could be read in two ways is refused, never guessed.

Grey values count as stored. A palette counts by its indices, unless all its colours are grey: then by those.
Colours count where red, green and blue agree, or where it is told what they mean. Transparent pixels are
no flaw, once it is told what the others mean: by their colours (then pixels less than half opaque are
transparent) or by a threshold (then a pixel is as dark as it is transparent). A mask is turned upright by its
own orientation, if it has one, and by nothing else then but a quarter turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from flawmap.errors import MaskError, OptionError, PhotoError, option
from flawmap.records import Photo
from flawmap.tools import rle
from flawmap.tools.mask_fit import MaskFit, Turn
from flawmap.tools.options import Options
from flawmap.tools.photos import PhotoOptions, read_stored
from flawmap.tools.photos.pixels import turn_upright

MAX_CLASS_INDEX = 63
"""The highest class number taken from masks whose classes are not named."""
VOID = 255
_VOID_COLOUR = (224, 224, 192)
_COLOURED = {"P", "RGB", "RGBA"}
_MAP = "a labelmap.txt beside the masks that names the colours (crack:255,0,0, a line each)"
_LOSSY = {"JPEG", "JPEG 2000", "WebP", "AVIF", "HEIC"}


@dataclass(frozen=True)
class MaskImageOptions(Options):
    """`threshold`: pixels at or above it are flaw, whatever values there are (but for colours that are told);
    None: only exact values count.
    `resize`: a mask of another size than its photo is resized, each pixel taking its nearest. `turn` as in
    MaskFit."""

    threshold: int | None = None
    resize: bool = False
    turn: Turn | None = None
    colours: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    """Class numbers (0: no flaw) by red, green and blue, where masks are coloured."""
    has_void: bool = False
    """Whether 255 may stand beside class numbers, for pixels that nobody labelled (as in Pascal VOC)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and not 1 <= self.threshold <= 65535:
            raise OptionError(f"mask_threshold is {self.threshold}; 1 to 65535 was wanted, or none")

    def fit(self, photo: Photo, photos: PhotoOptions) -> MaskFit:
        """How masks come to lie on the photo."""
        return MaskFit(photo, photos, self.resize, self.turn)


def read_value_runs(
    path: Path, photo: Photo, options: MaskImageOptions, photos: PhotoOptions, max_index: int
) -> dict[int, np.ndarray]:
    """Runs of each value but 0: {255: ...} for masks of 0 and 255, else class numbers from 1 to `max_index`;
    {1: ...} where a threshold is given. Raises MaskError for other values, soft edges or another size."""
    try:
        image, kind, orientation = read_stored(path, photos)
    except PhotoError as error:
        raise MaskError(f"its mask cannot be read: {error}") from None
    is_by_colour = bool(options.colours) and image.mode in _COLOURED
    values = _numbers_of_colours(image, options.colours) if is_by_colour else _to_values(image, options)
    fit = options.fit(photo, photos)
    if orientation != 1 and fit.turn == "exif":
        fit = replace(fit, turn=None)
    values = fit.apply(turn_upright(values, orientation))
    if options.threshold is not None and not is_by_colour:
        flaw = rle.encode(values >= options.threshold)
        return {1: flaw} if len(flaw) else {}
    found = np.flatnonzero(np.bincount(values.ravel()))
    labelled = found[found != VOID] if options.has_void else found
    _refuse_values(labelled, kind, max_index)
    return {int(value): rle.encode(values == value) for value in found if value}


def _to_values(image: Image.Image, options: MaskImageOptions) -> np.ndarray:
    """(H, W) integers as stored."""
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        indices = np.asarray(image)
        is_grey = bool((palette == palette[:, :1]).all()) and len(palette) > int(indices.max())
        return palette[indices, 0] if is_grey else indices
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * 255
    values = np.asarray(image)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 65535:
        raise MaskError("its mask does not hold whole numbers of 0 to 65535; 0 and 255 were wanted")
    if values.ndim == 2:
        return values
    if image.mode not in ("RGB", "RGBA", "LA"):
        raise MaskError(f"its mask is a {image.mode} image; a grey one was wanted")
    if image.mode in ("RGBA", "LA"):
        values = _lay_on_black(values[..., :-1], values[..., -1:], options)
    if (values != values[..., :1]).any():
        n_colours = len(np.unique(values.reshape(-1, 3), axis=0))
        raise MaskError(
            f"its mask holds {n_colours} colours; 0 and 255, or class numbers, were wanted, or {_MAP}"
        )
    return values[..., 0]


def _lay_on_black(values: np.ndarray, alpha: np.ndarray, options: MaskImageOptions) -> np.ndarray:
    """(H, W, 1 or 3) laid on black by (H, W, 1) alpha. Raises MaskError where nothing says what it means."""
    if alpha.min() == 255:
        return values
    laid = ((values * alpha.astype(np.uint16) + 127) // 255).astype(np.uint8)
    if options.threshold is None:
        is_grey = (laid == laid[..., :1]).all()
        remedy = f"{option('--mask-threshold')} takes them as no flaw" if is_grey else f"wanted {_MAP}"
        raise MaskError(f"its mask has transparent pixels; {remedy}")
    if alpha.any() and not laid.any():
        raise MaskError(f"its mask is black on transparent; white on transparent was wanted, or {_MAP}")
    return laid


def _numbers_of_colours(image: Image.Image, colours: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    """(H, W) uint8."""
    rgba = np.asarray(image.convert("RGBA"))
    is_seen = rgba[..., 3] >= 128
    rgb = rgba[..., :3] * is_seen[..., None]
    codes, places = np.unique(rgb.astype(np.int64) @ (1 << 16, 1 << 8, 1), return_inverse=True)
    known = {(0, 0, 0): 0, _VOID_COLOUR: VOID, **colours}
    number_of = {red << 16 | green << 8 | blue: number for (red, green, blue), number in known.items()}
    unknown = [code for code in codes.tolist() if code not in number_of]
    if unknown:
        red, green, blue = unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255
        raise MaskError(f"its mask holds the colour {red},{green},{blue}, which labelmap.txt does not name")
    numbers = np.array([number_of[code] for code in codes.tolist()], np.uint8)
    return numbers[places.reshape(rgb.shape[:2])] * is_seen


def _refuse_values(found: np.ndarray, kind: str, max_index: int) -> None:
    if np.isin(found, (0, 255)).all() or (found.max() <= max_index and kind not in _LOSSY):
        return
    between = int(((found > 0) & (found < 255)).sum())
    shown = ", ".join(map(str, found[:6])) + (", ..." if len(found) > 6 else "")
    if kind in _LOSSY or (between > 2 and found.max() <= 255):
        what = f"its mask ({kind}) has soft edges: {between} values between 0 and 255 ({shown})"
    else:
        what = f"its mask holds the values {shown}"
    raise MaskError(
        f"{what}; 0 and 255, or class numbers up to {max_index}, were wanted. With "
        f"{option('--mask-threshold')} every pixel at or above it is flaw"
    )
