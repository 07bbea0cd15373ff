"""What a file is, told from its bytes: format, orientation, and the bytes that hold the pixels.

JPEG and PNG are walked here, for three reasons: damage that decoders pass over silently (a wrong checksum, a
missing end) is found; metadata that decoders stumble or warn about never reaches them; and the size is known
before anything is decoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath

from flawmap.errors import PhotoError

FORMAT_OF_EXTENSION = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    ".gif": "GIF",
    ".webp": "WebP",
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG 2000"),
    ".avif": "AVIF",
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
}

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    *((magic, "TIFF") for magic in (b"II*\0", b"MM\0*", b"II+\0")),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    *((b"P%d" % i, "PPM") for i in range(1, 7)),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)

_NOT_PHOTOS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"MM\0+", "a big-endian BigTIFF; save it as an ordinary TIFF or PNG"),
    (b"8BPS", "a Photoshop document; save it as PNG or TIFF"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with: git lfs pull"),
    (b"SIMPLE  =", "a FITS file; save it as 16-bit PNG or TIFF"),
)

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, and steps of the seven passes of an interlaced PNG."""


@dataclass(frozen=True)
class Container:
    """A file's bytes, ready for its decoder. `orientation` is the EXIF value, 1 to 8."""

    format: str
    data: bytes
    orientation: int = 1
    size_hw: tuple[int, int] | None = None
    """As stored, before orientation; None where only the decoder's header tells."""
    end: int = 0
    """JPEG: where the end marker stands in `data`."""


def open_container(data: bytes) -> Container:
    """Tell what `data` is and walk its structure. Raises PhotoError where it is damaged or not a photo."""
    kind = tell_format(data)
    try:
        if kind == "JPEG":
            return _walk_jpeg(data)
        if kind == "PNG":
            return _walk_png(data)
    except (struct.error, IndexError):
        raise PhotoError(f"truncated: the {kind} file ends inside its header") from None
    return Container(kind, data)


def tell_format(data: bytes) -> str:
    """The format by a file's first bytes. Raises PhotoError, which says what they are instead."""
    kind = sniff_format(data)
    if kind is None:
        raise PhotoError(f"not a photo: {_describe_stranger(data)}")
    return kind


def check_extension(name: str, kind: str) -> None:
    """Raise PhotoError where a file's extension promises another format than its bytes hold."""
    extension = PurePath(name).suffix.lower()
    promised = FORMAT_OF_EXTENSION.get(extension)
    if promised is None:
        raise PhotoError(
            f"the extension '{extension}' is not a photo's; the bytes are {kind}: name the file accordingly"
        )
    if promised != kind:
        raise PhotoError(
            f"mislabelled: the extension '{extension}' says {promised}, the bytes are {kind}; rename the file"
        )


def sniff_format(data: bytes) -> str | None:
    """The format's name as in FORMAT_OF_EXTENSION, or None where the bytes are no photo that can be read."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            if kind == "PPM" and data[2:3] not in (b" ", b"\n", b"\r", b"\t", b"#"):
                return None
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        brands = {data[i : i + 4] for i in range(8, min(len(data), int.from_bytes(data[:4], "big")), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}:
            return "HEIC"
    return None


def read_orientation(exif: bytes) -> int:
    """The orientation tag (1 to 8) of an EXIF block; 1 where the block is broken or has none."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "4xI", tiff)
        (n_tags,) = struct.unpack_from(order + "H", tiff, start)
        for i in range(n_tags):
            tag, kind, n_values, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * i)
            if tag == 0x0112:
                if kind == 4:
                    (value,) = struct.unpack_from(order + "I", tiff, start + 10 + 12 * i)
                return value if kind in (3, 4) and n_values == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _walk_jpeg(data: bytes) -> Container:
    """Keep what decodes the first image, drop metadata (APP1-13, APP15, comments) and find the end marker."""
    kept, orientation, size_hw = [b"\xff\xd8"], None, None
    for marker, start, body, end in _jpeg_segments(data):
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and orientation is None:
            orientation = read_orientation(body)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size_hw = _read_frame_header(body)
        elif marker == 0xDA:  # the first scan: from here on all is kept
            return _close_jpeg(data, start, end, kept, Container("JPEG", b"", orientation or 1, size_hw))
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(data[start:end])
    raise PhotoError("truncated: the JPEG file ends before its pixels")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """(marker, where it starts, body, where it ends) of each segment; ISO/IEC 10918-1, annex B."""
    at = 2
    while True:
        start = at
        if data[at] != 0xFF:
            raise PhotoError(f"damaged: no JPEG marker at byte {at}")
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # stuffed byte, or a marker without a body
            continue
        (length,) = struct.unpack_from(">H", data, at)
        yield marker, start, data[at + 2 : at + length], at + length
        at += length


