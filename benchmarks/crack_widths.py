"""Widths read off grey profiles against widths measured by hand, for every estimator that was weighed:

    python benchmarks/crack_widths.py

Every second row served to compare, the others to confirm; both are printed. "flawmap" is what ships.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from flawmap.stages.measure import Profile, ProfileOptions, measure_widths, read_profiles

_EVER_SMALL = 1e-6
WAYS = {
    "flawmap": ProfileOptions(),
    "open crack 0.15 as dark as the surface": ProfileOptions(dark_ratio=0.15),
    "open crack 0.35 as dark": ProfileOptions(dark_ratio=0.35),
    "sum over the depth, no bounds by blur": ProfileOptions(most_blur_px=1e3),
    "distance at half depth alone": ProfileOptions(most_blur_px=_EVER_SMALL),
}


def main() -> None:
    """Print mean absolute errors, bias, how often the interval holds the truth, and its mean half-width."""
    folder = Path(os.environ.get("FLAWMAP_DATA", "../shared/data")) / "crack-widths"
    print(
        f"{'':42s}{'error, mm':>10s}{'compared':>10s}{'confirmed':>10s}{'bias':>8s}{'held':>7s}{'± mm':>7s}"
    )
    for name in ("BridgeB", "Indoors"):
        files = sorted((folder / name).glob("*.csv"))
        truth = np.array([_read_truth(file) for file in files])
        profiles = [read_profiles(file)[0] for file in files]
        print(f"{name}, {len(files)} profiles")
        for way, options in WAYS.items():
            width, u95 = _measure(profiles, options)
            error = width - truth
            parts = (np.abs(error).mean(), np.abs(error[::2]).mean(), np.abs(error[1::2]).mean())
            held = (np.abs(error) <= u95).mean()
            print(f"  {way:40s}" + "".join(f"{part:10.3f}" for part in parts), end="")
            print(f"{error.mean():+8.3f}{held:7.2f}{u95.mean():7.3f}")


def _read_truth(file: Path) -> float:
    names, values = (line.split(",") for line in file.read_text().splitlines()[:2])
    return float(dict(zip((name.strip() for name in names), values, strict=True))["width_m"])


def _measure(profiles: list[Profile], options: ProfileOptions) -> tuple[np.ndarray, np.ndarray]:
    rows = []
    for profile in profiles:
        widths = measure_widths(np.array([profile.values]), options)
        rows.append((widths.width_px[0], widths.u95_px[0]) * np.array(profile.scale_mm_per_px))
    width, u95 = np.array(rows).T
    return width, u95


if __name__ == "__main__":
    main()
