"""What an inspection finds on site photos, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from flawmap.records.basics import check

CrackPattern = Literal["single", "branched", "map"]
WidthSource = Literal["photo", "mask"]
PositionSource = Literal["camera", "pixel"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ProfileWidth:
    """How wide a crack is on one line across it. Plain JSON values; millimetres are None without a scale."""

    width_px: float
    width_mm: float | None
    u95_px: float
    """95 % half-interval."""
    u95_mm: float | None
    is_resolved: bool
    """False where the crack is narrower than a pixel, or not seen at all: the width then rests on how dark
    an open crack is taken to be."""


@dataclass(frozen=True)
class CrackMeasurement:
    """One crack, in pixels of the photo; millimetres only through `scale_mm_per_px`. Plain JSON values.

    Where the photo is tilted, the pixels are those at the place of the largest width: every length is already
    corrected to them.
    """

    length_px: float
    """Along the centre line, branches included."""
    area_px: int
    """Of the mask."""
    width_max_px: float
    width_mean_px: float
    width_p95_px: float
    width_sd_px: float
    """Spread of the widths along the crack."""
    width_max_u95_px: float
    """95 % half-interval of the largest width, that of the scale included."""
    direction_deg: float
    """Of the crack as a whole, 0 up to below 180: 0 lies level, 90 upright, 45 rises to the right."""
    pattern: CrackPattern
    n_branches: int
    is_resolved: bool
    """Whether this photo shows the largest width: 16 px of the crack on end, or a quarter of it, are at least
    `smallest_width_px` wide. Else the crack, but for shorter places, is under that bound."""
    smallest_width_px: float
    """The smallest width that this photo resolves."""
    density_px_per_px2: float
    """Length over the area of what was looked at."""
    scale_mm_per_px: float | None = None
    width_source: WidthSource = "mask"
    """Where the widths were read: on the photo's grey values, or on the mask where the photo does not show
    the crack as a dark line, or is not given."""

    def __post_init__(self) -> None:
        check(0 <= self.direction_deg < 180, "direction_deg from 0 to below 180", self.direction_deg)
        is_scale = self.scale_mm_per_px is None or self.scale_mm_per_px > 0
        check(is_scale, "scale_mm_per_px above 0", self.scale_mm_per_px)

    @property
    def is_sure(self) -> bool:
        """Whether the photo shows the largest width, and its interval is under half of it."""
        return self.is_resolved and self.width_max_u95_px < self.width_max_px / 2

    @property
    def is_vague(self) -> bool:
        """Whether the interval is larger than the largest width itself: only what it lies under is known."""
        return self.is_resolved and self.width_max_u95_px > self.width_max_px

    @property
    def width_rank(self) -> tuple[bool, bool, bool, float]:
        """What cracks are ordered by: the surely measured above all others, then those whose width can be
        told at all, then those that the photo shows; within these by width, mm where known."""
        width = self.width_max_px * (self.scale_mm_per_px or 1.0)
        return self.is_sure, self.is_resolved and not self.is_vague, self.is_resolved, width

    def to_mm(self) -> dict[str, float]:
        """The same figures in millimetres, as `length_mm`, `width_max_mm`, …; empty without a scale."""
        scale = self.scale_mm_per_px
        if scale is None:
            return {}
        names = [f.name.removesuffix("_px") for f in fields(self) if f.name.endswith("_px")]
        lengths = [name for name in names if name not in ("area", "scale_mm_per")]
        found = {f"{name}_mm": scale * getattr(self, f"{name}_px") for name in lengths}
        density = {"density_mm_per_mm2": self.density_px_per_px2 / scale}
        return found | {"area_mm2": scale**2 * self.area_px} | density


@dataclass(frozen=True)
class FindingSpec:
    """When a place of a large photo is a finding, and which photos can be judged; travels with the model.

    Chosen on validation tiles alone. Plain JSON values.
    """

    least_score: float
    """Of a window in the finding."""
    least_area_px: int
    """Of a finding, in pixels of the photo."""
    chosen_by: str
    n_flawed: int = 0
    """Photos (sources of tiles) that the choice was made on; 0: a default."""
    n_clean: int = 0
    share_found: float | None = None
    """Of the flawed photos, at this choice."""
    n_false: int | None = None
    """Clean photos with a finding, at this choice."""
    least_sharpness: float | None = None
    """Photos below are too blurred; see tools.sharpness."""
    most_distance: float | None = None
    """A window further from the training tiles shows a foreign surface; see tools.familiarity. None: the
    model folder keeps nothing of those tiles."""
    most_remoteness: float | None = None
    """Photos above are too distant; see tools.familiarity."""
    n_foreign: int | None = None
    """Of the sources of validation tiles, those that would be foreign photos or too distant."""
    by_crops: bool = False
    """Whether it was chosen on crops, of a network that cannot be looked at densely."""

    def __post_init__(self) -> None:
        check(0 < self.least_score < 1, "least_score between 0 and 1", self.least_score)
        check(self.least_area_px >= 0, "least_area_px of 0 or more", self.least_area_px)


@dataclass(frozen=True)
class HeldBackCounts:
    """Photos that training never read, of which a model folder keeps what the model says; see
    tools.familiarity. Plain JSON values."""

    n_flawed: int
    n_good: int
    n_flawed_sources: int
    """Photos of one source tell less than as many of different ones."""
    n_good_sources: int


@dataclass(frozen=True)
class Finding:
    """One connected region of a photo that the model takes for a flaw. Plain JSON values."""

    label: str
    score: float
    """The highest probability of the label within the region."""
    box_xyxy: Box
    """In pixels of the upright photo; right and bottom are exclusive."""
    polygon: tuple[tuple[float, float], ...]
    """(x, y) corners of the outline, in pixels of the upright photo."""
    area_px: int
    measurement: CrackMeasurement | None = None
    severity: str | None = None
    """A grade by width, of the table that the survey names."""
    lon: float | None = None
    lat: float | None = None
    position_source: PositionSource | None = None
    """Whether the position is the camera's or the finding's own."""
    severity_is_certain: bool | None = None
    """Whether the width's whole 95 % interval lies in that severity, and the photo resolves it; None where
    nothing is graded."""
    severity_ratio: float | None = None
    """The largest width over the limit of the exposure; None where grades are bands, or nothing is graded."""
    is_foreign: bool | None = None
    """Whether it lies on a surface unlike the training photos, where the model's word is worth less; None
    where the model cannot tell."""
    runs: str | None = None
    """Its mask to the pixel, as tools.rle writes that of a whole upright photo; None where the model gives no
    masks, or the region is too large for it. Surveys keep outlines only."""
    holes: tuple[tuple[tuple[float, float], ...], ...] = ()
    """Corners of the larger holes in the outline, as those of `polygon`. Pictures leave them out; tables and
    findings.json do not hold them."""
    region_area_mm2: float | None = None
    """`area_px` on the surface, where the photo has a scale."""

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box_xyxy
        check(left < right and top < bottom, "a box of some area", self.box_xyxy)


@dataclass(frozen=True)
class Inspection:
    """One photo looked at. `error` says why it could not be read, `reason` why it could not be assessed."""

    path: str
    width_px: int | None = None
    height_px: int | None = None
    assessable: bool = True
    """False is never "clean": too blurred, dark, overexposed, distant or foreign to be judged, or wholly
    outside the region of interest."""
    reason: str = ""
    error: str = ""
    share_seen: float = 1.0
    """Of the photo's pixels; less where a region of interest was given."""
    share_foreign: float | None = None
    """Of what was seen: how much shows a surface unlike the training photos; None where the model cannot
    tell."""
    findings: tuple[Finding, ...] = ()
    """Highest score first."""
    position_system: str = ""
    """Of a GeoTIFF's coordinates that are not converted to degrees, as "EPSG:2056"; "" otherwise."""


@dataclass(frozen=True, eq=False)
class Window:
    """One window of a photo, as large as a training photo and drawn by lot: what makes photos of any size
    comparable with the training photos."""

    flaw_score: float
    image: np.ndarray | None
    """(h, w, 3) uint8 RGB; None of photos that are read in strips."""


@dataclass(frozen=True, eq=False)
class InspectedPhoto:
    """An inspection with the pictures that reports show of it; None where the photo was not read."""

    inspection: Inspection
    preview: np.ndarray | None = None
    """(h, w, 3) uint8 RGB: the upright photo, at most 1600 px on its longer side."""
    close_ups: tuple[np.ndarray, ...] = ()
    """(h, w, 3) uint8 RGB at full size around each of the first findings, at most 480 px a side."""
    heat: np.ndarray | None = None
    """(h', w') float32, 0 to 1: the flaw score over the photo, coarsely; 0 outside a region of interest."""
    window: Window | None = None
