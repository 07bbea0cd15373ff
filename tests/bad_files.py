"""Draws photo files of every kind: good ones with the pixels they hold, and bad ones with the reason.

PNG and TIFF are written byte by byte, because Pillow cannot write the kinds that matter most here. Nothing is
random without a seed, and nothing needs a file on disk.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms

EXIF_OF = {
    i: b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x0112, 3, 1, i, 0, 0) for i in range(1, 9)
}


def draw_photo(height: int = 48, width: int = 64) -> np.ndarray:
    """(H, W, 3) uint8: four quarters of different colours, so that no two orientations look alike."""
    photo = np.empty((height, width, 3), np.uint8)
    photo[: height // 2, : width // 2] = (220, 40, 30)
    photo[: height // 2, width // 2 :] = (30, 200, 60)
    photo[height // 2 :, : width // 2] = (40, 50, 210)
    photo[height // 2 :, width // 2 :] = (230, 220, 50)
    return photo


def draw_ramp(top: int, height: int = 40, width: int = 50) -> np.ndarray:
    """(H, W, 3) uint16 from 0 to `top`, every channel another way."""
    ramp = np.linspace(0, top, height * width).round().astype(np.uint16).reshape(height, width)
    return np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1)


def store_turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a camera stores with this EXIF value, told by where row 0 and column 0 are seen."""
    first_row, first_column = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    if "bottom" in (first_row, first_column):
        upright = upright[::-1]
    if "right" in (first_row, first_column):
        upright = upright[:, ::-1]
    return upright.swapaxes(0, 1) if first_row in ("left", "right") else upright


