"""A crack's mask, and the photo under it → length, widths, direction, branches, pattern.

The mask tells where the crack runs; how wide it is, the photo tells: grey values are read across the centre
line, averaged over a few pixels along it, and measured as every profile is. Where fewer than half of them
show a dark line, or there is no photo, the mask itself is read in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import CrackMeasurement, CrackPattern
from flawmap.stages.measure.centre_lines import CentreLine, CentreLines, find_centre_lines
from flawmap.stages.measure.profiles import ProfileOptions, Widths, measure_widths
from flawmap.tools.scale import Scale

_SURFACE_PX = 14
"""How much of the surface a profile holds on either side, beyond one and a half half-widths of the mask."""
_LIGHT = np.array([0.299, 0.587, 0.114])
"""Red, green and blue in grey, ITU-R BT.601."""
_BLUR_RANGE_PX, _BLUR_MARGIN = (0.4, 2.0), 1.05
"""Of photos that can be measured; the margin keeps the least width below the true one."""
_SHOWN_AT, _SHOWN_READINGS = 3.6, 10
"""A crack shows its own darkness where it is this many times as wide as its blur, in so many readings."""
_TILE_READINGS = 20_000
"""Profiles measured at a time, so that memory stays small."""


@dataclass(frozen=True)
class MeasureOptions:
    """How cracks are measured."""

    along_px: int = 5
    """Grey values are averaged over this many pixels along the crack, and widths taken as the median of as
    many: less noise, at the cost of the finest variation."""
    least_area_px: int = 10
    """Smaller specks of a mask are no cracks."""
    map_loops: int = 3
    """From this many closed loops on, a pattern is a map."""
    profile: ProfileOptions = field(default_factory=ProfileOptions)

    def __post_init__(self) -> None:
        for name in ("along_px", "least_area_px", "map_loops"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; 1 or more was wanted")


@dataclass(frozen=True)
class LocatedCrack:
    """One crack of a photo. Plain JSON values."""

    box_xyxy: tuple[int, int, int, int]
    """In pixels of the photo; right and bottom are exclusive."""
    widest_xy: tuple[float, float]
    """Where the largest width was read."""
    measurement: CrackMeasurement


@dataclass(frozen=True)
class MeasuredCracks:
    """All cracks of one mask, and what they are together. Plain JSON values."""

    cracks: tuple[LocatedCrack, ...]
    """From the top down."""
    total: CrackMeasurement | None
    """None where there is no crack."""
    n_specks: int
    """Specks of the mask that are too small for a crack."""


@dataclass(frozen=True, eq=False)
class _Readings:
    """What one crack gave; positions in pixels of the whole photo."""

    xy: np.ndarray
    normals: np.ndarray
    widths: Widths
    from_photo: bool
    lines: CentreLines
    scale: Scale | None
    area_px: int


def to_grey(image: np.ndarray) -> np.ndarray:
    """(H, W) float32 of an (H, W, 3) RGB image."""
    return image @ _LIGHT.astype(np.float32)


def measure_crack(
    mask: np.ndarray,
    grey: np.ndarray | None = None,
    options: MeasureOptions | None = None,
    scale: Scale | None = None,
    looked_at_px: int | None = None,
) -> CrackMeasurement:
    """One crack: (H, W) bool mask of it alone, and (H, W) grey values of the same pixels, 0 black.

    A crop serves as well as a photo (`scale` then `moved` to it), if it holds 20 px of surface around the
    mask. `looked_at_px` is the area that the density refers to; without it the crop's. Raises ValueError for
    an empty mask or another shape.
    """
    _check_shapes(mask, grey)
    if not mask.any():
        raise ValueError("wanted a mask with a crack; got an empty one")
    options = options or MeasureOptions()
    return _summarise([_read(mask, grey, options, scale)], options, looked_at_px or mask.size)[0]


def measure_cracks(
    mask: np.ndarray,
    grey: np.ndarray | None = None,
    options: MeasureOptions | None = None,
    scale: Scale | None = None,
) -> MeasuredCracks:
    """Every connected crack (corners connect) of an (H, W) bool mask; with the photo's grey values, (H, W)."""
    from scipy import ndimage

    _check_shapes(mask, grey)
    options = options or MeasureOptions()
    labels, _ = ndimage.label(mask, np.ones((3, 3), bool))
    areas = np.bincount(labels.ravel())
    cracks, readings, n_specks = [], [], 0
    for i, place in enumerate(ndimage.find_objects(labels), start=1):
        if areas[i] < options.least_area_px:
            n_specks += 1
            continue
        rows, columns = place
        # No profile reaches further than this: a radius is at most half the shorter side.
        margin = 2 * _SURFACE_PX + min(rows.stop - rows.start, columns.stop - columns.start)
        top, left = max(0, rows.start - margin), max(0, columns.start - margin)
        window = np.s_[top : rows.stop + margin, left : columns.stop + margin]
        crop = None if grey is None else grey[window]
        read = _read(labels[window] == i, crop, options, scale, (left, top))
        measurement, widest = _summarise([read], options, mask.size)
        box = (columns.start, rows.start, columns.stop, rows.stop)
        cracks.append(LocatedCrack(box, widest, measurement))
        readings.append(read)
    total = _summarise(readings, options, mask.size)[0] if readings else None
    return MeasuredCracks(tuple(cracks), total, n_specks)


