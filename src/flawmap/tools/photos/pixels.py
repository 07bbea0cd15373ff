"""From a file's bytes to (H, W, 3) uint8 RGB.

**The rule for more than 8 bits.** Cameras write 10, 12 or 14 bits into 16-bit files and most files do not say
so. The fewest of 8, 10, 12, 14 and 16 bits that hold the brightest value of the file are taken for its range;
values are multiplied by 255 / (2^bits - 1) and rounded. Nothing is clipped, and the factor is kept in
`Photo.note`. `PhotoOptions.significant_bits` fixes the range for files of one camera, so that dark photos
cannot be taken for fewer bits; a file that exceeds it is refused. Formats that state their range (PGM,
JPEG 2000, 12-bit TIFF) are read by it. Floating point: 0 to 1 is multiplied by 255, larger values are read as
integers; negative or missing values are refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from flawmap.errors import OptionError, PhotoError, option
from flawmap.tools.options import Options
from flawmap.tools.photos.containers import Container, check_png_rows, read_orientation

_USUAL_BITS = (8, 10, 12, 14, 16)

# Opened by class: Image.open() would apply its own pixel limit, which only a process-wide setting moves.
_READERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "JPEG 2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

# Of 16-bit colour Pillow keeps the high byte only; told the other byte order, it keeps the low one.
_OTHER_BYTE = {
    **{f"{bands};16{a}": f"{bands};16{b}" for bands in ("RGB", "RGBA", "RGBX") for a, b in ("LB", "BL")},
    **{f"{bands};16N": f"{bands};16B" for bands in ("RGB", "RGBA", "RGBX")},
}
_FILLER = bytes(range(1, 250, 3)) * 4


_WIDE_CMYK = {"CMYK;16L", "CMYK;16B", "CMYK;16N"}
_EXIF_FROM_DECODER = {"WebP", "AVIF"}
"""JPEG and PNG are walked for it, the readers of TIFF and HEIC turn by themselves, others have none."""


@dataclass(frozen=True)
class PhotoOptions(Options):
    """How photos are read.

    `max_megapixels` is checked in the header, before anything is decoded. `significant_bits` (8 to 16) is the
    range of 16-bit files; None: told from each file. `memo` is a folder that remembers which files were
    decoded without fault, by digest, so that a later run need not decode them again. `n_threads`: None for
    one per processor core that this process may use.
    """

    max_megapixels: float = 200.0
    significant_bits: int | None = None
    memo: Path | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_megapixels > 0:
            raise OptionError(f"max_megapixels is {self.max_megapixels}; a number above 0 was wanted")
        if self.significant_bits is not None and not 8 <= self.significant_bits <= 16:
            raise OptionError(f"significant_bits is {self.significant_bits}; 8 to 16 was wanted, or none")
        if self.n_threads is not None and self.n_threads < 1:
            raise OptionError(f"n_threads is {self.n_threads}; 1 or more was wanted, or none")


def check_size(size_hw: tuple[int, int], options: PhotoOptions) -> None:
    """Raise PhotoError over the pixel cap, or where a side is 0."""
    height, width = size_hw
    if height < 1 or width < 1:
        raise PhotoError(f"damaged: the header says {width}×{height} pixels")
    if height * width > options.max_megapixels * 1e6:
        raise PhotoError(
            f"too large: {width}×{height} is {height * width / 1e6:.1f} megapixels, the cap is "
            f"{options.max_megapixels:g}; raise it with {option('--max-megapixels')}"
        )


def read_size(container: Container, options: PhotoOptions) -> tuple[int, int]:
    """Height and width as stored, from the header alone. Raises PhotoError over the pixel cap."""
    size_hw = container.size_hw
    if size_hw is None:
        with _decoder_errors(container.format):
            width, height = _open(container).size
            size_hw = (height, width)
    check_size(size_hw, options)
    return size_hw


def decode(container: Container, options: PhotoOptions) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 RGB, upright, and a note on how unusual pixels were read ("" for plain ones).

    Raises PhotoError; what a decoder raises on damaged bytes is turned into one.
    """
    if container.size_hw is not None:
        check_size(container.size_hw, options)
    if container.format == "PNG":
        check_png_rows(container)
    with _decoder_errors(container.format):
        image = _open(container)
        check_size((image.height, image.width), options)
        rgb, note = _read_pixels(image, container, options)
        if container.format == "JPEG" and _ends_early(rgb, container):
            raise PhotoError("truncated: the JPEG file's pixels end before its end marker")
    orientation = container.orientation
    if container.format in _EXIF_FROM_DECODER:
        orientation = read_orientation(_exif_bytes(image))
    return turn_upright(rgb, orientation), note


