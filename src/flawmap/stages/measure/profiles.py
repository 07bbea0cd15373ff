"""How wide a dark line is, from grey values on a straight line across it.

Three facts bound the width of a blurred line, and the estimate keeps to all of them:

1. Blur does not change the sum of what is missing against the surface. Over the depth of an open crack this
   sum is the width, also where the crack is narrower than a pixel; but how dark the crack would be without
   blur has to be assumed (`dark_ratio`) where it is too narrow to show it.
2. The distance between the places of half depth, each side against its own surface, is the width once the
   crack is wider than the blur, and is never less than it.
3. From that distance follows a least width: that of a line blurred as strongly as photos in focus are.

So: the sum over the depth, held between the least width and the distance at half depth.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from flawmap.errors import OptionError
from flawmap.tools.options import Options

_CLEARANCE_PX = 2.0
"""Beyond the edges, where blur still darkens the surface."""
_EDGE_U95_PX = 0.5
"""Both edges fall somewhere within a pixel."""
_DARK_RANGE = (0.1, 0.4)
"""How dark open cracks are against the surface around them, from soot-black to lit or dusty."""
_EDGE_LEVELS = (0.4, 0.5, 0.6)
"""Of the depth. Where the crack has clear edges, the width hardly depends on the level; a shaded or broken
edge leaves open what the edge is, and the change from the first to the last level says by how much."""
_BLUR_MARGIN = 1.05
"""Keeps the least width below the true one, where the blur is known from the crack as a whole."""
_TELLING = (2.8, 3.6)
"""Distances at half depth, in deviations of the blur, between which they begin to tell the width."""
_SEEN_AT, _SEEN_SHARE = 3.0, 0.04
"""A line is seen from this many times the surface's own unrest on, and this share of its brightness."""


@dataclass(frozen=True)
class ProfileOptions(Options):
    """How grey values across a crack become a width."""

    search_px: float = 8.0
    """The crack lies within this distance of the middle; of two alike, the one nearer the middle is it."""
    dark_ratio: float = 0.25
    """Grey value of an open crack over that of the surface, where the crack is too narrow to show its own."""
    most_blur_px: float = 1.5
    """Standard deviation of the strongest blur that a photo in focus has."""
    resolved_px: float = 1.0
    """Widths under this are told apart: they rest on `dark_ratio` alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dark_ratio < 1:
            raise OptionError(f"dark_ratio is {self.dark_ratio}; 0 to below 1 was wanted")
        for name in ("search_px", "most_blur_px", "resolved_px"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name} is {getattr(self, name)}; a number above 0 was wanted")


@dataclass(frozen=True)
class CrackLook:
    """How a crack looks in a photo, the same all along it."""

    dark_ratio: float
    """Its grey value over that of the surface, as it were without blur."""
    blur_px: float
    """Standard deviation of the photo's blur."""
    dark_u95: float
    """95 % half-interval of a narrow width that `dark_ratio` leaves open, as a share of the width."""


