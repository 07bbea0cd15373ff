"""A crack's mask, and the photo under it → length, widths, direction, branches, pattern.

The mask tells where the crack runs; how wide it is, the photo tells: grey values are read across the centre
line, averaged over a few pixels along it, and measured as every profile is. Where fewer than half of them
show a dark line, or there is no photo, the mask itself is read in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import groupby

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import CrackMeasurement, CrackPattern
from flawmap.stages.measure.centre_lines import CentreLines, find_centre_lines, mean_direction
from flawmap.stages.measure.lines import is_wider_than_mask, why_no_line
from flawmap.stages.measure.located import LocatedCrack, MeasuredCracks, Patch
from flawmap.stages.measure.parts import split_classes, split_regions
from flawmap.stages.measure.pooling import learn_look
from flawmap.stages.measure.profiles import CrackLook, ProfileOptions, Widths, measure_widths
from flawmap.stages.measure.sampling import EVERY_PX, SURFACE_PX, Batch, lie_inside, sample
from flawmap.tools.options import Options
from flawmap.tools.surface import Scale

_LIGHT = np.array([0.299, 0.587, 0.114])
"""Red, green and blue in grey, ITU-R BT.601."""
_GLANCE = 2
"""Every so manieth reading serves for a first look at the whole crack."""
_STEADY_READINGS, _NOISE_MARGIN = 15, 2.5
"""Readings in a local mean; what counts as noise is larger by this, since it is told from few readings."""
_STEP_PX = (2 / 12) ** 0.5
"""Standard deviation of a mask's width by its steps: both edges are rounded to pixels."""
_NARROW_BLURS, _MOST_OPEN_PX = 2.0, 0.8
"""Below so many deviations of the blur a crack's shape hardly tells a wide and light one from a narrow and
dark one; where that leaves more than so much open, it is not resolved."""
_SURE_READINGS, _SURE_SHARE = 8, 0.25
"""So many readings on end, 16 px of the crack, or this share of all have to reach the smallest width that can
be told: the largest one of a hair crack is noise. Of drawn hair cracks 7 % pass, of those that widen to what
can be told 92 %; by the mean width 5 % and 75 %, by the largest one 10 % and 93 %."""
_MASK_BLUR_PX = 0.7
_MASK_LOOK = CrackLook(dark_ratio=0.0, blur_px=(_MASK_BLUR_PX**2 + 1 / 12) ** 0.5, dark_u95=0.0)
"""Of a mask as a photo: black on white, and mixed within pixels."""