def decode_stored(container: Container, options: PhotoOptions) -> tuple[Image.Image, int]:
    """The first image with its values as they are stored, and its orientation. Raises PhotoError."""
    if container.size_hw is not None:
        check_size(container.size_hw, options)
    if container.format == "PNG":
        check_png_rows(container)
    with _decoder_errors(container.format):
        image = _open(container)
        check_size((image.height, image.width), options)
        _load(image)
    is_told_later = container.format in _EXIF_FROM_DECODER
    return image, read_orientation(_exif_bytes(image)) if is_told_later else container.orientation


@contextmanager
def _decoder_errors(kind: str) -> Iterator[None]:
    try:
        yield
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError("too large for the decoder; save it as PNG, JPEG or TIFF") from None
    except MemoryError:
        raise PhotoError("too large for the memory of this machine") from None
    except Exception as error:  # decoders raise anything on damaged bytes
        raise PhotoError(_reason_of_failure(kind, error)) from error


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (1 to 8), EXIF 2.32 table 'Orientation'."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _open(container: Container) -> ImageFile.ImageFile:
    stream = io.BytesIO(container.data)
    if container.format != "HEIC":
        return _READERS[container.format](stream)
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise PhotoError("HEIC needs the optional reader: pip install 'flawmap[heic]'") from None
    return HeifImageFile(stream)


