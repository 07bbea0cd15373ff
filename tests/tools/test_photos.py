"""Every kind of file is read as the pixels it holds, or refused with the reason; none is ever altered."""

from __future__ import annotations

import hashlib
import io
import os
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bad_files as drawn
from flawmap.errors import OptionError, PhotoError
from flawmap.tools import photos as photos_package
from flawmap.tools.photos import (
    PhotoOptions,
    read_image,
    read_images,
    read_photo,
    read_photos,
)
from flawmap.tools.photos.containers import open_container, read_orientation
from flawmap.tools.photos.pixels import scale_to_8_bits, turn_upright

BAD, ODD = drawn.BAD_FILES, drawn.draw_odd_files()


def _write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_bad_kinds_are_many() -> None:
    assert len(BAD) >= 25


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_with_the_reason_and_left_alone(name: str, tmp_path: Path) -> None:
    make, reason = BAD[name]
    path = _write(tmp_path, name, make())
    before = path.stat().st_mtime_ns, path.read_bytes()
    with pytest.raises(PhotoError, match=reason) as caught:
        read_photo(path, name)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    with pytest.raises(PhotoError, match=rf"^{re.escape(str(path))}: .*{reason}"):
        read_image(path)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


@pytest.mark.parametrize("name", ODD)
def test_odd_file_is_read_as_the_pixels_it_holds(name: str, tmp_path: Path) -> None:
    data, truth, tolerance = ODD[name]
    path = _write(tmp_path, name, data)
    before = path.stat().st_mtime_ns
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert image.shape == truth.shape
    assert np.abs(image.astype(int) - truth).max() <= tolerance
    photo = read_photo(path, name)
    assert photo.size_hw == truth.shape[:2]
    assert photo.digest == hashlib.blake2b(data, digest_size=32).hexdigest()
    assert (path.stat().st_mtime_ns, path.read_bytes()) == (before, data)


@pytest.mark.parametrize("name", ODD)
def test_path_bytes_and_stream_read_alike(name: str, tmp_path: Path) -> None:
    data = ODD[name][0]
    image = read_image(str(_write(tmp_path, name, data)))
    assert np.array_equal(image, read_image(data))
    assert np.array_equal(image, read_image(io.BytesIO(data)))
    (ahead,) = read_images([tmp_path / name])
    assert isinstance(ahead, np.ndarray) and np.array_equal(image, ahead)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("plain.jpg", ""),
        ("grey.jpg", ""),
        ("colour_16.png", "16-bit, scaled by 255/65535"),
        ("grey_12.png", "16-bit, scaled by 255/4095"),
        ("alpha_12.tif", "16-bit, scaled by 255/4095"),
        ("colour_10.tif", "16-bit, scaled by 255/1023"),
        ("float.tif", "floating point, scaled by 255"),
        ("12_bit.pgm", "16-bit, scaled by 255/65535"),
        ("alpha.png", "transparent pixels laid on white"),
        ("cmyk.jpg", "CMYK converted without its colour profile"),
    ],
)
def test_unusual_pixels_are_noted(name: str, note: str, tmp_path: Path) -> None:
    assert read_photo(_write(tmp_path, name, ODD[name][0]), name).note == note


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF 16-bit", "AVIF", "HEIF"])
def test_all_orientations_are_turned_upright(kind: str, orientation: int) -> None:
    upright = drawn.draw_photo(64, 96)
    exif = drawn.EXIF_OF[orientation]
    stored = drawn.store_turned(upright, orientation)
    if kind == "TIFF":
        data = drawn.tiff(stored, {274: (orientation,)})
    elif kind == "TIFF 16-bit":
        data = drawn.tiff(stored.astype(np.uint16) * 257, {274: (orientation,)})
    elif kind == "PNG":
        data = drawn.png(stored, drawn.png_chunk(b"eXIf", exif[6:]))
    elif kind == "HEIF":
        data = _encode_heic(stored, exif)
    else:
        quality = (
            {"quality": 98, "lossless": True} if kind == "WEBP" else {"quality": 98, "subsampling": "4:4:4"}
        )
        data = drawn.encode(stored, kind, exif=exif, **quality)
    image = read_image(data)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).max() <= 10


def _encode_heic(stored: np.ndarray, exif: bytes) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    encoder = heif.from_bytes(
        mode="RGB", size=stored.shape[1::-1], data=np.ascontiguousarray(stored).tobytes()
    )
    encoder.save(stream, quality=95, chroma=444, exif=exif)
    return stream.getvalue()


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8))
def test_turning_undoes_what_the_camera_stored(height: int, width: int, orientation: int) -> None:
    upright = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    assert np.array_equal(turn_upright(drawn.store_turned(upright, orientation), orientation), upright)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_exif_gives_an_orientation(exif: bytes) -> None:
    assert 1 <= read_orientation(exif) <= 8
    assert 1 <= read_orientation(b"Exif\0\0II*\0\x08\0\0\0" + exif) <= 8


def test_png_keeps_its_orientation_behind_the_pixels() -> None:
    upright = drawn.draw_photo()
    plain = drawn.png(drawn.store_turned(upright, 6))
    data = plain[:-12] + drawn.png_chunk(b"eXIf", drawn.EXIF_OF[6][6:]) + plain[-12:]
    assert np.array_equal(read_image(data), upright)


# More than 8 bits


