"""Whether two photos show the same place, and where each point of one lies in the other."""

from __future__ import annotations

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
    """A plane's view in two photos; points are (x, y) as shares of width and height."""

    homography: np.ndarray
    """(3, 3) from the first photo to the second, in pixels of the small pictures."""
    first_wh: tuple[int, int]
    second_wh: tuple[int, int]
    n_inliers: int

    def to_second(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) shares of the first photo → (n, 2) shares of the second; beyond 0 to 1 it is not seen."""
        return _project(self.homography, points * self.first_wh) / self.second_wh

    def to_first(self, points: np.ndarray) -> np.ndarray:
        return _project(np.linalg.inv(self.homography), points * self.second_wh) / self.first_wh


def align_photos(first: np.ndarray, second: np.ndarray) -> Alignment | None:
    """Two (H, W, 3) uint8 RGB photos of a surface → how they lie over one another; None where that cannot be
    told. The same photos give the same answer. Raises MissingExtraError without OpenCV."""
    require_extra("cv2", "inspect")
    import cv2

    small = [_to_grey(one) for one in (first, second)]
    finder: Any = cv2.SIFT_create(nfeatures=3000)  # type: ignore[attr-defined] # its stubs lack it
    found = [finder.detectAndCompute(one, None) for one in small]
    if any(descriptors is None or len(descriptors) < 2 for _, descriptors in found):
        return None
    (first_points, first_values), (second_points, second_values) = found
    pairs = cv2.BFMatcher().knnMatch(np.asarray(first_values), np.asarray(second_values), k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
    if len(good) < _LEAST_INLIERS:
        return None
    source = np.array([first_points[one.queryIdx].pt for one in good])
    target = np.array([second_points[one.trainIdx].pt for one in good])
    cv2.setRNGSeed(0)
    homography, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, _REPROJECTION_PX)
    n_inliers = 0 if inliers is None else int(inliers.sum())
    if homography is None or n_inliers < _LEAST_INLIERS or not _is_likely(homography, small[0]):
        return None
    sizes = [(one.shape[1], one.shape[0]) for one in small]
    return Alignment(np.asarray(homography), sizes[0], sizes[1], n_inliers)


def _is_likely(homography: np.ndarray, first: np.ndarray) -> bool:
    """Not mirrored, folded or stretched beyond what two views of one wall can be."""
    height, width = first.shape
    corners = _project(homography, np.array([[0, 0], [width, 0], [width, height], [0, height]], float))
    rolled = np.roll(corners, -1, axis=0)
    share = 0.5 * (corners[:, 0] * rolled[:, 1] - corners[:, 1] * rolled[:, 0]).sum() / (width * height)
    return bool(_MOST_STRETCH**-2 < share < _MOST_STRETCH**2)


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
