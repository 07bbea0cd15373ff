"""Read photos one by one, or many with threads, always in the order given."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from PIL import Image

from flawmap.errors import PhotoError
from flawmap.records import Photo, Progress, Unreadable, no_progress
from flawmap.tools.photos.containers import (
    FORMAT_OF_EXTENSION,
    Container,
    check_extension,
    open_container,
    tell_format,
)
from flawmap.tools.photos.finding import is_photo_name
from flawmap.tools.photos.memo import Memo, Verdict
from flawmap.tools.photos.pixels import PhotoOptions, decode, decode_stored, read_size

_DEFAULTS = PhotoOptions()
_AHEAD = 32
"""Photos that are decoded, or waiting to be, before they are asked for."""
_AHEAD_PIXELS = 100_000_000
"""Pixels (3 bytes each) of which those ahead of the reader hold no more, unless a single photo does."""
_HEAD = 4096
"""Bytes that tell a file's format."""
_BYTES_PER_MEGAPIXEL = 64_000_000
"""Eight channels of 64 bits: no photo under the pixel cap is larger."""


def read_image(source: Path | str | bytes | BinaryIO, options: PhotoOptions = _DEFAULTS) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright: the only way pixels enter flawmap.

    A path's extension must agree with its bytes; bytes and streams are told by what they hold. Raises
    PhotoError with the path and the reason.
    """
    if isinstance(source, bytes):
        return decode(open_container(source), options)[0]
    if not isinstance(source, str | Path):
        return decode(open_container(source.read()), options)[0]
    try:
        return read_pixels(Path(source), options)
    except PhotoError as error:
        raise PhotoError(f"{source}: {error}") from None


def read_pixels(path: Path, options: PhotoOptions = _DEFAULTS) -> np.ndarray:
    """`read_image` for those who list files with their reasons: PhotoError holds the reason alone."""
    data = _read_bytes(path, options)
    container = open_container(data)
    check_extension(path.name, container.format)
    return decode(container, options)[0]


@dataclass(frozen=True)
class Recognised:
    """What a file's bytes say they are."""

    format: str
    extension: str
    """The usual one of the format, with its dot."""
    size_hw: tuple[int, int]
    """As stored, before orientation."""


def recognise(data: bytes, options: PhotoOptions = _DEFAULTS) -> Recognised:
    """Tell a photo by its bytes and its header; nothing is decoded. Raises PhotoError."""
    container = open_container(data)
    usual = next(name for name, kind in FORMAT_OF_EXTENSION.items() if kind == container.format)
    return Recognised(container.format, usual, read_size(container, options))


def read_stored(path: Path, options: PhotoOptions = _DEFAULTS) -> tuple[Image.Image, str, int]:
    """A file's values as stored (a mask's, a palette's), its format, and its orientation, not yet applied.
    Raises PhotoError."""
    container = open_container(_read_bytes(path, options))
    check_extension(path.name, container.format)
    image, orientation = decode_stored(container, options)
    return image, container.format, orientation


def why_no_photo(path: Path) -> str:
    """What a file's first bytes say against the photo that its name promises; "" where they say nothing."""
    try:
        with path.open("rb") as file:
            check_extension(path.name, tell_format(file.read(_HEAD)))
    except PhotoError as error:
        return str(error)
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"
    return ""


def read_orientation_of(path: Path, options: PhotoOptions = _DEFAULTS) -> int:
    """How a photo's pixels have to be turned, 1 (not at all) to 8. Raises PhotoError."""
    return decode_stored(open_container(_read_bytes(path, options)), options)[1]


def read_photo(path: Path, name: str, options: PhotoOptions = _DEFAULTS) -> Photo:
    """Digest and full decode of one file, from the same bytes. Raises PhotoError with the reason."""
    data = _read_bytes(path, options)
    return _to_photo(path, name, _digest(data), _judge(path, data, options))


def read_photos(
    files: Iterable[tuple[Path, str]],
    options: PhotoOptions = _DEFAULTS,
    progress: Progress = no_progress,
) -> tuple[tuple[Photo, ...], tuple[Unreadable, ...]]:
    """`read_photo` for many (path, name), with threads; the second result lists what could not be read."""
    files = list(files)
    memo = Memo(options.memo, _rules(options)) if options.memo is not None else None
    known = memo.read() if memo is not None else {}
    fresh: dict[str, Verdict] = {}

    def read(file: tuple[Path, str]) -> Photo | PhotoError:
        path, name = file
        try:
            data = _read_bytes(path, options)
            digest = _digest(data)
            verdict = known.get(digest)
            if verdict is None:
                verdict = fresh[digest] = _judge(path, data, options)
            else:
                check_extension(path.name, verdict.format)
            return _to_photo(path, name, digest, verdict)
        except PhotoError as error:
            return error

    photos: list[Photo] = []
    unreadable: list[Unreadable] = []
    with ThreadPoolExecutor(count_threads(options)) as pool:
        for i, ((_, name), result) in enumerate(zip(files, pool.map(read, files), strict=True)):
            if isinstance(result, Photo):
                photos.append(result)
            else:
                unreadable.append(Unreadable(name, str(result)))
            progress("reading photos", i + 1, len(files))
    if memo is not None and fresh:
        memo.write(fresh)
    return tuple(photos), tuple(unreadable)