def _read_pixels(
    image: ImageFile.ImageFile, container: Container, options: PhotoOptions
) -> tuple[np.ndarray, str]:
    tags: dict[int, Any] = dict(image.tag_v2) if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if _has_wide_colour(image):
        values = _read_wide_colour(container)
        return _from_wide(values, image, options)
    depth = "16-bit, high byte kept; " if set(_tile_modes(image)) & _WIDE_CMYK else ""
    _load(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_deep_grey(image, container.format, tags, options)
    note = (
        f"{depth}{image.mode} converted without its colour profile" if image.mode in ("CMYK", "LAB") else ""
    )
    if image.mode == "La":
        image = image.convert("LA")  # type: ignore[assignment]
    if image.has_transparency_data or image.mode in ("RGBa", "PA"):
        rgba = np.asarray(image.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            return lay_on_white(rgba[..., :3], rgba[..., 3]), "transparent pixels laid on white"
        return np.ascontiguousarray(rgba[..., :3]), note
    return np.asarray(image.convert("RGB")), note


def lay_on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 over white with (H, W) uint8 alpha, rounded."""
    opacity = alpha[..., None].astype(np.uint32)
    return ((rgb * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _load(image: ImageFile.ImageFile) -> None:
    """Decode. A TIFF is given its memory first, which spares it the decoder's own pixel limit."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = image.size
        if image.tag_v2.get(0x0112) in (5, 6, 7, 8):
            width, height = height, width
        image.im = Image.new(image.mode, (width, height)).im
    image.load()


def _ends_early(rgb: np.ndarray, container: Container) -> bool:
    """Whether a JPEG's end marker comes before its last pixels, which the decoder then fills with one colour.

    Where the last pixels are of one colour, bytes are put in before the end marker: after all pixels they are
    passed over, but where pixels are missing they are taken for them.
    """
    if (rgb[-1, -8:] != rgb[-1, -1]).any():
        return False
    data, end = container.data, container.end
    longer = data[:end] + _FILLER + data[end:]
    again, _ = _read_pixels(_open(replace(container, data=longer)), container, PhotoOptions())
    return not np.array_equal(rgb, again)


def _tile_modes(image: ImageFile.ImageFile) -> list[str]:
    modes = []
    for tile in image.tile:
        args = tile.args
        modes.append(args if isinstance(args, str) else str(args[0]) if args else "")
    return modes


def _has_wide_colour(image: ImageFile.ImageFile) -> bool:
    """Whether several channels of 16 bits are stored. Raises PhotoError for a TIFF that is read wrongly."""
    modes = set(_tile_modes(image))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(258, (1,))
        if len(bits) > 1 and max(bits) > 8:
            if image.tag_v2.get(284, 1) == 2:
                raise PhotoError("a 16-bit TIFF with separate colour planes is not read; save it interleaved")
            if not modes <= set(_OTHER_BYTE) | _WIDE_CMYK:
                raise PhotoError(
                    "a 16-bit TIFF of this kind (premultiplied?) is not read; save it as 16-bit PNG"
                )
    return any(mode in _OTHER_BYTE or mode == "LA;16B" for mode in modes)


def _read_wide_colour(container: Container) -> np.ndarray:
    """(H, W, bands) uint16: decoded twice, for the high bytes and for the low ones."""
    high_image, low_image = _open(container), _open(container)
    modes = _tile_modes(high_image)
    if set(modes) == {"LA;16B"}:  # grey with alpha: four bytes per pixel, which RGBA takes as they are
        high_image.tile = [tile._replace(args=_with_mode(tile.args, "RGBA")) for tile in high_image.tile]
        _load(high_image)
        four = np.asarray(high_image).astype(np.uint16)
        return np.stack([four[..., 0] << 8 | four[..., 1], four[..., 2] << 8 | four[..., 3]], axis=-1)
    low_image.tile = [
        tile._replace(args=_with_mode(tile.args, _OTHER_BYTE[mode]))
        for tile, mode in zip(low_image.tile, modes, strict=True)
    ]
    _load(high_image)
    _load(low_image)
    return np.asarray(high_image).astype(np.uint16) << 8 | np.asarray(low_image)


def _with_mode(args: Any, mode: str) -> Any:
    return mode if isinstance(args, str) else (mode, *args[1:])


def _from_wide(
    values: np.ndarray, image: ImageFile.ImageFile, options: PhotoOptions
) -> tuple[np.ndarray, str]:
    n_colours = 1 if values.shape[2] == 2 else 3
    colours = values[..., :n_colours]
    rgb, note = scale_to_8_bits(colours, options.significant_bits)
    rgb = np.repeat(rgb, 3, axis=2) if n_colours == 1 else rgb
    alpha = None
    if values.shape[2] > n_colours:
        alpha, _ = scale_to_8_bits(values[..., n_colours], None)
    elif image.info.get("transparency") is not None:
        key = np.array(image.info["transparency"], np.uint16)
        alpha = np.where((colours == key).all(axis=2), 0, 255).astype(np.uint8)
    if alpha is not None and alpha.min() < 255:
        return lay_on_white(rgb, alpha), f"{note}; transparent pixels laid on white"
    return np.ascontiguousarray(rgb), note


def _from_deep_grey(
    image: ImageFile.ImageFile, kind: str, tags: dict[int, Any], options: PhotoOptions
) -> tuple[np.ndarray, str]:
    values = np.asarray(image)
    is_inverted = tags.get(262) == 0
    if values.dtype.kind == "f":
        if is_inverted:
            raise PhotoError("a floating-point TIFF with white as 0 is not read; save it with black as 0")
        grey, note = _scale_floats(values, options.significant_bits)
    else:
        bits = (
            16 if kind in ("PPM", "JPEG 2000") else 12 if tags.get(258) == (12,) else options.significant_bits
        )
        grey, note = scale_to_8_bits(values, bits)
        if is_inverted:
            grey = 255 - grey
    key = image.info.get("transparency")
    if kind == "PNG" and isinstance(key, int) and (values == key).any():
        grey = np.where(values == key, np.uint8(255), grey)
        note += "; transparent pixels laid on white"
    return np.repeat(grey[..., None], 3, axis=2), note


def scale_to_8_bits(values: np.ndarray, bits: int | None) -> tuple[np.ndarray, str]:
    """Integers of any shape → uint8 and a note, by the rule of this module; `bits` fixes the range."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise PhotoError(
            f"values from {low} to {high} do not fit 16 bits; save it as 8- or 16-bit PNG or TIFF"
        )
    if bits is None:
        bits = next(b for b in _USUAL_BITS if high < 1 << b)
    elif high >= 1 << bits:
        raise PhotoError(f"a value of {high} exceeds {bits} significant bits; raise significant_bits")
    top = (1 << bits) - 1
    table = ((np.arange(top + 1, dtype=np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    return table[values], f"16-bit, scaled by 255/{top}"


def _scale_floats(values: np.ndarray, bits: int | None) -> tuple[np.ndarray, str]:
    if not np.isfinite(values).all():
        raise PhotoError(
            "floating-point pixels with missing or infinite values; save it as 16-bit PNG or TIFF"
        )
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 0xFFFF:
        raise PhotoError(f"floating-point values from {low:g} to {high:g}; 0 to 1 or 0 to 65535 was wanted")
    if high <= 1:
        return np.rint(values * 255).astype(np.uint8), "floating point, scaled by 255"
    grey, note = scale_to_8_bits(np.rint(values).astype(np.int64), bits)
    return grey, note.replace("16-bit", "floating point")


def _exif_bytes(image: Image.Image) -> bytes:
    exif = image.info.get("exif", b"")
    return exif if isinstance(exif, bytes) else b""


def _reason_of_failure(kind: str, error: BaseException) -> str:
    detail = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
    if "truncated" in detail or isinstance(error, EOFError):
        return f"truncated: the {kind} file ends before its pixels do"
    if "cannot identify" in detail or isinstance(error, SyntaxError):
        return f"damaged, or a kind of {kind} that is not read ({detail})"
    return f"damaged: the {kind} decoder stopped ({detail})"
