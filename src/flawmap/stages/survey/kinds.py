"""Colours that tell kinds of flaws apart on a photo, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from flawmap.records import Finding

Colour = tuple[int, int, int]
DARK: Colour = (20, 24, 30)
COLOURS: tuple[Colour, ...] = (
    (240, 228, 66),
    (86, 180, 233),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (255, 255, 255),
    (230, 159, 0),
    (0, 114, 178),
)
"""Okabe and Ito, "Color Universal Design" (2008), which people with any colour vision can tell apart; white
for their black. The first, yellow, is that of photos with a single kind."""


def choose_colours(findings: Iterable[Finding], kinds: Sequence[str]) -> dict[str, Colour]:
    """Colour by label, of the labels of `findings`, in the order of `kinds`, all that the model tells apart:
    a kind has the same colour on every photo. Past eight they begin again."""
    labels = {one.label for one in findings}
    order = [*kinds, *sorted(labels - set(kinds))]
    return {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(order) if kind in labels}


def add_legend(image: np.ndarray, colours: Mapping[str, Colour], text_px: int) -> np.ndarray:
    """(h + …, w, 3) uint8 RGB: `image`, with a strip below it that names the colours and covers nothing.

    It is wider only where a single name would not fit.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, pad = ImageFont.load_default(size=text_px), max(3, text_px // 3)
    names = [_name(label) for label in colours]
    widths = [text_px + 3 * pad + round(font.getlength(name)) for name in names]
    width = max(image.shape[1], pad + max(widths))
    places, x, y = [], pad, image.shape[0] + pad
    for own in widths:
        if x > pad and x + own > width:
            x, y = pad, y + text_px + pad
        places.append((x, y))
        x += own
    canvas = Image.new("RGB", (width, y + text_px + 2 * pad), DARK)
    canvas.paste(Image.fromarray(np.ascontiguousarray(image)))
    draw = ImageDraw.Draw(canvas)
    for (left, top), name, colour in zip(places, names, colours.values(), strict=True):
        draw.rectangle((left, top, left + text_px - 1, top + text_px - 1), fill=colour)
        draw.text((left + text_px + pad, top + text_px // 2), name, fill=COLOURS[5], font=font, anchor="lm")
    return np.asarray(canvas)


def _name(label: str) -> str:
    """A label on one line; one without letters would be read as a finding's number."""
    name = " ".join(label.split())
    return name if any(map(str.isalpha, name)) else f"kind {name}"