def read_again(photos: Sequence[Photo], options: PhotoOptions = _DEFAULTS) -> Iterator[np.ndarray]:
    """As read_images(), for photos that were listed before. Raises PhotoError where one can no longer be
    read."""
    for photo, image in zip(photos, read_images([photo.path for photo in photos], options), strict=True):
        if isinstance(image, PhotoError):
            raise PhotoError(f"{photo.name} could be read before, and now cannot: {image}")
        yield image


def read_images(
    paths: Sequence[Path], options: PhotoOptions = _DEFAULTS
) -> Iterator[np.ndarray | PhotoError]:
    """`read_image` for many paths, decoded ahead in threads; an unreadable photo is yielded as its error.

    The order is kept, and what is held ahead is bounded in pixels as well as in photos.
    """
    budget = _PixelBudget(_AHEAD_PIXELS)
    todo = iter(enumerate(paths))
    pool = ThreadPoolExecutor(count_threads(options))
    ahead: deque[Future[np.ndarray | PhotoError]] = deque()

    def read(index: int, path: Path) -> np.ndarray | PhotoError:
        try:
            data = _read_bytes(path, options)
            container = open_container(data)
            check_extension(path.name, container.format)
            budget.take(index, container, options)
            return decode(container, options)[0]
        except PhotoError as error:
            return PhotoError(str(error))  # without the traceback, which would keep the file's bytes

    try:
        while True:
            for index, path in islice(todo, _AHEAD - len(ahead)):
                ahead.append(pool.submit(read, index, Path(path)))
            if not ahead:
                return
            result = ahead.popleft().result()
            budget.give_back()
            yield result
    finally:
        budget.close()
        pool.shutdown(cancel_futures=True)


class _PixelBudget:
    """Lets readers start in any order while what is decoded ahead stays under a limit.

    The photo that is waited for may always start, so that one larger than the limit passes and nothing locks:
    threads take photos in order, hence it is never behind another in the queue.
    """

    def __init__(self, n_pixels: int) -> None:
        self._limit, self._used, self._turn = n_pixels, 0, 0
        self._taken: dict[int, int] = {}
        self._changed = threading.Condition()

    def take(self, index: int, container: Container, options: PhotoOptions) -> None:
        """Wait until photo `index` may be decoded. Raises PhotoError over the pixel cap."""
        height, width = read_size(container, options)
        with self._changed:
            self._changed.wait_for(lambda: index <= self._turn or self._used + height * width <= self._limit)
            self._taken[index] = height * width
            self._used += height * width

    def give_back(self) -> None:
        """The photo that was waited for is done."""
        with self._changed:
            self._used -= self._taken.pop(self._turn, 0)
            self._turn += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let every reader go."""
        with self._changed:
            self._limit = 1 << 62
            self._changed.notify_all()


def _judge(path: Path, data: bytes, options: PhotoOptions) -> Verdict:
    container = open_container(data)
    check_extension(path.name, container.format)
    image, note = decode(container, options)
    return Verdict(container.format, image.shape[:2], note)


def _to_photo(path: Path, name: str, digest: str, verdict: Verdict) -> Photo:
    return Photo(Path(path), name, digest, verdict.size_hw, verdict.note)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _read_bytes(path: Path, options: PhotoOptions) -> bytes:
    """All bytes of a regular file; anything else (a folder, a pipe that would never end) is a PhotoError."""
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            though = ", though its name ends like a photo's" if is_photo_name(path.name) else ""
            raise PhotoError(f"a folder{though}; one image file was wanted")
        if not stat.S_ISREG(mode):
            raise PhotoError("a pipe, socket or device, not a file")
        cap = options.max_megapixels
        if status.st_size > max(cap, 1.0) * _BYTES_PER_MEGAPIXEL:
            raise PhotoError(
                f"too large: {status.st_size / 1e9:.1f} GB is no photo of {cap:g} megapixels or less"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise PhotoError("a link to nothing" if path.is_symlink() else "the file does not exist") from None
    except PermissionError:
        raise PhotoError("no permission to read the file") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise PhotoError(f"the file cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _rules(options: PhotoOptions) -> str:
    """All that decides a verdict, besides the bytes."""
    return f"pillow {PIL.__version__}|{options.max_megapixels:g}|{options.significant_bits}"


def count_threads(options: PhotoOptions) -> int:
    """How many threads may read at once."""
    if options.n_threads is not None:
        return options.n_threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