@settings(deadline=None)
@given(st.integers(8, 16), st.integers(0, 2**32 - 1))
def test_scaling_keeps_order_and_clips_nothing(bits: int, seed: int) -> None:
    top = (1 << bits) - 1
    values = np.random.default_rng(seed).integers(0, top, 50, endpoint=True).astype(np.uint16)
    values[:2] = 0, top
    scaled, note = scale_to_8_bits(values, None)
    assert scaled[0] == 0 and note.startswith("16-bit")
    order = np.argsort(values, kind="stable")
    assert (np.diff(scaled[order].astype(int)) >= 0).all()
    exact = values.astype(float) * 255 / int(note.rsplit("/", 1)[1])
    assert np.abs(scaled - exact).max() <= 0.5
    if bits in (8, 10, 12, 14, 16):
        assert scaled[1] == 255


def test_the_range_can_be_fixed_and_is_then_never_exceeded() -> None:
    dark = np.full((4, 4, 1), 500, np.uint16)
    assert read_image(drawn.png(dark)).max() == round(500 * 255 / 1023)
    twelve = PhotoOptions(significant_bits=12)
    assert read_image(drawn.png(dark), twelve).max() == round(500 * 255 / 4095)
    with pytest.raises(PhotoError, match="exceeds 12 significant bits"):
        read_image(drawn.png(dark * 10), twelve)


@pytest.mark.parametrize("wrong", [{"max_megapixels": 0}, {"significant_bits": 7}, {"n_threads": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="wanted"):
        PhotoOptions(**wrong)


@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_packed_tiffs_of_16_bits(order: str, tile: tuple[int, int] | None, predictor: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    values, stream = drawn.draw_ramp(65535, 70, 90), io.BytesIO()
    options = {"compression": "zlib", "predictor": predictor or None, "tile": tile, "byteorder": order}
    tifffile.imwrite(stream, values, photometric="rgb", **options)
    assert np.array_equal(read_image(stream.getvalue()), scale_to_8_bits(values, 16)[0])


# The pixel cap


def test_the_cap_is_read_in_the_header_and_is_an_option() -> None:
    small = PhotoOptions(max_megapixels=0.0015)
    for name in (
        "plain.jpg",
        "plain.png",
        "colour_16.tif",
        "plain.bmp",
        "animated.gif",
        "lossless.webp",
        "plain.avif",
    ):
        with pytest.raises(PhotoError, match=r"cap is 0\.00"):
            read_image(ODD[name][0], small)


@pytest.mark.parametrize("name", [name for name in ODD if not name.endswith(".webp")])
def test_the_decoders_own_pixel_limit_is_not_met(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 10
    )  # any check of Pillow's own would raise, or warn and so raise
    read_image(ODD[name][0])


def test_no_setting_of_pillow_is_changed(tmp_path: Path) -> None:
    from PIL import ImageFile

    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, set(Image.OPEN)
    read_photos([(_write(tmp_path, name, ODD[name][0]), name) for name in ODD])
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, set(Image.OPEN))


def test_a_file_larger_than_any_photo_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    with path.open("wb") as stream:
        stream.truncate(20_000_000_000)
    with pytest.raises(PhotoError, match=r"20\.0 GB"):
        read_image(path)


# Files that are no files


def test_folders_pipes_and_missing_files_have_reasons(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    for name, reason in {
        "folder.jpg": "folder",
        "pipe.jpg": "pipe",
        "link.jpg": "link to nothing",
        "gone.jpg": "does not exist",
    }.items():
        with pytest.raises(PhotoError, match=reason):
            read_image(tmp_path / name)


def test_a_socket_is_no_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        with pytest.raises(PhotoError, match="socket"):
            read_image("s.jpg")


def test_no_permission_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, "a.png", ODD["plain.png"][0])
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything

        def refuse(self: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PhotoError, match="no permission"):
        read_image(path)


def test_an_unknown_extension_is_refused_even_for_a_photo(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"extension '\.dat' is not a photo's; the bytes are PNG"):
        read_image(_write(tmp_path, "photo.dat", ODD["plain.png"][0]))


def test_heic_without_its_reader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PhotoError, match=r"flawmap\[heic\]"):
        read_image(BAD["half.heic"][0]() + bytes(100))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ODD)), st.integers(0, 2**32 - 1))
def test_damage_anywhere_is_an_image_or_a_reason(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(ODD[name][0])
    for at in rng.integers(0, len(data), 4):
        data[at] = rng.integers(0, 256)
    try:
        image = read_image(bytes(data[: rng.integers(1, len(data) + 1)]), PhotoOptions(max_megapixels=1))
    except PhotoError as error:
        assert str(error)
    else:
        assert image.ndim == 3 and image.dtype == np.uint8


@pytest.mark.parametrize(
    "name", ["plain.jpg", "plain.png", "colour_16.tif", "packed.tif", "plain.jp2", "plain.bmp"]
)
def test_no_cut_is_read_silently(name: str) -> None:
    data, truth, tolerance = ODD[name]
    for length in range(0, len(data), max(1, len(data) // 60)):
        try:
            image = read_image(data[:length])
        except PhotoError:
            continue
        assert np.abs(image.astype(int) - truth).max() <= tolerance  # all pixels were there


def test_public_names_are_there() -> None:
    assert all(hasattr(photos_package, name) for name in photos_package.__all__)
    assert open_container(ODD["plain.png"][0]).size_hw == (48, 64)
