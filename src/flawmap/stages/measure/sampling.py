"""Grey values across the centre lines of a crack, at every other pixel along them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flawmap.stages.measure.centre_lines import CentreLine, CentreLines
from flawmap.stages.measure.profiles import Widths

EVERY_PX = 2
"""A reading every so many pixels along."""
SURFACE_PX = 14
"""How much of the surface a profile holds on either side, beyond one and a half half-widths of the mask."""
_RADIUS_STEP = 4
"""Branches whose half-widths are equal when rounded up to this are read together."""
_NEAR_PX = 5


@dataclass(frozen=True, eq=False)
class Batch:
    """Profiles of branches of about one width, a row each."""

    xy: np.ndarray
    normals: np.ndarray
    profiles: np.ndarray
    is_own: np.ndarray
    """False within a junction."""
    thick_px: np.ndarray
    """How thick the mask is there, or within 5 px along the line."""
    branch: np.ndarray
    """Which branch a row is of; the rows of one follow each other."""
    radius_px: int
    n_along: int
    size_hw: tuple[int, ...]

    def every(self, n: int) -> Batch:
        """Every so manieth row."""
        rows = ("xy", "normals", "profiles", "is_own", "thick_px", "branch")
        return replace(self, **{name: getattr(self, name)[::n] for name in rows})


def sample(grey: np.ndarray, lines: CentreLines, along_px: int) -> list[Batch]:
    """Grey profiles across every branch, averaged along it; branches of about one width go together."""
    from scipy import ndimage

    single: Any = np.float32
    splines = ndimage.spline_filter(grey, order=3, output=single)
    n_along = 2 * (along_px // (2 * EVERY_PX)) + 1  # odd, so that a reading stays in its place
    grouped: dict[int, list[tuple[np.ndarray, ...]]] = {}
    for branch, line in enumerate(lines.branches):
        radius = int(_RADIUS_STEP * np.ceil(np.percentile(line.radius_px, 95) / _RADIUS_STEP))
        xy, tangents = line.xy[::EVERY_PX], line.tangents[::EVERY_PX]
        normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
        reach = 1.5 * radius + SURFACE_PX
        at = xy[:, None, :] + np.arange(-reach, reach + 1)[:, None] * normals[:, None, :]
        profiles = ndimage.map_coordinates(
            splines, [at[..., 1], at[..., 0]], output=single, order=3, mode="nearest", prefilter=False
        )
        profiles = ndimage.uniform_filter1d(profiles, min(n_along, len(xy)), axis=0, mode="nearest")
        is_own = ~_is_at_junction(line)[::EVERY_PX]
        thick_px = ndimage.maximum_filter1d(2 * line.radius_px, 2 * _NEAR_PX + 1, mode="nearest")[::EVERY_PX]
        one = (xy, normals, profiles, is_own, thick_px, np.full(len(xy), branch))
        grouped.setdefault(radius, []).append(one)
    return [
        Batch(
            *(np.concatenate(parts) for parts in zip(*group, strict=True)),
            radius_px=radius,
            n_along=n_along,
            size_hw=grey.shape,
        )
        for radius, group in grouped.items()
    ]


def lie_inside(widths: Widths, batch: Batch) -> np.ndarray:
    """(n,) whether both edges, with some surface beyond, lie in the picture."""
    middle, is_inside = (batch.profiles.shape[1] - 1) / 2, np.ones(len(batch.xy), bool)
    for edge in (widths.left - 3 - middle, widths.right + 3 - middle):
        x, y = (batch.xy + edge[:, None] * batch.normals).T
        is_inside &= (x >= 0) & (y >= 0) & (x <= batch.size_hw[1] - 1) & (y <= batch.size_hw[0] - 1)
    return is_inside


def _is_at_junction(line: CentreLine) -> np.ndarray:
    """(n,) where the line lies within another branch, which would be measured too."""
    along = np.arange(len(line.xy), dtype=float)
    is_near = np.zeros(len(line.xy), bool)
    for is_free, away, end in zip(line.is_free, (along, along[::-1]), (0, -1), strict=True):
        if not is_free and not _is_loop(line):
            is_near |= away < 1.5 * line.radius_px[end] + 2
    return is_near


def _is_loop(line: CentreLine) -> bool:
    return bool(np.hypot(*(line.xy[0] - line.xy[-1])) < 1.5)