def _read_frame_header(body: bytes) -> tuple[int, int]:
    depth, height, width = struct.unpack_from(">BHH", body)
    if depth != 8:
        raise PhotoError(f"a JPEG of {depth} bits is not read; save it as 16-bit PNG or TIFF")
    return height, width


def _close_jpeg(data: bytes, start: int, scan: int, kept: list[bytes], told: Container) -> Container:
    """`told` with the pixels of `data` from the first scan on, whose segment is at `start` to `scan`."""
    end = data.find(b"\xff\xd9", scan)
    if end < 0:
        raise PhotoError("truncated: the JPEG file has no end marker")
    head = b"".join(kept)
    return replace(told, data=head + data[start:], end=len(head) + end - start)


def _walk_png(data: bytes) -> Container:
    """Keep the chunks that make the still image, check every checksum, and read the eXIf chunk."""
    kept, orientation, size_hw, at = [data[:8]], 1, None, 8
    while True:
        if at + 12 > len(data):
            raise PhotoError("truncated: the PNG file ends before its IEND chunk")
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            raise PhotoError(f"truncated: the PNG file ends inside its {_printable(kind)} chunk")
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(data[at + 4 : end - 4]) != checksum:
            raise PhotoError(f"damaged: wrong checksum in the {_printable(kind)} chunk of the PNG file")
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", data, at + 8)
            size_hw = (height, width)
        elif kind == b"eXIf":
            orientation = read_orientation(data[at + 8 : end - 4])
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[at:end])
        if kind == b"IEND":
            return Container("PNG", b"".join(kept), orientation, size_hw)
        at = end


def check_png_rows(container: Container) -> None:
    """Raise PhotoError unless the compressed rows are as many as the header says: decoders leave missing rows
    black without a word. The header has to be within the pixel cap, so that this comes to an end."""
    data, at, n_bytes = container.data, 8, 0
    inflate = zlib.decompressobj()
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            packed = data[at + 8 : at + 8 + length]
            while packed and not inflate.eof:
                try:
                    n_bytes += len(inflate.decompress(packed, 1 << 20))
                except zlib.error as error:
                    raise PhotoError(f"damaged: the PNG file's pixels cannot be unpacked ({error})") from None
                packed = inflate.unconsumed_tail
        at += 12 + length
    wanted = _count_png_bytes(data)
    if n_bytes < wanted or not inflate.eof:
        raise PhotoError(f"truncated: the PNG file holds {n_bytes} of {wanted} bytes of pixels")


def _count_png_bytes(data: bytes) -> int:
    """Bytes of all rows with their filter bytes (PNG specification, 7.2 and 8.2)."""
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    total = 0
    for x, y, step_x, step_y in passes:
        wide, high = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if wide > 0 and high > 0:
            total += high * (1 + (wide * bits + 7) // 8)
    return total


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a character that the sample cuts in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)


def _printable(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")


def _describe_stranger(data: bytes) -> str:
    if not data:
        return "the file is empty (0 bytes)"
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = head[:64].lower()
    if lower.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a download that failed?)"
    if lower.startswith(b"<svg") or (lower.startswith(b"<?xml") and b"<svg" in head):
        return "an SVG drawing; save it as PNG"
    for magic, what in _NOT_PHOTOS:
        if head.startswith(magic):
            return what
    if not data[:4096].strip(b"\0"):
        return "it begins with nothing but zero bytes (a copy that was cut off?)"
    if _is_text(head):
        return "text"
    return f"unknown bytes ({data[:4].hex(' ')})"