def _check_shapes(mask: np.ndarray, grey: np.ndarray | None) -> None:
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"wanted an (H, W) bool mask; got {mask.shape} {mask.dtype}")
    if grey is not None and grey.shape != mask.shape:
        raise ValueError(f"wanted grey values of shape {mask.shape}, as the mask; got {grey.shape}")


def _read(
    mask: np.ndarray,
    grey: np.ndarray | None,
    options: MeasureOptions,
    scale: Scale | None,
    origin_xy: tuple[int, int] = (0, 0),
) -> _Readings:
    """Widths along the centre lines of one crack, on the photo where it shows them."""
    lines = find_centre_lines(mask)
    n_wanted = sum(len(line.xy) for line in lines.branches)
    found = _read_on(grey, lines, options) if grey is not None else []
    from_photo = 2 * sum(len(widths) for _, _, widths in found) >= n_wanted
    if from_photo and grey is not None:
        options = _learnt([widths for _, _, widths in found], options)
        found = _read_on(grey, lines, options)
    else:
        black = replace(options, profile=replace(options.profile, dark_ratio=0))
        found = _read_on(_to_photo(mask), lines, black)
    if not found:
        found = [_by_area(mask, lines)]
    xy, normals = (np.concatenate([part[i] for part in found]) for i in (0, 1))
    parts = [part[2] for part in found]
    widths = Widths(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Widths)})
    return _Readings(
        xy + origin_xy, normals, widths, from_photo, _moved(lines, origin_xy), scale, int(mask.sum())
    )