@dataclass(frozen=True)
class MeasureOptions(Options):
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
        super().__post_init__()
        for name in ("along_px", "least_area_px", "map_loops"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; 1 or more was wanted")


@dataclass(frozen=True, eq=False)
class _Readings:
    """What one crack gave; positions in pixels of the whole photo."""

    xy: np.ndarray
    normals: np.ndarray
    widths: Widths
    from_photo: bool
    look: CrackLook | None
    lines: CentreLines
    scale: Scale | None
    area_px: int

    @property
    def why_no_line(self) -> str:
        return why_no_line(self.lines, self.area_px, float(self.widths.width_px.mean()))


@dataclass(frozen=True, eq=False)
class _Glance:
    """A first look at some profiles of a crack."""

    profiles: np.ndarray
    """Those that show a dark line."""
    widths: Widths
    """Of these."""
    wider_px: np.ndarray
    """Widths of dark lines that the mask contradicts."""


def to_grey(image: np.ndarray) -> np.ndarray:
    """(H, W) float32 of an (H, W, 3) RGB image."""
    return image @ _LIGHT.astype(np.float32)


def measure_crack(
    mask: np.ndarray,
    grey: np.ndarray | None = None,
    options: MeasureOptions | None = None,
    scale: Scale | None = None,
    looked_at_px: int | None = None,
    *,
    is_traced: bool = False,
) -> CrackMeasurement:
    """One crack: (H, W) bool mask of it alone, and (H, W) grey values of the same pixels, 0 black.

    A crop serves as well as a photo (`scale` then `moved` to it), if it holds 20 px of surface around the
    mask. `looked_at_px` is the area that the density refers to; without it the crop's. The mask is taken for
    a crack whatever its shape; `measure_if_crack` asks first. `is_traced`: it is a line that trace_crack()
    drew, so that its thickness says nothing of the crack's. Raises ValueError for an empty mask or another
    shape.
    """
    return _measure_one(mask, grey, options, scale, looked_at_px, is_traced)[0]


def measure_if_crack(
    mask: np.ndarray,
    grey: np.ndarray | None = None,
    options: MeasureOptions | None = None,
    scale: Scale | None = None,
    looked_at_px: int | None = None,
) -> CrackMeasurement | None:
    """As `measure_crack`; None for a mask that is no line, or whose area the widths do not explain."""
    found, why_not = _measure_one(mask, grey, options, scale, looked_at_px, is_traced=False)
    return None if why_not else found


def _measure_one(
    mask: np.ndarray,
    grey: np.ndarray | None,
    options: MeasureOptions | None,
    scale: Scale | None,
    looked_at_px: int | None,
    is_traced: bool,
) -> tuple[CrackMeasurement, str]:
    """And why it is no line, "" where it is one."""
    _check_shapes(mask, grey)
    if not mask.any():
        raise ValueError("wanted a mask with a crack; got an empty one")
    options = options or MeasureOptions()
    read = _read(mask, grey, options, scale, is_traced=is_traced)
    return _summarise([read], options, looked_at_px or mask.size)[0], read.why_no_line


def measure_cracks(
    mask: np.ndarray,
    grey: np.ndarray | None = None,
    options: MeasureOptions | None = None,
    scale: Scale | None = None,
) -> MeasuredCracks:
    """Every connected crack (corners connect) of an (H, W) bool mask, or of each class of (H, W) uint8 class
    numbers, 0 where there is none; `grey` (H, W) is its photo."""
    options = options or MeasureOptions()
    cracks, patches, readings, n_specks = [], [], [], 0
    for class_index, pixels in split_classes(mask):
        _check_shapes(pixels, grey)
        for part in split_regions(pixels, 2 * SURFACE_PX):
            if part.area_px < options.least_area_px:
                n_specks += 1
                continue
            read = _read(part.mask, part.crop(grey), options, scale, part.origin_xy)
            if why_not := read.why_no_line:
                area_mm2 = None if scale is None else scale.area_mm2(part.pixels_xy)
                patches.append(Patch(part.box_xyxy, part.area_px, why_not, class_index, area_mm2))
                continue
            measurement, widest = _summarise([read], options, mask.size)
            cracks.append(LocatedCrack(part.box_xyxy, widest, measurement, class_index))
            readings.append(read)
    total = _summarise(readings, options, mask.size)[0] if readings else None
    return MeasuredCracks(tuple(cracks), total, n_specks, tuple(patches))


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
    *,
    is_traced: bool = False,
) -> _Readings:
    """Widths along the centre lines of one crack, on the photo where it shows them."""
    lines = find_centre_lines(mask)
    batches = [] if grey is None else sample(grey, lines, options.along_px)
    if is_traced:
        batches = [replace(batch, thick_px=np.full(len(batch.xy), np.inf)) for batch in batches]
    glances = [_glance(batch, options.profile) for batch in batches]
    n_looked_at = sum(int(batch.is_own[::_GLANCE].sum()) for batch in batches)
    n_read = sum(len(one.widths) for one in glances)
    wider_px = np.concatenate([one.wider_px for one in glances] or [np.zeros(0)])
    from_photo = bool(batches) and 2 * n_read >= n_looked_at
    if from_photo:
        look = learn_look([(one.profiles, one.widths) for one in glances])
    else:
        batches, look = sample(_to_photo(mask), lines, options.along_px), _MASK_LOOK
    found = [part for batch in batches if len((part := _measure(batch, options.profile, look))[2])]
    if not found:
        found = [_by_area(mask, lines)]
    xy = np.concatenate([points for points, _, _ in found])
    normals = np.concatenate([across for _, across, _ in found])
    parts = [widths for _, _, widths in found]
    widths = Widths(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Widths)})
    if not from_photo:  # more than the mask is thick was read aslant, where its edge steps back
        beyond = widths.width_px - lines.thickest_px
        if (
            len(wider_px) and 2 * (n_read + len(wider_px)) >= n_looked_at
        ):  # mask and photo contradict each other
            beyond = np.maximum(beyond, np.median(wider_px) - widths.width_px)
        widths = replace(widths, u95_px=np.maximum(widths.u95_px, beyond))
    moved = replace(lines, branches=tuple(replace(li, xy=li.xy + origin_xy) for li in lines.branches))
    return _Readings(xy + origin_xy, normals, widths, from_photo, look, moved, scale, int(mask.sum()))