def encode(image: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """Bytes of a file as Pillow writes it."""
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(values: np.ndarray, extra: bytes = b"", header_wh: tuple[int, int] | None = None) -> bytes:
    """(H, W, 1 to 4) uint8 or uint16 → a PNG whose rows use every filter; `extra` chunks come before IDAT."""
    height, width, n_bands = values.shape
    n_bytes = values.dtype.itemsize * n_bands
    stored = values.astype(values.dtype.newbyteorder(">"))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(height, -1).astype(int)
    body = bytearray()
    above, left = np.zeros_like(rows), np.zeros_like(rows)
    above[1:], left[:, n_bytes:] = rows[:-1], rows[:, :-n_bytes]
    for y in range(height):
        kind = y % 4
        expected = [0, left[y], above[y], (left[y] + above[y]) // 2][kind]
        body += bytes([kind]) + ((rows[y] - expected) % 256).astype(np.uint8).tobytes()
    wide, high = header_wh or (width, height)
    head = struct.pack(">IIBBBBB", wide, high, 8 * values.dtype.itemsize, (0, 4, 2, 6)[n_bands - 1], 0, 0, 0)
    chunks = png_chunk(b"IHDR", head) + extra + png_chunk(b"IDAT", zlib.compress(bytes(body)))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def interlaced_png(values: np.ndarray) -> bytes:
    """(H, W, 3) uint8 or uint16 → a PNG in the seven passes of Adam7, unfiltered."""
    height, width, _ = values.shape
    stored = values.astype(values.dtype.newbyteorder(">"))
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    body = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in stored[y::dy, x::dx])
    head = struct.pack(">IIBBBBB", width, height, 8 * values.dtype.itemsize, 2, 0, 0, 1)
    chunks = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(body)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(
    values: np.ndarray, tags: dict[int, tuple[int, ...]] | None = None, order: Literal["<", ">"] = "<"
) -> bytes:
    """(H, W, bands) of any type → an uncompressed TIFF in one strip; `tags` overrule what is written (as
    SHORT, or LONG for sizes). With tag 284 = 2 the bands are stored one after another."""
    height, width, n_bands = values.shape
    is_planar = (tags or {}).get(284) == (2,)
    stored = np.moveaxis(values, 2, 0) if is_planar else values
    body = stored.astype(values.dtype.newbyteorder(order)).tobytes()
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    n_strips = n_bands if is_planar else 1
    entries: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (8 * values.dtype.itemsize,) * n_bands, 259: (1,),
        262: (1 if n_bands < 3 else 2,), 273: tuple(8 + i * (len(body) // n_strips) for i in range(n_strips)),
        277: (n_bands,), 278: (height,), 279: (len(body) // n_strips,) * n_strips, 284: (1,),
        339: (sample_format,) * n_bands, **(tags or {}),
    }  # fmt: skip
    at = 8 + len(body)
    directory, beyond = struct.pack(order + "H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        kind, code = (4, "I") if tag in (256, 257, 273, 278, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(packed) > 4:
            offset = at + 2 + 12 * len(entries) + 4 + len(beyond)
            beyond, packed = beyond + packed, struct.pack(order + "I", offset)
        directory += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return head + body + directory + b"\0\0\0\0" + beyond


def jpeg_with(segment: bytes, jpeg: bytes) -> bytes:
    """`jpeg` with an APP1 segment put in after its start marker."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def _cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def _noise(n_bytes: int) -> bytes:
    return bytes(np.random.default_rng(0).integers(128, 255, n_bytes, dtype=np.uint8))


def _flip(data: bytes, after: bytes, offset: int) -> bytes:
    at = data.index(after) + offset
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def _with_size(data: bytes, layout: str, offset: int, *numbers: int) -> bytes:
    return data[:offset] + struct.pack(layout, *numbers) + data[offset + struct.calcsize(layout) :]


def _textured() -> np.ndarray:
    noise = np.random.default_rng(1).integers(-20, 20, (96, 128, 3))
    return (draw_photo(96, 128) + noise).clip(0, 255).astype(np.uint8)


def _flip_depth(data: bytes) -> bytes:
    return _with_size(data, "B", data.index(b"\xff\xc0") + 4, 12)


def _jpeg_bomb() -> bytes:
    data = encode(draw_photo(), "JPEG")
    return _with_size(data, ">HH", data.index(b"\xff\xc0") + 5, 65000, 65000)


BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    # nothing, or no photo at all
    "empty.jpg": (lambda: b"", "empty"),
    "text.jpg": (lambda: b"not a photo, but a note\n", "text"),
    "download.jpg": (lambda: b"\n<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    "drawing.png": (lambda: b"<?xml version='1.0'?><svg xmlns='x'/>", "SVG"),
    "document.jpg": (lambda: b"%PDF-1.7\n\x80\x81", "PDF"),
    "archive.jpg": (lambda: b"PK\x03\x04\x14\0\0\0", "ZIP"),
    "packed.png": (lambda: b"\x1f\x8b\x08\0\x80", "gzip"),
    "layers.png": (lambda: b"8BPS\0\x01" + bytes(20), "Photoshop"),
    "pointer.jpg": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "zeros.jpg": (lambda: bytes(5000), "zero bytes"),
    "noise.jpg": (lambda: _noise(3000), "unknown bytes"),
    "large.tif": (lambda: b"MM\0+\0\x08\0\0" + bytes(40), "BigTIFF"),
    "float_map.ppm": (lambda: b"PF\n4 4\n-1.0\n" + bytes(192), "unknown bytes"),
    # mislabelled
    "png_inside.jpg": (lambda: encode(draw_photo(), "PNG"), "says JPEG, the bytes are PNG"),
    "jpeg_inside.png": (lambda: encode(draw_photo(), "JPEG"), "says PNG, the bytes are JPEG"),
    "tiff_inside.jpeg": (lambda: tiff(draw_photo()), "says JPEG, the bytes are TIFF"),
    "webp_inside.JPG": (lambda: encode(draw_photo(), "WEBP"), "says JPEG, the bytes are WebP"),
    # cut off
    "start.jpg": (lambda: b"\xff\xd8\xff", "truncated"),
    "head.jpg": (lambda: encode(_textured(), "JPEG")[:100], "truncated"),
    "half.jpg": (lambda: _cut(encode(_textured(), "JPEG"), 0.5), "truncated"),
    "half_progressive.jpg": (lambda: _cut(encode(_textured(), "JPEG", progressive=True), 0.5), "truncated"),
    "no_end.jpg": (lambda: encode(_textured(), "JPEG")[:-2], "end marker"),
    "half_with_end.gif": (lambda: _cut(encode(_textured(), "GIF"), 0.5) + b"\0;", "GIF"),
    "half_with_end.jpg": (
        lambda: _cut(encode(_textured(), "JPEG"), 0.5) + b"\xff\xd9",
        "before its end marker",
    ),
    "signature.png": (lambda: b"\x89PNG\r\n\x1a\n", "truncated"),
    "half.png": (lambda: _cut(encode(_textured(), "PNG"), 0.5), "truncated"),
    "no_end.png": (lambda: encode(_textured(), "PNG")[:-12], "IEND"),
    "few_rows.png": (lambda: png(_textured(), header_wh=(128, 200)), "truncated"),
    "half.tif": (lambda: _cut(encode(_textured(), "TIFF"), 0.5), "TIFF"),
    "half_packed.tif": (lambda: _cut(encode(_textured(), "TIFF", compression="tiff_lzw"), 0.5), "TIFF"),
    "half.bmp": (lambda: _cut(encode(_textured(), "BMP"), 0.5), "truncated"),
    "half.gif": (lambda: _cut(encode(_textured(), "GIF"), 0.5), "truncated"),
    "half.webp": (lambda: _cut(encode(_textured(), "WEBP"), 0.5), "WebP"),
    "half.avif": (lambda: _cut(encode(_textured(), "AVIF"), 0.5), "AVIF"),
    "half.jp2": (lambda: _cut(encode(_textured(), "JPEG2000"), 0.5), "JPEG 2000"),
    "half.ppm": (lambda: _cut(encode(_textured(), "PPM"), 0.5), "truncated"),
    "half.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0", "HEI"),
    # damaged
    "wrong_checksum.png": (lambda: _flip(encode(_textured(), "PNG"), b"IDAT", 40), "checksum in the IDAT"),
    "wrong_header.png": (lambda: _flip(encode(_textured(), "PNG"), b"IHDR", 8), "checksum in the IHDR"),
    "no_zlib.png": (lambda: _replace_idat(_noise(400)), "PNG"),
    "12_bit.jpg": (lambda: _flip_depth(encode(draw_photo(), "JPEG")), "JPEG of 12 bits"),
    "no_marker.jpg": (lambda: b"\xff\xd8\xff\xe0\0\x04\0\0" + _noise(60)[:1] + bytes(60), "no JPEG marker"),
    "no_size.png": (lambda: png(draw_photo(), header_wh=(0, 0)), "0×0"),
    "no_directory.tif": (lambda: b"II*\0\xf0\xff\0\0" + bytes(40), "TIFF"),
    # too large: headers that promise more than the cap
    "bomb.png": (lambda: png(draw_photo(), header_wh=(60_000, 60_000)), "3600.0 megapixels"),
    "bomb.jpg": (_jpeg_bomb, "4225.0 megapixels"),
    "bomb.gif": (lambda: _with_size(encode(draw_photo(), "GIF"), "<HH", 6, 65_000, 65_000), "megapixels"),
    "bomb.bmp": (lambda: _with_size(encode(draw_photo(), "BMP"), "<ii", 18, 40_000, 40_000), "megapixels"),
    "bomb.ppm": (lambda: b"P6\n50000 50000\n255\n" + bytes(60), "megapixels"),
    "bomb.tif": (lambda: tiff(draw_photo(), {256: (50_000,), 257: (50_000,)}), "megapixels"),
    # pixels without a right reading
    "planes_16_bit.tif": (lambda: tiff(draw_ramp(65535), {284: (2,)}), "separate colour planes"),
    "premultiplied.tif": (
        lambda: tiff(np.dstack([draw_ramp(9999)] * 2)[..., :4], {338: (1,)}),
        "premultiplied",
    ),
    "float_colour.tif": (lambda: tiff(draw_ramp(1).astype(np.float32)), "TIFF"),
    "not_a_number.tif": (lambda: tiff(np.full((4, 4, 1), np.nan, np.float32)), "missing or infinite"),
    "negative_float.tif": (lambda: tiff(np.full((4, 4, 1), -0.5, np.float32)), "-0.5"),
    "negative.tif": (lambda: tiff(np.full((4, 4, 1), -7, np.int16)), "-7"),
    "32_bit.tif": (lambda: tiff(np.full((4, 4, 1), 70_000, np.int32)), "70000"),
}
"""Name → (bytes, part of the reason)."""


def _replace_idat(body: bytes) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def _grey(photo: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))


def _scaled(values: np.ndarray, top: int) -> np.ndarray:
    """The rule for 16 bits, in floating point."""
    rgb = np.floor(values.astype(np.float64) * 255 / top + 0.5).astype(np.uint8)
    return np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb


def _half_clear() -> tuple[np.ndarray, np.ndarray]:
    """A photo whose left quarter is clear and second quarter half clear, and how that looks on white."""
    photo = draw_photo()
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:, :16], alpha[:, 16:32] = 0, 128
    seen = 255 - (255 - photo.astype(float)) * (alpha[..., None] / 255)
    return np.dstack([photo, alpha]), np.rint(seen).astype(np.uint8)


def _frames(photo: np.ndarray) -> dict[str, Any]:
    return {"save_all": True, "append_images": [Image.fromarray(255 - photo)]}


def _lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(draw_photo()), *profiles, outputMode="LAB")
    assert lab is not None
    return lab


def draw_odd_files() -> dict[str, tuple[bytes, np.ndarray, int]]:
    """Name → (bytes, the (H, W, 3) that has to be read, largest difference allowed)."""
    return (
        _draw_jpegs() | _draw_pngs() | _draw_deep_pngs() | _draw_tiffs() | _draw_deep_tiffs() | _draw_others()
    )


def _draw_jpegs() -> dict[str, tuple[bytes, np.ndarray, int]]:
    photo, grey = draw_photo(), _grey(draw_photo())
    picture = Image.fromarray(photo)
    fine: dict[str, Any] = {"quality": 98, "subsampling": 0}
    plain = encode(photo, "JPEG", **fine)
    return {
        "plain.jpg": (plain, photo, 4),
        "plain.JPEG": (encode(photo, "JPEG", progressive=True, **fine), photo, 4),
        "restarts.jpg": (encode(photo, "JPEG", restart_marker_blocks=1, **fine), photo, 4),
        "one_colour.jpg": (encode(np.full((33, 47, 3), 90, np.uint8), "JPEG"), np.full((33, 47, 3), 90), 1),
        "grey.jpg": (encode(picture.convert("L"), "JPEG", quality=98), grey, 3),
        "cmyk.jpg": (encode(picture.convert("CMYK"), "JPEG", quality=98), photo, 6),
        "two_photos.mpo": (encode(photo, "MPO", **_frames(photo), **fine), photo, 4),
        "broken_exif.jpg": (jpeg_with(b"Exif\0\0MM\0*\xff\xff\xff\xff", plain), photo, 4),
        "odd_exif.jpg": (jpeg_with(EXIF_OF[6][:-10] + bytes(10), plain), photo, 4),
        "trailing.jpg": (plain + bytes(500), photo, 4),
    }


def _draw_pngs() -> dict[str, tuple[bytes, np.ndarray, int]]:
    photo, grey = draw_photo(), _grey(draw_photo())
    clear, seen = _half_clear()
    one_bit, palette = Image.fromarray(photo).convert("1"), Image.fromarray(photo).quantize(16)
    key = png_chunk(b"tRNS", struct.pack(">HHH", 220, 40, 30))
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))
    return {
        "plain.png": (png(photo), photo, 0),
        "one_bit.png": (encode(one_bit, "PNG"), np.asarray(one_bit.convert("RGB")), 0),
        "palette.png": (encode(palette, "PNG"), np.asarray(palette.convert("RGB")), 0),
        "palette_clear.png": (_clear_palette(photo), _clear_quarter(photo), 0),
        "grey_alpha.png": (
            png(np.dstack([grey[..., :1], clear[..., 3]])),
            _over_white(grey, clear[..., 3]),
            1,
        ),
        "alpha.png": (png(clear), seen, 1),
        "colour_key.png": (png(photo, key), _clear_quarter(photo), 0),
        "animated.png": (encode(photo, "PNG", **_frames(photo)), photo, 0),
        "long_text.png": (png(photo, text), photo, 0),
        "interlaced.png": (interlaced_png(photo), photo, 0),
    }


def _draw_deep_pngs() -> dict[str, tuple[bytes, np.ndarray, int]]:
    deep, twelve, odd = draw_ramp(65535), draw_ramp(4095), draw_ramp(16000)
    opaque = np.dstack([twelve, np.full(twelve.shape[:2], 65535, np.uint16)])
    is_key = (deep == deep[0, 0]).all(axis=2)[..., None]
    grey_12 = _scaled(twelve[..., :1], 4095)
    return {
        "grey_16.png": (png(deep[..., :1]), _scaled(deep[..., :1], 65535), 0),
        "colour_16.png": (png(deep), _scaled(deep, 65535), 0),
        "interlaced_16.png": (interlaced_png(deep), _scaled(deep, 65535), 0),
        "alpha_16.png": (png(opaque), _scaled(twelve, 4095), 0),
        "grey_alpha_16.png": (png(np.dstack([twelve[..., :1], opaque[..., 3]])), grey_12, 0),
        "key_16.png": (_key_16(deep), np.where(is_key, 255, _scaled(deep, 65535)), 0),
        "grey_12.png": (png(twelve[..., :1]), grey_12, 0),
        "colour_14.png": (png(odd), _scaled(odd, 16383), 0),
    }


def _draw_tiffs() -> dict[str, tuple[bytes, np.ndarray, int]]:
    photo, grey = draw_photo(), _grey(draw_photo())
    picture = Image.fromarray(photo)
    cmyk = np.asarray(picture.convert("CMYK"))
    return {
        "planes.tif": (tiff(photo, {284: (2,)}), photo, 0),
        "negative.tiff": (tiff(grey[..., :1], {262: (0,)}), 255 - grey, 0),
        "cmyk.tif": (encode(picture.convert("CMYK"), "TIFF"), photo, 1),
        "ycbcr.tif": (encode(picture.convert("YCbCr"), "TIFF"), photo, 3),
        "lab.tif": (encode(_lab(), "TIFF"), photo, 10),
        "cmyk_16.tif": (tiff(cmyk.astype(np.uint16) * 257, {262: (5,)}), photo, 1),
        "packed.tif": (encode(photo, "TIFF", compression="tiff_adobe_deflate"), photo, 0),
        "pages.tif": (encode(photo, "TIFF", **_frames(photo)), photo, 0),
    }


def _draw_deep_tiffs() -> dict[str, tuple[bytes, np.ndarray, int]]:
    deep, twelve, ten, eight = (draw_ramp(top) for top in (65535, 4095, 1023, 255))
    opaque = np.dstack([twelve, np.full(twelve.shape[:2], 65535, np.uint16)])
    grey_16, grey_8 = _scaled(deep[..., :1], 65535), _scaled(eight[..., :1], 255)
    share = np.linspace(0, 1, 2000).reshape(40, 50, 1)
    return {
        "colour_10.tif": (tiff(ten), _scaled(ten, 1023), 0),
        "grey_8_in_16.tif": (tiff(eight[..., :1]), grey_8, 0),
        "grey_16.tif": (tiff(deep[..., :1]), grey_16, 0),
        "grey_16_big.tif": (tiff(deep[..., :1], order=">"), grey_16, 0),
        "grey_16_negative.tif": (tiff(deep[..., :1], {262: (0,)}), 255 - grey_16, 0),
        "colour_16.tif": (tiff(deep), _scaled(deep, 65535), 0),
        "colour_16_big.tif": (tiff(deep, order=">"), _scaled(deep, 65535), 0),
        "alpha_12.tif": (tiff(opaque, {338: (2,)}), _scaled(twelve, 4095), 0),
        "grey_12_bits.tif": (_twelve_bit_tiff(twelve[..., 0]), _scaled(twelve[..., :1], 4095), 0),
        "float.tif": (tiff(share.astype(np.float32)), _scaled(share, 1), 0),
        "float_255.tif": (tiff(eight[..., :1].astype(np.float32)), grey_8, 0),
    }


def _twelve_bit_tiff(values: np.ndarray) -> bytes:
    """(H, W) of an even width, two values packed into three bytes."""
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    as_bytes = packed.reshape(len(values), -1, 1).astype(np.uint8)
    return tiff(as_bytes, {256: (values.shape[1],), 258: (12,)})


def _draw_others() -> dict[str, tuple[bytes, np.ndarray, int]]:
    photo, twelve = draw_photo(), draw_ramp(4095)
    pgm = b"P5\n50 40\n4095\n" + twelve[..., 0].astype(">u2").tobytes()
    ppm = b"P6\n50 40\n4095\n" + twelve.astype(">u2").tobytes()
    return {
        "plain.bmp": (encode(photo, "BMP"), photo, 0),
        "animated.gif": (encode(Image.fromarray(photo).quantize(8), "GIF", **_frames(photo)), photo, 3),
        "lossless.webp": (encode(photo, "WEBP", lossless=True), photo, 0),
        "animated.webp": (encode(photo, "WEBP", lossless=True, **_frames(photo)), photo, 0),
        "plain.jp2": (encode(photo, "JPEG2000"), photo, 0),
        "plain.avif": (encode(photo, "AVIF", quality=100, subsampling="4:4:4"), photo, 4),
        "plain.ppm": (encode(photo, "PPM"), photo, 0),
        "12_bit.pgm": (pgm, _scaled(twelve[..., :1], 4095), 1),
        "12_bit.ppm": (ppm, _scaled(twelve, 4095), 1),
    }


def _over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.rint(255 - (255 - rgb.astype(float)) * (alpha[..., None] / 255)).astype(np.uint8)


def _clear_quarter(photo: np.ndarray) -> np.ndarray:
    seen = photo.copy()
    seen[: len(photo) // 2, : photo.shape[1] // 2] = 255
    return seen


def _clear_palette(photo: np.ndarray) -> bytes:
    image = Image.fromarray(photo).quantize(4)
    return encode(image, "PNG", transparency=image.getpixel((0, 0)))


def _key_16(deep: np.ndarray) -> bytes:
    return png(deep, png_chunk(b"tRNS", struct.pack(">HHH", *deep[0, 0].tolist())))