@dataclass(frozen=True, eq=False)
class Widths:
    """One row per profile, all (n,) float64 but `is_seen` (n,) bool; positions in samples from the first."""

    width_px: np.ndarray
    u95_px: np.ndarray
    """95 % half-interval: mixed edge pixels, what counts as the edge, blur, the unknown darkness."""
    left: np.ndarray
    right: np.ndarray
    """Where the profile is at half its depth."""
    blur_px: np.ndarray
    """Standard deviation of the blur, from how the edges rise; more where they are shaded or broken."""
    half_px: np.ndarray
    """Distance between the two."""
    dark_ratio: np.ndarray
    """The darkest value over that of the surface."""
    surface: np.ndarray
    """Grey value of the surface beside the line."""
    missing_px: np.ndarray
    """The width of a line without any light that would darken the photo as much."""
    noise_px: np.ndarray
    """Standard deviation of the width by the photo's noise alone."""
    is_seen: np.ndarray
    """Whether there is a dark line at all: three times as deep as the surface is uneven, not too faint."""

    def __len__(self) -> int:
        return len(self.width_px)

    def take(self, rows: np.ndarray) -> Widths:
        """Those rows only."""
        return Widths(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def measure_widths(
    profiles: np.ndarray, options: ProfileOptions | None = None, look: CrackLook | None = None
) -> Widths:
    """Widths of the dark lines in (n, k) grey values, sampled a pixel apart, k at least 7; 0 is black.

    The surface should be seen on both sides, best over 5 samples or more. `look` is what is known of the
    whole crack. Raises ValueError for another shape or values that are no numbers.
    """
    options = options or ProfileOptions()
    values = np.asarray(profiles, np.float64)
    if values.ndim != 2 or values.shape[1] < 7 or not np.isfinite(values).all():
        raise ValueError(f"wanted (n, 7 or more) finite grey values; got {values.shape}")
    core = _find_core(values, options.search_px)
    dip = _Dip.around(values, core)
    low, half, high = (np.diff(dip.cross(level), axis=0)[0] for level in _EDGE_LEVELS)
    left, right = dip.cross(0.5)
    missing, surface = dip.missing(left, right)
    blur_px, dark_ratio, (darkest, lightest) = options.most_blur_px, options.dark_ratio, _DARK_RANGE
    if look is not None:
        blur_px, dark_ratio = _BLUR_MARGIN * look.blur_px, look.dark_ratio
        darkest, lightest = (1 - (1 - dark_ratio) * np.exp(side * look.dark_u95) for side in (1, -1))
    least = np.minimum(_least_width(half, blur_px), half)
    if look is not None:
        # Of narrow cracks the distance tells little but noise, and the darkness is known.
        least *= np.clip((half / blur_px - _TELLING[0]) / (_TELLING[1] - _TELLING[0]), 0, 1)

    def estimate(ratio: float) -> np.ndarray:
        shown = ratio * surface if look is not None else np.minimum(dip.darkest, ratio * surface)
        depth = surface - shown
        return np.clip(missing / np.maximum(depth, 1e-9), least, half)

    width = np.where(dip.depth > 0, estimate(dark_ratio), 0.0)
    of_darkness = np.abs(estimate(lightest) - estimate(darkest)) / 2
    u95 = np.sqrt(_EDGE_U95_PX**2 + (high - low) ** 2 + of_darkness**2)
    return Widths(
        width,
        u95,
        left,
        right,
        half_px=half,
        blur_px=_blur(half, high - low),
        dark_ratio=np.clip(dip.darkest / np.maximum(surface, 1e-9), 0, 1),
        surface=surface,
        missing_px=missing / np.maximum(surface, 1e-9),
        noise_px=dip.noise() / np.maximum(dip.depth, 1e-9) * np.sqrt(np.minimum(half, 4) + 2 * _CLEARANCE_PX),
        is_seen=dip.depth > np.maximum(_SEEN_AT * dip.unrest(), _SEEN_SHARE * surface),
    )


def _find_core(values: np.ndarray, search_px: float) -> np.ndarray:
    """(n,) the sample that the crack is taken to lie at."""
    n_samples = values.shape[1]
    smooth = np.pad(values, ((0, 0), (1, 1)), mode="edge")
    smooth = (smooth[:, :-2] + 2 * smooth[:, 1:-1] + smooth[:, 2:]) / 4
    away = np.abs(np.arange(n_samples) - (n_samples - 1) / 2)
    nearness = np.where(away <= search_px, 1 - away / n_samples, 0)
    darkness = np.maximum(_surface(values) - smooth, 1e-9)
    return np.argmax(darkness * nearness, axis=1)


def _surface(values: np.ndarray) -> np.ndarray:
    """(n, 1) of the surface, roughly: wide cracks fill most of a profile, so not the median."""
    return np.percentile(values, 75, axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class _Dip:
    """A dark line in each profile: where its middle is, and the surface on both of its sides."""

    values: np.ndarray
    core: np.ndarray
    outside: np.ndarray
    """(n, k) bool: surface, clear of the line's blur."""
    surfaces: np.ndarray
    """(2, n): left and right."""
    darkest: np.ndarray

    @classmethod
    def around(cls, values: np.ndarray, core: np.ndarray) -> _Dip:
        at = np.arange(values.shape[1])
        level = (_surface(values)[:, 0] + values[np.arange(len(values)), core]) / 2
        first, last = _walk_out(values, core, level)
        sides = (at < first[:, None] - _CLEARANCE_PX, at > last[:, None] + _CLEARANCE_PX)
        surfaces = np.array([_median_where(values, side) for side in sides])
        # A side that the profile does not reach is taken to be like the other.
        surfaces = np.where(np.isnan(surfaces), surfaces[::-1], surfaces)
        surfaces = np.where(np.isnan(surfaces), values.max(axis=1), surfaces)
        inside = (at >= first[:, None]) & (at <= last[:, None])
        darkest = np.where(inside, values, np.inf).min(axis=1)
        return cls(values, core, sides[0] | sides[1], surfaces, darkest)

    @property
    def depth(self) -> np.ndarray:
        return self.surfaces.mean(axis=0) - self.darkest

    def cross(self, share: float) -> np.ndarray:
        """(2, n): where the profile first reaches `share` of its depth, left and right of the core."""
        levels = self.darkest + share * (self.surfaces - self.darkest)
        left = _cross_right(self.values[:, ::-1], self.values.shape[1] - 1 - self.core, levels[0])
        return np.array([self.values.shape[1] - 1 - left, _cross_right(self.values, self.core, levels[1])])

    def missing(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) sum of what lies under the surface from edge to edge, with blur; (n,) the surface there."""
        at = np.arange(self.values.shape[1])
        share = (at - left[:, None]) / np.maximum(right - left, 1e-9)[:, None]
        surface = (
            self.surfaces[0][:, None] + np.clip(share, 0, 1) * (self.surfaces[1] - self.surfaces[0])[:, None]
        )
        near = at >= np.floor(left)[:, None] - _CLEARANCE_PX
        near &= at <= np.ceil(right)[:, None] + _CLEARANCE_PX
        found = (np.clip(surface - self.values, 0, None) * near).sum(axis=1)
        # Of noise, the half that is darker than the surface was counted too: 0.4 deviations a sample.
        n_surface = near.sum(axis=1) - (right - left)
        return np.maximum(found - 0.4 * self.noise() * n_surface, 0), self.surfaces.mean(axis=0)

    def noise(self) -> np.ndarray:
        """(n,) standard deviation of the noise from sample to sample, which a surface's texture is not."""
        steps = np.abs(np.diff(self.values, axis=1))
        return (
            1.4826 / 2**0.5 * np.nan_to_num(_median_where(steps, self.outside[:, 1:] & self.outside[:, :-1]))
        )

    def unrest(self) -> np.ndarray:
        """(n,) standard deviation of the surface, from the median deviation: a stain does not count."""
        at = np.arange(self.values.shape[1])
        side = np.where(at < self.core[:, None], self.surfaces[0][:, None], self.surfaces[1][:, None])
        return 1.4826 * np.nan_to_num(_median_where(np.abs(self.values - side), self.outside))


def _walk_out(values: np.ndarray, core: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,), (n,): the first and the last sample around the core that stay below the level."""
    at, n_samples = np.arange(values.shape[1]), values.shape[1]
    is_above = values >= level[:, None]
    before = np.where(is_above & (at < core[:, None]), at, -1).max(axis=1)
    after = np.where(is_above & (at > core[:, None]), at, n_samples).min(axis=1)
    return before + 1, after - 1


def _cross_right(values: np.ndarray, core: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(n,) where a straight line between samples first reaches the level; the last sample where none does."""
    _, last = _walk_out(values, core, level)
    rows, after = np.arange(len(values)), np.minimum(last + 1, values.shape[1] - 1)
    low, high = values[rows, last], values[rows, after]
    step = np.where(high > low, (level - low) / np.where(high > low, high - low, 1), 0)
    return last + np.clip(step, 0, 1)


def _median_where(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(n,) median of the chosen samples of each row, NaN where there are none."""
    n_chosen = chosen.sum(axis=1)
    ordered = np.sort(np.where(chosen, values, np.inf), axis=1)
    rows, last = np.arange(len(values)), values.shape[1] - 1
    low = ordered[rows, np.clip((n_chosen - 1) // 2, 0, last)]
    high = ordered[rows, np.clip(n_chosen // 2, 0, last)]
    return np.where(n_chosen > 0, (low + np.where(n_chosen > 0, high, low)) / 2, np.nan)


def _least_width(half: np.ndarray, blur_px: float) -> np.ndarray:
    """The width of the box that a Gaussian blur makes `half` wide at half depth; 0 below the blur's own."""
    widths, halves, _ = _blurred_boxes()
    of_blur = half / blur_px
    return np.where(of_blur > halves[-1], half, blur_px * np.interp(of_blur, halves, widths))


def _blur(half: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """The blur of a box that is `half` wide at half depth and wider by `rise` at 60 % than at 40 %."""
    _, halves, rises = _blurred_boxes()
    share = rise / np.maximum(half, 1e-9)
    # The wider the box the smaller its share; beyond the table both edges are blurred by themselves.
    by_box = half / np.interp(-share, -rises / halves, halves)
    return np.where(share < rises[-1] / halves[-1], rise / rises[-1], by_box)


@cache
def _blurred_boxes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of boxes after a Gaussian blur of 1: the width before, at half depth, and from 40 % to 60 % of it."""
    from scipy.special import erf

    widths, away = np.linspace(0.01, 6, 200), np.linspace(0, 7, 2801)
    middle = widths[:, None] / 2
    shapes = erf((middle + away) / 2**0.5) + erf((middle - away) / 2**0.5)

    def wide_at(level: float) -> np.ndarray:
        found = [2 * np.interp(-(1 - level) * shape[0], -shape, away) for shape in shapes]
        return np.array([found[0], *found])

    return np.array([0.0, *widths]), wide_at(0.5), wide_at(0.6) - wide_at(0.4)