def _to_photo(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32: its crack in black on white, as blurred as a photo in focus is."""
    from scipy import ndimage

    return ndimage.gaussian_filter(np.where(mask, np.float32(0), np.float32(255)), _MASK_BLUR_PX)


def _glance(batch: Batch, profile: ProfileOptions) -> _Glance:
    """What single profiles show by themselves."""
    some = batch.every(_GLANCE)
    widths = measure_widths(some.profiles, replace(profile, search_px=some.radius_px + 3))
    is_seen = widths.is_seen & some.is_own & lie_inside(widths, some)
    is_wider = is_wider_than_mask(widths.width_px, some.thick_px)
    is_kept = is_seen & ~is_wider
    return _Glance(some.profiles[is_kept], widths.take(is_kept), widths.width_px[is_seen & is_wider])


def _measure(
    batch: Batch, profile: ProfileOptions, look: CrackLook | None
) -> tuple[np.ndarray, np.ndarray, Widths]:
    """Points, unit normals and widths, of the readings that show a dark line within the picture."""
    widths = measure_widths(batch.profiles, replace(profile, search_px=batch.radius_px + 3), look)
    noise_px = np.maximum(widths.noise_px, _STEP_PX if look is _MASK_LOOK else 0)
    ends = np.flatnonzero(np.diff(batch.branch)) + 1
    branches = zip(np.split(widths.width_px, ends), np.split(noise_px, ends), strict=True)
    steady = [_steady(width, noise, batch.n_along) for width, noise in branches]
    steadied = replace(widths, width_px=np.concatenate(steady))
    is_kept = widths.is_seen & batch.is_own & lie_inside(widths, batch)
    if look is not _MASK_LOOK:
        for one in (widths, steadied):
            is_kept &= ~is_wider_than_mask(one.width_px, batch.thick_px)
        more_px = steadied.width_px - batch.thick_px  # that the mask does not vouch for
        steadied = replace(steadied, u95_px=np.maximum(steadied.u95_px, more_px))
    return batch.xy[is_kept], batch.normals[is_kept], steadied.take(is_kept)


def _steady(width_px: np.ndarray, noise_px: np.ndarray, n_along: int) -> np.ndarray:
    """(n,) along one branch: the running median, drawn towards the local mean by as much as noise alone
    would scatter it (Lee 1980, IEEE PAMI 2(2)). Else the largest of many would be the noisiest."""
    from scipy import ndimage

    n_mean = min(_STEADY_READINGS, len(width_px))
    median = ndimage.median_filter(width_px, min(n_along, len(width_px)), mode="nearest")
    mean = ndimage.uniform_filter1d(median, n_mean, mode="nearest")
    spread = ndimage.uniform_filter1d((median - mean) ** 2, n_mean, mode="nearest")
    is_real = np.clip(1 - _NOISE_MARGIN * np.median(noise_px) ** 2 / np.maximum(spread, 1e-9), 0, 1)
    return mean + is_real * (median - mean)


def _by_area(mask: np.ndarray, lines: CentreLines) -> tuple[np.ndarray, np.ndarray, Widths]:
    """A single reading, where a mask is too small for any: its area over its length."""
    length = max(1.0, sum(line.length_px for line in lines.branches))
    one = np.array([mask.sum() / length])
    unknown = np.array([0.0])
    widths = Widths(one, one / 2 + 1, *[unknown] * 8, is_seen=np.array([False]))
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
        direction_deg=mean_direction(lines),
        pattern=_pattern(readings, len(lines), options),
        n_branches=len(lines),
        is_resolved=_is_resolved(xy, widths, smallest),
        smallest_width_px=smallest,
        density_px_per_px2=float(lengths.sum()) / looked_at_px,
        scale_mm_per_px=reference,
        width_source="photo" if from_photo else "mask",
    )
    return measurement, (float(xy[widest, 0]), float(xy[widest, 1]))


def _is_resolved(xy: np.ndarray, width_px: np.ndarray, smallest_px: float) -> bool:
    """Whether the largest width is no mere noise."""
    is_wide = width_px >= smallest_px
    follows = np.hypot(*np.diff(xy, axis=0).T) <= 3 * EVERY_PX
    pairs = groupby(is_wide[1:] & is_wide[:-1] & follows)
    longest = max((sum(1 for _ in run) for goes_on, run in pairs if goes_on), default=0) + 1
    return bool(is_wide.mean() >= _SURE_SHARE) or longest >= _SURE_READINGS


def _smallest_width(readings: Sequence[_Readings], options: MeasureOptions) -> float:
    """Half of what blur alone makes of a line, where the edges are sharpest; more where the darkness of a
    blurred crack is open; never under `resolved_px`."""
    blurs = np.concatenate([read.widths.blur_px for read in readings])
    bounds = [options.profile.resolved_px, 2.355 / 2 * float(np.percentile(blurs, 20))]
    for look in (read.look for read in readings if read.look is not None):
        narrow_px = _NARROW_BLURS * look.blur_px
        bounds += [narrow_px] if look.dark_u95 * narrow_px > _MOST_OPEN_PX else []
    return max(bounds)


def _pattern(readings: Sequence[_Readings], n_branches: int, options: MeasureOptions) -> CrackPattern:
    if sum(read.lines.n_loops for read in readings) >= options.map_loops:
        return "map"
    return "branched" if n_branches > len(readings) else "single"
