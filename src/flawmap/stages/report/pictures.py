"""Photos as data addresses inside the page: small, and together under a limit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flawmap.errors import PhotoError
from flawmap.records import Photo
from flawmap.tools.photos import read_image

_STEPS = ((1.0, 82), (1.0, 70), (0.85, 65), (0.7, 60), (0.55, 50), (0.4, 40), (0.25, 30))
"""(share of the wanted side, WebP quality), best first; a picture gets the first that fits its allowance."""


@dataclass(frozen=True)
class Picture:
    """One picture of the page. `address` is empty where the photo could not be read, `width_px` then 0."""

    address: str
    width_px: int
    height_px: int


def to_picture(image: np.ndarray, side_px: int, max_bytes: int) -> Picture:
    """(H, W, 3) uint8 RGB → a WebP of at most `side_px` on its longer side and, if it can be, `max_bytes`."""
    source = Image.fromarray(np.ascontiguousarray(image))
    data, size = _encode(source, side_px, 0)
    low, high = 1, len(_STEPS) - 1
    if len(data) > max_bytes:  # find the first step that fits; sizes fall from step to step
        while low < high:
            middle = (low + high) // 2
            if len(_encode(source, side_px, middle)[0]) <= max_bytes:
                high = middle
            else:
                low = middle + 1
        data, size = _encode(source, side_px, low)
    return Picture(f"data:image/webp;base64,{base64.b64encode(data).decode()}", *size)


def _encode(source: Image.Image, side_px: int, step: int) -> tuple[bytes, tuple[int, int]]:
    share, quality = _STEPS[step]
    fitted = _fit(source, max(16, round(side_px * share)))
    buffer = io.BytesIO()
    fitted.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue(), fitted.size


def photo_picture(photo: Photo, side_px: int, max_bytes: int) -> Picture:
    """Read a photo and shrink it; a file that has gone since the audit leaves an empty picture."""
    try:
        return to_picture(read_image(photo.path), side_px, max_bytes)
    except (PhotoError, OSError):
        return Picture("", 0, 0)


def spread_rows(rows: Sequence[int], groups: Sequence[str], n: int) -> list[int]:
    """At most `n` of `rows`, from as many different groups as can be, spread evenly over them, in order."""
    by_group: dict[str, list[int]] = {}
    for row in rows:
        by_group.setdefault(groups[row], []).append(row)
    queues = list(by_group.values())
    if len(queues) >= n:
        places = np.linspace(0, len(queues) - 1, n).round().astype(int) if n else []
        return sorted(queues[place][len(queues[place]) // 2] for place in places)
    chosen: list[int] = []
    turn = 0
    while len(chosen) < min(n, len(rows)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)][: n - len(chosen)]
        turn += 1
    return sorted(chosen)


def _fit(image: Image.Image, side_px: int) -> Image.Image:
    scale = side_px / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
