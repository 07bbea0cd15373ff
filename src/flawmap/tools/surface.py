"""Where the pixels of a photo lie on the surface that it shows, in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flawmap.errors import OptionError, option


@dataclass(frozen=True, eq=False)
class Scale:
    """Where each pixel of a photo lies on the surface, in mm: the same everywhere, or by a homography."""

    to_surface: np.ndarray
    """(3, 3) float64: (x, y, 1) in pixels to (X, Y, W) in mm times W."""
    spread: tuple[np.ndarray, ...] = ()
    """Homographies of as many independent errors, each a standard deviation large."""

    @classmethod
    def uniform(cls, mm_per_px: float) -> Scale:
        """The same everywhere. Raises OptionError unless above 0."""
        check_scale(mm_per_px)
        return cls(np.diag([mm_per_px, mm_per_px, 1.0]))

    def moved(self, x: float, y: float) -> Scale:
        """For a crop whose first pixel is at (x, y)."""
        move = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)
        return Scale(self.to_surface @ move, tuple(other @ move for other in self.spread))

    def at(self, xy: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(n,) mm per pixel at (n, 2) points, along (n, 2) unit vectors."""
        return _stretch(self.to_surface, xy, directions)

    def area_mm2(self, xy: np.ndarray) -> float:
        """Of the pixels at (n, 2) points together: |det H| / W³ each, the determinant of the derivative of
        (X, Y) / W."""
        weight = np.column_stack([xy, np.ones(len(xy))]) @ self.to_surface[2]
        return float((abs(np.linalg.det(self.to_surface)) / np.abs(weight) ** 3).sum())

    def relative_u95(self, xy: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(n,) 95 % half-interval of at(), as a share of it; 0 for a scale that was given."""
        found = self.at(xy, directions)
        shares = [_stretch(other, xy, directions) / found - 1 for other in self.spread]
        return 2 * np.sqrt(np.square(shares).sum(axis=0)) if shares else np.zeros(len(xy))


def _stretch(homography: np.ndarray, xy: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How much longer a short step becomes: the length of the derivative of (X, Y) / W along it."""
    points = np.column_stack([xy, np.ones(len(xy))]) @ homography.T
    steps = directions @ homography[:, :2].T
    weight = points[:, 2:]
    moved = (steps[:, :2] * weight - points[:, :2] * steps[:, 2:]) / weight**2
    return np.hypot(*moved.T)


def check_scale(scale_mm_per_px: float | None) -> None:
    """Raises OptionError unless it is None or a number above 0."""
    if scale_mm_per_px is not None and not 0 < scale_mm_per_px < math.inf:
        raise OptionError(f"{option('--mm-per-px')} is {scale_mm_per_px}; a number above 0 was wanted")
