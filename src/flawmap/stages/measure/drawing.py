"""Measured cracks drawn on their photo: centre lines, and where each is widest, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flawmap.stages.measure.centre_lines import find_centre_lines
from flawmap.stages.measure.located import LocatedCrack, MeasuredCracks
from flawmap.stages.measure.parts import split_classes, split_regions

_LINE, _WIDEST, _PAPER = (0, 200, 255), (255, 60, 60), (255, 255, 255)
_LEAST_SIDE_PX = 900
"""Smaller photos are drawn larger: a width of some pixels is not seen else."""
_MOST_LABELS = 12
"""Widest first; more would hide the photo."""


def draw_cracks(found: MeasuredCracks, mask: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    """(h, w, 3) uint8 RGB: what was found, drawn on the (H, W, 3) photo, else on the mask, which is as
    `measure_cracks` takes it."""
    from PIL import Image, ImageDraw, ImageFont

    base = _mask_picture(mask > 0) if image is None else image
    height, width = base.shape[:2]
    grow = max(1, -(-_LEAST_SIDE_PX // max(height, width)))
    line = max(2, round(grow * max(height, width) / 900))
    font = ImageFont.load_default(size=max(14, 7 * line))
    # Nearest: the pixels that the widths were read off stay visible as they are.
    picture = Image.fromarray(np.ascontiguousarray(base)).resize(
        (width * grow, height * grow), Image.Resampling.NEAREST
    )
    draw = ImageDraw.Draw(picture)

    def place(xy: np.ndarray) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in (np.asarray(xy) + 0.5) * grow]

    for xy in _centre_lines(found, mask):
        draw.line(place(xy), fill=_LINE, width=max(1, line // 2), joint="curve")
    widest = sorted(found.cracks, key=lambda crack: -crack.measurement.width_max_px)[:_MOST_LABELS]
    taken: list[tuple[float, ...]] = []
    for crack in widest:
        ((x, y),) = place(np.array([crack.widest_xy]))
        reach = grow * crack.measurement.width_max_px / 2 + 3 * line
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=_WIDEST, width=line)
        taken.append(_label(draw, font, _width_text(crack), (x + reach + line, y - reach), taken))
    legend = ["line: centre of the crack", "ring: where it is widest, ± 95 % half-interval"]
    if len(found.cracks) > len(widest):
        legend.append(f"widths of the {len(widest)} widest of {len(found.cracks)} cracks")
    return _with_legend(picture, legend, font)


def _centre_lines(found: MeasuredCracks, mask: np.ndarray) -> Iterator[np.ndarray]:
    """(n, 2) points of every branch that was measured."""
    measured = {(crack.class_index, crack.box_xyxy) for crack in found.cracks}
    for class_index, pixels in split_classes(mask):
        for part in split_regions(pixels):
            if (class_index, part.box_xyxy) in measured:
                for branch in find_centre_lines(part.mask).branches:
                    yield branch.xy + np.array(part.origin_xy)


def _mask_picture(mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None], np.uint8(90), np.uint8(235)).repeat(3, axis=2)


def _width_text(crack: LocatedCrack) -> str:
    found, scale = crack.measurement, crack.measurement.scale_mm_per_px
    unit, factor = ("px", 1.0) if scale is None else ("mm", scale)
    if not found.is_resolved:
        return f"under {factor * found.smallest_width_px:.2f} {unit}"
    if found.is_vague:
        return f"at most {factor * (found.width_max_px + found.width_max_u95_px):.2f} {unit}"
    return f"{factor * found.width_max_px:.2f} ± {factor * found.width_max_u95_px:.2f} {unit}"


def _label(
    draw: Any, font: Any, text: str, at: tuple[float, float], taken: Sequence[tuple[float, ...]]
) -> tuple[float, ...]:
    """A label within the picture, below others that it would cover; its box."""
    size = draw.im.size
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 8, bottom - top + 8
    x = min(max(at[0], 0), max(size[0] - width, 0))
    y = min(max(at[1] - height, 0), max(size[1] - height, 0))
    for a, b, c, d in sorted(taken, key=lambda box: box[1]):
        if x < c and x + width > a and y < d and y + height > b:
            y = min(d + 2, max(size[1] - height, 0))
    draw.rectangle((x, y, x + width, y + height), fill=_WIDEST)
    draw.text((x + 4 - left, y + 4 - top), text, fill=_PAPER, font=font)
    return x, y, x + width, y + height


def _with_legend(picture: Any, lines: Sequence[str], font: Any) -> np.ndarray:
    """The picture over a white strip with the lines."""
    from PIL import Image, ImageDraw

    step = round(1.5 * font.size)
    canvas = Image.new("RGB", (picture.width, picture.height + step * len(lines) + step // 2), _PAPER)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(lines):
        draw.text((step // 2, picture.height + step // 4 + i * step), text, fill=(30, 30, 30), font=font)
    return np.asarray(canvas)
