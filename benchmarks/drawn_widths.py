"""Widths of drawn cracks of known width, with blur and noise, drawn in other ways than the tests draw theirs:

    python benchmarks/drawn_widths.py [--cracks 400] [--without-photo]

Every second crack served to choose how widths are estimated, the others to confirm; both are printed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from flawmap.stages.measure import measure_crack

_SIDE_PX, _FINE = 240, 4
WITHIN_PX, WITHIN_BY_MASK_PX = 0.3, 0.5


@dataclass(frozen=True)
class DrawnCrack:
    """What a crack is drawn with: lengths in pixels, noise in grey values."""

    width: float
    angle_deg: float
    sagitta: float
    """How far an arc leaves its chord; 0 is straight."""
    wave: float
    """Amplitude of a wave of 80 px along it; small for wide cracks, which else would not be of one width."""
    surface: float
    dark: float
    """Grey value of the crack over that of the surface."""
    blur: float
    noise: float
    mask: str
    seed: int

    @classmethod
    def random(cls, seed: int) -> DrawnCrack:
        rng = np.random.default_rng(seed)
        return cls(
            width=(width := float(np.exp(rng.uniform(np.log(1.5), np.log(20))))),
            angle_deg=float(rng.uniform(0, 180)),
            sagitta=float(rng.choice([0.0, rng.uniform(2, 25)])),
            wave=float(rng.choice([0.0, rng.uniform(0.5, 3) * min(1, 4 / width)])),
            surface=float(rng.uniform(140, 215)),
            dark=float(rng.uniform(0.15, 0.5)),
            blur=float(rng.uniform(0.3, 1.5)),
            noise=float(rng.uniform(0, 8)),
            mask=str(rng.choice(["exact", "wider", "narrower", "uneven"])),
            seed=seed,
        )

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) bool mask, (H, W) float32 grey values: every pixel the mean of 16 points within it."""
        rng = np.random.default_rng(self.seed + 1_000_000)
        at = (np.arange(_SIDE_PX * _FINE) + 0.5) / _FINE - 0.5 - (_SIDE_PX - 1) / 2 + rng.uniform(-0.5, 0.5)
        columns, rows = at[None, :], at[:, None]
        angle, half_length = np.radians(self.angle_deg), 75.0
        along = columns * np.cos(angle) - rows * np.sin(angle)
        across = columns * np.sin(angle) + rows * np.cos(angle)
        if self.sagitta:
            radius = half_length**2 / (2 * self.sagitta) + self.sagitta / 2
            across = np.hypot(along, across + radius) - radius
        turn = 2 * np.pi / 80
        slope = self.wave * turn * np.cos(turn * along)
        aside = (across - self.wave * np.sin(turn * along)) / np.hypot(1, slope)
        is_long = np.abs(along) <= half_length
        share = _coarse((np.abs(aside) <= self.width / 2) & is_long)
        grey = ndimage.gaussian_filter(self.surface * (1 - (1 - self.dark) * share), self.blur)
        grey = np.clip(np.round(grey + rng.normal(0, self.noise, grey.shape)), 0, 255).astype(np.float32)
        more: float | np.ndarray = {"exact": 0.0, "wider": 1.0, "narrower": -1.0}.get(self.mask, 0.0)
        if self.mask == "uneven":  # as a network's: up to some pixels more or less, changing along the crack
            uneven = ndimage.gaussian_filter(rng.normal(0, 1, (_SIDE_PX, _SIDE_PX)), 6)
            more = 1 + 1.5 * uneven / uneven.std()
        drawn = np.maximum(self.width + more, 1.3)
        return (np.abs(_coarse(aside)) <= drawn / 2) & (_coarse(is_long) > 0.5), grey


def _coarse(fine: np.ndarray) -> np.ndarray:
    return fine.reshape(_SIDE_PX, _FINE, _SIDE_PX, _FINE).mean(axis=(1, 3))


def main() -> None:
    """Print how far the widths are off, and the cracks where they are off most."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cracks", type=int, default=400)
    parser.add_argument("--without-photo", action="store_true")
    args = parser.parse_args()
    within = WITHIN_BY_MASK_PX if args.without_photo else WITHIN_PX
    cracks, rows = [], []
    for seed in range(args.cracks):
        crack = DrawnCrack.random(seed)
        mask, grey = crack.draw()
        if args.without_photo and crack.mask != "exact":
            continue
        found = measure_crack(mask, None if args.without_photo else grey)
        widths = (found.width_mean_px, found.width_p95_px, found.width_max_px)
        rows.append([*(width - crack.width for width in widths), found.width_max_u95_px, seed % 2])
        cracks.append(crack)
    table = np.array(rows)
    for part, name in enumerate(("chosen on", "confirmed on")):
        errors, u95 = table[table[:, 4] == part, :3], table[table[:, 4] == part, 3]
        print(f"{name} {len(errors)} cracks")
        for column, what in enumerate(("mean", "95th percentile", "largest")):
            error = errors[:, column]
            print(
                f"  {what:16s} off {np.abs(error).mean():.3f} px, bias {error.mean():+.3f}, "
                f"95 % under {np.percentile(np.abs(error), 95):.2f}, most {np.abs(error).max():.2f}, "
                f"within {within} px: {(np.abs(error) <= within).sum()} of {len(error)}"
            )
        print(
            f"  intervals hold {(np.abs(errors[:, 2]) <= u95).mean():.2f}, ± {u95.mean():.2f} px on average"
        )
    print("most off by their mean width:")
    for i in np.argsort(-np.abs(table[:, 0]))[:12]:
        print(f"  {table[i, 0]:+.2f} {table[i, 1]:+.2f} {table[i, 2]:+.2f} {cracks[i]}")


if __name__ == "__main__":
    main()