def _to_photo(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32: its crack in black on white, as blurred as a photo in focus is."""
    from scipy import ndimage

    return ndimage.gaussian_filter(np.where(mask, np.float32(0), np.float32(255)), 0.7)


def _learnt(found: Sequence[Widths], options: MeasureOptions) -> MeasureOptions:
    """What a whole crack tells and a single profile cannot: its blur, and how dark it is where it is wide."""
    half, blur, dark = (
        np.concatenate([getattr(widths, name) for widths in found])
        for name in ("half_px", "blur_px", "dark_ratio")
    )
    profile = options.profile
    blur_px = float(np.median(blur))
    most_blur_px = float(np.clip(_BLUR_MARGIN * blur_px, *_BLUR_RANGE_PX))
    is_wide = half > _SHOWN_AT * blur_px
    dark_ratio = profile.dark_ratio
    if is_wide.sum() >= _SHOWN_READINGS:
        dark_ratio = min(0.95, float(np.median(dark[is_wide])))
    return replace(options, profile=replace(profile, most_blur_px=most_blur_px, dark_ratio=dark_ratio))


def _moved(lines: CentreLines, origin_xy: tuple[int, int]) -> CentreLines:
    branches = (replace(line, xy=line.xy + origin_xy) for line in lines.branches)
    return CentreLines(tuple(branches), lines.n_loops)


def _read_on(
    grey: np.ndarray, lines: CentreLines, options: MeasureOptions
) -> list[tuple[np.ndarray, np.ndarray, Widths]]:
    """Per branch: points, unit normals and widths, of readings that show a dark line within the picture."""
    from scipy import ndimage

    found = []
    splines = ndimage.spline_filter(grey, order=3, output=np.float32)
    for line in lines.branches:
        for start in range(0, len(line.xy), _TILE_READINGS):
            part = _read_branch(splines, line, np.s_[start : start + _TILE_READINGS], options)
            if len(part[2]):
                found.append(part)
    return found


def _read_branch(
    splines: np.ndarray, line: CentreLine, part: slice, options: MeasureOptions
) -> tuple[np.ndarray, np.ndarray, Widths]:
    from scipy import ndimage

    xy, radii = line.xy[part], line.radius_px[part]
    normals = np.stack([-line.tangents[part][:, 1], line.tangents[part][:, 0]], axis=1)
    radius = float(np.percentile(radii, 95))
    reach = int(np.ceil(1.5 * radius)) + _SURFACE_PX
    across = np.arange(-reach, reach + 1)
    at = xy[:, None, :] + across[:, None] * normals[:, None, :]
    profiles = ndimage.map_coordinates(
        splines, [at[..., 1], at[..., 0]], output=np.float32, order=3, mode="nearest", prefilter=False
    )
    n_along = min(options.along_px, len(xy))
    profiles = ndimage.uniform_filter1d(profiles, n_along, axis=0, mode="nearest")
    profile_options = replace(options.profile, search_px=radius + 3)
    widths = measure_widths(profiles, profile_options)
    steady = ndimage.median_filter(widths.width_px, n_along, mode="nearest")
    widths = replace(widths, width_px=steady)
    is_kept = widths.is_seen & _is_inside(at, widths, splines.shape) & ~_is_at_junction(line, part)
    return xy[is_kept], normals[is_kept], widths.take(is_kept)


def _is_inside(at: np.ndarray, widths: Widths, size_hw: tuple[int, ...]) -> np.ndarray:
    """(n,) whether both edges, with some surface beyond, lie in the picture: (n, k, 2) points of profiles."""
    rows, last = np.arange(len(at)), at.shape[1] - 1
    is_inside = np.ones(len(at), bool)
    for edge in (np.floor(widths.left) - 3, np.ceil(widths.right) + 3):
        x, y = at[rows, np.clip(edge, 0, last).astype(np.int64)].T
        is_inside &= (x >= 0) & (y >= 0) & (x <= size_hw[1] - 1) & (y <= size_hw[0] - 1)
    return is_inside


def _is_at_junction(line: CentreLine, part: slice) -> np.ndarray:
    """(n,) where the line lies within another branch, which would be measured too."""
    along = np.arange(len(line.xy), dtype=float)
    is_near = np.zeros(len(line.xy), bool)
    for is_free, away, end in zip(line.is_free, (along, along[::-1]), (0, -1), strict=True):
        if not is_free and not _is_loop(line):
            is_near |= away < 1.5 * line.radius_px[end] + 2
    return is_near[part]


def _is_loop(line: CentreLine) -> bool:
    return bool(np.hypot(*(line.xy[0] - line.xy[-1])) < 1.5)


def _by_area(mask: np.ndarray, lines: CentreLines) -> tuple[np.ndarray, np.ndarray, Widths]:
    """A single reading, where a mask is too small for any: its area over its length."""
    length = max(1.0, sum(line.length_px for line in lines.branches))
    one = np.array([mask.sum() / length])
    unknown = np.array([0.0])
    widths = Widths(one, one / 2 + 1, unknown, unknown, unknown, unknown, unknown, np.array([False]))
    return lines.branches[0].xy[:1], np.array([[0.0, 1.0]]), widths


def _summarise(
    readings: Sequence[_Readings], options: MeasureOptions, looked_at_px: int
) -> tuple[CrackMeasurement, tuple[float, float]]:
    """The figures of one crack, or of several together; and where the largest width is."""
    xy, normals = (np.concatenate([getattr(read, name) for read in readings]) for name in ("xy", "normals"))
    widths = np.concatenate([read.widths.width_px for read in readings])
    u95 = np.concatenate([read.widths.u95_px for read in readings])
    lines = [line for read in readings for line in read.lines.branches]
    lengths = np.array([line.length_px for line in lines])
    scale = readings[0].scale
    reference, relative_u95 = None, 0.0
    if scale is not None:
        local = scale.at(xy, normals)
        widest = int(np.argmax(widths * local))
        reference = float(local[widest])
        relative_u95 = float(scale.relative_u95(xy[widest : widest + 1], normals[widest : widest + 1])[0])
        widths, u95 = widths * local / reference, u95 * local / reference
        lengths = lengths * [scale.at(line.xy, line.tangents).mean() / reference for line in lines]
    widest = int(np.argmax(widths))
    from_photo = all(read.from_photo for read in readings)
    smallest = _smallest_width(readings, options)
    measurement = CrackMeasurement(
        length_px=float(lengths.sum()),
        area_px=sum(read.area_px for read in readings),
        width_max_px=float(widths[widest]),
        width_mean_px=float(widths.mean()),
        width_p95_px=float(np.percentile(widths, 95)),
        width_sd_px=float(widths.std()),
        width_max_u95_px=float(np.hypot(u95[widest], relative_u95 * widths[widest])),
        direction_deg=_direction(lines),
        pattern=_pattern(readings, len(lines), options),
        n_branches=len(lines),
        is_resolved=bool(widths.mean() >= smallest),
        smallest_width_px=smallest,
        density_px_per_px2=float(lengths.sum()) / looked_at_px,
        scale_mm_per_px=reference,
        width_source="photo" if from_photo else "mask",
    )
    return measurement, (float(xy[widest, 0]), float(xy[widest, 1]))


def _smallest_width(readings: Sequence[_Readings], options: MeasureOptions) -> float:
    """Half of what blur alone makes of a line, where the edges are sharpest; never under `resolved_px`."""
    blurs = np.concatenate([read.widths.blur_px for read in readings])
    return max(options.profile.resolved_px, 2.355 / 2 * float(np.percentile(blurs, 20)))


def _direction(lines: Sequence[CentreLine]) -> float:
    """Mean of the tangents as directions without a sense: angles are doubled (Mardia and Jupp 2000, 1.3)."""
    tangents = np.concatenate([line.tangents for line in lines])
    x, y = tangents[:, 0], -tangents[:, 1]  # y counts downwards in photos
    doubled = np.arctan2((2 * x * y).sum(), (x**2 - y**2).sum())
    return float(np.degrees(doubled / 2) % 180) % 180


def _pattern(readings: Sequence[_Readings], n_branches: int, options: MeasureOptions) -> CrackPattern:
    if sum(read.lines.n_loops for read in readings) >= options.map_loops:
        return "map"
    return "branched" if n_branches > len(readings) else "single"
