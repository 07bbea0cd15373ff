"""Whether two photos show the same place, and where each point of one lies in the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flawmap.errors import require_extra

_SIDE_PX = 900
_RATIO = 0.75
"""A point's best match must be this much nearer than its second (Lowe 2004, section 7.1)."""
_REPROJECTION_PX = 4.0
_LEAST_INLIERS = 20
"""Of a plane found by chance among hundreds of matches, far fewer agree."""
_MOST_STRETCH = 4.0
"""Photos taken from more than four times as far are not compared."""


@dataclass(frozen=True)
class Alignment:
    """A plane's view in two photos; points are (x, y) as shares of width and height. Plain JSON values."""

    homography: tuple[tuple[float, ...], ...]
    """(3, 3) from the first photo to the second, in pixels of the small pictures."""
    first_wh: tuple[int, int]
    second_wh: tuple[int, int]
    n_inliers: int
    spread: float = 1.0
    """Of what both photos show, the share over which the points lie that agree. A date printed into both
    agrees with itself as well, but fills little of them."""

    def to_second(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) shares of the first photo → (n, 2) shares of the second; beyond 0 to 1 it is not seen."""
        return _project(np.array(self.homography), points * self.first_wh) / self.second_wh

    def to_first(self, points: np.ndarray) -> np.ndarray:
        return _project(np.linalg.inv(np.array(self.homography)), points * self.second_wh) / self.first_wh


def to_alignment(values: Mapping[str, Any] | None) -> Alignment | None:
    """The record from plain JSON values."""
    if values is None:
        return None
    exact = {name: tuple(values[name]) for name in ("first_wh", "second_wh")}
    return Alignment(**{**values, **exact, "homography": tuple(map(tuple, values["homography"]))})


@dataclass(frozen=True, eq=False)
class Points:
    """Places of one photo that are found again in another."""

    xy: np.ndarray
    """(n, 2) float32 pixels of the small picture."""
    looks: np.ndarray
    """(n, 128) uint8: SIFT's description of each."""
    size_wh: tuple[int, int]
    """Of the small picture."""


def align_photos(first: np.ndarray, second: np.ndarray) -> Alignment | None:
    """Two (H, W, 3) uint8 RGB photos of a surface → how they lie over one another; None where that cannot be
    told. The same photos give the same answer. Raises MissingExtraError without OpenCV."""
    return align_points(find_points(first), find_points(second))


def find_points(image: np.ndarray, most: int = 3000) -> Points:
    """The `most` clearest points of an (H, W, 3) uint8 RGB photo. Raises MissingExtraError without OpenCV."""
    require_extra("cv2", "inspect")
    import cv2

    small = _to_grey(image)
    finder: Any = cv2.SIFT_create(nfeatures=most)  # type: ignore[attr-defined] # its stubs lack it
    found, looks = finder.detectAndCompute(small, None)
    xy = np.array([one.pt for one in found], np.float32).reshape(-1, 2)
    looks = np.zeros((0, 128)) if looks is None else looks
    return Points(xy, np.asarray(looks, np.uint8), (small.shape[1], small.shape[0]))


def align_points(first: Points, second: Points) -> Alignment | None:
    """How two photos lie over one another, by their points; None where that cannot be told."""
    import cv2

    if min(len(first.xy), len(second.xy)) < 2:
        return None
    looks = [one.looks.astype(np.float32) for one in (first, second)]
    pairs = cv2.BFMatcher().knnMatch(looks[0], looks[1], k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
    if len(good) < _LEAST_INLIERS:
        return None
    source = first.xy[[one.queryIdx for one in good]]
    target = second.xy[[one.trainIdx for one in good]]
    cv2.setRNGSeed(0)
    homography, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, _REPROJECTION_PX)
    n_inliers = 0 if inliers is None else int(inliers.sum())
    if homography is None or n_inliers < _LEAST_INLIERS or not _is_likely(homography, first.size_wh):
        return None
    spread = _spread(target[inliers.ravel() > 0], homography, first.size_wh, second.size_wh)
    rows = tuple(tuple(map(float, row)) for row in homography)
    return Alignment(rows, first.size_wh, second.size_wh, n_inliers, spread)


def _spread(
    points: np.ndarray, homography: np.ndarray, first_wh: tuple[int, int], second_wh: tuple[int, int]
) -> float:
    """The area of the points' convex hull over that of what both photos show, in the second one."""
    import cv2

    seen = _project(homography, _corners(first_wh)).astype(np.float32)
    both, _ = cv2.intersectConvexConvex(seen, _corners(second_wh).astype(np.float32))
    return min(1.0, cv2.contourArea(cv2.convexHull(points)) / max(both, 1.0))


def _is_likely(homography: np.ndarray, first_wh: tuple[int, int]) -> bool:
    """Not mirrored, folded or stretched beyond what two views of one wall can be."""
    corners = _corners(first_wh)
    depths = np.column_stack([corners, np.ones(4)]) @ homography[2]
    if (depths <= 0).any():  # the plane's horizon runs through the photo
        return False
    moved = _project(homography, corners)
    rolled = np.roll(moved, -1, axis=0)
    area = 0.5 * (moved[:, 0] * rolled[:, 1] - moved[:, 1] * rolled[:, 0]).sum()
    return bool(_MOST_STRETCH**-2 < area / (first_wh[0] * first_wh[1]) < _MOST_STRETCH**2)


def _corners(size_wh: tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], float)


def _project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    moved = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return moved[:, :2] / moved[:, 2:]


def _to_grey(image: np.ndarray) -> Any:
    """(h, w) uint8, at most _SIDE_PX on its longer side, with its contrast evened out against other light."""
    import cv2

    scale = min(1.0, _SIDE_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(grey)
