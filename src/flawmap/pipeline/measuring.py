"""Measure cracks: from masks, from grey profiles; and print a marker that gives photos their scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flawmap.pipeline.using import Outcome
from flawmap.records import ProfileWidth
from flawmap.stages.measure import ProfileOptions, measure_profiles, read_profiles
from flawmap.tools.files import write_json
from flawmap.tools.scale import check_scale


@dataclass(frozen=True, kw_only=True)
class MeasuredProfiles(Outcome):
    """Outcome of `measure_profile`."""

    widths: tuple[ProfileWidth, ...]
    """One per profile, in the order given."""


def measure_profile(
    files: Path | str | Sequence[Path | str],
    *,
    scale_mm_per_px: float | None = None,
    options: ProfileOptions | None = None,
    json_file: Path | str | None = None,
) -> MeasuredProfiles:
    """How wide cracks are, from CSV files of grey values across them: a width per profile.

    A row per profile, values a pixel apart; or files that name their own scale as `mean_res`.
    """
    check_scale(scale_mm_per_px)
    given = [files] if isinstance(files, str | Path) else files
    profiles = [profile for file in given for profile in read_profiles(Path(file))]
    widths = measure_profiles(profiles, options, scale_mm_per_px)
    if json_file is not None:
        write_json(Path(json_file), widths)
    lines = [_width_line(i + 1, width) for i, width in enumerate(widths)]
    n_apart = sum(not width.is_resolved for width in widths)
    if n_apart:
        lines.append(
            f"{n_apart} of {len(widths)} not resolved (narrower than a pixel, or not seen): these rest on "
            "how dark an open crack is taken to be"
        )
    return MeasuredProfiles(lines=tuple(lines), widths=widths)


def _width_line(number: int, width: ProfileWidth) -> str:
    text = f"profile {number}: {width.width_px:.2f} ± {width.u95_px:.2f} px"
    if width.width_mm is not None:
        text += f", {width.width_mm:.3f} ± {width.u95_mm:.3f} mm"
    return text if width.is_resolved else f"{text}, not resolved"
