"""Findings drawn over a photo: a line around each, and numbers where there is room for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from flawmap.records import Finding
from flawmap.stages.survey.kinds import COLOURS, DARK, Colour, add_legend, choose_colours
from flawmap.tools.fill import Point, fill_finding, outline_of

_SMALL = 14
"""An outline of fewer of its own lines' widths a side is drawn with a thinner one."""
_MOST_COVERED, _ALWAYS_NUMBERED = 0.025, 10
"""Numbers together cover no more of a picture; but so many are tried in any case."""
_N_PLACES = 16
"""Corners of an outline at which a number is tried."""

_HATCH, _EVERY = 0.35, 4
"""How much of the line's colour the inside of a broad finding gets, on one line's width in so many."""


@dataclass(frozen=True, eq=False)
class DrawnFindings:
    """A photo with its findings drawn in."""

    image: np.ndarray
    """(h, w, 3) uint8 RGB."""
    n_numbered: int
    """Findings whose number stands in the image; the others have a line only."""


@dataclass(frozen=True)
class _Pen:
    """Pixels from the flaw outwards: left bare, bright, dark."""

    bare: int
    bright: int
    dark: int = 1

    @property
    def reach(self) -> int:
        return self.bare + self.bright + self.dark


def draw_findings(
    image: np.ndarray,
    findings: Iterable[Finding],
    scale: float,
    first: int | None = None,
    text_px: int | None = None,
    kinds: Sequence[str] = (),
) -> DrawnFindings:
    """Every finding gets a line around it, which leaves the flaw itself bare, thinner around small ones.
    Broad findings are hatched, faintly, so that their inside can be told from what lies around it.

    Numbers stand where the outlines begin, those of the largest findings first: none covers a flaw or another
    number, and together they leave the photo to be seen. `image` is (h, w, 3) uint8 RGB, `scale` its pixels
    per pixel of the photo. The number of the finding with index `first` is always there, and stands
    out. `text_px` is the height of numbers; None: as suits the image. `kinds` are the labels that the model
    tells apart. Of several, each has a colour of its own, and a strip below the photo names those that it
    shows; a finding within a larger one of another kind has its line there.
    """
    findings = list(findings)
    outlines = [[(x * scale, y * scale) for x, y in outline_of(one)] for one in findings]
    line = max(2, round(max(image.shape[:2]) / 500))
    large, small = _Pen(2, line), _Pen(1, max(1, line // 2))
    is_small = [max(np.ptp(np.array(outline), axis=0)) < _SMALL * line for outline in outlines]
    colours = choose_colours(findings, kinds)
    groups, hatched = [], image
    for (label, colour), is_thin in product(colours.items(), (False, True)):
        own = [
            one for one, thin in zip(findings, is_small, strict=True) if (one.label, thin) == (label, is_thin)
        ]
        inside = _fill(own, image, scale)
        hatched = hatched if is_thin else _hatch(hatched, inside, line, colour)
        groups.append((inside, small if is_thin else large, colour))
    drawn, taken = _draw_lines(hatched, groups)
    order = sorted(range(len(findings)), key=lambda i: (i != first, -findings[i].area_px, i))
    text_px = text_px or max(13, 7 * line)
    numbers = _Numbers(drawn, taken, text_px)
    for i in order:
        numbers.add(i + 1, outlines[i], large.reach, colours[findings[i].label], stands_out=i == first)
    drawn = numbers.drawn()
    has_legend = bool(colours) and len({*kinds, *colours}) > 1
    return DrawnFindings(add_legend(drawn, colours, text_px) if has_legend else drawn, numbers.n)


def draw_one(image: np.ndarray, finding: Finding, corner_xy: tuple[int, int]) -> np.ndarray:
    """A close-up, (h, w, 3) uint8 RGB at full size, with a thin line around the finding that leaves it bare.
    `corner_xy` is where the close-up begins in the photo."""
    inside = fill_finding(finding, image.shape[:2], corner_xy=corner_xy)
    return _draw_lines(image, ((inside, _Pen(3, 2), COLOURS[0]),))[0]


def _hatch(image: np.ndarray, inside: np.ndarray, line: int, colour: Colour) -> np.ndarray:
    """A copy with faint slanting lines where the inside, (h, w) bool, is broad; cracks stay bare."""
    from scipy.ndimage import minimum_filter

    deep = minimum_filter(inside, 4 * line + 1, mode="constant")
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    lines = deep & ((rows + columns) // line % _EVERY == 0)
    hatched = image.copy()
    hatched[lines] = ((1 - _HATCH) * image[lines] + _HATCH * np.array(colour)).round().astype(np.uint8)
    return hatched


def _draw_lines(
    image: np.ndarray, groups: Iterable[tuple[np.ndarray, _Pen, Colour]]
) -> tuple[np.ndarray, np.ndarray]:
    """A copy with a line around everything inside, (h, w) bool, and (h, w) bool: the flaws with their
    lines."""
    from scipy.ndimage import maximum_filter

    layers: dict[Colour, np.ndarray] = {}
    for inside, pen, colour in groups:
        if inside.any():
            reaches = (pen.bare, pen.bare + pen.bright, pen.reach)
            grown = np.stack([maximum_filter(inside, 2 * reach + 1) for reach in reaches])
            layers[colour] = grown | layers[colour] if colour in layers else grown
    drawn, taken = image.copy(), np.zeros(image.shape[:2], bool)
    # Smaller ones last and over the larger ones, in which they may lie; no line runs over what is smaller.
    order = sorted(layers.items(), key=lambda item: -np.count_nonzero(item[1][0]))
    for i, (colour, (_, bright, dark)) in enumerate(order):
        bare = np.any([flaws for _, (flaws, *_) in order[i:]], axis=0)
        drawn[dark & ~bare] = DARK
        drawn[bright & ~bare] = colour
        taken |= dark
    return drawn, taken


def _fill(findings: Iterable[Finding], image: np.ndarray, scale: float) -> np.ndarray:
    """(h, w) bool: within any of the findings."""
    inside = np.zeros(image.shape[:2], bool)
    for one in findings:
        # Each on its own box, as there may be thousands.
        left, top, right, bottom = (value * scale for value in one.box_xyxy)
        x, y = max(0, int(left) - 1), max(0, int(top) - 1)
        place = inside[y : int(bottom) + 2, x : int(right) + 2]
        if place.size:
            place |= fill_finding(one, place.shape, scale, (x / scale, y / scale))
    return inside


class _Numbers:
    """Puts numbers beside outlines, one after the other, where nothing stands yet."""

    def __init__(self, image: np.ndarray, taken: np.ndarray, text_px: int) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self._picture = Image.fromarray(np.ascontiguousarray(image))
        self._draw = ImageDraw.Draw(self._picture)
        self._font = ImageFont.load_default(size=text_px)
        self._taken, self._pad, self._n_covered, self.n = taken.copy(), max(3, text_px // 7), 0, 0

    def add(
        self, number: int, outline: Sequence[Point], distance: int, colour: Colour, *, stands_out: bool
    ) -> None:
        """Write a number beside the outline if there is room, in any case where it `stands_out`."""
        box = self._draw.textbbox((0, 0), str(number), font=self._font)
        width, height = (round(box[i + 2] - box[i]) + 2 * self._pad for i in (0, 1))
        is_enough = self._n_covered + width * height > _MOST_COVERED * self._taken.size
        if is_enough and self.n >= _ALWAYS_NUMBERED and not stands_out:
            return
        places = _places(outline, (width, height), distance)
        place = next((one for one in places if self._is_free(one, width, height)), None)
        if place is None and not stands_out:
            return
        left, top = place or self._within(outline[0], width, height)
        self._taken[top : top + height, left : left + width] = True
        self._n_covered += width * height
        self.n += 1
        ground, ink = (DARK, colour) if stands_out else (colour, DARK)
        corner = (left + width - 1, top + height - 1)
        self._draw.rectangle((left, top, *corner), fill=ground, outline=colour if stands_out else None)
        at = (left + self._pad - box[0], top + self._pad - box[1])
        self._draw.text(at, str(number), fill=ink, font=self._font)

    def drawn(self) -> np.ndarray:
        return np.asarray(self._picture)

    def _is_free(self, place: tuple[int, int], width: int, height: int) -> bool:
        left, top = place
        if left < 0 or top < 0 or left + width > self._taken.shape[1] or top + height > self._taken.shape[0]:
            return False
        return not self._taken[top : top + height, left : left + width].any()

    def _within(self, point: Point, width: int, height: int) -> tuple[int, int]:
        height_px, width_px = self._taken.shape
        return (
            max(0, min(round(point[0]), width_px - width)),
            max(0, min(round(point[1]), height_px - height)),
        )


def _places(outline: Sequence[Point], size_wh: tuple[int, int], distance: int) -> Iterator[tuple[int, int]]:
    """Upper left corners of a label beside an outline, from the end where the outline begins: the left one of
    what lies, the upper one of what stands."""
    corners = np.array(outline)
    start = int(np.argmin(corners[:, int(np.ptp(corners[:, 1]) > np.ptp(corners[:, 0]))]))
    order = (np.arange(len(corners)) + start) % len(corners)
    width, height = size_wh
    beside = [(-1, -1), (-1, 0), (0, -1), (-1, 1), (0, 1), (1, -1), (1, 0), (1, 1)]
    for i, (x, y) in product(order[:: max(1, len(order) // _N_PLACES)], beside):
        left = corners[i, 0] + {-1: -distance - width, 0: -width / 2, 1: distance + 1}[x]
        top = corners[i, 1] + {-1: -distance - height, 0: -height / 2, 1: distance + 1}[y]
        yield round(left), round(top)
